"""Clipping every singular value of a small matrix into its band, by decomposition.

Under a cap alone: WWᵀ = UΛUᵀ on the short side in float64, W −= U diag(1 − t/σ)₊ UᵀW, as `krylov` with all directions
known. With a floor: the SVD. Cost: m²n + 9m³ multiplications for m ≤ n, or an SVD; the device is waited for once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from opnorm.constraint.kernels.clipping import clipped_by_svd, target, told
from opnorm.constraint.kernels.pace import Pace
from opnorm.constraint.kernels.thin import largest_exponent, working


class ExactClip:
    """Holds lo ≤ σ_i ≤ hi of one small matrix. relax, restful: as of `KrylovClip`; both only where lo = 0."""

    def __init__(self, *, relax: float = 1.0, restful: bool = True) -> None:
        self.relax, self.restful, self.pace = relax, restful, Pace()
        self._pair: tuple[Tensor, Tensor] | None = None

    @torch.no_grad()
    def hold(self, weight: Tensor, lo: float, hi: float) -> Tensor:
        """See `Kernel.hold`."""
        if lo == 0 and self.restful and self.pace.rests(hi):
            return told(weight, self.pace.level, self.pace.level, 0.0, 0)
        exponent = largest_exponent(weight)
        if exponent is None:
            self.pace.restart()
            return told(weight, 0.0, 0.0, 0.0, 0, skipped=True)
        return self._banded(weight, lo, hi) if lo > 0 else self._capped(weight, hi, exponent)

    @torch.no_grad()
    def look(self, weight: Tensor) -> Tensor:
        """See `Kernel.look`."""
        exponent = largest_exponent(weight)
        if exponent is None:
            return told(weight, 0.0, 0.0, 0.0, 0, skipped=True)
        values = _gram_values(_wide(weight, exponent))
        return told(weight, top := math.ldexp(values[-1], exponent), top, 0.0, 0)

    def normal(self) -> tuple[Tensor, Tensor] | None:
        """See `Kernel.normal`."""
        return self._pair

    def _capped(self, weight: Tensor, hi: float, exponent: int) -> Tensor:
        wide = _wide(weight, exponent)
        squares, vectors = torch.linalg.eigh(wide @ wide.mT)
        values = [math.ldexp(math.sqrt(max(e, 0.0)), exponent) for e in squares.tolist()]
        hot = sum(value > hi for value in values)
        still = values[: len(values) - hot]
        goals = [target(value, hi, self.relax) for value in values[len(still) :]]
        losses = [value - goal for value, goal in zip(values[len(still) :], goals, strict=True)]
        left = vectors[:, len(still) :]
        right = left.mT @ wide
        self._remember(weight, left, right, [math.ldexp(v, -exponent) for v in values[len(still) :]])
        if hot:
            shares = wide.new_tensor([loss / value for loss, value in zip(losses, values[len(still) :], strict=True)])
            change = torch.ldexp((left * shares) @ right, torch.tensor(exponent, device=wide.device))
            weight.copy_(weight - (change if weight.shape[0] <= weight.shape[1] else change.mT))
        after = max([*goals, *still])
        self.pace.moved(values[-1], after, hi)
        return told(weight, values[-1], after, math.sqrt(sum(loss * loss for loss in losses)), hot)

    def _banded(self, weight: Tensor, lo: float, hi: float) -> Tensor:
        result, self._pair = clipped_by_svd(weight, lo, hi)
        return result

    def _remember(self, weight: Tensor, left: Tensor, images: Tensor, values: list[float]) -> None:
        """Left and right directions above the ceiling, zeros in other columns."""
        short, kind = min(weight.shape), working(weight.dtype)
        here = torch.zeros(short, short, dtype=kind, device=weight.device)
        there = torch.zeros(max(weight.shape), short, dtype=kind, device=weight.device)
        if values:
            here[:, -len(values) :] = left.to(kind)
            there[:, -len(values) :] = (images / images.new_tensor(values)[:, None]).mT.to(kind)
        self._pair = (here, there) if weight.shape[0] <= weight.shape[1] else (there, here)

    def state_dict(self) -> dict[str, Any]:
        """See `Kernel.state_dict`."""
        pair = None if self._pair is None else [side.clone() for side in self._pair]
        return {"pace": self.pace.state_dict(), "pair": pair}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Kernel.load_state_dict`."""
        self.pace.load_state_dict(state["pace"])
        pair = state["pair"]
        self._pair = None if pair is None else (pair[0].clone(), pair[1].clone())


def _wide(weight: Tensor, exponent: int) -> Tensor:
    """2^−exponent·W in float64, its short side as rows."""
    wide = weight if weight.shape[0] <= weight.shape[1] else weight.mT
    return torch.ldexp(wide.to(torch.float64), torch.tensor(-exponent, device=weight.device))


def _gram_values(wide: Tensor) -> list[float]:
    """Singular values, ascending."""
    squares: list[float] = torch.linalg.eigvalsh(wide @ wide.mT).tolist()
    return [math.sqrt(max(square, 0.0)) for square in squares]
