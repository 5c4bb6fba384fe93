"""Products with a convolution and with its exact adjoint, as a few matrix products whose operands stay in cache.

With stride s and kernel offset o = d·t − p_before, tap t takes input s·i + o = s·(i + ⌊o/s⌋) + (o mod s) to output i:
a shift within one phase of the input. Forward and adjoint are then the same sum, over taps,

    target[p] += M_t · source[p + shift]

where positions outside the source are zeros. It is done in one of two ways, box of positions by box:
`gather` copies what all taps see side by side and makes one product, best where a target has as many channels;
`scatter` makes one product with all taps and adds the parts where they belong, best where it has fewer.
Either way each entry of the result is a sum, in some order, of at most (source channels in a group)·(taps) products.
Cost: the convolution's multiplications, at the speed of the BLAS; memory beside the result: a few MB.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from opnorm.linalg.convolution.geometry import Geometry
from opnorm.linalg.operator import Block

BOX_BYTES = 1 << 21
"""Of the operand that a box gathers or scatters, chosen by measurement: the size of a cache, and long products."""

SCATTER_RATIO = 2
"""From this many source channels a target channel scattering is faster, by measurement."""

Ranges = tuple[slice, ...]

_ALL = slice(None)


@dataclass(frozen=True, slots=True)
class Tap:
    """A kernel position: its index among the flattened taps, the phase of the input it sees, and the shift there."""

    index: int
    phase: tuple[int, ...]
    shift: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Term:
    """target[p] += M_tap · source[p + shift], on views (groups, channels, *positions, k)."""

    tap: int
    source: Block
    target: Block
    shift: tuple[int, ...]


def kernel_taps(geometry: Geometry) -> tuple[Tap, ...]:
    """All taps, in the order of the flattened kernel."""
    taps = []
    for index, position in enumerate(itertools.product(*map(range, geometry.kernel))):
        parts = zip(position, geometry.dilation, geometry.padding, geometry.stride, strict=True)
        steps = [divmod(t * d - before, s) for t, d, (before, _), s in parts]
        taps.append(Tap(index, tuple(r for _, r in steps), tuple(q for q, _ in steps)))
    return tuple(taps)


class Products(Protocol):
    """A zero-padded convolution and its adjoint on C-contiguous blocks (channels, *positions, k)."""

    def forward(self, block: Block) -> Block:
        """(c_in, *size, k) → (c_out, *output, k)."""

    def adjoint(self, block: Block) -> Block:
        """(c_out, *output, k) → (c_in, *size, k)."""


class Correlation:
    """A zero-padded convolution of known size with a kernel (c_out, c_in/groups, *k) in the precision of its products.

    Blocks are C-contiguous arrays (channels, *size, k) of the kernel's own dtype.
    """

    def __init__(self, kernel: NDArray[Any], geometry: Geometry) -> None:
        groups = geometry.groups
        self._geometry = geometry
        self._kernel = kernel.reshape(groups, kernel.shape[0] // groups, kernel.shape[1], geometry.taps)
        self._taps = kernel_taps(geometry)
        self._matrices: dict[tuple[bool, bool, tuple[int, ...]], NDArray[Any]] = {}

    def forward(self, block: Block) -> Block:
        """(c_in, *size, k) → (c_out, *output, k)."""
        source = self._grouped(block)
        target = np.zeros((*self._kernel.shape[:2], *self._geometry.output, block.shape[-1]), dtype=block.dtype)
        terms = [_Term(t.index, self._phase(source, t.phase), target, t.shift) for t in self._taps]
        self._run(terms, adjoint=False)
        return target.reshape(-1, *target.shape[2:])

    def adjoint(self, block: Block) -> Block:
        """(c_out, *output, k) → (c_in, *size, k)."""
        size = self._geometry.size
        assert size is not None
        source = self._grouped(block)
        channels = (self._kernel.shape[0], self._kernel.shape[2])
        target = np.zeros((*channels, *size, block.shape[-1]), dtype=block.dtype)
        terms = [
            _Term(t.index, source, self._phase(target, t.phase), tuple(-shift for shift in t.shift)) for t in self._taps
        ]
        self._run(terms, adjoint=True)
        return target.reshape(-1, *target.shape[2:])

    def _grouped(self, block: Block) -> Block:
        groups = self._geometry.groups
        return block.reshape(groups, block.shape[0] // groups, *block.shape[1:])

    def _phase(self, array: Block, phase: tuple[int, ...]) -> Block:
        steps = (slice(r, None, s) for r, s in zip(phase, self._geometry.stride, strict=True))
        return array[(_ALL, _ALL, *steps)]

    def _run(self, terms: list[_Term], *, adjoint: bool) -> None:
        """Terms that share a target are gathered together, or those that share a source scattered."""
        rows, columns = self._kernel.shape[1:3][:: -1 if adjoint else 1]
        gathers = columns < SCATTER_RATIO * rows
        shares_all = gathers != adjoint  # forward, all share the target; adjoint, all share the source
        phases = [(0,)] * len(terms) if shares_all else [t.phase for t in self._taps]
        for phase in sorted(set(phases)):
            together = [term for term, own in zip(terms, phases, strict=True) if own == phase]
            matrix = self._matrix(tuple(t.tap for t in together), adjoint=adjoint, gathers=gathers)
            (_gather if gathers else _scatter)(matrix, together)

    def _matrix(self, taps: tuple[int, ...], *, adjoint: bool, gathers: bool) -> NDArray[Any]:
        """M of the taps: side by side (groups, rows, taps·channels), or stacked (groups, taps·rows, channels)."""
        key = (adjoint, gathers, taps)
        if key not in self._matrices:
            part = self._kernel[..., list(taps)]
            part = part.swapaxes(1, 2) if adjoint else part
            groups, rows, columns, count = part.shape
            order, shape = (
                ((0, 1, 3, 2), (rows, count * columns)) if gathers else ((0, 3, 1, 2), (count * rows, columns))
            )
            self._matrices[key] = np.ascontiguousarray(part.transpose(order)).reshape(groups, *shape)
        return self._matrices[key]


def _gather(matrix: NDArray[Any], terms: list[_Term]) -> None:
    target = terms[0].target
    alone = len(terms) == 1 and terms[0].source.shape[2:] == target.shape[2:] and not any(terms[0].shift)
    if alone and target.flags.c_contiguous:
        np.matmul(matrix, _flat(terms[0].source, matrix), out=target.reshape(len(target), target.shape[1], -1))
        return
    for box in _boxes(target.shape, matrix.shape[2] * target.dtype.itemsize):
        groups, positions = box[0], box[1:]
        spread = [s.stop - s.start for s in positions]
        seen = np.empty(
            (groups.stop - groups.start, len(terms), matrix.shape[2] // len(terms), *spread, target.shape[-1]),
            dtype=target.dtype,
        )
        for number, term in enumerate(terms):
            inside, outside = _overlap(positions, term.shift, term.source.shape[2:-1])
            if any(s.stop - s.start < n for s, n in zip(inside, spread, strict=True)):
                seen[:, number] = 0
            seen[:, number][(_ALL, _ALL, *inside)] = term.source[(groups, _ALL, *outside)]
        image = target[(groups, _ALL, *positions)]
        image[...] = _product(matrix[groups], seen, image.shape)


def _scatter(matrix: NDArray[Any], terms: list[_Term]) -> None:
    source = terms[0].source
    for box in _boxes(source.shape, matrix.shape[1] * source.dtype.itemsize):
        groups, positions = box[0], box[1:]
        piece = source[(groups, _ALL, *positions)]
        shape = (len(piece), len(terms), matrix.shape[1] // len(terms), *piece.shape[2:])
        parts = _product(matrix[groups], piece, shape)
        for number, term in enumerate(terms):
            backward = tuple(-shift for shift in term.shift)
            inside, outside = _overlap(positions, backward, term.target.shape[2:-1])
            term.target[(groups, _ALL, *outside)] += parts[:, number][(_ALL, _ALL, *inside)]


def _product(matrix: NDArray[Any], block: Block, shape: tuple[int, ...]) -> Block:
    return np.asarray(np.matmul(matrix, _flat(block, matrix))).reshape(shape)


def _flat(block: Block, matrix: NDArray[Any]) -> Block:
    return block.reshape(len(block), matrix.shape[2], -1)


def _boxes(shape: tuple[int, ...], weight: int) -> Iterator[Ranges]:
    """Ranges of groups and positions of an array (groups, channels, *positions, k), `weight` bytes a column each."""
    axes = (shape[0], *shape[2:-1])
    room = max(1, BOX_BYTES // max(weight * shape[-1], 1))
    lengths: list[int] = []
    for size in reversed(axes):
        pieces = -(-size // room) or 1
        lengths.insert(0, max(1, -(-size // pieces)))
        room = max(1, room // lengths[0])
    starts = itertools.product(*(range(0, size, length) for size, length in zip(axes, lengths, strict=True)))
    for start in starts:
        yield tuple(slice(a, min(a + b, n)) for a, b, n in zip(start, lengths, axes, strict=True))


def _overlap(box: Ranges, shift: tuple[int, ...], sizes: tuple[int, ...]) -> tuple[Ranges, Ranges]:
    """The part of `box` that `shift` moves into an array of `sizes`: counted within the box, and where it lands."""
    inside, outside = [], []
    for s, by, size in zip(box, shift, sizes, strict=True):
        low = max(s.start, -by)
        high = max(low, min(s.stop, size - by))
        inside.append(slice(low - s.start, high - s.start))
        outside.append(slice(low + by, high + by))
    return tuple(inside), tuple(outside)
