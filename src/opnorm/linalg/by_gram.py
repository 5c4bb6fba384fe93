"""The method `gram`: form G = AAᵀ in float64 and prove both ends from it.

Guarantee: lower PROVED (a Rayleigh quotient of G less its errors), upper PROVED (theorem C,
`opnorm.linalg.gram`). Cost: one pass, m²n + m³/3 multiplications, 8m² to 16m² bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from opnorm.bound import Bound
from opnorm.linalg.cholesky import IN_PLACE_SIDE
from opnorm.linalg.gram import Gram, gram_matrix, gram_matrix32, prove_upper
from opnorm.linalg.lanczos import BlockLanczos
from opnorm.linalg.operator import LinearOperator
from opnorm.linalg.plan import Plan
from opnorm.linalg.request import Found, Request, proved, shortfall
from opnorm.linalg.rounding import Float64, down, up
from opnorm.linalg.start import start_block
from opnorm.linalg.stored import StoredMatrix

_SHARE = 0.98
"""Of the width asked for, what the shift takes; the rest is left to the slack of the proof."""


_HOPELESS = 1e4

COARSE_WIDTH = 2e-3
"""From this width a Gram matrix of float32 products may do."""

_FINEST = 1e-9
"""Below this width float32 products are too coarse to find the norm from below."""


def by_gram(
    wide: LinearOperator, known: tuple[Bound, ...], plan: Plan, request: Request, warm: Float64 | None
) -> Found:
    """Lanczos on G finds the norm from below; one Cholesky factorization just above it proves it."""
    start = start_block(wide.shape[0], plan.block, request.seed, request.key)
    rough = gram_matrix32(wide) if request.width >= COARSE_WIDTH and len(start) < IN_PLACE_SIDE else None
    lower, upper, passes = 0.0, None, 1
    if rough is not None:
        lanczos = BlockLanczos(_explorer(wide, rough, request.width), start, warm)
        lower, upper = _prove(rough, lanczos, plan, request, patience=1)
    if upper is None:
        gram = gram_matrix(wide)
        lanczos = BlockLanczos(_explorer(wide, gram, request.width), start, warm)
        lower, upper = _prove(gram, lanczos, plan, request, patience=plan.passes)
        upper = _whatever_holds(gram, lower, request.width) if upper is None else upper
        passes += rough is not None
    bounds = (*known, proved("lower", down(math.sqrt(lower)), "gram"))
    if upper is not None:
        bounds += (proved("upper", up(math.sqrt(upper)), "gram"),)
    remedy = "float64 rounding allows no narrower proof here; ask for a larger --width"
    return Found(bounds, "gram", passes, shortfall(bounds, request, remedy))


def _prove(
    gram: Gram, lanczos: BlockLanczos, plan: Plan, request: Request, patience: int
) -> tuple[float, float | None]:
    """Bounds on λ₁ = σ₁²: factorize just above the lower bound; if that fails, explore more finely."""
    lower, upper, width = 0.0, None, request.width
    while upper is None and not lanczos.spent(plan.passes) and patience > 0:
        _converge(lanczos, plan, width)
        lower = max(lower, gram.rayleigh(lanczos.basis @ lanczos.top()[1]))
        upper = prove_upper(gram, lower * (1 + _SHARE * request.width) ** 2 - gram.error)
        width, patience = 1e-3 * width, patience - 1
    return lower, upper


def _whatever_holds(gram: Gram, lower: float, width: float) -> float | None:
    """The narrowest proof that four times the width, sixteen times … allow."""
    upper = None
    while upper is None and lower > 0 and width < _HOPELESS:
        width *= 4
        upper = prove_upper(gram, lower * (1 + width) ** 2)
    return upper


def _explorer(wide: LinearOperator, gram: Gram, width: float) -> Callable[[Float64], Float64]:
    """Products with AAᵀ for Lanczos: an error e in a Ritz vector costs its Rayleigh quotient only e²."""
    if width < _FINEST:
        return lambda block: gram.matrix @ block
    rows, columns = wide.shape
    if isinstance(wide, StoredMatrix) and rows >= IN_PLACE_SIDE and columns <= 2 * rows:
        return wide.gram  # as many bytes to read as a copy of G, and none to allocate
    rough = gram.matrix.astype(np.float32)
    return lambda block: np.asarray(rough @ block.astype(np.float32), dtype=np.float64)


def _converge(lanczos: BlockLanczos, plan: Plan, width: float) -> None:
    """Step until the top Ritz value seems within a quarter of `width` of λ₁; the factorization decides."""
    tops: list[float] = []
    while not lanczos.spent(plan.passes):
        lanczos.step()
        tops.append(float(np.linalg.eigvalsh(lanczos.projection)[-1]))
        if len(tops) > 2 and _remaining(*tops[-3:]) <= 0.5 * width * tops[-1]:
            return


def _remaining(first: float, second: float, third: float) -> float:
    """What a geometric sequence through three values has still to grow: a guess, and on spectra met a good one."""
    before, last = second - first, third - second
    if last <= 0:
        return 0.0
    return last * last / (before - last) if last < 0.9 * before else math.inf
