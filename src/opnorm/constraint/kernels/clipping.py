"""What the kernels of matrices share: where a singular value goes, the exact clip by SVD, and telling what was done."""

from __future__ import annotations

import torch
from torch import Tensor

from opnorm.constraint.kernels.thin import working
from opnorm.constraint.outcome import FIELDS


def target(value: float, ceiling: float, relax: float) -> float:
    """Where a singular value above the ceiling goes: as far below as it was above, up to a quarter; a value half above
    the ceiling or more has jumped and goes to the ceiling itself.
    """  # fmt: skip
    excess = value - ceiling
    return ceiling - relax * max(min(excess, 0.5 * ceiling - excess), 0.0)


def clipped_by_svd(weight: Tensor, lo: float, hi: float) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Clip all singular values of a finite weight into [lo, hi], in place; an `outcome`, and the directions at hi."""
    left, values, right = torch.linalg.svd(weight.to(working(weight.dtype)), full_matrices=False)
    goals = values.clamp(lo, hi)
    top, size = float(values[0]), float(torch.linalg.vector_norm(goals - values))
    active = int((goals != values).sum())
    if active:
        weight.copy_((left * goals) @ right)
    at_top = (values >= hi * (1 - 1e-3)).to(left.dtype)
    return told(weight, top, min(max(top, lo), hi), size, active), (left * at_top, right.mT * at_top)


def told(weight: Tensor, top: float, after: float, removed: float, active: int, *, skipped: bool = False) -> Tensor:
    """An `outcome` of numbers known on the host."""
    assert FIELDS == ("top", "after", "removed", "active", "skipped")
    largest = torch.finfo(torch.float32).max
    numbers = [min(value, largest) for value in (top, after, removed)]
    return torch.tensor([*numbers, float(active), float(skipped)], dtype=torch.float32, device=weight.device)
