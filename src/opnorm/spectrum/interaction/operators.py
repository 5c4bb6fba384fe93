"""Operators of entries, read again on demand: those used last are kept, up to `MOST_BYTES`; and products of two.

A product W₂W₁ is explored by its Gram operator. W₂W₁W₁ᵀW₂ᵀX goes through the inner W₁W₁ᵀ in one pass, in the
weights' own precision (`Chain`); what is proved about it comes from float64 products, as for any product.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np

from opnorm.frameworks import aslinearoperator
from opnorm.layers.plan import Arrays, Entry
from opnorm.linalg.algebra import Product
from opnorm.linalg.operator import Block, LinearOperator, Rounding
from opnorm.linalg.rounding import Float64, gamma, up
from opnorm.readers.checkpoint import Checkpoint
from opnorm.spectrum.directions.triplets import Triplets, top_triplets

MOST_BYTES = 1 << 29
"""Of operators kept at a time."""

TOP = 8
"""Directions of each side that are kept of a layer."""


@dataclass(frozen=True, slots=True)
class Acting:
    """A row as it acts. turned: its stored matrix is inputs by outputs. repeats: each head's output used so often."""

    entry: Entry
    turned: bool = False
    repeats: int = 1
    head_size: int = 0

    @property
    def key(self) -> tuple[str, bool, int]:
        """Equal where the operators are."""
        return self.entry.name, self.turned, self.repeats


class Operators:
    """Rows' operators and top directions, of one checkpoint."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._tensors = {t.name: t for t in checkpoint.tensors}
        self._kept: OrderedDict[tuple[str, bool, int], tuple[LinearOperator, int]] = OrderedDict()
        self._tops: dict[tuple[str, bool, int], Triplets] = {}
        self._digests: dict[str, bytes] = {}

    def arrays(self, names: tuple[str, ...]) -> Arrays:
        """The tensors, read now."""
        found = {name: self._checkpoint.read(self._tensors[name]) for name in dict.fromkeys(names)}
        for name, array in found.items():
            if name not in self._digests:
                self._digests[name] = _digest(array)
        return found

    def key(self, *parts: Acting) -> bytes:
        """For the random start of a product: of the bytes of all tensors in it, once they were read."""
        digests = [self._digests.get(name, b"") for part in parts for name in part.entry.tensors]
        words = "\0".join(part.entry.name for part in parts).encode("utf-8", "surrogatepass")
        return hashlib.sha256(b"".join(digests) + words).digest() if all(digests) else b""

    def of(self, acting: Acting) -> LinearOperator:
        """The row's operator, from inputs to outputs."""
        if acting.key in self._kept:
            self._kept.move_to_end(acting.key)
            return self._kept[acting.key][0]
        operator = self._built(acting)
        self._kept[acting.key] = operator, 4 * math.prod(operator.shape)
        while len(self._kept) > 2 and sum(size for _, size in self._kept.values()) > MOST_BYTES:
            self._kept.popitem(last=False)
        return operator

    def top(self, acting: Acting) -> Triplets:
        """Its top directions; left: what it writes, right: what it reads."""
        if acting.key not in self._tops:
            self._tops[acting.key] = top_triplets(self.of(acting), TOP)
        return self._tops[acting.key]

    def _built(self, acting: Acting) -> LinearOperator:
        entry = acting.entry
        assert entry.build is not None
        operator = aslinearoperator(entry.build(self.arrays(entry.tensors)))
        operator = operator.T if acting.turned else operator
        return operator if acting.repeats == 1 else Chain(Repeat(operator.shape[0], acting), operator)


class Chain(Product):
    """A·B, explored through AᵀA or BBᵀ in one pass. See `Product`."""

    def gram(self, block: Block) -> Block:
        """A(BBᵀ(AᵀX))."""
        inner = self.right.gram(np.asarray(self.left.rmatmat(block)))
        return self.left.matmat(inner)

    def rescaled(self, exponent: int) -> Chain:
        """See `LinearOperator.rescaled`."""
        return self if exponent == 0 else Chain(self.left.rescaled(exponent), self.right)

    @property
    def T(self) -> Chain:
        """See `LinearOperator.T`."""
        return Chain(self.right.T, self.left.T)


class Repeat(LinearOperator):
    """Each head's output, `head_size` numbers, so often in a row as query heads share it. RᵀR = g·I: ‖R‖ = √g.

    Copies are exact; Rᵀ adds g numbers, each within γ_g.
    """

    def __init__(self, size: int, acting: Acting) -> None:
        self._group, self._head = acting.repeats, acting.head_size
        super().__init__((size * acting.repeats,), (size,))

    def matmat(self, block: Block) -> Block:
        """See `LinearOperator.matmat`."""
        heads = block.reshape(-1, self._head, block.shape[1])
        return np.repeat(heads, self._group, axis=0).reshape(self.shape[0], -1)

    def rmatmat(self, block: Block) -> Block:
        """See `LinearOperator.rmatmat`."""
        shared = block.reshape(-1, self._group, self._head, block.shape[1])
        return np.asarray(shared.sum(axis=1).reshape(self.shape[1], -1))

    def matmat64(self, block: Float64) -> Float64:
        """See `LinearOperator.matmat64`."""
        return np.asarray(self.matmat(block))

    def rmatmat64(self, block: Float64) -> Float64:
        """See `LinearOperator.rmatmat64`."""
        return np.asarray(self.rmatmat(block))

    @property
    def rounding(self) -> Rounding:
        """See the head of this class."""
        norm = up(math.sqrt(self._group))
        return Rounding(norm, 0.0, up(gamma(self._group) * norm))


def _digest(array: Any) -> bytes:
    """SHA-256 of the bytes; empty for arrays of other frameworks than NumPy, as for rows."""
    if not isinstance(array, np.ndarray):
        return b""
    flat = np.ascontiguousarray(array)
    return hashlib.sha256(flat.view(np.uint8).data if flat.size else b"").digest()
