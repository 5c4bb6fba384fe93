"""The control 'same norm': the search ends at the norms of the cap, by SVD, and says what it cost."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from trial_training_subjects import Planted, design

from opnorm.experiment.arms import ARMS
from opnorm.experiment.arms.arm import Strength
from opnorm.experiment.document import Cell, Record, Tried
from opnorm.experiment.training.attempt import Attempt
from opnorm.experiment.training.cell import run_cell
from opnorm.experiment.training.matching import MOST, TOLERANCE, match

DECAY = Strength("decay", 0.01, 1.0, 100.0)


def mean_log(record: Record) -> float:
    """From the last point of the curve: the norms when training ended."""
    return float(np.mean(np.log(list(record.curve[-1].norms.values()))))


@pytest.mark.parametrize("seed", [0, 1])
def test_norms_are_those_of_the_cap(seed: int) -> None:
    noisy = Planted(examples=150, columns=20, turned=0.2, hidden=32, metric="neg_log_loss")
    asked = design(metric="neg_log_loss", epochs=25, budget=2)
    cap, same, none = (run_cell(noisy, asked, Cell(name, seed), None) for name in ("cap", "same_norm", "none"))
    assert mean_log(none) > mean_log(cap) + 2 * TOLERANCE  # there is something to match
    assert abs(math.expm1(mean_log(same) - mean_log(cap))) <= TOLERANCE + 0.01  # the last projection of the cap
    assert same.setting["rate"] == cap.setting["rate"]
    assert same.setting["decay"] > 0
    assert f"found in {len(same.tried)} trainings, beside 2 of 'cap'" in same.notes[0]
    assert "norms matched" in same.notes[0]


def _model(log_norm: float) -> torch.nn.Module:
    model = torch.nn.Linear(3, 3)
    with torch.no_grad():
        model.weight.copy_(torch.eye(3) * math.exp(log_norm))
    return model


def _search(log_norm_at, goal: float):  # type: ignore[no-untyped-def]  # of a made-up law
    def once(setting):  # type: ignore[no-untyped-def]
        value = log_norm_at(setting["decay"])
        return Attempt(Tried(setting, 0.0, 0.0), None if value is None else _model(value))

    return match(once, goal, 0.5, DECAY)


def test_the_search_solves_a_known_law() -> None:
    """log σ₁ = 1 − log(1 + decay): the goal is met at decay = e^(1 − goal) − 1."""
    for goal in (0.9, 0.3, 0.0, -1.0, -2.5):
        found = _search(lambda d: 1 - math.log1p(d), goal)
        assert found.chosen is not None
        decay = found.chosen.tried.setting["decay"]
        assert 1 - math.log1p(decay) == pytest.approx(goal, abs=math.log1p(TOLERANCE))
        assert len(found.tried) <= MOST
        assert found.note.startswith("norms matched")
        assert all(t.setting["rate"] == 0.5 for t in found.tried)


def test_no_decay_where_none_is_needed() -> None:
    found = _search(lambda d: -d, 0.5)
    assert found.chosen is not None
    assert found.chosen.tried.setting["decay"] == 0.0
    assert len(found.tried) == 1
    assert "NOT matched" in found.note
    assert "below" in found.note


def test_a_goal_out_of_reach_is_said_to_be_missed() -> None:
    found = _search(lambda d: 2.0, 0.0)
    assert len(found.tried) == MOST
    assert "NOT matched" in found.note
    assert "638.9%" in found.note  # e² − 1
    assert "above" in found.note


def test_failed_trainings_were_held_too_strongly() -> None:
    found = _search(lambda d: None if d > 0.5 else 1 - d, 0.8)
    assert found.chosen is not None
    assert found.chosen.tried.setting["decay"] == pytest.approx(0.2, abs=0.06)
    nothing = _search(lambda d: None, 0.8)
    assert nothing.chosen is None
    assert "failed" in nothing.note


def test_the_control_is_matched_not_tuned() -> None:
    assert ARMS["same_norm"].matches == "cap"
    assert not ARMS["same_norm"].spectral
