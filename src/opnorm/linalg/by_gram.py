"""The method `gram`: form G = AAᵀ in float64 and prove both ends from it.

Guarantee: lower PROVED (a Rayleigh quotient of G less its errors), upper PROVED (theorem C,
`opnorm.linalg.gram`). Cost: one pass, m²n + m³/3 multiplications, 8m² to 16m² bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from opnorm.bound import Bound
from opnorm.linalg.gram import Gram, gram_matrix, prove_upper
from opnorm.linalg.lanczos import BlockLanczos
from opnorm.linalg.operator import LinearOperator
from opnorm.linalg.plan import Plan
from opnorm.linalg.request import Found, Request, proved, shortfall
from opnorm.linalg.rounding import Float64, down, up
from opnorm.linalg.start import start_block

_SHARE = 0.98
"""Of the width asked for, what the shift takes; the rest is left to the slack of the proof."""


def by_gram(
    wide: LinearOperator, known: tuple[Bound, ...], plan: Plan, request: Request, warm: Float64 | None
) -> Found:
    """Lanczos on G finds the norm from below; one Cholesky factorization just above it proves it."""
    gram = gram_matrix(wide)
    start = start_block(wide.shape[0], plan.block, request.seed, request.key)
    lanczos = BlockLanczos(_explorer(gram, plan), start, warm)
    lower, upper = _prove(gram, lanczos, plan, request)
    bounds = (*known, proved("lower", down(math.sqrt(lower)), "gram"))
    if upper is not None:
        bounds += (proved("upper", up(math.sqrt(upper)), "gram"),)
    remedy = "float64 rounding allows no narrower proof here; ask for a larger --width"
    return Found(bounds, "gram", 1, shortfall(bounds, request, remedy))


def _prove(gram: Gram, lanczos: BlockLanczos, plan: Plan, request: Request) -> tuple[float, float | None]:
    """Bounds on λ₁ = σ₁²: factorize just above the lower bound; if that fails, explore more finely."""
    lower, upper, width = 0.0, None, request.width
    while upper is None and not _spent(lanczos, plan):
        _converge(lanczos, plan, width)
        lower = max(lower, gram.rayleigh(lanczos.basis @ lanczos.top()[1]))
        upper = prove_upper(gram, lower * (1 + _SHARE * request.width) ** 2)
        width *= 1e-3
    attempt = request.width
    while upper is None and lower > 0 and attempt < 1e4:
        attempt *= 4
        upper = prove_upper(gram, lower * (1 + attempt) ** 2)
    return lower, upper


def _explorer(gram: Gram, plan: Plan) -> Callable[[Float64], Float64]:
    if plan.precise:
        return lambda block: gram.matrix @ block
    rough = gram.matrix.astype(np.float32)
    return lambda block: np.asarray(rough @ block.astype(np.float32), dtype=np.float64)


def _spent(lanczos: BlockLanczos, plan: Plan) -> bool:
    return lanczos.exhausted or lanczos.passes >= plan.passes


def _converge(lanczos: BlockLanczos, plan: Plan, width: float) -> None:
    """Step until the top Ritz value seems within a third of `width` of λ₁; the factorization decides."""
    while not _spent(lanczos, plan):
        lanczos.step()
        values, vectors = np.linalg.eigh(lanczos.projection)
        tail = vectors[len(values) - lanczos.coupling.shape[1] :, -1]
        residual = float(np.linalg.norm(lanczos.coupling @ tail))
        gap = float(values[-1] - values[-2]) if len(values) > 1 else math.inf
        error = min(residual, residual**2 / gap) if gap > 0 else residual
        if error <= 0.3 * width * float(values[-1]):
            return
