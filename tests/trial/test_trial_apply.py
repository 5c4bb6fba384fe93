"""The lines that apply an arm run, and do what the trial's own arm does: the same weights come out."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import opnorm
from opnorm.experiment.apply import apply_lines
from opnorm.experiment.apply.loops import IN_EACH_STEP, UNTIL, WHEN_DONE
from opnorm.experiment.arms import ARMS, arm_of
from opnorm.experiment.document import Design
from opnorm.experiment.models.charlm import CHARLM
from opnorm.experiment.models.model import Shape
from opnorm.experiment.subject import Task
from opnorm.experiment.training.loop import BASE_RATE
from opnorm.experiment.training.settings import defaults
from opnorm.integrations.estimators import SpectralClassifier, SpectralRegressor

pytestmark = pytest.mark.usefixtures("one_thread")


COMBINED = ["cap+l2", "band+dropout", "l1+jacobian+orthogonal", "cap+early_stopping+l2", "normalize+l1", "none@again"]
EPOCHS = 2


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.last = nn.LSTM(6, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x):
        return self.last(self.cell(x.unflatten(1, (2, -1)))[0][:, -1])


class Owned(nn.Linear):
    """Of a class that is not torch's."""


def mlp():
    return nn.Sequential(nn.Linear(12, 16), nn.ReLU(), Owned(16, 16), nn.ReLU(), nn.Linear(16, 3))


def cnn():
    return nn.Sequential(
        nn.Unflatten(1, (3, 2, 2)), nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)
    )


MODELS = {"mlp": mlp, "cnn": cnn, "recurrent": Recurrent}


def data():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(64, 12, generator=generator), torch.randint(0, 3, (64,), generator=generator)


def made(kind):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MODELS[kind]()
    with torch.no_grad():  # large enough that every technique has something to do
        for parameter in model.parameters():
            parameter *= 3
    return model


def epoch(model, optimizer, penalty):
    inputs, targets = data()
    model.train()
    for part in range(0, 64, 16):
        batch = inputs[part : part + 16]
        optimizer.zero_grad()
        penalty(nn.functional.cross_entropy(model(batch), targets[part : part + 16]), batch).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        return -float(nn.functional.cross_entropy(model(inputs), targets))


def by_arm(name, setting, model):
    arm = arm_of(name).start(setting, 0)
    model = arm.prepare(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=BASE_RATE * arm.rate, weight_decay=arm.weight_decay)
    arm.attach(model, optimizer)
    best, waited, state = -np.inf, 0, {}
    for _ in range(EPOCHS):
        score = epoch(model, optimizer, lambda loss, batch: loss + arm.penalty(model, batch))
        waited += 1
        if score > best:
            best, waited, state = score, 0, copy.deepcopy(model.state_dict())
        if arm.patience is not None and waited >= arm.patience:
            break
    if arm.patience is not None:
        model.load_state_dict(state)
    return arm.finish(model)


def run(text, scope):
    exec(text, scope)  # noqa: S102  (that they run is what is tested)


def sections(text):
    """Setup, each step, the loop, the end."""
    found, place = {None: []}, None
    for line in text.splitlines():
        place = line if line in (IN_EACH_STEP, UNTIL, WHEN_DONE) else place
        found.setdefault(place, []).append(line)
    return ["\n".join(found.get(place, [])) for place in (None, IN_EACH_STEP, UNTIL, WHEN_DONE)]


def by_lines(text, model):
    setup, step, loop, end = sections(text)
    scope = {"model": model}
    run(setup, scope)

    def penalty(loss, inputs):
        scope.update(loss=loss, inputs=inputs)
        run(step, scope)
        return scope["loss"]

    def train_and_validate(_):
        return epoch(scope["model"], scope["optimizer"], penalty)

    scope["train_and_validate"] = train_and_validate
    if loop:
        run(loop, scope)
    else:
        for number in range(EPOCHS):
            train_and_validate(number)
    run(end, scope)
    return scope["model"], scope.get("certificate")


EVERYWHERE = [
    *(("mlp", name) for name in [*ARMS, *COMBINED]),
    *(("cnn", name) for name in ("cap", "penalty", "normalize+l1", "band+dropout")),
    *(("recurrent", name) for name in ("dropout", "cap", "band", "penalty", "normalize+l1", "torch_spectral_norm")),
]


@pytest.mark.parametrize(("kind", "name"), EVERYWHERE)
def test_the_lines_do_what_the_arm_did(name, kind):
    setting = {**defaults(arm_of(name)), "rate": 2.0}
    expected = by_arm(name, setting, made(kind)).state_dict()
    lines = apply_lines(
        name, setting, builtin=False, task=Task.MULTICLASS, model=made(kind), epochs=EPOCHS
    )  # fmt: skip
    model, certificate = by_lines(lines, made(kind))
    assert set(model.state_dict()) == set(expected)
    for key, value in model.state_dict().items():
        torch.testing.assert_close(value, expected[key], rtol=2e-4, atol=1e-5)
    if certificate is not None:
        assert certificate.holds
        assert certificate.verify(model)


@pytest.mark.parametrize(
    "name", ["l2", "l1", "dropout", "cap", "band", "orthogonal", "penalty", "normalize", "jacobian"]
)
def test_the_comparison_sees_a_technique_left_out(name):
    setting = {**defaults(arm_of(name)), "rate": 2.0}
    plain = apply_lines("none", setting, builtin=False, task=Task.MULTICLASS)
    model, _ = by_lines(plain, made("mlp"))
    expected = by_arm(name, setting, made("mlp")).state_dict()
    assert not all(torch.allclose(v, expected[k], rtol=2e-4, atol=1e-5) for k, v in model.state_dict().items())


