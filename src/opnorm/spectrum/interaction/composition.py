"""How much the output of an earlier head enters what a later head compares and moves.

With W_OV = W_O W_V of the earlier and W_QK = W_QᵀW_K, W_OV of the later head, both reading the stream after the
normalization that is folded in (Elhage et al., *A Mathematical Framework for Transformer Circuits*, 2021):

    Q: ‖W_QKᵀ·W_OV‖_F/(‖W_QK‖_F‖W_OV‖_F),   K: ‖W_QK·W_OV‖_F/(…),   V: ‖W_OV′·W_OV‖_F/(…).

From thin factors: for M = AᵀB·CᵀD, ‖M‖_F = ‖√(AAᵀ)·(BCᵀ)·√(DDᵀ)‖_F, a k×k matrix for each pair of heads, so that a
pair of blocks costs one product of (heads·k × d) by (d × heads·k) a kind.

Chance. Rotate what the earlier head writes by a random rotation U of the stream: E‖A U B‖_F² = ‖A‖_F²‖B‖_F²/d,
whatever the spectra. So the root mean square score of random directions is 1/√d.

Guarantee: estimates to float32 rounding. Cost: 6·(heads·k)²·d operations a pair of blocks; beyond `MOST_WORK` only
pairs of blocks that lie close are compared, and a note says so.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from opnorm.linalg.rounding import Float64
from opnorm.spectrum.interaction.circuits import Circuits
from opnorm.spectrum.interaction.document import Composition

MOST = 200
MOST_WORK = 4e11
"""Multiplications: a few seconds on one core."""

MOST_ENTRIES = 1 << 27
"""Of writers kept at a time: 512 MB."""

Fold = Callable[[Float64], Float64]
"""Rows of a reading matrix → the same with the normalization before it folded in."""

_Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Side:
    """Heads stacked: (heads, k, d), scaled so that the score is a Frobenius norm of products."""

    names: list[str]
    values: _Array


@dataclass(slots=True)
class Compositions:
    """The strongest so far, over blocks given in order. window: how many earlier blocks each is compared with."""

    size: int
    window: int
    _writers: deque[_Side] = field(default_factory=deque)
    _heap: list[tuple[float, int, Composition]] = field(default_factory=list)
    _count: int = 0

    @property
    def chance(self) -> float:
        """See the head of this file."""
        return 1 / math.sqrt(self.size)

    def add(self, circuits: Circuits, fold: Fold) -> None:
        """Compare a block with those before it, then let it write."""
        if self.window < 1:
            return
        read = _readers(circuits, fold)
        for writers in self._writers:
            for kind, side in read:
                self._compare(kind, side, writers)
        writers = _writers(circuits, fold)
        if writers.names:
            self._writers.append(writers)
        while len(self._writers) > self.window:
            self._writers.popleft()

    def strongest(self) -> tuple[Composition, ...]:
        """Descending by score."""
        return tuple(c for _, _, c in sorted(self._heap, key=lambda item: (-item[0], item[1])))

    def _compare(self, kind: str, later: _Side, earlier: _Side) -> None:
        (many, k, size), (others, side, _) = later.values.shape, earlier.values.shape
        product = later.values.reshape(-1, size) @ earlier.values.reshape(-1, size).T
        squares = (product.reshape(many, k, others, side).astype(np.float64) ** 2).sum(axis=(1, 3))
        scores = np.sqrt(squares)
        floor = max(self.chance, self._heap[0][0] if len(self._heap) == MOST else 0.0)
        for i, j in np.argwhere(scores > floor):
            self._keep(float(scores[i, j]), kind, earlier.names[j], later.names[i])

    def _keep(self, score: float, kind: str, earlier: str, later: str) -> None:
        self._count += 1
        item = (score, self._count, Composition(kind, earlier, later, min(score, 1.0), self.chance))
        if len(self._heap) < MOST:
            heapq.heappush(self._heap, item)
        else:
            heapq.heappushpop(self._heap, item)


def window_for(blocks: int, heads: int, head_size: int, size: int) -> int:
    """How many earlier blocks each may be compared with."""
    width = heads * head_size
    work = 3 * width * width * size
    by_memory = MOST_ENTRIES // max(width * size, 1)
    window = 0
    while window < min(blocks - 1, by_memory) and (_pairs(blocks, window + 1) * work) <= MOST_WORK:
        window += 1
    return window


def _pairs(blocks: int, window: int) -> int:
    return sum(min(window, later) for later in range(blocks))


def _readers(circuits: Circuits, fold: Fold) -> list[tuple[str, _Side]]:
    """√(other factor's Gram)·(own factor), over the circuit's Frobenius norm."""
    sides: dict[str, _Side] = {}
    for head in sorted(circuits.qk):
        factors = circuits.qk[head]
        q, k = fold(factors.left), fold(factors.right)
        _stack(sides, "Q", circuits.names[head], _rooted(k, q))
        _stack(sides, "K", circuits.names[head], _rooted(q, k))
    for head in sorted(circuits.ov):
        factors = circuits.ov[head]
        _stack(sides, "V", circuits.names[head], _rooted(factors.left, fold(factors.right)))
    return list(sides.items())


def _writers(circuits: Circuits, fold: Fold) -> _Side:
    sides: dict[str, _Side] = {}
    for head in sorted(circuits.ov):
        factors = circuits.ov[head]
        _stack(sides, "O", circuits.names[head], _rooted(fold(factors.right), factors.left))
    return sides.get("O", _Side([], np.zeros((0, 0, 0), dtype=np.float32)))


def _stack(sides: dict[str, _Side], kind: str, name: str, values: Float64) -> None:
    one = values.astype(np.float32)[None]
    before = sides.get(kind)
    if before is None:
        sides[kind] = _Side([name], one)
    else:
        sides[kind] = _Side([*before.names, name], np.concatenate([before.values, one]))


def _rooted(other: Float64, own: Float64) -> Float64:
    """√(XXᵀ)·Y for a circuit XᵀY of Frobenius norm 1; 0 for one that is zero."""
    other, own = (m / (float(np.abs(m).max(initial=0.0)) or 1.0) for m in (other, own))
    values, vectors = np.linalg.eigh(other @ other.T)
    rooted = (vectors * np.sqrt(values.clip(min=0.0))) @ (vectors.T @ own)
    size = float(np.linalg.norm(rooted))
    return np.asarray(rooted / size) if size else rooted
