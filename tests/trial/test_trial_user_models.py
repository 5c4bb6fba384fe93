"""Models and loops of a user's own that misbehave: refused in one message, or kept from touching anything else."""

import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from trial_run_fakes import fake_record, small_trial

from opnorm.errors import UsageError
from opnorm.experiment.claims.cost import costs
from opnorm.experiment.claims.measuring import measures
from opnorm.experiment.document import Cell, Design
from opnorm.experiment.run.cells import Chain
from opnorm.experiment.run.worker import finished
from opnorm.experiment.training.cell import run_cell
from opnorm.experiment.training.seeds import isolated
from opnorm.experiment.user import from_callables, source, subject_of

DESIGN = Design(("none", "l2"), (0,), "accuracy", 0.01, budget=2, epochs=2, batch=16)


def load(seed, shift=0):
    draw = np.random.default_rng(seed)
    return tuple((draw.normal(size=(n, 4)), np.arange(n) % 2 + shift) for n in (30, 12, 12))


def build(seed):
    return torch.nn.Linear(4, 2)


class Writes(torch.nn.Module):
    """Its forward pass changes what it is given."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 2)

    def forward(self, values):
        return self.layer(values.mul_(2.0))


class Fails(torch.nn.Module):
    """While training only, after it has printed."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 2)

    def forward(self, values):
        sys.stdout.write("forward\n")
        if self.training:
            raise IndexError("only while training")
        return self.layer(values)


class Loop:
    """A loop of the user's own, told what to do to its data first."""

    def __init__(self, first=lambda train, validation: None):
        self.first, self.seen = first, []

    def __call__(self, model, train, validation, arm):
        self.seen.append((train[0].copy(), validation[0].copy()))
        self.first(train, validation)
        model = arm.prepare(model)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01 * arm.rate, weight_decay=arm.weight_decay)
        arm.attach(model, optimizer)
        inputs, targets = torch.tensor(train[0]), torch.tensor(train[1])
        (torch.nn.functional.cross_entropy(model(inputs), targets) + arm.penalty(model, inputs)).backward()
        optimizer.step()
        return arm.finish(model)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (torch.nn.Flatten, "no parameter is trained"),
        (lambda: build(0).requires_grad_(False), "no parameter is trained"),
        (lambda: torch.nn.LazyLinear(2), "has no shape yet"),
        (lambda: build(0).to("meta"), "has no values"),
        (lambda: torch.nn.Linear(4, 2, dtype=torch.complex64), "is complex"),
    ],
)
def test_models_that_cannot_be_trained_are_refused_before_any_training(model, words):
    with pytest.raises(UsageError, match=words):
        from_callables(lambda seed: model(), load)


def test_a_loop_of_ones_own_may_train_a_model_that_says_nothing_of_its_parameters():
    from_callables(lambda seed: build(seed).requires_grad_(False), load, Loop())


@pytest.mark.filterwarnings("error")
def test_numbers_beyond_single_precision_are_refused():
    for kind in (np.asarray, torch.as_tensor):
        with pytest.raises(UsageError, match="X of train holds 120 entries that are beyond float32"):
            from_callables(build, lambda seed, kind=kind: [(kind(x + 1e300), y) for x, y in load(seed)])


def test_what_a_loop_does_to_its_data_no_other_training_and_no_measure_sees():
    def first(train, validation):
        train[0][...] += 3
        validation[0][...] = 0

    spoiling, honest = Loop(first), Loop()
    run_cell(from_callables(build, load, spoiling), DESIGN, Cell("none", 0, "full"), None)
    for train, validation in spoiling.seen[1:]:
        assert np.array_equal(train, spoiling.seen[0][0])
        assert np.array_equal(validation, spoiling.seen[0][1])
    assert len(spoiling.seen) == 2
    run_cell(from_callables(build, load, honest), DESIGN, Cell("none", 0, "full"), None)
    assert np.array_equal(honest.seen[1][1], spoiling.seen[1][1])


def test_a_model_that_writes_on_its_inputs_does_not_change_the_data():
    subject = from_callables(lambda seed: Writes(), load)
    split = subject.split(0, "full")
    before = [p.inputs.copy() for p in (split.train, split.validation, split.test)]
    record = run_cell(subject, DESIGN, Cell("none", 0, "full"), None)
    found, _ = measures(subject.model(0, "full", split), split, subject, 0)
    assert not record.failure
    assert None not in (found["attacked"], found["test"], found["corrupted"])
    for part, inputs in zip((split.train, split.validation, split.test), before, strict=True):
        assert np.array_equal(part.inputs, inputs)


