"""Cells: fair, deterministic to the bit, blind to the test part, and honest about failures."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from trial_training_subjects import Planted, design, mlp

from opnorm.errors import UsageError
from opnorm.experiment.arms import arm_of
from opnorm.experiment.arms.arm import Applied
from opnorm.experiment.document import Cell, Record
from opnorm.experiment.subject import Part, Split, Task
from opnorm.experiment.training.cell import digest, run_cell
from opnorm.experiment.training.seeds import batches, isolated, seeds_of

SUBJECT = Planted(turned=0.1)


def told(record: Record) -> str:
    """All of a record that must repeat: every float to its last bit."""
    return json.dumps({k: v for k, v in asdict(record).items() if k != "seconds"}, sort_keys=True)


@pytest.mark.parametrize("name", ["none", "cap", "cap+l2+dropout", "none@again", "early_stopping", "penalty"])
def test_every_arm_gets_the_same_number_of_trainings(name: str) -> None:
    record = run_cell(SUBJECT, design(budget=3), Cell(name, 0), None)
    assert len(record.tried) == 3
    assert [t.setting["rate"] for t in record.tried] == [1.0, 0.14, 0.767]
    best = max(range(3), key=lambda i: record.tried[i].validation or -1)
    assert record.setting == record.tried[best].setting
    assert record.scores["validation"] == record.tried[best].validation
    assert record.scores["train"] == record.tried[best].train
    assert record.failure == ""
    assert record.examples == (120, 100)


def test_the_very_model_that_was_chosen_is_measured() -> None:
    """The curve's last validation score, taken while training, is that of the model in the record."""
    record = run_cell(SUBJECT, design(budget=4), Cell("none", 1), None)
    assert record.curve[-1].validation == record.scores["validation"]
    assert [p.epoch for p in record.curve] == [1, 2, 3, 4, 5, 6]
    assert set(record.curve[-1].norms) == {"0.weight", "2.weight", "4.weight"}
    assert record.steps == 6 * 4


def test_the_first_of_equal_settings_is_kept() -> None:
    easy = Planted(examples=600)  # every rate gives a perfect validation score
    record = run_cell(easy, design(budget=2, epochs=30), Cell("none", 0), None)
    equal = [t for t in record.tried if t.validation == record.scores["validation"]]
    assert record.setting == equal[0].setting


SCRIPT = """
import sys; sys.path.insert(0, {here!r})
from test_trial_training_cells import SUBJECT, told
from trial_training_subjects import design
from opnorm.experiment.document import Cell
from opnorm.experiment.training.cell import run_cell
for name in {names!r}:
    print(told(run_cell(SUBJECT, design(), Cell(name, 2), None)))
"""


def test_bit_equal_again_after_other_cells_and_in_another_process() -> None:
    names = ["none", "dropout+cap", "torch_spectral_norm"]
    first = [told(run_cell(SUBJECT, design(), Cell(name, 2), None)) for name in names]
    torch.manual_seed(99)
    np.random.seed(99)
    for name in ("normalize", "none@again"):
        run_cell(SUBJECT, design(), Cell(name, 0), None)
    second = [told(run_cell(SUBJECT, design(), Cell(name, 2), None)) for name in reversed(names)][::-1]
    script = SCRIPT.format(here=str(Path(__file__).parent), names=names)
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert first == second == run.stdout.splitlines()


def test_global_random_states_and_threads_are_left_alone() -> None:
    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate(), torch.get_num_threads()
    run_cell(SUBJECT, design(), Cell("dropout", 0), None)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == np.random.get_state()[1].tolist()
    assert before[2:] == (random.getstate(), torch.get_num_threads())


def test_again_has_the_split_but_another_start_and_order() -> None:
    plain, again = Cell("none", 3), Cell("none@again", 3)
    assert seeds_of(plain).run == 3
    assert seeds_of(again).split == 3
    assert seeds_of(again).run == seeds_of(Cell("cap@again", 3)).run != 3
    one, other = (run_cell(SUBJECT, design(), cell, None) for cell in (plain, again))
    assert one.test == other.test
    assert one.curve[0].loss != other.curve[0].loss


def test_batches_take_each_example_once_and_leave_no_single_one() -> None:
    for examples in (1, 5, 64, 65, 129, 1000):
        found = batches(0, 1, examples, 64)
        assert sorted(np.concatenate(found).tolist()) == list(range(examples))
        assert max(map(len, found)) <= 64
        assert examples == 1 or min(map(len, found)) > 1
    assert not np.array_equal(batches(0, 1, 50, 64)[0], batches(0, 2, 50, 64)[0])
    assert np.array_equal(batches(7, 3, 50, 64)[0], batches(7, 3, 50, 64)[0])


