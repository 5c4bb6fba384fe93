"""How long a trial takes, and how many seeds fit a time: planned once, after the first seed, and then kept.

The plan looks at the clock alone, never at a score: a trial that stopped when it liked what it saw would prove nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from statistics import fmean

from opnorm.errors import UsageError
from opnorm.experiment.document import Cell, Design
from opnorm.experiment.run.cells import FULL, Chain
from opnorm.experiment.subject import Subject

MOST = 50
"""Seeds planned at most."""

SHARE = 0.9
"""Of the minutes: what is planned to be used, as no estimate is exact."""


REHEARSING = 15.0
"""Seconds after which no further training is rehearsed."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """minutes: asked for. least: seeds without which nothing can be decided. reserve: seconds for what comes after.

    started: by `time.monotonic`; now, if not given.
    """

    minutes: float
    least: int
    reserve: float = 0.0
    started: float = field(default_factory=lambda: time.monotonic())

    def seeds(self, a_seed: float, most: int) -> int:
        """How many fit, the first, done at this moment, among them. Raises `UsageError` where they decide nothing.

        a_seed: seconds, of all workers together.
        """
        left = SHARE * 60 * self.minutes - self.reserve - (time.monotonic() - self.started)
        fitting = 1 + max(0, math.floor(left / max(a_seed, 1e-9)))
        if left < 0 or fitting < self.least:
            raise UsageError(self.refusal(a_seed))
        return min(fitting, most)

    def require_open(self, a_seed: float) -> None:
        """Raise `UsageError` once the time is over before even the first seed is."""
        if time.monotonic() - self.started > 60 * self.minutes:
            raise UsageError(self.refusal(a_seed))

    def refusal(self, a_seed: float) -> str:
        """What to say where `least` seeds do not fit. a_seed: seconds, of all workers together."""
        needed = math.ceil((a_seed * self.least + self.reserve) / SHARE / 6) / 10
        return (
            f"--minutes {self.minutes:g} is too little: a seed takes about {a_seed:.1f} s here, and a verdict needs "
            f"{self.least} seeds or more; give --minutes {needed:g}, or fewer arms, conditions or settings (--budget)"
        )


def seconds_a_training(subject: Subject, design: Design) -> float:
    """The mean over arms of one training with all that is measured on it: a rehearsal, whose results are thrown away.

    It also shows, before anything is written, that data, model, loop and arms go together. Arms that there is no time
    for are left to the trial itself.
    """
    from opnorm.experiment.run.worker import finished, warm

    warm()
    short = replace(design, budget=1)
    took: list[float] = []
    for arm in (design.baseline, *design.arms):
        rehearsal = Chain(arm, design.seeds[0], (FULL,))
        took.append(sum(done.took for done in finished(subject, short, rehearsal)))
        if sum(took) > REHEARSING:
            break
    return fmean(took[1:] or took)  # the first one also imports what is imported late


def seconds_of_seed(work: Iterable[Chain], took: dict[Cell, float], workers: int) -> float:
    """Of all chains of one seed, from those cells that are done."""
    chains = tuple(work)
    done = [took[cell] for chain in chains for cell in chain.cells() if cell in took]
    whole = sum(len(chain.conditions) for chain in chains)
    return sum(done) * whole / max(1, len(done)) / min(workers, len(chains))


def in_words(seconds: float) -> str:
    """Such as '40 s', '3 min' or '2.5 h'."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
