"""How many calls a kernel may rest: until its norm, growing ever twice as fast, would be above its ceiling by a little.

A ceiling that is not reached, or under a slow optimizer, then costs next to nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SLACK = 0.004
"""Of the ceiling, what the norm may rise above it while resting."""

LONGEST = 10
"""Calls rested at most: a weight changed from outside is seen again after so many."""

FORGETTING = 0.7
"""Of the fastest growth seen, what is still expected a move later."""


@dataclass(slots=True)
class Pace:
    """left: calls still to rest. calls: since the last move. level: largest singular value after it. growth: expected a
    call. ceiling: of the last move.
    """  # fmt: skip

    left: int = 0
    calls: int = 0
    level: float = 0.0
    growth: float = -1.0
    ceiling: float = 0.0

    def rests(self, ceiling: float) -> bool:
        """Whether this call may pass; a ceiling that has come down is looked at again."""
        self.calls += 1
        if self.left <= 0 or ceiling < self.ceiling:
            return False
        self.left -= 1
        return True

    def moved(self, before: float, after: float, ceiling: float) -> None:
        """What a move saw, and left."""
        known = self.growth >= 0 or self.calls > 1
        growth = max(before - self.level, 0.0) / max(self.calls, 1)
        self.growth = max(growth, FORGETTING * self.growth) if self.ceiling > 0 else -1.0
        room = ceiling * (1 + SLACK) - after
        self.left = 0
        if known and self.growth >= 0 and room > 0:
            doublings = math.log2(room / self.growth + 1) if self.growth > 0 else math.inf
            self.left = int(min(doublings - 1, LONGEST))
        self.left = max(self.left, 0)
        self.calls, self.level, self.ceiling = 0, after, ceiling

    def restart(self) -> None:
        """Rest no more: something else has changed the weight."""
        self.left = 0

    def state_dict(self) -> dict[str, Any]:
        """Numbers from which a run resumes."""
        return {name: getattr(self, name) for name in self.__slots__}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        for name in self.__slots__:
            setattr(self, name, state[name])
