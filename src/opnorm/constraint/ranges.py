"""What odd quintic polynomials in turn make of an interval, enclosed by exact rational arithmetic.

The image of [lo, hi] under continuous p is the interval from its least to its largest value, met at an end or where
p′(x) = a + 3bx² + 5cx⁴ vanishes. Ends are evaluated exactly; roots of p′ are enclosed to 2⁻¹⁶⁰ by integer square roots
and |p′| bounds what p can do there. Image after image this is the exact range of the composition, for there is
one variable only; each end is rounded outwards to a float. Guarantee: PROVED for the coefficients as floats, in exact
arithmetic. Cost: about a millisecond a step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import TypeAlias, cast

from opnorm.errors import UsageError

Triple: TypeAlias = tuple[float, float, float]
"""a, b, c of p(x) = ax + bx³ + cx⁵."""

_BITS = 160


def output_range(
    coefficients: Sequence[float] | Sequence[Sequence[float]], steps: int, lo: float, hi: float
) -> tuple[float, float]:
    """An enclosure of {p_k(…p_1(x)) : lo ≤ x ≤ hi}, its ends rounded outwards; (−inf, inf) where it overflows.

    coefficients: one triple (a, b, c), taken `steps` times, or `steps` triples in turn. For singular values in [0, 1]
    the norm of the result is at most max(|min|, |max|).
    """
    if not (math.isfinite(lo) and math.isfinite(hi) and lo <= hi):
        raise UsageError(f"[{lo!r}, {hi!r}] is no interval: give finite ends, the lower first")
    try:
        for triple in _triples(coefficients, steps):
            lo, hi = _image(triple, Fraction(lo), Fraction(hi))
    except OverflowError:
        return -math.inf, math.inf
    return lo, hi


def _triples(coefficients: Sequence[float] | Sequence[Sequence[float]], steps: int) -> list[Sequence[float]]:
    given = list(coefficients)
    triples = (
        cast("list[Sequence[float]]", given)
        if given and isinstance(given[0], Sequence)
        else [cast("Sequence[float]", given)] * steps
    )
    if steps < 1 or len(triples) != steps or any(len(t) != 3 or not all(map(math.isfinite, t)) for t in triples):
        raise UsageError(
            f"coefficients={coefficients!r} with steps={steps} are no odd quintics: give (a, b, c) of ax + bx³ + cx⁵ "
            "once for all steps, or once a step"
        )
    return triples


def _image(triple: Sequence[float], lo: Fraction, hi: Fraction) -> tuple[float, float]:
    a, b, c = map(Fraction, triple)
    size = max(abs(lo), abs(hi)) + 1
    slope = abs(a) + 3 * abs(b) * size**2 + 5 * abs(c) * size**4
    bounds = [(_value(a, b, c, x), Fraction(0)) for x in (lo, hi)]
    for left, right in _critical(a, b, c):
        bounds += [
            (_value(a, b, c, sign * left), slope * (right - left))
            for sign in (1, -1)
            if min(sign * left, sign * right) <= hi and max(sign * left, sign * right) >= lo
        ]
    return _down(min(v - e for v, e in bounds)), -_down(min(-v - e for v, e in bounds))


def _value(a: Fraction, b: Fraction, c: Fraction, x: Fraction) -> Fraction:
    square = x * x
    return x * (a + square * (b + square * c))


def _critical(a: Fraction, b: Fraction, c: Fraction) -> Iterator[tuple[Fraction, Fraction]]:
    """Enclosures of the x ≥ 0 with a + 3bx² + 5cx⁴ = 0."""
    for low, high in _squares(a, 3 * b, 5 * c):
        if high >= 0:
            yield _root(max(low, Fraction(0)))[0], _root(high)[1]


def _squares(a: Fraction, b: Fraction, c: Fraction) -> Iterator[tuple[Fraction, Fraction]]:
    """Enclosures of the real t with a + bt + ct² = 0."""
    discriminant = b * b - 4 * a * c
    if c == 0:
        if b != 0:
            yield -a / b, -a / b
    elif discriminant >= 0:
        for low, high in (_root(discriminant), tuple(-r for r in reversed(_root(discriminant)))):
            ends = (-b + low) / (2 * c), (-b + high) / (2 * c)
            yield min(ends), max(ends)


def _root(square: Fraction) -> tuple[Fraction, Fraction]:
    """√q ∈ [low, high], at most 2⁻¹⁶⁰ apart for denominators of at least 1."""
    bottom = square.denominator << _BITS
    low = math.isqrt((square.numerator * square.denominator) << (2 * _BITS))
    return Fraction(low, bottom), Fraction(low + 1, bottom)


def _down(value: Fraction) -> float:
    """The largest float at most `value`, or the one below it."""
    near = float(value)
    return near if Fraction(near) <= value else math.nextafter(near, -math.inf)
