"""Which kernel holds a matrix, by technique and size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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


class Watch:
    """Looks only, with a narrow block where the matrix is large. `hold` moves nothing."""

    def __init__(self, shape: tuple[int, int], *, seed: int = 0) -> None:
        small = min(shape) <= SMALL
        self._inner: Kernel = ExactClip() if small else KrylovClip(shape, WATCHED, seed=seed)

    def hold(self, weight: Tensor, lo: float, hi: float) -> Tensor:  # noqa: ARG002
        """See `Kernel.look`."""
        return self._inner.look(weight)

    def look(self, weight: Tensor) -> Tensor:
        """See `Kernel.look`."""
        return self._inner.look(weight)

    def normal(self) -> tuple[Tensor, Tensor] | None:
        """None: nothing is known of a ceiling."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """See `Kernel.state_dict`."""
        return self._inner.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Kernel.load_state_dict`."""
        self._inner.load_state_dict(state)


def choose(shape: tuple[int, ...], technique: str, seed: int = 0) -> Kernel:
    """The kernel of a matrix under `cap`, `band`, `orthogonal`, `penalty` or `watch`."""
    if len(shape) != 2:
        raise UsageError(f"a dense kernel holds a matrix, not shape {tuple(shape)}: give (rows, columns)")
    sides = shape[0], shape[1]
    if technique == "orthogonal":
        return Orthogonal(seed=seed)
    if technique in ("watch", "penalty"):
        return Watch(sides, seed=seed)
    if min(sides) <= SMALL:
        return ExactClip()
    return BandClip(sides, seed=seed) if technique == "band" else KrylovClip(sides, seed=seed)
