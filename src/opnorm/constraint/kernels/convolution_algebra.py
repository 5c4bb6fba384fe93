"""Small dense algebra of the descent on convolutions, batched over groups and without waiting for the device.

A block of r tensors (r, channels, *size) is seen as r vectors of each group: (groups, r, entries of a group).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

LOST = 1e-3
"""Of a unit vector: shorter remainders are dropped. A Ritz value loses a millionth by it."""

TINY = 1e-5
"""Of the largest squared length: shorter directions of a block in float32 are rounding, and set to zero."""


def grouped(block: torch.Tensor, groups: int) -> torch.Tensor:
    """(r, channels, *size) → (groups, r, n)."""
    return block.reshape(len(block), groups, -1).transpose(0, 1)


def ungrouped(vectors: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """(groups, r, n) → (r, *shape)."""
    return vectors.transpose(0, 1).reshape(vectors.shape[1], *shape)


def orthonormal(rows: torch.Tensor) -> torch.Tensor:
    """Rows of the same span with Gram matrix I, as far as it has directions; the remaining rows are zero."""
    unit = _unit(rows)
    squares, turn = eigh(unit @ unit.mH)
    kept = squares > TINY * squares[:, -1:]
    scale = torch.where(kept, squares.clamp(min=TINY * TINY).rsqrt(), 0)
    return (turn * scale.unsqueeze(1)).mH @ unit


def outside(rows: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
    """Orthonormal rows, or zeros, of what `rows` add to the span of an orthonormal `basis`.

    Twice, as what is left of a row after one projection has lost digits; what is left of it below `LOST` is noise.
    """
    for _ in range(2):
        rows = _unit(rows)
        rows = rows - (rows @ basis.mH) @ basis
        left = torch.linalg.vector_norm(rows, dim=2, keepdim=True)
        rows = orthonormal(torch.where(left > LOST, rows, 0))
    return rows


def _unit(rows: torch.Tensor) -> torch.Tensor:
    lengths = torch.linalg.vector_norm(rows, dim=2, keepdim=True)
    return rows / torch.where(lengths > 0, lengths, 1)


def ritz(basis: torch.Tensor, images: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The `count` largest Ritz values a group, descending, their vectors and those of the other side, unit or zero.

    basis: orthonormal rows (groups, k, n); images: what the operator makes of them (groups, k, m).
    """
    squares, turn = eigh(images @ images.mH)
    values = squares.clamp(min=0).sqrt().flip(1)[:, :count]
    rotation = turn.flip(2)[:, :, :count].mH
    other = rotation @ images
    scale = torch.where(values > 0, values, 1)
    return values, rotation @ basis, other / scale.unsqueeze(2)


def eigh(gram: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Eigenvalues ascending and vectors; those of the zero matrix where entries are not finite."""
    if gram.shape[-1] == 1:  # depthwise: thousands of them
        return gram.real.squeeze(2), torch.ones_like(gram)
    found: tuple[torch.Tensor, torch.Tensor] = torch.linalg.eigh(torch.where(torch.isfinite(gram), gram, 0))
    return found


def scaled(values: torch.Tensor, exponent: torch.Tensor) -> torch.Tensor:
    """2^exponent·values; in two steps, since 2^exponent alone may leave the range of the dtype."""
    half = torch.div(exponent, 2, rounding_mode="floor")
    return values * torch.exp2(half.to(values.dtype)) * torch.exp2((exponent - half).to(values.dtype))


@dataclass(frozen=True, slots=True)
class Face:
    """Top triplets (s, u, v) of every group, and their normals G_i: kernels with ⟨G_i, E⟩ = Re u*A(E)v for every E.

    values: s (groups, r). next: the value that follows (groups), 0 where none is known. combine: weights (groups, r) →
    Σα_iG_i. first: G of the largest value of each group. Both have the kernel's shape.
    """

    values: torch.Tensor
    next: torch.Tensor
    combine: Callable[[torch.Tensor], torch.Tensor]
    first: Callable[[], torch.Tensor]
