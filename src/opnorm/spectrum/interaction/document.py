"""The frozen data of how layers feed one another."""

from __future__ import annotations

from dataclasses import dataclass

from opnorm.spectrum.document import Quantity


@dataclass(frozen=True, slots=True)
class Link:
    """One layer that writes what another reads, with nothing but known maps between them.

    first, second: names of rows. through: what lies between, such as 'residual stream, LayerNorm', 'GELU' or '' for
    nothing; the scale of a normalization is folded into the second, a BatchNorm into the first. alignment:
    |⟨u₁ of first, v₁ of second⟩|, from 0 to 1. overlap: mean squared cosine between the top `k` output directions of
    the first and the top `k` input directions of the second; chance: what random directions give, k/n. gain: ‖W₂W₁‖.
    product: ‖W₂‖·‖W₁‖, an upper bound on it. looseness: product/gain, at least 1 and at most 1e300.
    """

    first: str
    second: str
    through: str
    alignment: float
    overlap: float
    chance: float
    k: int
    gain: Quantity
    product: Quantity
    looseness: float


@dataclass(frozen=True, slots=True)
class Head:
    """One attention head as the two maps that it is. block: of the model, from 0. head: from 0. name: of the head.

    qk: ‖W_QᵀW_K‖, divided as its row is by √d; ov: ‖W_O W_V‖ of this head. qk_rank, ov_rank: their stable ranks.
    """

    block: int
    head: int
    name: str
    qk: Quantity
    ov: Quantity
    qk_rank: float | None = None
    ov_rank: float | None = None


@dataclass(frozen=True, slots=True)
class Composition:
    """How much an earlier head's output enters a later head. kind: 'Q', 'K' or 'V'.

    score: ‖W_later W_ov‖_F/(‖W_later‖_F‖W_ov‖_F). chance: its root mean square over all rotations of what the earlier
    head writes, with the same spectra: 1/√n for a stream of n numbers.
    """

    kind: str
    earlier: str
    later: str
    score: float
    chance: float


@dataclass(frozen=True, slots=True)
class Interaction:
    """Of a whole model. order: names of rows from input to output, as far as it is known. notes: what was not done.

    compositions: the strongest above chance, at most 200.
    """

    order: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()
    heads: tuple[Head, ...] = ()
    compositions: tuple[Composition, ...] = ()
    notes: tuple[str, ...] = ()
