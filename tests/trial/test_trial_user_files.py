"""A user's own file: what it says is used; what is missing or wrong is said before any training, in one message."""

import random

import numpy as np
import pytest
import torch

from opnorm.errors import UsageError
from opnorm.experiment.arms import arm_of
from opnorm.experiment.subject import Task
from opnorm.experiment.user import from_callables, subject_of

BUILD = "import torch, numpy as np\ndef build_model(seed):\n    return torch.nn.Linear(4, 2)\n"
LOAD = """
def load_data(seed):
    draw = np.random.default_rng(seed)
    return tuple((draw.normal(size=(n, 4)), np.arange(n) % 2) for n in (20, 8, 10))
"""
FIT = """
def fit(model, train, validation, arm):
    X, y = train
    model = arm.prepare(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01 * arm.rate, weight_decay=arm.weight_decay)
    arm.attach(model, optimizer)
    X, y = torch.as_tensor(X), torch.as_tensor(y)
    for _ in range(3):
        optimizer.zero_grad()
        (torch.nn.functional.cross_entropy(model(X), y) + arm.penalty(model, X)).backward()
        optimizer.step()
    return arm.finish(model)
"""


def _file(folder, text, name="mine.py"):
    (folder / name).write_text(text)
    return folder / name


def test_a_whole_file(tmp_path):
    text = BUILD + LOAD + FIT + "task = 'binary'\nmetric = 'neg_log_loss'\nepochs = 7\nbatch = 5\nprint('hello')\n"
    subject = subject_of(_file(tmp_path, text))
    assert (subject.task, subject.classes, subject.metric) == (Task.BINARY, 2, "neg_log_loss")
    assert subject.settings == {"epochs": 7, "batch": 5}
    described = subject.describe()
    assert described["experiment"] == "mine.py"
    assert described["parameters"] == 10
    assert described["train examples"] == 20
    assert str(tmp_path) not in str(described)
    assert subject.conditions() == ("full", "small", "noise", "looser")
    split = subject.split(3, "full")
    assert (split.train.inputs.dtype, split.train.targets.dtype) == (np.float32, np.int64)
    assert np.array_equal(split.train.inputs, np.random.default_rng(3).normal(size=(20, 4)).astype(np.float32))


def test_options_go_before_the_file(tmp_path):
    path = _file(tmp_path, BUILD + LOAD + "task, metric = 'binary', 'neg_log_loss'\n")
    assert subject_of(path, metric="accuracy").metric == "accuracy"
    assert subject_of(path, task="multiclass").task is Task.MULTICLASS


def test_conditions_change_training_examples_only(tmp_path):
    subject = subject_of(_file(tmp_path, BUILD + LOAD))
    full, small, noise = (subject.split(0, condition) for condition in ("full", "small", "noise"))
    assert len(small.train) == 6  # a fifth of 20, at least three of each class
    assert int((full.train.targets != noise.train.targets).sum()) == 4
    for other in (small, noise):
        assert np.array_equal(other.test.inputs, full.test.inputs)
        assert np.array_equal(other.validation.targets, full.validation.targets)


def test_what_one_cell_does_to_its_data_no_other_sees(tmp_path):
    subject = subject_of(_file(tmp_path, BUILD + LOAD))
    subject.split(0, "full").train.inputs[:] = 0
    assert subject.split(0, "full").train.inputs.any()


def test_global_random_numbers_come_from_the_seed_and_are_restored(tmp_path):
    text = BUILD + LOAD.replace("draw.normal(size=(n, 4))", "np.random.rand(n, 4)")
    np.random.seed(1)
    torch.manual_seed(1)
    random.seed(1)
    states = np.random.get_state()[1].copy(), torch.get_rng_state(), random.getstate()
    subject = subject_of(_file(tmp_path, text))
    assert np.array_equal(np.random.get_state()[1], states[0])
    assert torch.equal(torch.get_rng_state(), states[1])
    assert random.getstate() == states[2]
    assert not np.array_equal(subject.split(0, "full").train.inputs, subject.split(1, "full").train.inputs)


def test_the_source_follows_file_data_and_model(tmp_path):
    first = subject_of(_file(tmp_path, BUILD + LOAD)).source
    assert subject_of(_file(tmp_path, BUILD + LOAD)).source == first
    assert subject_of(_file(tmp_path, BUILD + LOAD + "# more\n")).source != first
    (tmp_path / "numbers.txt").write_text("1")
    number = f"int(np.loadtxt({str(tmp_path / 'numbers.txt')!r}))"
    reading = BUILD + LOAD.replace("default_rng(seed)", f"default_rng({number})")
    second = subject_of(_file(tmp_path, reading)).source
    (tmp_path / "numbers.txt").write_text("2")
    assert subject_of(_file(tmp_path, reading)).source != second