@dataclass(frozen=True)
class Watching(Planted):
    """Fails as soon as anything that trains sees a test example."""

    def model(self, seed: int, condition: str, split: Split) -> torch.nn.Module:
        assert len(split.test) == 0
        return super().model(seed, condition, split)

    def fit(self, model: torch.nn.Module, split: Split, arm: Applied, seed: int) -> None:
        assert len(split.test) == 0


@dataclass(frozen=True)
class OtherTest(Planted):
    """The same but for the test part."""

    def split(self, seed: int, condition: str) -> Split:
        found = super().split(seed, condition)
        return replace(found, test=Part(found.test.inputs[::-1] * 3, 1 - found.test.targets))


def test_no_training_sees_the_test_part() -> None:
    run_cell(Watching(), design(), Cell("cap+l2", 0), None)
    one, other = (run_cell(s, design(), Cell("none", 0), None) for s in (Planted(), OtherTest()))
    assert one.test != other.test
    assert one.scores["test"] != other.scores["test"]
    assert (one.tried, one.setting, one.curve) == (other.tried, other.setting, other.curve)


def test_the_digest_is_of_shapes_types_and_numbers() -> None:
    part = Part(np.zeros((2, 2), np.float32), np.zeros(2, np.int64))
    others = [Part(part.inputs.reshape(4, 1), part.targets), Part(part.inputs + 1, part.targets),
              Part(part.inputs, part.targets.astype(np.int32))]  # fmt: skip
    assert digest(part) == digest(Part(part.inputs.copy(), part.targets))
    assert len({digest(p) for p in (part, *others)}) == 4


def test_other_conditions_train_once_with_what_full_chose() -> None:
    chosen = {"rate": 0.7, "cap": 1.2}
    record = run_cell(SUBJECT, design(), Cell("cap", 0, "small"), chosen)
    assert [t.setting for t in record.tried] == [chosen]
    assert record.setting == chosen
    looser = run_cell(SUBJECT, design(), Cell("cap", 0, "looser"), chosen)
    assert looser.setting == {"rate": 0.7, "cap": 2.4}


def test_without_a_setting_from_full_there_is_a_failure_not_an_error() -> None:
    for nothing in (None, {}):
        record = run_cell(SUBJECT, design(), Cell("cap", 0, "small"), nothing)
        assert "failed" in record.failure
        assert (record.scores, record.tried, record.examples) == ({}, (), (120, 100))


@dataclass(frozen=True)
class Exploding(Planted):
    """One training input is infinite: every training diverges, whatever the arm."""

    def split(self, seed: int, condition: str) -> Split:
        found = super().split(seed, condition)
        found.train.inputs[3, 1] = np.inf
        return found


@pytest.mark.parametrize("name", ["none", "cap", "normalize", "same_norm", "penalty"])
def test_divergence_is_counted_with_its_reason(name: str) -> None:
    record = run_cell(Exploding(), design(), Cell(name, 0), None)
    assert len(record.tried) == 2
    assert all(t.validation is None for t in record.tried)
    assert all("not finite" in t.failure or "loss was" in t.failure or "NaN" in t.failure for t in record.tried)
    assert record.failure
    assert record.scores == {}
    assert record.test


@dataclass(frozen=True)
class Sometimes(Planted):
    """Diverges where the learning rate is at its default."""

    def fit(self, model: torch.nn.Module, split: Split, arm: Applied, seed: int) -> torch.nn.Module | None:
        if arm.rate == 1.0:
            raise FloatingPointError("overflow in my loop")
        return None


def test_one_failed_setting_leaves_the_others() -> None:
    record = run_cell(Sometimes(), design(budget=3), Cell("l2", 0), None)
    assert record.tried[0].failure == "FloatingPointError: overflow in my loop"
    assert record.failure == ""
    assert record.setting in [t.setting for t in record.tried[1:]]


@dataclass(frozen=True)
class OwnLoop(Planted):
    """A user's loop that does as the protocol says, by plain gradient descent; `finishes` or forgets to."""

    finishes: bool = True

    def fit(self, model: torch.nn.Module, split: Split, arm: Applied, seed: int) -> torch.nn.Module:
        model = arm.prepare(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1 * arm.rate, weight_decay=arm.weight_decay)
        arm.attach(model, optimizer)
        inputs, targets = torch.from_numpy(split.train.inputs), torch.from_numpy(split.train.targets)
        for _ in range(20):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(inputs), targets)
            (loss + arm.penalty(model, inputs)).backward()
            optimizer.step()
        return arm.finish(model) if self.finishes else model


