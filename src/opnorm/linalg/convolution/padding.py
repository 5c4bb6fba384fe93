"""Circular, reflected and replicated padding: each axis gathers by an index map, the adjoint adds back.

The map of an axis is a 0/1 matrix P with a single 1 in each row, so PᵀP is diagonal and holds how often each entry
is taken: ‖P‖ is the square root of the largest count, and norms of axes multiply (Kronecker products). Exact:
gathering rounds nothing; adding back sums at most `multiplicity` terms.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from opnorm.linalg.convolution.geometry import Geometry, Mode
from opnorm.linalg.operator import Block

Indices = NDArray[np.intp]


def index_map(size: int, before: int, after: int, mode: Mode) -> Indices:
    """Which entry of an axis each padded position takes, for every mode but zeros."""
    positions: Indices = np.arange(-before, size + after)
    if mode == "circular":
        return positions % size
    if mode == "replicate":
        return np.minimum(np.maximum(positions, 0), size - 1)
    reflected: Indices = size - 1 - np.abs(size - 1 - np.abs(positions))
    return reflected


def multiplicity(geometry: Geometry) -> int:
    """How often the padding takes one entry at most: ‖P‖² exactly; 1 for zeros. Needs a size."""
    return math.prod(int(np.bincount(indices).max()) for indices in _maps(geometry))


def extend(block: Block, geometry: Geometry) -> Block:
    """P·X: (channels, *size, k) → (channels, *padded size, k)."""
    for axis, indices in enumerate(_maps(geometry), start=1):
        if len(indices) != block.shape[axis]:
            block = np.take(block, indices, axis=axis)
    return block


def fold(block: Block, geometry: Geometry) -> Block:
    """Pᵀ·Y: (channels, *padded size, k) → (channels, *size, k)."""
    for axis, indices in enumerate(_maps(geometry), start=1):
        if len(indices) != _sizes(geometry)[axis - 1]:
            block = _fold_axis(block, indices, geometry.padding[axis - 1], axis)
    return block


def _fold_axis(block: Block, indices: Indices, padding: tuple[int, int], axis: int) -> Block:
    before, after = padding
    stop = len(indices) - after
    along = np.moveaxis(block, axis, 0)
    core = along[before:stop].copy()
    for position in (*range(before), *range(stop, len(indices))):
        core[indices[position]] += along[position]
    return np.moveaxis(core, 0, axis)


def _maps(geometry: Geometry) -> list[Indices]:
    """The index map of each axis; zeros are no one's entries, and left to the products."""
    if geometry.mode == "zeros":
        return []
    pairs = zip(_sizes(geometry), geometry.padding, strict=True)
    return [index_map(n, before, after, geometry.mode) for n, (before, after) in pairs]


def _sizes(geometry: Geometry) -> tuple[int, ...]:
    assert geometry.size is not None
    return geometry.size
