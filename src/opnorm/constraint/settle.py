"""The first move: a weight that may lie far outside its band is brought into it at once.

Kernels follow a weight that moves a little each step; from far away they would need many.
Cost: a matrix one exact projection (`constraint.projection`), a convolution some descents.
"""

from __future__ import annotations

import torch

from opnorm.constraint.kernels import Kernel
from opnorm.constraint.outcome import read
from opnorm.constraint.projection import project

DESCENTS = 30
"""Of a convolution, at most."""

NEAR = 1.005
"""Times the ceiling, where a descent may stop."""


def settle(kind: str, weight: torch.Tensor, kernel: Kernel, lo: float, hi: float) -> None:
    """Bring a finite weight into its band, in place; one that is not finite is left. Waits for the device."""
    if not bool(torch.isfinite(weight).all()):
        return
    if kind == "dense":
        weight.copy_(project(weight, lo, hi))
        return
    for _ in range(DESCENTS):
        if read(kernel.hold(weight, lo, hi))["top"] <= hi * NEAR:
            return