def test_modules_beside_the_file_are_found(tmp_path):
    _file(tmp_path, LOAD.replace("\ndef", "import numpy as np\ndef", 1), "beside_this_one.py")
    subject = subject_of(_file(tmp_path, BUILD + "from beside_this_one import load_data\n"))
    assert len(subject.split(0, "full").test) == 10


def test_prints_go_to_standard_error(tmp_path, capsys):
    subject_of(_file(tmp_path, BUILD.replace("    return", "    print('built')\n    return") + LOAD))
    out, err = capsys.readouterr()
    assert out == ""
    assert "built" in err


def test_fit_gets_the_arm_and_the_data_it_gave(tmp_path):
    text = BUILD + LOAD.replace("draw.normal(size=(n, 4))", "torch.as_tensor(draw.normal(size=(n, 4)))") + FIT
    subject = subject_of(
        _file(tmp_path, text.replace("X, y = train", "X, y = train\n    assert X.dtype == torch.float32", 1))
    )
    split, model = subject.split(0, "full"), subject.model(0, "full", subject.split(0, "full"))
    before = model.weight.detach().clone()
    trained = subject.fit(model, split, arm_of("cap").start({"rate": 1.0, "cap": 0.5}, 0), 0)
    assert not torch.equal(trained.weight, before)
    assert torch.linalg.matrix_norm(trained.weight, 2) <= 0.5 * (1 + 1e-6)


def test_a_loop_that_ignores_the_arm_is_refused(tmp_path):
    subject = subject_of(_file(tmp_path, BUILD + LOAD + "def fit(model, train, validation, arm):\n    return model\n"))
    split = subject.split(0, "full")
    with pytest.raises(UsageError, match=r"never used arm.prepare, arm.weight_decay, arm.rate, .*arm.finish"):
        subject.fit(subject.model(0, "full", split), split, arm_of("none").start({"rate": 1.0}, 0), 0)
    whole = subject_of(_file(tmp_path, BUILD + LOAD + FIT))
    stopping = arm_of("early_stopping").start({"rate": 1.0, "patience": 3.0}, 0)
    with pytest.raises(UsageError, match=r"given the arm 'early_stopping', never used arm.patience:"):
        whole.fit(whole.model(0, "full", split), split, stopping, 0)


def test_divergence_passes_and_mistakes_do_not(tmp_path):
    def fitting(line):
        return subject_of(_file(tmp_path, BUILD + LOAD + f"def fit(model, train, validation, arm):\n    {line}\n"))

    for line, error in (
        ("raise FloatingPointError('nan')", FloatingPointError),
        ("np.linalg.svd(np.full((2, 2), np.nan))", np.linalg.LinAlgError),
        ("undefined_name", UsageError),
    ):
        subject = fitting(line)
        split = subject.split(0, "full")
        with pytest.raises(error):
            subject.fit(subject.model(0, "full", split), split, arm_of("none").start({"rate": 1.0}, 0), 0)


LOADING = "def load_data(seed):\n    return {}\n"
FINE = "(np.zeros((9, 4)) + np.arange(9)[:, None], np.arange(9) % 2)"


