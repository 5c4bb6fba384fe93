"""Products of a matrix with a few vectors, and small dense algebra on them.

Vectors lie as rows (k, n): `rows @ W` and `rows @ Wᵀ` are several times faster than columns on CPUs. Large float32
weights are multiplied in bfloat16 where the processor has instructions for it: what is steered by moves by about 1e-3
of σ₁, and a pass takes less than half of the time, the rounding of the weight included.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

FAST_FROM = 1 << 18
"""Entries from which rounding a weight to bfloat16 pays."""

KEPT = 0.99
"""Of its length, what a new direction must keep when projected a second time; else nothing new was in it."""


@cache
def has_fast_products() -> bool:
    """Whether this processor multiplies bfloat16 in hardware; False where torch cannot tell."""
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def working(dtype: torch.dtype) -> torch.dtype:
    """What is computed in: float32 at least."""
    return torch.promote_types(dtype, torch.float32)


class Passes:
    """2^−exponent·W, to be multiplied with rows from either side. right: rows are right vectors, and Wᵀ is applied."""

    def __init__(self, weight: Tensor, exponent: int, right: bool, *, fast: bool) -> None:
        self.dtype = working(weight.dtype)
        narrow = fast and weight.device.type == "cpu" and weight.numel() >= FAST_FROM and has_fast_products()
        kind = torch.bfloat16 if narrow and self.dtype == torch.float32 else self.dtype
        matrix = weight.to(kind)
        self.kind, self.factor = kind, math.ldexp(1.0, -exponent)
        self.there, self.back = (matrix.mT, matrix) if right else (matrix, matrix.mT)

    def forth(self, rows: Tensor) -> Tensor:
        """Images of the rows."""
        return self._times(rows, self.there)

    def home(self, rows: Tensor) -> Tensor:
        """Images of rows of the other side."""
        return self._times(rows, self.back)

    def _times(self, rows: Tensor, matrix: Tensor) -> Tensor:
        product = (rows.to(self.kind) @ matrix).to(self.dtype)
        return product if self.factor == 1.0 else product.mul_(self.factor)


def orthonormal(rows: Tensor) -> Tensor:
    """Orthonormal rows that span the same, by Householder; for dependent rows they span more."""
    return torch.linalg.qr(rows.mT)[0].mT.contiguous()


def new_directions(rows: Tensor, known: Tensor) -> Tensor:
    """What is in `rows` beyond the orthonormal rows `known`: orthonormal rows, zeros where there was nothing."""
    found = orthonormal(rows - (rows @ known.mT) @ known)
    found = found - (found @ known.mT) @ known
    length = torch.linalg.vector_norm(found, dim=1, keepdim=True)
    return torch.where(length > KEPT, found / length, 0.0)


def polished(rows: Tensor) -> Tensor:
    """Nearly orthonormal rows, with their defect squared: one step of Newton and Schulz."""
    return torch.addmm(rows, rows @ rows.mT, rows, beta=1.5, alpha=-0.5)


def random_rows(count: int, size: int, seed: int, like: Tensor) -> Tensor:
    """Rows of length about 1 from a generator of their own."""
    generator = torch.Generator().manual_seed(seed % (1 << 63))
    return torch.randn(count, size, generator=generator).div_(math.sqrt(size)).to(like.device, working(like.dtype))


def largest_exponent(weight: Tensor) -> int | None:
    """e with max|w_ij| in [2^(e−1), 2^e), 0 for a zero weight; None if an entry is not finite. Waits for the device."""
    largest = float(weight.abs().amax())
    return math.frexp(largest)[1] if math.isfinite(largest) else None
