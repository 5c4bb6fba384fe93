"""What is tried: the same number of settings in every arm, the learning rate's factor among the strengths.

The first setting is the defaults. 'grid': the others are points of one fixed Halton sequence on logarithmic scales, so
that the n-th learning rate is the same in every arm. 'optuna': the others are proposed by a seeded TPE sampler, by what
validation scores came before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from scipy.stats import qmc

from opnorm.errors import MissingExtra, UsageError
from opnorm.experiment.arms.arm import Arm, Strength
from opnorm.experiment.arms.technique import RATE

Setting: TypeAlias = dict[str, float]
Trial: TypeAlias = Callable[[Setting], float | None]
"""Trains at a setting, and says its validation score, None where it failed."""

LEARNING_RATE = Strength(RATE, 0.1, 1.0, 3.0)
TUNERS = ("grid", "optuna")
_DIGITS = 3
_SCRAMBLE = 0
"""Of the sequence; its points for fewer strengths are the first coordinates of those for more."""


def tune(arm: Arm, budget: int, tuner: str, seed: int, trial: Trial) -> None:
    """Call `trial` with `budget` settings of an arm. seed: of a tuner that draws."""
    if tuner not in TUNERS:
        raise UsageError(f"tuner={tuner!r} is not known; choose {' or '.join(TUNERS)}")
    if budget < 1:
        raise UsageError(f"budget={budget!r} is not possible; give a whole number of settings, at least 1")
    if tuner == "optuna":
        _optuna(arm, budget, seed, trial)
        return
    for setting in grid(arm, budget):
        trial(setting)


def defaults(arm: Arm) -> Setting:
    """What is tried first."""
    return {s.name: s.default for s in _tuned(arm)}


def grid(arm: Arm, budget: int) -> list[Setting]:
    """The fixed list."""
    tuned = _tuned(arm)
    points = qmc.Halton(len(tuned), scramble=True, seed=_SCRAMBLE).random(budget)[: budget - 1]
    others = [{s.name: _at(s, float(share)) for s, share in zip(tuned, point, strict=True)} for point in points]
    return [defaults(arm), *others]


def _tuned(arm: Arm) -> tuple[Strength, ...]:
    return (LEARNING_RATE, *arm.strengths)


def _at(strength: Strength, share: float) -> float:
    """On a logarithmic scale, with few digits, so that a report can print what was used."""
    value = strength.low * (strength.high / strength.low) ** share
    return float(f"{value:.{_DIGITS}g}")


def _optuna(arm: Arm, budget: int, seed: int, trial: Trial) -> None:
    try:
        import optuna
    except ImportError as error:
        raise MissingExtra("optuna", "tuner 'optuna'") from error
    spaces: dict[str, optuna.distributions.BaseDistribution] = {
        s.name: optuna.distributions.FloatDistribution(s.low, s.high, log=True) for s in _tuned(arm)
    }
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=max(2, budget // 2))
        study = optuna.create_study(direction="maximize", sampler=sampler)
        study.enqueue_trial(defaults(arm))
        for _ in range(budget):
            asked = study.ask(spaces)
            score = trial(dict(asked.params))
            study.tell(asked, score, state=None if score is not None else optuna.trial.TrialState.FAIL)
    finally:
        optuna.logging.set_verbosity(level)
