"""Groups whose operators are small: those that may be largest are measured one by one, the others bounded together.

A grouped convolution is block diagonal. One group's Gram matrix gives a lower bound for all; the classical circulant
(`twisted`) then proves most groups to lie below it, all groups at once; the few left have Gram matrices of their own.
Guarantee: PROVED. Cost: one certificate a frequency and group on matrices of a group's channels, and a few Gram proofs.
"""

from __future__ import annotations

from dataclasses import replace

from opnorm.bound import Evidence
from opnorm.linalg.convolution.any_size import SHARE, explore
from opnorm.linalg.convolution.geometry import Geometry
from opnorm.linalg.convolution.operator import Convolution
from opnorm.linalg.convolution.symbol import GramSymbol, Taps, gram_symbol
from opnorm.linalg.convolution.twisted import periods, unsettled_groups
from opnorm.linalg.plan import GRAM_SIDE
from opnorm.linalg.request import Found, Request, proved, relative_width
from opnorm.linalg.rounding import down, ldexp_down, up

_MOST_ALONE = 128


def by_groups(conv: Convolution, known: Taps, inner: Geometry, copies: int, request: Request) -> Found | None:
    """Bounds by the method `gram`, or None where groups are too large or too many are alike.

    inner: the zero-padded convolution behind any padding, whose taps are `known`; copies: ‖P‖² of that padding.
    """
    groups = conv.geometry.groups
    if groups == 1 or min(_group(conv, 0).shape) > GRAM_SIDE:
        return None
    symbol = gram_symbol(known)
    exactly = replace(request, evidence=Evidence.PROVED)
    peaks = sorted(explore(symbol, request.width).seen, key=lambda peak: -peak.value)
    alone = {group: _bounds(conv, group, exactly) for group in {peak.group for peak in peaks}}
    ceiling = up(max(lower for lower, _ in alone.values()) * (1 + SHARE * request.width), 8)
    left = [group for group in _above(symbol, inner, ceiling, known.exponent, copies) if group not in alone]
    if len(left) > _MOST_ALONE:
        return None
    alone |= {group: _bounds(conv, group, exactly) for group in left}
    upper = max(upper for _, upper in alone.values())
    upper = upper if len(alone) == groups else max(upper, ceiling)
    bounds = (proved("lower", max(lower for lower, _ in alone.values()), "gram"), proved("upper", upper, "gram"))
    return Found(bounds, "gram", 2) if relative_width(bounds) <= request.width else None


def _above(symbol: GramSymbol, inner: Geometry, ceiling: float, exponent: int, copies: int) -> list[int]:
    """The groups not proved to have norms of at most `ceiling`."""
    scaled = ldexp_down(ceiling, -exponent)
    counts = [n if degree else 1 for n, degree in zip(periods(inner), symbol.degrees, strict=True)]
    return [int(group) for group in unsettled_groups(symbol, counts, down(scaled * scaled / copies, 8))]


def _bounds(conv: Convolution, group: int, request: Request) -> tuple[float, float]:
    """PROVED bounds on the norm of one group."""
    from opnorm.linalg.measure import measure_operator  # which may be measuring the convolution

    bracket = measure_operator(_group(conv, group), request).bracket(Evidence.PROVED)
    assert bracket.lower is not None
    assert bracket.upper is not None
    return bracket.lower, bracket.upper


def _group(conv: Convolution, group: int) -> Convolution:
    """One group as a convolution of its own, forward."""
    known = replace(conv.geometry, groups=1)
    each = conv.kernel.shape[0] // conv.geometry.groups
    alone = Convolution(conv.kernel[group * each : (group + 1) * each])
    alone.geometry = known
    assert known.size is not None
    alone.codomain, alone.domain = (each, *known.output), (conv.kernel.shape[1], *known.size)
    return alone