def _returning(what):
    return BUILD + LOADING.format(what)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LOAD, "has no build_model: it defines 'load_data'"),
        ("def buildmodel(seed): pass\n" + LOAD, "Did you mean 'buildmodel'"),
        (BUILD, "has no load_data"),
        ("", "it defines no function"),
        ("build_model = 3\n" + LOAD, "no function but 'int'"),
        (BUILD.replace("(seed)", "()") + LOAD, "must take one argument, the seed"),
        (BUILD + LOAD + "def fit(model, train): pass\n", "must take four"),
        ("def broken(:\n", r"SyntaxError.*'mine.py', line 1"),
        ("import not_a_module_at_all\n", r"ModuleNotFoundError.*line 1"),
        ("x = 1\nraise KeyError('no such key')\n", r"KeyError.*'mine.py', line 2"),
        ("import sys\nsys.exit(3)\n", "__main__"),
        (BUILD.replace("torch.nn.Linear(4, 2)", "None") + LOAD, "returned NoneType; it must return a torch.nn.Module"),
        (BUILD.replace("torch.nn.Linear(4, 2)", "1 / 0") + LOAD, r"ZeroDivisionError.*line 3"),
        (BUILD.replace("4, 2", "5, 2") + LOAD, r"inputs of shape \(2, 4\).* raised RuntimeError"),
        (BUILD.replace("4, 2", "4, 1") + LOAD, "one logit for each of the 2 classes"),
        (_returning("None"), "it returned 'NoneType'"),
        (_returning(f"{FINE}, {FINE}"), "2 things in a tuple"),
        (_returning(f"{FINE}, {FINE}, np.zeros(3)"), "test is 'ndarray' and no such pair"),
        (_returning(f"{FINE}, {FINE}, (np.ones((3, 4)), np.ones(2, int))"), r"test: X has shape \(3, 4\) and y"),
        (_returning(f"{FINE}, {FINE}, (np.zeros((0, 4)), np.zeros(0, int))"), "test is empty"),
        (_returning(f"{FINE}, (np.zeros((3, 5)), np.zeros(3, int)), {FINE}"), "of validation"),
        (_returning(f"{FINE}, {FINE}, (np.full((9, 4), np.nan), np.arange(9) % 2)"), "36 entries that are NaN"),
        (_returning("[(np.array([['a'] * 4] * 3), np.arange(3))] * 3"), "X of train .* give numbers"),
        (_returning("[([[1.0, 2], [3.0]], [0, 1])] * 3"), "X of train is no array"),
        (_returning("[(np.zeros((4, 4)), np.ones(4, int))] * 3"), "of one class"),
        (_returning("[(np.zeros((4, 4)), np.arange(4) - 1)] * 3"), "negative"),
        (_returning(f"{FINE}, {FINE}, (np.zeros((4, 4)), np.arange(4))"), r"test has classes that train lacks"),
        (_returning("[(np.zeros((4, 4)), np.arange(4) * 500)] * 3"), "for a regression give floats"),
        (_returning("[(np.zeros((4, 4)), np.zeros(4))] * 3"), r"the model returns shape \(2, 2\) for targets"),
        (_returning("[(np.random.SeedSequence().generate_state(4)[:, None] * np.ones(4), np.arange(4) % 2)] * 3"),
         "gave two different results"),
        (BUILD + LOAD + "task = 'clustering'\n", "regression, binary, multiclass"),
        (BUILD + LOAD + "task = 'regression'\n", "give y as floats"),
        (BUILD + LOAD + "metric = 'r2'\n", "does not suit"),
        (BUILD + LOAD + "epochs = 0\n", "epochs = 0 in mine.py"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_at_once(tmp_path, text, words):
    with pytest.raises(UsageError, match=words):
        subject_of(_file(tmp_path, text))


def test_paths_that_are_no_experiment(tmp_path):
    for path, words in (("missing.py", "no such file"), (".", "is a folder")):
        with pytest.raises(UsageError, match=words):
            subject_of(tmp_path / path)
    with pytest.raises(UsageError, match=r"no Python file.*--data"):
        subject_of(_file(tmp_path, "a,b\n", "credit.csv"))


def test_a_file_changed_meanwhile_is_refused(tmp_path):
    import pickle

    from opnorm.experiment.user import source

    subject = subject_of(_file(tmp_path, BUILD + LOAD))
    sent = pickle.dumps(subject)
    _file(tmp_path, BUILD + LOAD + "# changed\n")
    source._functions_in.cache_clear()  # as in a worker that starts now
    with pytest.raises(UsageError, match="was changed while its trial ran"):
        pickle.loads(sent).model(0, "full", None)  # noqa: S301


def test_copies_in_the_test_part_are_counted():
    data = np.random.default_rng(0).normal(size=(20, 4))

    def load_data(seed):
        return (data[:10], np.arange(10) % 2), (data[10:], np.arange(10) % 2), (data[7:15], np.arange(8) % 2)

    subject = from_callables(lambda seed: torch.nn.Linear(4, 2), load_data)
    assert subject.notes[0].startswith("3 test examples of 8 (seed 0) also are among the training examples")


def test_starts_that_do_not_differ_are_noted():
    def build_model(seed):
        torch.manual_seed(42)
        return torch.nn.Linear(4, 1)

    def load_data(seed):
        draw = np.random.default_rng(seed)
        return tuple((x, 100 * x[:, :1]) for x in (draw.normal(size=(n, 4)) for n in (20, 8, 10)))

    with pytest.raises(UsageError, match="both must be the same"):
        from_callables(build_model, load_data)
    subject = from_callables(lambda seed: torch.nn.Sequential(build_model(seed), torch.nn.Flatten(0)), load_data)
    assert subject.task is Task.REGRESSION
    assert "targets have a standard deviation of" in subject.notes[0]
    assert "same start for every seed" in subject.notes[1]
