"""A band with a floor in training: the top follows closely, the bottom is repaired now and then.

Half of the singular values of a default start may lie below a floor of 0.5, too many for few vectors: between repairs
only the ceiling is held (`krylov`), and the floor sags. A repair is the exact projection, one SVD; `period` spaces them
so that they cost about as much as the moves between. The floor is promised by the last projection alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from opnorm.constraint.kernels.exact import ExactClip
from opnorm.constraint.kernels.krylov import KrylovClip


def period_for(shape: tuple[int, int]) -> int:
    """Moves from one SVD to the next: 16 for a short side of 256, 64 for 1024, at most 256."""
    return max(1, min(min(shape) // 16, 256))


class BandClip:
    """Holds lo ≤ σ_i ≤ hi of one matrix: σ₁ at each move, all of them at every `period`-th."""

    def __init__(self, shape: tuple[int, int], *, period: int | None = None, seed: int = 0) -> None:
        self.period = period_for(shape) if period is None else period
        self.top, self.all = KrylovClip(shape, seed=seed, restful=False), ExactClip(restful=False)
        self.count = 0
        self._last: KrylovClip | ExactClip = self.top

    def hold(self, weight: Tensor, lo: float, hi: float) -> Tensor:
        """See `Kernel.hold`."""
        repairs = lo > 0 and self.count % self.period == self.period - 1
        self._last = self.all if repairs else self.top
        self.top.relax = 1.0 if lo <= 0.75 * hi else 0.0
        result = self._last.hold(weight, lo, hi)
        self.count += 1
        return result

    def look(self, weight: Tensor) -> Tensor:
        """See `Kernel.look`."""
        return self.top.look(weight)

    def normal(self) -> tuple[Tensor, Tensor] | None:
        """See `Kernel.normal`."""
        return self._last.normal()

    def state_dict(self) -> dict[str, Any]:
        """See `Kernel.state_dict`."""
        return {
            "count": self.count, "exact": self._last is self.all, "top": self.top.state_dict(),
            "all": self.all.state_dict(),
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Kernel.load_state_dict`."""
        self.count = int(state["count"])
        self._last = self.all if state["exact"] else self.top
        self.top.load_state_dict(state["top"])
        self.all.load_state_dict(state["all"])
