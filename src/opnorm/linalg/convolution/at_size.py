"""A convolution at one input size, by the symbol: which theorem, and when to leave it to the general plan.

Zero padding: the smaller of the supremum over all sizes and the twisted circulants at this size, with a lower bound
from the true operator (`finite`). Circular padding whose stride divides the size is block circulant: exact. Any other
padding P is followed by a convolution without padding, and costs a factor ‖P‖.
Guarantee: PROVED. Operators small enough for a Gram matrix, and sizes at which no symbol is narrow enough, are left
to the general plan.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from opnorm.bound import Bound, Evidence
from opnorm.linalg.convolution.any_size import SHARE, Search, explore, prove
from opnorm.linalg.convolution.by_groups import by_groups
from opnorm.linalg.convolution.finite import finite_lower
from opnorm.linalg.convolution.geometry import Geometry
from opnorm.linalg.convolution.operator import Convolution
from opnorm.linalg.convolution.padding import multiplicity
from opnorm.linalg.convolution.symbol import MOST_LAG_ENTRIES, GramSymbol, Taps, gram_symbol, taps
from opnorm.linalg.convolution.twisted import circulant, exact_periods, periods, twisted
from opnorm.linalg.plan import GRAM_SIDE, IMPLICIT_SIDE
from opnorm.linalg.request import Found, Request, proved, relative_width, shortfall
from opnorm.linalg.rounding import down, ldexp_down, ldexp_up, up

METHOD = "symbol"

_GRAM_WORK = 5e11
"""Up to m²n multiplications a Gram matrix proves what the symbol left too wide."""

_TWISTED_SHARE = 0.2
"""About what the best phases leave of the gap between a finite size and any size."""

_ROUNDS = 3

_REMEDY = "the symbol is no closer at this size; --evidence probable is"


def at_size(conv: Convolution, request: Request) -> Found | None:
    """Bounds in the units of the kernel as stored, or None where the general plan does better."""
    inner, copies = _valid(conv.geometry)
    conv = _reaching(conv, inner)
    known = taps(conv.kernel, inner)
    if known is None:
        return Found((proved("lower", 0.0, "zero"), proved("upper", 0.0, "zero")), "zero", 1)
    exact = exact_periods(conv.geometry)
    if exact is not None and known.lag_entries <= MOST_LAG_ENTRIES:
        return _circulant(conv, known, exact, request)
    rows, columns = sorted(conv.shape)
    certain = request.evidence is Evidence.PROVED
    if (
        rows <= (GRAM_SIDE if certain or conv.columns_are_cheap else IMPLICIT_SIDE)
        or known.lag_entries > MOST_LAG_ENTRIES
    ):
        return None
    by_group = by_groups(conv, known, inner, copies, request)
    if by_group is not None:
        return by_group
    if not certain and (copies > 1 or _TWISTED_SHARE * _gap(known, inner) > request.width):
        return None
    bounds, passes = _bracket(conv, known, inner, copies, request)
    wide = relative_width(bounds) > request.width
    if wide and (not certain or rows * rows * columns <= _GRAM_WORK):
        return None
    return Found(bounds, METHOD, passes, shortfall(bounds, request, _REMEDY))


def _circulant(conv: Convolution, known: Taps, counts: tuple[int, ...], request: Request) -> Found | None:
    lower, upper = circulant(gram_symbol(known), _used(counts, known.degrees), request.width)
    bounds: tuple[Bound, ...] = (proved("lower", ldexp_down(down(math.sqrt(lower)), known.exponent), METHOD),)
    if math.isfinite(value := ldexp_up(up(math.sqrt(upper)), known.exponent)):
        bounds += (proved("upper", value, METHOD),)
    if relative_width(bounds) > request.width and min(conv.shape) <= GRAM_SIDE:
        return None
    return Found(bounds, METHOD, 1, shortfall(bounds, request, "float64 rounding allows no narrower proof"))


def _used(counts: tuple[int, ...], degrees: tuple[int, ...]) -> list[int]:
    """One frequency is enough on an axis of which the symbol is independent."""
    return [n if degree else 1 for n, degree in zip(counts, degrees, strict=True)]


def _valid(known: Geometry) -> tuple[Geometry, int]:
    """The zero-padded convolution behind any padding, and ‖P‖² of that padding."""
    if known.mode == "zeros" or known.size is None:
        return known, 1
    size = tuple(n + sum(pair) for n, pair in zip(known.size, known.padding, strict=True))
    none = ((0, 0),) * len(size)
    return replace(known, size=size, padding=none, mode="zeros"), multiplicity(known)


def _reaching(conv: Convolution, inner: Geometry) -> Convolution:
    """The same operator without the taps that meet nothing but padding."""
    assert inner.size is not None
    kernel = conv.kernel
    settings = zip(inner.kernel, inner.stride, inner.dilation, inner.padding, inner.size, inner.output, strict=True)
    for axis, (k, s, d, (before, _), n, out) in enumerate(settings, start=2):
        places = np.arange(out) * s + np.arange(k)[:, None] * d - before
        idle = ~((places >= 0) & (places < n)).any(axis=1)
        if idle.any():
            kernel = kernel.copy()
            kernel[(slice(None),) * axis + (idle,)] = 0
    return conv if kernel is conv.kernel else conv.with_kernel(kernel)


def _gap(known: Taps, inner: Geometry) -> float:
    """About what a window of this size costs at most, against the supremum over all sizes."""
    spans = (degree * step for degree, step in zip(known.degrees, known.steps, strict=True))
    return sum((d * math.pi / (2 * (n + 1))) ** 2 / 2 for d, n in zip(spans, inner.output, strict=True))


def _bracket(
    conv: Convolution, known: Taps, inner: Geometry, copies: int, request: Request
) -> tuple[tuple[Bound, ...], int]:
    symbol = gram_symbol(known)
    search = explore(symbol, request.width)
    settle = request.evidence is Evidence.PROVED
    lower, passes, top = 0.0, 1, None
    for _ in range(_ROUNDS):
        highest = search.lower
        found, made = finite_lower(conv, known, search.seen, request.width)
        lower, passes = max(lower, found), passes + made
        aimed = ldexp_down(lower, -known.exponent) * (1 + SHARE * request.width)
        target = down(aimed * aimed / copies, 8)
        top = _upper(symbol, search, inner, target, settle=settle)
        if (top is not None and top <= up(target)) or search.lower <= highest * (1 + 0.1 * request.width):
            break  # proved, or the search met no higher peak from which the lower bound could be improved
    bounds: tuple[Bound, ...] = (proved("lower", lower, METHOD),)
    if top is not None and math.isfinite(value := ldexp_up(up(math.sqrt(up(top * copies))), known.exponent)):
        bounds += (proved("upper", value, METHOD),)
    return bounds, passes


def _upper(symbol: GramSymbol, search: Search, inner: Geometry, target: float, *, settle: bool) -> float | None:
    """The target, by whichever proof needs fewer certificates; with `settle` the least upper bound found."""
    counts = _used(periods(inner), symbol.degrees)
    room = math.sqrt(target / search.lower) - 1 if target > search.lower else 0.0
    anywhere = Search(symbol, search.width, fixed=target, peak=search.peak, lower=search.lower)
    if room > 0.1 * search.width and _predicted(symbol, room) < math.prod(counts) / 2:
        found = prove(anywhere)
        search.seen += anywhere.seen
        search.lower = max(search.lower, anywhere.lower)
        if found is not None:
            return found
    proof = twisted(symbol, counts, search.seen, target, settle=settle)
    enough = math.inf if proof is None else max(target, search.lower)
    if not settle or (proof is not None and proof <= up(enough)):
        return proof  # or no closer to the norm at this size than the supremum over all sizes is
    free = Search(symbol, search.width, peak=search.peak, lower=search.lower)
    free.target = free.least_target(search.width)
    return min((bound for bound in (proof, prove(free)) if bound is not None), default=None)


def _predicted(symbol: GramSymbol, room: float) -> float:
    """Certificates for any size, were the symbol flat."""
    angle = math.acos(1 / (1 + room))
    return math.prod(max(1.0, math.pi * d / (2 * angle)) for d in symbol.degrees) / 2
