"""The control 'same norm': weight decay is searched for until layers are, in the geometric mean, as large as another
arm's at the same seed.

Data flow: the other arm is tuned as in its own cell (the same trainings, as everything is keyed by the seed) → the mean
of log σ₁ of its chosen model → trainings at decays by bisection of log decay, norms falling as decay grows, until the
mean lies within `TOLERANCE` → the nearest is kept. No validation score is looked at while searching.
Cost: at most `MOST` trainings beside those of the other arm; both numbers are in the record's notes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from opnorm.experiment.arms.arm import Strength
from opnorm.experiment.arms.l2 import DECAY
from opnorm.experiment.arms.technique import RATE
from opnorm.experiment.arms.weights import mean_log_norm
from opnorm.experiment.document import Tried
from opnorm.experiment.training.attempt import Attempt
from opnorm.experiment.training.settings import Setting

TOLERANCE = 0.05
MOST = 9


@dataclass(frozen=True, slots=True)
class Matched:
    """tried: in the order of the search. chosen: the nearest, None where every training failed. note: how near."""

    tried: tuple[Tried, ...]
    chosen: Attempt | None
    note: str


@dataclass(slots=True)
class _Search:
    once: Callable[[Setting], Attempt]
    goal: float
    rate: float
    tried: list[Tried] = field(default_factory=list)
    nearest: Attempt | None = None
    gap: float = math.inf

    def gap_at(self, decay: float) -> float:
        """The mean log norm above the goal; a training that fails was held too strongly."""
        found = self.once({RATE: self.rate, DECAY: float(f"{decay:.3g}")})
        self.tried.append(found.tried)
        if found.model is None:
            return -math.inf
        gap = mean_log_norm(found.model) - self.goal
        if abs(gap) < abs(self.gap):
            self.nearest, self.gap = found, gap
        return gap

    def run(self, decay: Strength) -> None:
        """Without decay first: where the layers are small enough already, none is needed."""
        if (without := self.gap_at(0.0)) < 0 or _near(without):
            return
        low, middle, high = (math.log(value) for value in (decay.low, decay.default, decay.high))
        for _ in range(MOST - 1):
            gap = self.gap_at(math.exp(middle))
            if _near(gap):
                return
            low, high = (middle, high) if gap > 0 else (low, middle)
            middle = (low + high) / 2


def match(once: Callable[[Setting], Attempt], goal: float, rate: float, decay: Strength) -> Matched:
    """Search `decay` between its ends, for a mean log σ₁ of `goal`. once: trains at a setting."""
    search = _Search(once, goal, rate)
    search.run(decay)
    if search.nearest is None:
        return Matched(tuple(search.tried), None, f"all {len(search.tried)} trainings of the search failed")
    at = search.nearest.tried.setting[DECAY]
    return Matched(tuple(search.tried), search.nearest, _words(search.gap, at, len(search.tried)))


def _near(gap: float) -> bool:
    return abs(math.expm1(gap)) <= TOLERANCE


def _words(gap: float, decay: float, count: int) -> str:
    away = f"{abs(math.expm1(gap)):.1%} {'above' if gap > 0 else 'below'} those of the arm to match"
    held = "matched" if _near(gap) else "NOT matched"
    trainings = "1 training" if count == 1 else f"{count} trainings"
    return f"norms {held}: at decay {decay:g} they are, in the geometric mean, {away}; found in {trainings}"
