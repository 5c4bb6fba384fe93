"""Which kernel holds a matrix, by technique and size."""

from __future__ import annotations

from torch import Tensor

from opnorm.constraint.kernels import Kernel
from opnorm.constraint.kernels.band import BandClip
from opnorm.constraint.kernels.exact import ExactClip
from opnorm.constraint.kernels.krylov import KrylovClip
from opnorm.constraint.kernels.orthogonal import Orthogonal
from opnorm.errors import UsageError

SMALL = 48
"""Short sides up to which all singular values are cheaper than some."""

WATCHED = 4
"""Vectors of a kernel that only looks."""


class Watch(KrylovClip):
    """Looks only: a narrow block. `hold` moves nothing."""

    def __init__(self, shape: tuple[int, int], *, seed: int = 0) -> None:
        super().__init__(shape, min(WATCHED, max(min(shape) // 4, 1)), seed=seed)

    def hold(self, weight: Tensor, lo: float, hi: float) -> Tensor:  # noqa: ARG002
        """See `Kernel.look`."""
        return self.look(weight)


def choose(shape: tuple[int, ...], technique: str, seed: int = 0) -> Kernel:
    """The kernel of a matrix under `cap`, `band`, `orthogonal`, `penalty` or `watch`."""
    if len(shape) != 2:
        raise UsageError(f"a dense kernel holds a matrix, not shape {tuple(shape)}: give (rows, columns)")
    sides = shape[0], shape[1]
    if technique == "orthogonal":
        return Orthogonal(seed=seed)
    if min(sides) <= SMALL:
        return ExactClip()
    if technique == "band":
        return BandClip(sides, seed=seed)
    return KrylovClip(sides, seed=seed) if technique == "cap" else Watch(sides, seed=seed)
