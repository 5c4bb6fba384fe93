"""The method `symbol`: proved bounds on a convolution's norm from its polyphase symbol.

Which theorem: disjoint windows → the flattened kernel is the operator, and is measured as a matrix. No input size →
the supremum over all sizes (`any_size`); a size → `at_size`. A bare kernel whose settings nobody knows → one upper
bound for all of them. Groups: the largest. Transposed: the adjoint has the same norm.
Guarantee: PROVED, but for flattened kernels, which have the evidence asked for.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opnorm.bound import Bound, Evidence
from opnorm.errors import UndefinedNorm, UnsupportedInput
from opnorm.linalg.convolution.any_size import explore, prove
from opnorm.linalg.convolution.at_size import METHOD, at_size
from opnorm.linalg.convolution.flattened import FlattenedKernel
from opnorm.linalg.convolution.geometry import Geometry, geometry
from opnorm.linalg.convolution.operator import Convolution
from opnorm.linalg.convolution.symbol import MOST_LAG_ENTRIES, Taps, gram_symbol, taps
from opnorm.linalg.operator import Block, LinearOperator
from opnorm.linalg.request import Found, Request, proved, shortfall
from opnorm.linalg.rounding import down, ldexp_down, ldexp_up, up

ANY_SIZE = "supremum over all input sizes"

UNKNOWN_SETTINGS = "upper bound for every stride, dilation, grouping, transposition, zero padding and input size"

_REMEDY = "float64 rounding or the budget of work allows no narrower proof; ask for a larger --width"


def by_symbol(conv: Convolution, request: Request) -> Found | None:
    """Bounds in the units of the kernel as stored, or None where the general plan does better."""
    known = conv.geometry
    if not conv.kernel.any():
        return _zero()
    if _disjoint(known):
        return _flattened(conv.kernel, request)
    return any_size(conv.kernel, known, request) if known.size is None else at_size(conv, request)


def _zero() -> Found:
    return Found((proved("lower", 0.0, "zero"), proved("upper", 0.0, "zero")), "zero", 1)


def _disjoint(known: Geometry) -> bool:
    """Whether no two windows share an entry, and one lies inside the input: T is then copies of the flat kernel."""
    settings = zip(known.kernel, known.stride, known.dilation, known.padding, strict=True)
    apart = known.groups == 1 and all((k - 1) * d < s for k, s, d, _ in settings)
    bare = known.mode == "zeros" or all(pair == (0, 0) for pair in known.padding)
    if not apart or not bare or known.size is None:
        return apart and bare
    pads = zip(known.padding, known.stride, strict=True)
    firsts = [max(0, -(-before // s)) for (before, _), s in pads]  # the first window that starts inside the input
    spans = [(k - 1) * d for k, d in zip(known.kernel, known.dilation, strict=True)]
    places = zip(firsts, known.output, known.stride, known.padding, spans, known.size, strict=True)
    return all(i < out and i * s - before + span < n for i, out, s, (before, _), span, n in places)


def _flattened(kernel: NDArray[Any], request: Request) -> Found:
    from opnorm.linalg.measure import measure_operator  # which may be measuring the convolution

    found = measure_operator(FlattenedKernel(kernel), request)
    return Found(found.bounds, found.method, found.passes, found.note)


def any_size(kernel: NDArray[Any], known: Geometry, request: Request) -> Found:
    """The supremum over all input sizes: PROVED from both sides, but for the norm of a padding other than zeros."""
    symbols = taps(kernel, known)
    if symbols is None:
        return _zero()
    if symbols.lag_entries > MOST_LAG_ENTRIES:
        return _coarse(symbols, _copies(known), request)
    search = explore(gram_symbol(symbols), request.width)
    top = prove(search)  # which may raise the lower bound
    lower = proved("lower", ldexp_down(down(math.sqrt(search.lower)), symbols.exponent), METHOD)
    copies = _copies(known)
    value = math.inf if top is None else ldexp_up(up(math.sqrt(up(top * copies))), symbols.exponent)
    bounds = (lower, proved("upper", value, METHOD)) if math.isfinite(value) else (lower,)
    notes = [ANY_SIZE]
    if copies > 1:
        notes.append(f"padding {known.mode!r} widens the upper bound by its own norm, {math.sqrt(copies):.3g}")
    elif short := shortfall(bounds, request, _REMEDY):
        notes.append(short)
    return Found(bounds, METHOD, 1, "; ".join(notes))


def _coarse(symbols: Taps, copies: int, request: Request) -> Found:
    """σ₁([P_q]_q) ≤ sup σ₁(F) ≤ √(orders)·σ₁([P_q]_q): F(ω) is [P_q]_q times a matrix of norm √(orders)."""
    orders = math.prod(symbols.values.shape[2:-1])
    asked = replace(request, evidence=max(request.evidence, Evidence.PROBABLE))
    found = [_flattened(group, asked).bounds for group in symbols.values]
    lower = max(bound.value for bounds in found for bound in bounds if bound.side == "lower")
    uppers = [min((b for b in bounds if b.side == "upper"), key=lambda b: b.value) for bounds in found]
    top = up(max(bound.value for bound in uppers) * math.sqrt(up(orders * copies)), 8)
    odds = min(0.5, math.fsum(bound.failure_probability for bound in uppers))
    bounds = (
        proved("lower", ldexp_down(lower, symbols.exponent), METHOD),
        Bound("upper", ldexp_up(top, symbols.exponent), min(b.evidence for b in uppers), METHOD, odds),
    )
    return Found(bounds, METHOD, 1, f"{ANY_SIZE}; too many taps for its symbol, bounded by the flattened kernel")


def _copies(known: Geometry) -> int:
    """sup ‖P‖² of the padding over all input sizes."""
    whole = all(
        s == 1 and sum(pair) == (k - 1) * d
        for k, s, d, pair in zip(known.kernel, known.stride, known.dilation, known.padding, strict=True)
    )
    if known.mode == "zeros" or (known.mode == "circular" and whole):  # block circulant at every size
        return 1
    if known.mode == "replicate":
        return math.prod(1 + max(0, before) + max(0, after) for before, after in known.padding)  # an input of size 1
    return math.prod(1 + (before > 0) + (after > 0) for before, after in known.padding)


class BareKernel(LinearOperator):
    """A convolution kernel whose settings are unknown: a host float32 or float64 array (out, in, *k).

    Measured, it has one bound: an upper one for every way in which the kernel may be applied with zero padding.
    """

    def __init__(self, kernel: NDArray[Any]) -> None:
        self.kernel = kernel
        self._geometry = geometry(kernel.shape, None)
        super().__init__((kernel.shape[0],), (kernel.shape[1],))

    def matmat(self, block: Block) -> Block:  # noqa: ARG002
        """Refused: there is no operator without settings."""
        raise UnsupportedInput(f"{self!r} has unknown settings, so no products; give them to opnorm.Convolution")

    rmatmat = matmat

    def own_bounds(self, request: Request) -> Found:
        """See `LinearOperator.own_bounds`."""
        return unknown_settings(self.kernel, request)


def unknown_settings(kernel: NDArray[Any], request: Request) -> Found:
    """The stride-1, ungrouped supremum: an upper bound for every stride, dilation, grouping, transposition and size."""
    if not np.isfinite(kernel).all():
        raise UndefinedNorm(int(np.isnan(kernel).sum()), int(np.isinf(kernel).sum()))
    if kernel.size == 0 or not kernel.any():
        return _zero()
    if math.prod(kernel.shape[2:]) == 1:
        found = _flattened(kernel, request)
    else:
        found = any_size(kernel, geometry(kernel.shape, None), request)
    uppers = tuple(bound for bound in found.bounds if bound.side == "upper")
    return Found(uppers, found.method, found.passes, UNKNOWN_SETTINGS)