@pytest.mark.parametrize("tied", [False, True])
def test_embeddings_are_left_alone_as_in_the_trial(tied):
    model = CHARLM.build(Shape((8,), 20), 1)
    if tied:
        model.logits.weight = model.characters.weight
    for name in ("cap", "l1+band"):
        text = apply_lines(name, defaults(arm_of(name)), builtin=False, task=Task.MULTICLASS, model=model)
        scope = {"model": model}
        run(sections(text)[0], scope)
        held = {h.site.name for h in scope["gate"].held}
        assert len(held) == 6 + (not tied)
        assert not any("characters" in n or "places" in n for n in held)


def test_a_loop_of_ones_own_keeps_its_learning_rate():
    text = apply_lines("cap", {"cap": 2.0, "rate": 0.3}, builtin=False, task=Task.BINARY, own_fit=True)
    model = made("mlp")
    scope = {"model": model, "lr": 0.5}
    run(sections(text)[0], scope)
    assert scope["optimizer"].param_groups[0]["lr"] == pytest.approx(0.15)
    assert scope["gate"].held[0].site.rule.hi == 2.0


def table(task):
    import pandas

    generator = np.random.default_rng(0)
    frame = pandas.DataFrame({"size": generator.normal(5, 3, 90), "kind": generator.choice(["a", "b", "c"], 90)})
    frame.loc[::9, "size"] = np.nan
    value = frame["size"].fillna(5) + 2 * (frame["kind"] == "a")
    return frame, value if task is Task.REGRESSION else np.where(value > 6, "yes", "no")


TASKS = {Task.BINARY: [*ARMS, *COMBINED], Task.REGRESSION: ["l2", "cap", "orthogonal", "cap+early_stopping+l2"]}


@pytest.mark.parametrize(("task", "name"), [(task, name) for task, names in TASKS.items() for name in names])
def test_a_table_gets_an_estimator_where_it_has_the_technique(name, task, monkeypatch):
    for kind in (SpectralClassifier, SpectralRegressor):
        monkeypatch.setitem(opnorm.__dict__, kind.__name__, kind)
    setting = {**defaults(arm_of(name)), "rate": 0.5}
    text = apply_lines(name, setting, builtin=True, task=task, epochs=12, batch=16)
    if any(part in ("l1", "torch_spectral_norm", "normalize", "penalty", "jacobian") for part in name.split("+")):
        assert "Spectral" not in text
        return
    frame, target = table(task)
    scope = {"table": frame, "target": target}
    run(text, scope)
    fitted = scope["model"][-1]
    parameters = fitted.get_params()
    assert isinstance(fitted, SpectralRegressor if task is Task.REGRESSION else SpectralClassifier)
    assert scope["model"].score(frame, target) > (0.4 if task is Task.REGRESSION else 0.7)
    assert parameters["learning_rate"] == pytest.approx(0.5 * BASE_RATE)
    assert parameters["hidden_layer_sizes"] == (64, 64)
    assert (parameters["max_epochs"], parameters["batch_size"]) == (12, 16)
    ceiling = next((setting[n] for n in ("cap", "high", "scale") if n in setting), None)
    assert parameters["cap"] == ceiling
    assert parameters["lo"] == setting.get("low", setting.get("scale", 0.0))
    assert parameters["weight_decay"] == setting.get("decay", 0.0)
    assert parameters["dropout"] == setting.get("dropout", 0.0)
    assert parameters["early_stopping"] == ("patience" in setting)


def test_every_arm_has_its_lines():
    design = Design(arms=tuple(ARMS), seeds=(0,), metric="accuracy", margin=0.01)
    assert {
        apply_lines(a, defaults(ARMS[a]), builtin=False, task=Task.BINARY).count("optimizer =") for a in design.arms
    } == {1}


@pytest.mark.parametrize("kinds", ["both", "numbers", "categories"])
def test_a_pipeline_takes_the_columns_that_the_trial_took(kinds, monkeypatch):
    """An id, a date or free text that was left out of the trial is not one-hot encoded by its winner."""
    from opnorm.experiment.data import from_arrays

    monkeypatch.setitem(opnorm.__dict__, "SpectralClassifier", SpectralClassifier)
    frame, target = table(Task.BINARY)
    if kinds != "both":
        frame = frame[["size"]] if kinds == "numbers" else frame[["kind"]]
    frame = frame.assign(
        Kundennummer=range(1000, 1090), Notiz=[f"{{äöü}} '{i}'" for i in range(90)], Straße=["Gäßchen", "Allee"] * 45,
        **{f"a long name of a column, number {i}": np.random.default_rng(i).normal(size=90) for i in range(12)},
    )  # fmt: skip
    if kinds != "both":
        frame = frame.drop(columns="Straße" if kinds == "numbers" else [c for c in frame if c.startswith("a long")])
    columns = from_arrays(frame, target).examples.columns
    assert {name for name, _ in columns.dropped} == {"Kundennummer", "Notiz"}
    text = apply_lines("cap", {"cap": 2.0}, builtin=True, task=Task.BINARY, epochs=2, columns=columns)
    assert max(map(len, text.splitlines())) < 120
    scope = {"table": frame, "target": target}
    run(text, scope)
    taken = scope["model"][0].transformers_
    assert sorted(c for _, kind, names in taken for c in names if kind != "drop") == sorted(columns.used)
    assert ("make_column_selector" in text) is False
