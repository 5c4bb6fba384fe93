"""Attention heads as the two maps that they are: their norms from the rows, their stable ranks from thin cores.

‖AᵀB‖_F² = tr(AAᵀ·BBᵀ) for thin A and B: no circuit is formed. (Elhage et al., *A Mathematical Framework for
Transformer Circuits*, 2021; the circuits themselves: `opnorm.layers.attention`.) Guarantee: norms have their rows'
evidence; ranks are estimates to rounding. Cost: k²d multiplications a head.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from opnorm.layers.plan import Arrays, Entry
from opnorm.linalg.operator import LinearOperator
from opnorm.linalg.rounding import Float64
from opnorm.linalg.stored import StoredMatrix
from opnorm.linalg.thin import ThinProduct
from opnorm.spectrum.document import Quantity
from opnorm.spectrum.interaction.blocks import CIRCUIT, Block
from opnorm.spectrum.interaction.document import Head
from opnorm.spectrum.interaction.links import Norms, quantity

NO_SCORES = "no score circuit: see the row of the queries"


@dataclass(frozen=True, slots=True)
class Factors:
    """Both thin factors of a circuit, head size × model size: `left`ᵀ·`right`, times `gain`."""

    left: Float64
    right: Float64
    gain: float

    @property
    def frobenius(self) -> float:
        """‖AᵀB‖_F, with the gain."""
        (left, a), (right, b) = _scaled(self.left), _scaled(self.right)
        square = float(np.vdot(left @ left.T, right @ right.T))
        return abs(self.gain) * a * b * math.sqrt(max(square, 0.0))


@dataclass(slots=True)
class Circuits:
    """One block's factors by head. names: of heads."""

    names: dict[int, str] = field(default_factory=dict)
    qk: dict[int, Factors] = field(default_factory=dict)
    ov: dict[int, Factors] = field(default_factory=dict)


def circuits_of(block: Block, arrays: Arrays, wanted: Iterable[str]) -> Circuits:
    """The factors of a block's circuits, those whose rows are in `wanted`."""
    found, chosen = Circuits(), set(wanted)
    for kind, entries in block.circuits.items():
        for entry in entries:
            match = CIRCUIT.fullmatch(entry.name)
            if match is None or entry.name not in chosen:
                continue
            number, factors = int(match["head"]), _factors(entry, arrays)
            if np.isfinite(factors.left).all() and np.isfinite(factors.right).all():  # else its row is undefined
                found.names[number] = head_name(block, number)
                (found.qk if kind == "qk" else found.ov)[number] = factors
    return found


def head_name(block: Block, number: int) -> str:
    """Such as `encoder.layer.0.attention.self[head 3]`."""
    return f"{block.attention}[head {number}]"


def _factors(entry: Entry, arrays: Arrays) -> Factors:
    assert entry.build is not None
    product = entry.build(arrays)
    assert isinstance(product, ThinProduct)
    return Factors(dense(product.left).T, dense(product.right), product.gain)


def _scaled(factor: Float64) -> tuple[Float64, float]:
    """A factor with entries of at most 1, and what it was divided by."""
    size = float(np.abs(factor).max(initial=0.0)) or 1.0
    return factor / size, size


def dense(operator: LinearOperator) -> Float64:
    """The entries of a small operator."""
    assert isinstance(operator, StoredMatrix)
    return np.concatenate([part.copy() for part in operator.blocks64()], axis=1)


def heads_of(number: int, circuits: Circuits, block: Block, norms: Norms) -> list[Head]:
    """The heads of the model's block of this number."""
    found = []
    for head, name in sorted(circuits.names.items()):
        qk, qk_rank = _measured(norms, f"{block.attention}[qk head {head}]", circuits.qk.get(head))
        ov, ov_rank = _measured(norms, f"{block.attention}[ov head {head}]", circuits.ov.get(head))
        found.append(Head(number, head, name, qk, ov, qk_rank, ov_rank))
    return found


def _measured(norms: Norms, row: str, factors: Factors | None) -> tuple[Quantity, float | None]:
    bracket = norms.get(row)
    if factors is None:
        return Quantity(None, note=NO_SCORES), None
    size = quantity(bracket) if bracket is not None and bracket.evidence is not None else Quantity(_largest(factors))
    whole = factors.frobenius
    rank = max(1.0, (whole / size.value) ** 2) if size.value and math.isfinite(whole) else None
    return size, rank


def _largest(factors: Factors) -> float:
    """σ₁ of AᵀB from triangular cores."""
    (left, a), (right, b) = _scaled(factors.left), _scaled(factors.right)
    core = np.linalg.qr(left.T)[1] @ np.linalg.qr(right.T)[1].T
    return min(abs(factors.gain) * a * b * float(np.linalg.norm(core, 2)), float(np.finfo(np.float64).max))
