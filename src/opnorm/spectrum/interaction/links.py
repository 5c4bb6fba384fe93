"""From an edge to its numbers: alignment, overlap, and the gain of the pair.

W₁ = U₁S₁V₁ᵀ writes along U₁, W₂ reads along V₂; ‖W₂W₁‖ = ‖S₂V₂ᵀU₁S₁‖. Equality with ‖W₂‖‖W₁‖ needs u₁ of the first
to be v₁ of the second; random directions of n numbers have a gain near ‖W₂‖‖W₁‖·(√r₁ + √r₂)/√n for stable ranks r.
So looseness says what a bound that multiplies norms gives away at this place, and alignment why. Where two leading
singular values are nearly equal, the first direction alone is arbitrary: overlap looks at `TOP` of each.

Guarantee: gain lies in a bracket of the evidence stated (of probable ones, each fails with probability ≤ 1e-12);
product multiplies the rows' own brackets; alignment and overlap are estimates. Cost: `linalg.measure` for the product.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from opnorm.bound import Bracket, Evidence
from opnorm.errors import OpnormError
from opnorm.linalg.convolution.operator import Convolution
from opnorm.linalg.measure import measure_operator
from opnorm.linalg.near import Near
from opnorm.linalg.operator import LinearOperator
from opnorm.linalg.request import Request
from opnorm.linalg.rounding import down, up
from opnorm.spectrum.directions.triplets import plain, top_triplets
from opnorm.spectrum.document import Quantity
from opnorm.spectrum.interaction.document import Link
from opnorm.spectrum.interaction.edges import Edge
from opnorm.spectrum.interaction.operators import Acting, Chain, Operators

LARGEST = 1e300
LEAST_SHARE = 4
"""Of the numbers between two layers at most a fourth are compared as directions: more would overlap by chance."""

WIDE = 0.1
"""Relative width of a bracket beyond which its middle says little."""

ANNIHILATED = "the pair all but annihilates: its bracket is wide, the value an estimate"
MOST_NUMBERS = 1 << 17
"""In a vector of an operator that is given by functions (a convolution): beyond, its products take too long."""

Norms = Mapping[str, Bracket]


def link_of(edge: Edge, operators: Operators, norms: Norms) -> Link | str:
    """The link, or in words why there is none."""
    try:
        first, second = operators.of(edge.first), operators.of(edge.second)
        problem = _problem(first, second)
        return problem or _measured(edge, first, second, operators, norms)
    except OpnormError as error:
        return str(error).partition(";")[0].partition(": ")[0][:200]


def _problem(first: LinearOperator, second: LinearOperator) -> str:
    given = [op for op in (plain(first), plain(second)) if not op.columns_are_cheap]
    if any(isinstance(op, Convolution) and op.geometry.size is None for op in (plain(first), plain(second))):
        return "convolutions of unknown input size have no products: give the shape of the model's input"
    if any(max(op.shape) > MOST_NUMBERS for op in given):
        return f"convolutions of more than {MOST_NUMBERS} numbers are too large: give a smaller input shape"
    return "" if first.shape[0] == second.shape[1] else "their sizes do not fit"


def _measured(
    edge: Edge, first: LinearOperator, second: LinearOperator, operators: Operators, norms: Norms
) -> Link | str:
    written, read = operators.top(edge.first), operators.top(edge.second)
    k = min(len(written.values), len(read.values), max(1, first.shape[0] // LEAST_SHARE))
    if not k:
        return "one of them is zero"
    cosines = read.right[:, :k].T @ written.left[:, :k]
    gain = _gain(first, second, operators.key(edge.first, edge.second))
    product = _product(_norm(edge.second, norms, read.values[0]), _norm(edge.first, norms, written.values[0]))
    if not all(math.isfinite(q.value or 0.0) for q in (gain, product)):
        return "the product of their norms leaves the range of float64"
    return Link(
        edge.first_name,
        edge.second_name,
        edge.through,
        min(1.0, abs(float(cosines[0, 0]))),
        min(1.0, float(np.sum(cosines**2)) / k),
        k / first.shape[0],
        k,
        gain,
        product,
        _looseness(product, gain),
    )


def _gain(first: LinearOperator, second: LinearOperator, key: bytes) -> Quantity:
    request, pair = Request(Evidence.PROBABLE, key=key), Chain(plain(second), plain(first))
    measurement = measure_operator(Near(pair, relative=0.0, absolute=_apart(first, second)), request)
    bracket = measurement.bracket(measurement.best(request.width))
    if bracket.width is not None and bracket.width <= WIDE:
        return quantity(bracket)
    found = top_triplets(pair, 1).values
    estimate = min(float(found[0]) if len(found) else 0.0, math.inf if bracket.upper is None else bracket.upper)
    return replace(quantity(bracket), value=max(estimate, bracket.lower or 0.0), note=ANNIHILATED)


def _apart(first: LinearOperator, second: LinearOperator) -> float:
    """An upper bound on ‖W₂W₁ − Ŵ₂Ŵ₁‖ for operators known by one close to them, Ŵ: δ₂‖Ŵ₁‖ + ‖Ŵ₂‖δ₁ + δ₁δ₂."""
    (a, near_a), (b, near_b) = (_size_and_distance(operator) for operator in (first, second))
    return up(near_b * a + b * near_a + near_a * near_b, 8)


def _size_and_distance(operator: LinearOperator) -> tuple[float, float]:
    """‖Ŵ‖ and δ ≥ ‖W − Ŵ‖. Scales are folded in on one side: relative·‖Ŵ‖, and what is stated beside."""
    known = plain(operator).rounding
    size = math.inf if known is None else known.norm
    if not isinstance(operator, Near):
        return size, 0.0
    return size, up(operator.relative * size + operator.absolute)


def quantity(bracket: Bracket) -> Quantity:
    """The middle of a bracket, with its ends and its evidence."""
    lower, upper = bracket.lower, bracket.upper
    ends = [end for end in (lower, upper) if end is not None]
    evidence = min((b.evidence for b in (bracket.lower_bound, bracket.upper_bound) if b is not None), default=None)
    label = (Evidence.ESTIMATE if evidence is None else evidence).label
    return Quantity(sum(ends) / len(ends) if ends else None, lower, upper, label)


def _norm(acting: Acting, norms: Norms, estimate: float) -> Quantity:
    """The norm of a side: its row's, or the estimate where the row has none of its own."""
    bracket = norms.get(acting.entry.name)
    found = Quantity(float(estimate)) if bracket is None or bracket.evidence is None else quantity(bracket)
    return found if acting.repeats == 1 or bracket is None else _product(found, _root(acting.repeats))


def _root(group: int) -> Quantity:
    """√g, ‖R‖ of shared values."""
    root = float(np.sqrt(group))
    return Quantity(root, down(root), up(root), Evidence.PROVED.label)


def _product(a: Quantity, b: Quantity) -> Quantity:
    """Upper ends multiply to an upper bound on the product of the norms, lower ends to a lower one."""
    assert a.value is not None
    assert b.value is not None
    lower = None if a.lower is None or b.lower is None else down(a.lower * b.lower)
    upper = None if a.upper is None or b.upper is None else up(a.upper * b.upper)
    weaker = min(Evidence.parse(a.evidence), Evidence.parse(b.evidence))
    return Quantity(a.value * b.value, lower, upper, weaker.label)


def _looseness(product: Quantity, gain: Quantity) -> float:
    assert product.value is not None
    if not gain.value or product.value >= LARGEST * gain.value:
        return LARGEST
    return max(1.0, product.value / gain.value)
