"""When each site acts: every so many optimizer steps, the sites staggered so that no step carries them all;
a capped site also at each of its first eight.

A step count is deterministic. With a budget, the first steps are timed and one common factor is chosen so that moves
take at most that share of a step; then it stays, and is part of the gate's state, so that a resumed run acts alike. Two
runs under a budget may choose differently: give `every` where runs shall repeat bit by bit.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

EAGER = 8
"""First moves of a capped site, made at consecutive steps: optimizers take their longest steps then."""

SKIPPED, TIMED = EAGER, 12
"""Steps not timed (allocation, compilation, eager moves), and steps timed."""


@dataclass(slots=True)
class Clock:
    """Seconds of moves against seconds of whole steps.

    budget: the share of a step that moves may take, None for any. agree: makes one number of all processes' (the
    largest), where there are several. stretch: by which every interval is multiplied.
    """

    budget: float | None = None
    agree: Callable[[float], float] = float
    stretch: int = 1
    settled: bool = False
    moving: float = 0.0
    total: float = 0.0
    steps: int = 0
    _last: float | None = None
    _moves: list[float] = field(default_factory=list)
    _plain: list[float] = field(default_factory=list)

    @property
    def timing(self) -> bool:
        """Whether steps are being timed to choose an interval: devices are then waited for."""
        return self.budget is not None and not self.settled

    def lap(self, began: float, ended: float) -> None:
        """One optimizer step's moves, from `began` to `ended`."""
        moves = ended - began
        if self._last is not None:
            self.steps += 1
            self.moving += moves
            self.total += ended - self._last
            if self.timing:
                self._sample(moves, began - self._last)
        self._last = ended

    def now(self) -> float:
        """Seconds, for `lap`."""
        return time.perf_counter()

    def pause(self) -> None:
        """What lies between this and the next step is no step's: evaluation, saving."""
        self._last = None

    @property
    def share(self) -> float:
        """Of all time in steps, that spent on moves."""
        return self.moving / self.total if self.total else 0.0

    def _sample(self, moves: float, plain: float) -> None:
        self._moves.append(moves)
        self._plain.append(plain)
        if len(self._moves) < SKIPPED + TIMED:
            return
        assert self.budget is not None
        cost, step = statistics.fmean(self._moves[SKIPPED:]), statistics.median(self._plain[SKIPPED:])
        self.stretch = max(1, math.ceil(self.agree(cost / (self.budget * step)) - 0.05))
        self.settled = True

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {"stretch": self.stretch, "settled": self.settled}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        self.stretch, self.settled = int(state["stretch"]), bool(state["settled"])


def due(step: int, every: int, number: int, moves: int, *, capped: bool) -> bool:
    """Whether site `number`, which acted `moves` times before, acts at a step."""
    return (step + number) % every == 0 or moves < (EAGER if capped else 1)