def test_what_fails_in_training_is_one_message_and_prints_no_result(capsys):
    subject = from_callables(lambda seed: Fails(), load)
    with pytest.raises(UsageError, match=r"arm l2, seed 0, condition full\) raised IndexError: only while training"):
        list(finished(subject, DESIGN, Chain("l2", 0, ("full",))))
    assert capsys.readouterr().out == ""


def test_a_model_whose_steps_cannot_be_timed_costs_no_verdict():
    (cost,) = costs(from_callables(lambda seed: Fails(), load, Loop()), DESIGN)
    assert cost.step_ratio is None
    assert "only while training" in cost.note


def test_what_a_loop_leaves_changed_comes_back():
    def first(train, validation):
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)

    with isolated(0):
        first(None, None)
    assert torch.get_default_dtype() is torch.float32
    assert torch.is_grad_enabled()


def test_later_seeds_have_the_classes_of_the_first():
    subject = from_callables(build, lambda seed: load(seed, shift=seed))
    with pytest.raises(UsageError, match=r"load_data\(3\): y of train holds classes 3 to 4"):
        subject.split(3, "full")
    subject = from_callables(build, lambda seed: [(x, y if seed < 3 else y / 2) for x, y in load(seed)])
    with pytest.raises(UsageError, match="is float32, which is no binary target"):
        subject.split(3, "full")


def test_test_examples_that_choose_the_settings_are_noted():
    parts = load(0)
    notes = from_callables(build, lambda seed: (parts[0], parts[2], parts[2])).notes
    assert any("12 test examples of 12 (seed 0) also are among the validation examples" in note for note in notes)


def test_r2_needs_targets_that_differ():
    def one(seed):
        return torch.nn.Sequential(torch.nn.Linear(4, 1), torch.nn.Flatten(0))

    def numbers(count):
        return lambda seed: [(x[:n], x[:n, 0]) for (x, _), n in zip(load(seed), (30, 12, count), strict=True)]

    assert from_callables(one, numbers(2)).metric == "r2"
    assert from_callables(one, numbers(1), metric="neg_mae").metric == "neg_mae"
    with pytest.raises(UsageError, match=r"the targets of test \(1 example\) do not differ, so R² says nothing"):
        from_callables(one, numbers(1))


def test_what_a_file_draws_while_it_is_run_is_the_same_in_every_process(tmp_path):
    text = (
        "import numpy as np, torch\nW = np.random.randn(4) + torch.randn(4).numpy()\n"
        "def build_model(seed):\n    return torch.nn.Linear(4, 2)\n"
        "def load_data(seed):\n    x = np.random.default_rng(seed).normal(size=(30, 4))\n"
        "    return [(x[i::3], (x[i::3] @ W > 0).astype(int)) for i in range(3)]\n"
    )
    (tmp_path / "mine.py").write_text(text)
    found = []
    for seed in (1, 2):
        np.random.seed(seed)
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        source._functions_in.cache_clear()  # as in another process
        found.append(subject_of(tmp_path / "mine.py").source)
        assert torch.equal(torch.get_rng_state(), before)
    assert found[0] == found[1]


def test_arms_that_were_tested_on_different_examples_end_the_trial(monkeypatch, tmp_path):
    def other_examples(subject, design, cell, chosen):
        record = fake_record(cell)
        return replace(record, test="f" * 64) if (cell.arm, cell.seed) == ("l2", 2) else record

    monkeypatch.setattr("opnorm.experiment.training.cell.run_cell", other_examples)
    with pytest.raises(UsageError, match=r"seed 2: l2 \(full\) and none \(full\) were tested on different examples"):
        small_trial(journal=tmp_path / "kept.jsonl")
    assert b"ffff" not in (tmp_path / "kept.jsonl").read_bytes()


def test_functions_that_hold_other_values_are_another_source():
    class Made:
        def __init__(self, rate):
            self.rate = rate

        def __call__(self, model, train, validation, arm):
            return arm.finish(model)

    def closed(rate):
        def fit(model, train, validation, arm):
            return arm.finish(model) if rate else None

        return fit

    def named(model, train, validation, arm, rate=0.0):
        return arm.finish(model)

    for make in (Made, closed, lambda rate: partial(named, rate=rate)):
        sources = [from_callables(build, load, make(rate)).source for rate in (0.1, 0.1, 0.2)]
        assert sources[0] == sources[1] != sources[2]
