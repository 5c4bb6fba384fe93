"""How many calls a kernel of a convolution may rest: until its top, growing as it did, would be at the peak allowed.

Work then goes where norms grow: the layers of one network differ tenfold. The decision reads three numbers of the last
move, which waits for the device, once a move as the kernels of matrices do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

EARLY = 40
"""Moves before the first rest: the 30 at most that settle a weight, and those of a run's first steps, when it grows
fastest and what was seen while it settled says nothing of it."""

LONGEST = 4
"""Calls rested at most: a weight changed from outside, or carried off by a spike of the loss, is seen after so many."""


@dataclass(slots=True)
class Rest:
    """moves: made so far. calls: since the last move. left: calls still to rest, -1 where that is to be decided.
    ceiling: of the last move.
    """  # fmt: skip

    moves: int = 0
    calls: int = 0
    left: int = 0
    ceiling: float = 0.0

    def passes(self, ceiling: float, peak: float, known: Any) -> bool:
        """Whether this call may pass. known: (…, top after the last move, its growth a call), in caps, on a device."""
        self.calls += 1
        if self.moves < EARLY or known is None or ceiling < self.ceiling:
            return False
        if self.left < 0:
            _, after, rate = known.tolist()
            self.left = calls_to(peak - after, rate)
        if self.left == 0:
            return False
        self.left -= 1
        return True

    def moved(self, ceiling: float) -> None:
        """A move has been made."""
        self.moves, self.calls, self.left, self.ceiling = min(self.moves + 1, EARLY), 0, -1, ceiling

    def state_dict(self) -> dict[str, Any]:
        """Numbers from which a run resumes."""
        return {name: getattr(self, name) for name in self.__slots__}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        for name in self.__slots__:
            setattr(self, name, state[name])


def calls_to(room: float, rate: float) -> int:
    """Calls to pass so that the next, which acts, is the last with a top that has used up no more than the room."""
    if room <= 0 or not math.isfinite(room + rate):
        return 0
    return LONGEST if rate * (LONGEST + 1) <= room else int(room / rate) - 1 if rate <= room else 0
