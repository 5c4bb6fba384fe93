"""Outputs and inputs that do nothing, or the same as another.

Dead: a row or column of zeros, exactly. Duplicate: a row parallel to an earlier one (either sign, any factor) to
within the rounding of float32. Rows are compared by 16 random projections of their directions: two unit rows at
distance δ differ in each by a normal number of standard deviation δ, so equal ones agree to rounding, and one pair at
60 times the tolerance passes for equal with a probability below 10⁻²⁰. Candidates are neighbors in the order of the
first projection: no pair is looked at that is not close.

Guarantee: dead units exactly; duplicates an estimate of the kind above. Cost: one pass over the entries with 16
columns, and a sort: m log m, not m².
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from opnorm.linalg.centering import centered
from opnorm.linalg.rounding import Float64
from opnorm.linalg.start import start_block
from opnorm.linalg.stored import StoredMatrix
from opnorm.spectrum.document import Units

LISTED = 32
"""Indices kept of each kind."""

PROJECTIONS = 16

TOLERANCE = 2.0**-21
"""Of the root mean square difference of projections: four times the ε of float32."""

_STREAM = b"units"


def units_of(matrix: StoredMatrix, seed: int = 0, key: bytes = b"") -> Units:
    """Of a matrix with a row for each output and a column for each input."""
    moved = centered(matrix)[0]
    assert isinstance(moved, StoredMatrix)
    rows, columns = moved.shape
    directions = start_block(columns, PROJECTIONS, seed, key + _STREAM)
    squares, images = np.zeros(rows), np.zeros((rows, PROJECTIONS))
    live_rows, live_columns = np.zeros(rows, dtype=bool), np.zeros(columns, dtype=bool)
    start = 0
    for block in moved.blocks64():
        stop = start + block.shape[1]
        squares += np.einsum("ij,ij->i", block, block)
        images += block @ directions[start:stop]
        live_rows |= block.any(axis=1)
        live_columns[start:stop] = block.any(axis=0)
        start = stop
    pairs = _parallel(images, squares)
    return Units(
        _listed(~live_rows),
        int(np.count_nonzero(~live_rows)),
        _listed(~live_columns),
        int(np.count_nonzero(~live_columns)),
        tuple(pairs[:LISTED]),
        len(pairs),
    )


def _listed(flags: NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.flatnonzero(flags)[:LISTED])


def _parallel(images: Float64, squares: Float64) -> list[tuple[int, int]]:
    """(earlier, later) for each row whose direction an earlier one has, by the earlier and then the later."""
    live = np.flatnonzero(squares > 0)
    if len(live) < 2:
        return []
    directions = images[live] / np.sqrt(squares[live])[:, None]
    directions *= np.where(directions[:, :1] < 0, -1.0, 1.0)
    order = np.argsort(directions[:, 0], kind="stable")
    directions, live = directions[order], live[order]
    # No difference of a pair that passes is larger than that of all projections together.
    near = np.diff(directions[:, 0]) <= TOLERANCE * PROJECTIONS**0.5
    edges = np.flatnonzero(np.diff(np.concatenate([[False], near, [False]]).astype(np.int8)))
    pairs: list[tuple[int, int]] = []
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        pairs += _within(directions[first : last + 1], live[first : last + 1])
    return sorted(pairs)


def _within(directions: Float64, indices: NDArray[np.int64]) -> list[tuple[int, int]]:
    """The pairs of a run, each row against the first of its kind."""
    order = np.argsort(indices, kind="stable")
    directions, indices = directions[order], indices[order]
    left = np.arange(len(indices))
    pairs: list[tuple[int, int]] = []
    while len(left) > 1:
        first, others = left[0], left[1:]
        apart = np.square(directions[others] - directions[first]).mean(axis=1)
        same = apart <= TOLERANCE**2
        pairs += zip(itertools.repeat(int(indices[first])), indices[others[same]].tolist(), strict=False)
        left = others[~same]
    return pairs
