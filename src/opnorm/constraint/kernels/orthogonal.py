"""Orthogonal weights in training, up to a scale s: one cubic Newton–Schulz step each time.

With E = WWᵀ/s² − I on the short side: W −= ½EW, which takes σ/s to σ(3 − σ²)/2: the distance to 1 is squared. The
step converges for σ < √3·s and loses a direction at 0, so it is taken only where ‖E‖ is small: by its Frobenius norm,
or by a few power iterations on E with a margin for what they miss; anything else goes to its polar factor by SVD.
E is small, so that its product with W may be in bfloat16 where the processor has instructions for it.
Cost: 4m²n operations for m ≤ n (2m²n of them in bfloat16), or an SVD; the device is waited for once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from opnorm.constraint.kernels.clipping import told
from opnorm.constraint.kernels.exact import ExactClip
from opnorm.constraint.kernels.pace import Pace
from opnorm.constraint.kernels.thin import FAST_FROM, has_fast_products, random_rows, working

NEAR = 0.7
"""‖E‖ as estimated, up to which the step is taken: then σ/s is between about 0.5 and 1.3, far inside (0, √3)."""

PROBES, ITERATIONS = 8, 3


class Orthogonal:
    """Holds σ_i = hi for all i of one matrix. restful: whether calls are passed over while it stays near enough."""

    def __init__(self, *, seed: int = 0, fast: bool = True, restful: bool = True) -> None:
        self.seed, self.fast, self.restful, self.pace = seed, fast, restful, Pace()
        self.polar = ExactClip(restful=False)
        self._probes: Tensor | None = None

    @torch.no_grad()
    def hold(self, weight: Tensor, lo: float, hi: float) -> Tensor:
        """See `Kernel.hold`; `lo` is `hi`."""
        if self.restful and self.pace.rests(1.0):
            return told(weight, hi * self.pace.level, hi * self.pace.level, 0.0, 0)
        wide = weight if weight.shape[0] <= weight.shape[1] else weight.mT
        defect, size, change = self._defect(wide, hi)
        if not size <= NEAR:
            return self._far(weight, lo, hi)
        moved = self._product(defect, wide)
        wide.copy_(wide.to(moved.dtype).add_(moved, alpha=-0.5))
        self.pace.moved(1 + size / 2, 1 + 0.4 * size**2, 1.0)
        top, after = math.sqrt(1 + size), 1 + 0.4 * size**2
        return told(weight, hi * top, hi * after, hi * change, len(wide))

    def look(self, weight: Tensor) -> Tensor:
        """See `Kernel.look`; by decomposition."""
        return self.polar.look(weight)

    def normal(self) -> None:
        """None: every direction is at the ceiling and at the floor."""

    def _far(self, weight: Tensor, lo: float, hi: float) -> Tensor:
        self.pace.restart()
        return self.polar.hold(weight, lo, hi)

    def _defect(self, wide: Tensor, scale: float) -> tuple[Tensor, float, float]:
        """E, an estimate of its norm, and about how far the step moves relative to the scale."""
        rows = wide.to(working(wide.dtype)) / scale
        defect = rows @ rows.mT
        defect.diagonal().sub_(1.0)
        frobenius = float(torch.linalg.matrix_norm(defect))
        if not math.isfinite(frobenius) or frobenius <= 0.01:
            return defect, frobenius, frobenius / 2
        return defect, self._norm(defect), frobenius / 2

    def _norm(self, defect: Tensor) -> float:
        """‖E‖ from below, by power iterations on a warm block."""
        if self._probes is None:
            self._probes = random_rows(PROBES, len(defect), self.seed, defect)
        rows = self._probes
        for _ in range(ITERATIONS):
            rows = torch.linalg.qr(rows.mT)[0].mT @ defect
        size = float(torch.linalg.vector_norm(rows, dim=1).amax())
        if math.isfinite(size) and size > 0:
            self._probes = rows / size + 1e-2 * random_rows(len(rows), len(defect), self.seed + 1, defect)
        return size

    def _product(self, defect: Tensor, wide: Tensor) -> Tensor:
        narrow = self.fast and wide.device.type == "cpu" and wide.numel() >= FAST_FROM and has_fast_products()
        if narrow and defect.dtype == torch.float32:
            return (defect.to(torch.bfloat16) @ wide.to(torch.bfloat16)).to(torch.float32)
        return defect @ wide.to(defect.dtype)

    def state_dict(self) -> dict[str, Any]:
        """See `Kernel.state_dict`."""
        probes = None if self._probes is None else self._probes.clone()
        return {"pace": self.pace.state_dict(), "probes": probes}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Kernel.load_state_dict`."""
        self.pace.load_state_dict(state["pace"])
        self._probes = None if state["probes"] is None else state["probes"].clone()