@pytest.mark.parametrize("name", ["none", "cap", "normalize", "dropout+cap"])
def test_a_loop_of_the_users_own_is_used_and_finished(name: str) -> None:
    records = [run_cell(OwnLoop(finishes=f), design(budget=1), Cell(name, 0), None) for f in (True, False)]
    assert told(records[0]) == told(records[1])
    ceiling = records[0].setting.get("cap", records[0].setting.get("ceiling", np.inf))
    assert max(records[0].curve[-1].norms.values()) <= ceiling * (1 + 1e-6)
    assert (records[0].steps, len(records[0].curve)) == (0, 1)


def test_an_arm_that_cannot_be_meant_is_an_error_not_a_failure() -> None:
    with pytest.raises(UsageError, match="no derivative"):
        run_cell(Tokens(), design(metric="neg_bits_per_char"), Cell("jacobian", 0), None)


@dataclass(frozen=True)
class Tokens(Planted):
    """Sequences in which each token is followed by its successor: a target at each place."""

    metric: str = "neg_bits_per_char"
    task: Task = Task.MULTICLASS
    classes: int = 7

    def _part(self, source: np.random.Generator, examples: int) -> Part:
        start = source.integers(0, 7, (examples, 1))
        run = (start + np.arange(6)) % 7
        return Part(run[:, :-1], run[:, 1:])

    def model(self, seed: int, condition: str, split: Split) -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Embedding(7, 8), torch.nn.GELU(), torch.nn.Linear(8, 7))


@pytest.mark.parametrize("name", ["none", "cap+dropout"])
def test_several_targets_an_example(name: str) -> None:
    record = run_cell(Tokens(), design(metric="neg_bits_per_char", epochs=40, budget=1), Cell(name, 0), None)
    assert record.scores["test"] is not None
    assert record.scores["test"] > -1.5  # of log2(7) = 2.8 bits before
    if name != "none":
        assert "embedding" in record.notes[0]


@dataclass(frozen=True)
class Line(Planted):
    """A number from a line, with a single output."""

    metric: str = "r2"
    task: Task = Task.REGRESSION
    classes: int = 1

    def _part(self, source: np.random.Generator, examples: int) -> Part:
        inputs = source.standard_normal((examples, self.columns)).astype(np.float32)
        return Part(inputs, inputs[:, 0] - 0.5 * inputs[:, 1])


def test_regression() -> None:
    record = run_cell(Line(), design(metric="r2", epochs=30), Cell("cap", 0), None)
    assert record.scores["test"] is not None
    assert record.scores["test"] > 0.9


def test_early_stopping_keeps_the_best_epoch() -> None:
    noisy = Planted(examples=40, columns=30, turned=0.2, hidden=64, metric="neg_log_loss")
    asked = design(metric="neg_log_loss", epochs=30, budget=1)
    stopped, plain = (run_cell(noisy, asked, Cell(name, 0), None) for name in ("early_stopping", "none"))
    best = max(range(len(stopped.curve)), key=lambda i: stopped.curve[i].validation or -np.inf)
    assert stopped.steps < plain.steps
    assert stopped.scores["validation"] is not None
    assert stopped.scores["validation"] >= (stopped.curve[best].validation or 0)
    assert stopped.curve[-1].epoch * 2 == stopped.steps
    assert stopped.curve[-1].norms


def _mean(scores: list[Mapping[str, Any]]) -> float:
    return float(np.mean([s["test"] for s in scores]))


def test_decay_helps_where_it_must() -> None:
    """Thirty examples, one telling column in forty: what is learned of the others is noise."""
    few = Planted(examples=30, columns=40, turned=0.15, hidden=64, metric="neg_log_loss", held_out=300)
    asked = design(metric="neg_log_loss", epochs=30, budget=1)
    found = {
        name: [run_cell(few, asked, Cell(name, seed, "small"), setting).scores for seed in range(4)]
        for name, setting in (("none", {"rate": 1.0}), ("l2", {"rate": 1.0, "decay": 10.0}))
    }
    assert _mean(found["l2"]) > _mean(found["none"]) + 0.1
    assert all(b["test"] > a["test"] for a, b in zip(found["none"], found["l2"], strict=True))


def test_isolation_gives_the_same_draws_whatever_came_before() -> None:
    def drawn() -> tuple[float, float, float]:
        with isolated(4):
            return float(torch.rand(())), float(np.random.rand()), random.random()

    first = drawn()
    torch.manual_seed(1)
    assert drawn() == first


def test_models_start_alike_in_every_arm() -> None:
    """The first loss of a training that does not learn yet is that of the start, whatever the arm does later."""
    asked = design(epochs=1, budget=1, batch=120)
    losses = {
        name: run_cell(Planted(), asked, Cell(name, 0), None).curve[0].loss
        for name in ("none", "l2", "cap", "early_stopping", "penalty", "jacobian")
    }
    assert len(set(losses.values())) == 1
    assert arm_of("none").start({}, 0).prepare(mlp(3, 2)) is not None
