"""Ceilings that move: a warmup from where each weight is to where it shall be, and levels by step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Literal, TypeAlias

from opnorm.errors import UsageError

Level: TypeAlias = float | Callable[[int], float]
"""A number, or one for each step (the count of optimizer steps, from 0)."""

Curve: TypeAlias = Literal["geometric", "linear", "cosine"]


def at(level: Level, step: int) -> float:
    """The level at a step; `UsageError` where a function of the step gives none."""
    if not callable(level):
        return float(level)
    given = level(step)
    one = isinstance(given, Real) or math.prod(getattr(given, "shape", (0,))) == 1
    value = float(given) if one else math.nan
    if not value >= 0:
        name = getattr(level, "__name__", "f(step)")
        raise UsageError(f"{name} gave {given!r} for step {step}: a level by step must be a number from 0")
    return value


def piecewise(levels: Mapping[int, float]) -> Callable[[int], float]:
    """Levels by step: {0: 8.0, 1000: 4.0} is 8 up to step 999 and 4 from then on.

    `UsageError` where step 0 has no level, or a step or level is negative.
    """
    fine = isinstance(levels, Mapping) and all(type(s) is int and s >= 0 for s in levels)
    if not fine or 0 not in levels or not all(isinstance(v, Real) and v >= 0 for v in levels.values()):
        raise UsageError(
            f"levels {str(levels)[:80]} are not possible: give a level for step 0, steps and levels from 0, such as "
            "{0: 8.0, 1000: 4.0}"
        )
    steps = sorted(levels)

    def level(step: int) -> float:
        return levels[max(s for s in steps if s <= step)]

    return level


@dataclass(frozen=True, slots=True)
class Warmup:
    """From where a weight is at first to its band, over `steps` steps.

    `start`: 'current', the norm that each weight has when the gate first acts, or a number for all. The ceiling goes
    from max(start, hi) down to hi along `curve`; the floor from 0 up to lo, linearly.
    """

    steps: int
    start: float | Literal["current"] = "current"
    curve: Curve = "geometric"

    def __call__(self, step: int, lo: float, hi: float, first: float) -> tuple[float, float]:
        """(lo, hi) at a step, for a weight whose norm was `first`."""
        done = min(1.0, step / self.steps) if self.steps else 1.0
        begin = first if self.start == "current" else float(self.start)
        if done >= 1 or not math.isfinite(hi):
            return (lo, hi) if done >= 1 else (lo * done, hi)
        return lo * done, _between(max(begin, hi), hi, done, self.curve)


def _between(start: float, end: float, done: float, curve: Curve) -> float:
    if curve == "geometric" and end > 0:
        return start * math.pow(end / start, done)
    weight = (1 - math.cos(math.pi * done)) / 2 if curve == "cosine" else done
    return start + (end - start) * weight


def anneal(steps: int, *, start: float | Literal["current"] = "current", curve: Curve = "geometric") -> Warmup:
    """A warmup for `opnorm.control`: bring each ceiling from `start` to its value over `steps` optimizer steps.

    start: 'current' (each weight's own norm at first) or a number. curve: 'geometric' (equal factors a step),
    'linear' or 'cosine'. `UsageError` for what is none of these.
    """
    if not isinstance(steps, int) or steps < 0:
        raise UsageError(f"steps={steps!r} is not possible: give a whole number of optimizer steps, at least 0")
    if curve not in ("geometric", "linear", "cosine"):
        raise UsageError(f"curve={curve!r} is not known; choose 'geometric', 'linear' or 'cosine'")
    if start != "current" and not (isinstance(start, int | float) and math.isfinite(start) and start > 0):
        raise UsageError(f"start={start!r} is not possible: give 'current' or a number above 0")
    return Warmup(steps, start, curve)
