"""Embeddings: a table of vectors, looked up by index.

As a matrix E (entries by features) it has σ₁(E), which counts where E is also the output head or meets a soft
mixture of tokens. As a look-up its input is one-hot, and the farthest one token can reach is the 1→2 norm of Eᵀ,
max_i ‖e_i‖: the largest row norm, which is also the 2→∞ norm of E as an output head (the largest logit that a
feature vector of length 1 can cause). It always lies at or below σ₁(E).

Guarantee: the largest row norm is PROVED, a sum of squares in float64 rounded outward (γ_n, Higham chapter 3), over
entries centered by a power of two. Cost: two reads.
"""

from __future__ import annotations

import math

import numpy as np

from opnorm.bound import Bracket
from opnorm.frameworks import aslinearoperator
from opnorm.layers.linear import dense, dense_words
from opnorm.layers.plan import Also, Arrays, Entry, Part
from opnorm.linalg.request import Request, proved
from opnorm.linalg.rounding import TINY, down, gamma, ldexp_down, ldexp_up, up
from opnorm.linalg.stored import StoredMatrix

ROW_NORM = "largest row norm"
_MEANING = "how far a single token (a one-hot input) can reach; as an output head, the largest logit of a unit vector"


def embedding(name: str, shape: tuple[int, ...], dtype: str, *, reason: str = "") -> Entry:
    """The row of an embedding table (entries, features)."""

    def find(arrays: Arrays, request: Request) -> Bracket:  # noqa: ARG001
        return largest_row_norm(arrays[name])

    words = dense_words(shape).replace("dense", "embedding")
    also = (Also(ROW_NORM, _MEANING, find),)
    return dense(name, Part(name), "embedding", words, shape, dtype, reason=reason, also=also)


def largest_row_norm(matrix: object) -> Bracket:
    """max_i ‖e_i‖ of a stored matrix, PROVED; raises `UndefinedNorm` for a NaN or an infinity."""
    operator = aslinearoperator(matrix)
    assert isinstance(operator, StoredMatrix)
    centered = operator.centered()
    squares = np.zeros(operator.shape[0])
    for block in centered.blocks64():
        squares += np.einsum("ij,ij->i", block, block)
    largest = float(squares.max(initial=0.0))
    columns, exponent = operator.shape[1], operator.exponent - centered.exponent
    slack, loss = gamma(columns + 4), columns * TINY + 2 * centered.perturbation * math.sqrt(largest)
    least = down(math.sqrt(down(max(largest * (1 - slack) - up(loss), 0.0), 8)))
    most = up(math.sqrt(up(largest * (1 + slack) + up(loss) + centered.perturbation**2, 8))) if _any(operator) else 0.0
    return Bracket(
        proved("lower", ldexp_down(least, exponent), ROW_NORM), proved("upper", ldexp_up(most, exponent), ROW_NORM)
    )


def _any(operator: StoredMatrix) -> bool:
    """Whether any entry is not exactly 0."""
    return operator.entrywise().one > 0
