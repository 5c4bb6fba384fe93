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
from opnorm.linalg.gram import Gram, gram_matrix, prove_upper
from opnorm.linalg.lanczos import BlockLanczos
from opnorm.linalg.operator import LinearOperator
from opnorm.linalg.plan import Plan
from opnorm.linalg.request import Found, Request, proved, shortfall
from opnorm.linalg.rounding import Float64, down, up
from opnorm.linalg.start import start_block
from opnorm.linalg.stored import StoredMatrix

_SHARE = 0.98
"""Of the width asked for, what the shift takes; the rest is left to the slack of the proof."""


_FINEST = 1e-9
"""Below this width float32 products are too coarse to find the norm from below."""


def by_gram(
    wide: LinearOperator, known: tuple[Bound, ...], plan: Plan, request: Request, warm: Float64 | None
) -> Found:
    """Lanczos on G finds the norm from below; one Cholesky factorization just above it proves it."""
    gram = gram_matrix(wide)
    start = start_block(wide.shape[0], plan.block, request.seed, request.key)
    lanczos = BlockLanczos(_explorer(wide, gram, request.width), start, warm)
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


def _explorer(wide: LinearOperator, gram: Gram, width: float) -> Callable[[Float64], Float64]:
    """Products with AAᵀ for Lanczos: an error e in a Ritz vector costs its Rayleigh quotient only e²."""
    if width < _FINEST:
        return lambda block: gram.matrix @ block
    rows, columns = wide.shape
    if isinstance(wide, StoredMatrix) and rows >= IN_PLACE_SIDE and columns <= 2 * rows:
        return wide.gram  # as many bytes to read as a copy of G, and none to allocate
    rough = gram.matrix.astype(np.float32)
    return lambda block: np.asarray(rough @ block.astype(np.float32), dtype=np.float64)


def _spent(lanczos: BlockLanczos, plan: Plan) -> bool:
    return lanczos.exhausted or lanczos.passes >= plan.passes


def _converge(lanczos: BlockLanczos, plan: Plan, width: float) -> None:
    """Step until the top Ritz value seems within half of `width` of λ₁; the factorization decides.

    Looking costs an eigenproblem of the basis, so it is done at every eighth of the passes made.
    """
    while not _spent(lanczos, plan):
        for _ in range(1 + lanczos.passes // 8):
            if not _spent(lanczos, plan):
                lanczos.step()
        if _seems_converged(lanczos, width):
            return


def _seems_converged(lanczos: BlockLanczos, width: float) -> bool:
    """By the residual of the top Ritz vector, and its square over the gap below: a guess, as all such tests are."""
    values, vectors = np.linalg.eigh(lanczos.projection)
    tail = vectors[len(values) - lanczos.coupling.shape[1] :, -1]
    residual = float(np.linalg.norm(lanczos.coupling @ tail))
    gap = float(values[-1] - values[-2]) if len(values) > 1 else math.inf
    error = min(residual, residual**2 / gap) if gap > 0 else residual
    return error <= width * float(values[-1])
