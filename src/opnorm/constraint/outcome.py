"""What a kernel reports of one move: five numbers in one tensor, left on the weight's device.

Nothing here waits for a device. `top` and `after` are Ritz values, which approach σ₁ from below: estimates that steer,
never bounds. Whoever wants to see them reads many at once (`opnorm.constraint.diagnosis.history`).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

FIELDS = ("top", "after", "removed", "active", "skipped")
"""top: largest singular value seen before the move; after: the same after it; removed: Frobenius norm of the change;
active: how many singular values were moved; skipped: 1 where entries were not finite, or the move would have made one
so, and nothing was changed."""


def outcome(
    top: torch.Tensor, after: torch.Tensor, removed: torch.Tensor, active: torch.Tensor, skipped: torch.Tensor
) -> torch.Tensor:
    """The five as one float32 tensor of shape (5,), free of NaN and infinities (those read 0)."""
    values = torch.stack([v.detach().reshape(()).to(torch.float32) for v in (top, after, removed, active, skipped)])
    return torch.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)


def read(values: torch.Tensor) -> Mapping[str, float]:
    """The numbers by name; waits for the device."""
    return dict(zip(FIELDS, values.tolist(), strict=True))
