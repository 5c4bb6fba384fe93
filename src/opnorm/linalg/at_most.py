"""Is σ₁ ≤ c? One Gram matrix and one Cholesky factorization decide it, without finding σ₁ first.

Theorem C (`opnorm.linalg.gram`) bounds σ₁² by s + slack + error, all known before the factorization but its success.
So s is chosen such that the bound is c² exactly as rounded: what the method leaves undecided is the slack alone,
a few m(m + 2n)·2⁻⁵³ of σ₁, which no search for σ₁ has to match. A few Lanczos passes over the Gram matrix tell how far
σ₁ is from c, for those who must try again.

Guarantee: both ends PROVED. Cost: m²n + m³/3 multiplications; beyond a short side of 16384 (`plan.GRAM_SIDE_MOST`)
only what the entries alone give.
"""

from __future__ import annotations

import math
import time

import numpy as np

from opnorm.bound import Bound, Measurement
from opnorm.linalg.centering import centered, scaled_back
from opnorm.linalg.environment import require_ieee
from opnorm.linalg.gram import Gram, gram_matrix, prove_upper
from opnorm.linalg.lanczos import BlockLanczos
from opnorm.linalg.plan import GRAM_SIDE_MOST
from opnorm.linalg.request import proved
from opnorm.linalg.rounding import UNIT, down, ldexp_down, up
from opnorm.linalg.start import start_block
from opnorm.linalg.stored import StoredMatrix

_BLOCK, _PASSES, _SETTLED = 8, 24, 1e-10
_NEAR = 1e-3
"""Relative distance from what was seen at which a proof is tried first, for a bound that says more than the ceiling."""

_TOO_LARGE = f"its short side exceeds {GRAM_SIDE_MOST}: a Gram matrix of that size is not formed, and nothing narrower"


def at_most(matrix: StoredMatrix, ceiling: float, seed: int = 0) -> Measurement:
    """Bounds on σ₁, the upper one at most `ceiling` if that can be proved; the lower one is what was seen.

    Raises `UndefinedNorm` for non-finite entries. The same matrix, ceiling and seed give the same answer.
    """
    began = time.perf_counter()
    require_ieee()
    wide, exponent = centered(matrix.wide())
    assert isinstance(wide, StoredMatrix)
    known = wide.entrywise().bounds() if 0 not in wide.shape else ()
    bounds, method, note = _decided(wide, known, ldexp_down(ceiling, -exponent), seed)
    back = (scaled_back(bound, exponent) for bound in bounds)
    return Measurement(
        bounds=tuple(bound for bound in back if bound is not None),
        shape=matrix.shape,
        method=method,
        passes=2,
        seconds=time.perf_counter() - began,
        seed=seed,
        note=note,
    )


def slack_of(shape: tuple[int, int], stable_rank: float) -> float:
    """About how far below the ceiling, relatively, σ₁ must lie to be proved at most it."""
    rows, columns = min(shape), max(shape)
    return UNIT * (rows * (rows + 4) + 4 * columns * min(stable_rank, rows) + 64)


def _decided(
    wide: StoredMatrix, known: tuple[Bound, ...], ceiling: float, seed: int
) -> tuple[tuple[Bound, ...], str, str]:
    if not known or wide.entrywise().one == 0:
        return (proved("lower", 0.0, "zero"), proved("upper", 0.0, "zero")), "zero", ""
    if min(b.value for b in known if b.side == "upper") <= ceiling:
        return known, "entrywise", ""
    if wide.shape[0] > GRAM_SIDE_MOST:
        return known, "entrywise", _TOO_LARGE
    gram = gram_matrix(wide)
    lower = _seen(gram, seed)
    bounds = (*known, proved("lower", lower, "gram"))
    near = min(lower * (1 + _NEAR), ceiling)
    upper = _proved(gram, near) if lower <= ceiling else None
    if upper is None and near < ceiling:  # the Gram matrix is whole again: a factorization failed, or none was tried
        upper = _proved(gram, ceiling)
    return (bounds if upper is None else (*bounds, proved("upper", upper, "gram"))), "gram", ""


def _seen(gram: Gram, seed: int) -> float:
    """σ₁ from below, by Lanczos on the Gram matrix until it settles or the passes are spent."""
    rows = len(gram.matrix)
    lanczos = BlockLanczos(lambda block: gram.matrix @ block, start_block(rows, min(_BLOCK, rows), seed))
    top, before = 0.0, -1.0
    while not lanczos.spent(_PASSES) and top - before > _SETTLED * top:
        lanczos.step()
        before, top = top, float(np.linalg.eigvalsh(lanczos.projection)[-1])
    return down(math.sqrt(gram.rayleigh(lanczos.basis @ lanczos.top()[1])))


def _proved(gram: Gram, ceiling: float) -> float | None:
    """An upper bound on σ₁ near `ceiling`, at most that but for a wider slack than foreseen; or None."""
    rows, square = len(gram.matrix), down(ceiling * ceiling)
    trace = max(rows * square - float(np.trace(gram.matrix)), 0.0)
    slack = (rows + 2) * UNIT * (1 + 1e-6) * trace + 4 * UNIT * square
    shift = square * (1 - 64 * UNIT) - up(slack, 16) - gram.error
    value = prove_upper(gram, shift) if shift > 0 else None
    return None if value is None else up(math.sqrt(value))
