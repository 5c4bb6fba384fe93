"""What is tried: as many settings in every arm, the same learning rates, within the ranges; Optuna by the same seam."""

from __future__ import annotations

import math

import pytest

from opnorm.errors import MissingExtra, UsageError
from opnorm.experiment.arms import ARMS, arm_of
from opnorm.experiment.training.settings import LEARNING_RATE, defaults, grid, tune

NAMES = [*ARMS, "cap+l2", "dropout+l1+l2+band+early_stopping"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("budget", [1, 4, 9])
def test_every_arm_has_the_whole_budget_the_defaults_first(name: str, budget: int) -> None:
    arm = arm_of(name)
    found = grid(arm, budget)
    assert len(found) == budget
    assert len({tuple(s.items()) for s in found}) == budget
    assert found[0] == defaults(arm) == {"rate": 1.0} | {s.name: s.default for s in arm.strengths}
    for setting in found:
        for strength in (LEARNING_RATE, *arm.strengths):
            assert strength.low * 0.99 <= setting[strength.name] <= strength.high * 1.01


def test_learning_rates_are_the_same_in_every_arm() -> None:
    assert len({tuple(s["rate"] for s in grid(arm_of(name), 8)) for name in NAMES}) == 1


def test_a_larger_budget_tries_more_of_the_same() -> None:
    assert grid(arm_of("cap+l2"), 9)[:4] == grid(arm_of("cap+l2"), 4)


def test_settings_cover_the_range() -> None:
    """Of 16 log-uniform points each quarter holds at least three: plain random draws would often miss."""
    low, high = math.log(LEARNING_RATE.low), math.log(LEARNING_RATE.high)
    places = [(math.log(s["rate"]) - low) / (high - low) for s in grid(arm_of("none"), 17)[1:]]
    assert all(sum(q / 4 <= p < (q + 1) / 4 for p in places) >= 3 for q in range(4))


def _optuna(name: str, budget: int, seed: int = 0) -> list[dict[str, float]]:
    seen: list[dict[str, float]] = []

    def trial(setting: dict[str, float]) -> float | None:
        seen.append(setting)
        return None if len(seen) == 2 else -abs(math.log(setting["cap"] / 4))

    tune(arm_of(name), budget, "optuna", seed, trial)
    return seen


def test_optuna_tries_as_many_the_defaults_first_and_repeats() -> None:
    pytest.importorskip("optuna")
    found = _optuna("cap+l2", 6)
    assert len(found) == 6
    assert found[0] == defaults(arm_of("cap+l2"))
    assert found == _optuna("cap+l2", 6)
    assert found != _optuna("cap+l2", 6, seed=1)
    assert all(s.low <= x[s.name] <= s.high for x in found for s in arm_of("cap+l2").strengths)


def test_optuna_is_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(MissingExtra, match=r"opnorm\[optuna\]"):
        _optuna("cap", 2)


@pytest.mark.parametrize(("budget", "tuner", "words"), [(0, "grid", "budget=0"), (2, "bayes", "grid or optuna")])
def test_what_cannot_be_meant_is_refused(budget: int, tuner: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        tune(arm_of("cap"), budget, tuner, 0, lambda _: 0.0)
