"""Polar factors by Newton–Schulz iterations: products of matrices only, each with the range of σ that it is proved for.

An odd polynomial p(σ) = aσ + bσ³ + cσ⁵ acts on singular values alone: p(W) = U p(Σ)Vᵀ = (aI + bG + cG²)W, G = WWᵀ.
So what k steps make of all matrices with σ in [lo, hi] is the image of an interval under k scalar polynomials
(`opnorm.constraint.ranges`, exact). Minimax steps are the best odd quintics in turn, each on the interval that the
step before leaves; that greedy choice is optimal (N. Amsel, D. Persson, C. Musco and R. M. Gower, *The Polar
Express*, 2025). They are computed here, by Remez exchange.

Guarantee: in exact arithmetic, PROVED for σ_i/scale in [floor, 1]; products rounded in float32 add errors of about
1e-6, not bounded here. Cost: a quintic step 4n²m + 2n³ operations, a cubic one 4n²m, n the short side; no
synchronization with the host.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from opnorm.constraint.band import Band
from opnorm.constraint.projection.checks import require_shape
from opnorm.constraint.projection.spectrum import scaled
from opnorm.constraint.ranges import Triple, output_range
from opnorm.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CUBIC", "MUON", "Iteration", "Polar", "cubic_step", "iteration", "ns_step", "output_range", "polar"]

Method: TypeAlias = Literal["minimax", "contracting", "muon", "cubic"]

CUBIC: Triple = (1.5, -0.5, 0.0)
"""Newton and Schulz: σ → 1 quadratically for every σ in (0, √3), at most 1 after one step; diverges beyond √5."""

QUINTIC: Triple = (1.875, -1.25, 0.375)
"""The same of order 3, the limit of minimax steps."""

MUON: Triple = (3.4445, -4.7750, 2.0315)
"""K. Jordan's coefficients, as in `torch.optim.Muon`: fast from small σ, and never nearer to 1 than about 0.3."""

MUON_STEPS = 5
SAFE_DEFECT = 0.9
CONVERGED = 1e-6
MOST_STEPS = 200


@dataclass(frozen=True, slots=True)
class Iteration:
    """Steps, proved in exact arithmetic to take σ in [floor, 1] to [low, high] and σ in [0, floor) to [0, high]."""

    method: str
    steps: tuple[Triple, ...]
    floor: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Polar:
    """A factor UVᵀ of W, as near as `iteration` says for every σ_i(W) ≥ iteration.floor·scale; scale ≥ σ₁(W)."""

    factor: Any
    scale: Any
    iteration: Iteration


@cache
def iteration(method: Method = "minimax", floor: float = 1e-3, steps: int | None = None) -> Iteration:
    """The steps of a method and the proved range of what they make of σ in [floor, 1].

    minimax: the fastest, ends on both sides of 1. contracting: the same, its last step scaled so that no σ in [0, 1]
    ends above 1. cubic: never above 1, slow from small σ. muon: 5 steps of Jordan's coefficients. steps: None
    takes as many as bring σ within 1e-6 of 1. `UsageError` for an unknown method, floor or count.
    """
    if method not in get_args(Method):
        raise UsageError(f"method={method!r} is not known; choose one of: {', '.join(get_args(Method))}")
    if not 1e-9 <= floor < 1:
        raise UsageError(f"floor={floor!r} is not possible: give the smallest σ/σ₁ that matters, from 1e-9 to below 1")
    if steps is not None and not 1 <= steps <= MOST_STEPS:
        raise UsageError(f"steps={steps!r} is not possible: give a whole number from 1 to {MOST_STEPS}, or None")
    if method == "muon" and steps is None:
        steps = MUON_STEPS
    triples: list[Triple] = []
    low, high = floor, 1.0
    while len(triples) < (steps or MOST_STEPS) and (steps or max(1 - low, high - 1) > CONVERGED):
        triples.append(_next(method, low, high))
        low, high = output_range(triples[-1], 1, low, high)
    if method == "contracting":
        triples[-1] = _below_one(triples)
    low = max(output_range(triples, len(triples), floor, 1.0)[0], 0.0)
    return Iteration(method, tuple(triples), floor, low, output_range(triples, len(triples), 0.0, 1.0)[1])


def _next(method: Method, low: float, high: float) -> Triple:
    if method in ("cubic", "muon"):
        return CUBIC if method == "cubic" else MUON
    return minimax(low, high)


def _below_one(triples: list[Triple]) -> Triple:
    """The last step divided by the largest value on [0, 1], rounded so that it stays at most 1."""
    *first, (a, b, c) = triples
    size = max(output_range(triples, len(triples), 0.0, 1.0)[1], 1.0)
    while True:
        last = (a / size, b / size, c / size)
        if output_range([*first, last], len(triples), 0.0, 1.0)[1] <= 1:
            return last
        size *= 1 + 2.0**-50


def minimax(low: float, high: float) -> Triple:
    """The odd quintic nearest to 1 on [low, high], by Remez exchange over its two inner extrema.

    Only speed depends on how well it converges: what the coefficients do is proved afterwards.
    """
    if high - low < 1e-3:
        return QUINTIC
    left, right = low + (high - low) * 0.35, low + (high - low) * 0.75
    for _ in range(100):
        a, b, c = _equioscillating((low, left, right, high))
        root = math.sqrt(max(9 * b * b - 20 * a * c, 0.0))
        moved = math.sqrt((-3 * b - root) / (10 * c)), math.sqrt((-3 * b + root) / (10 * c))
        if abs(moved[0] - left) + abs(moved[1] - right) < 1e-13:
            break
        left, right = moved
    return a, b, c


def _equioscillating(points: tuple[float, ...]) -> Triple:
    """a, b, c with p(x_i) + (−1)^i e = 1 at four points."""
    import numpy as np

    x = np.array(points)
    system = np.stack([x, x**3, x**5, np.array([1.0, -1.0, 1.0, -1.0])], axis=1)
    a, b, c, _ = np.linalg.solve(system, np.ones(4)).tolist()
    return a, b, c


def polar(
    W: Any, method: Method = "minimax", *, floor: float = 1e-3, steps: int | None = None, stacked: bool = False
) -> Polar:
    """The polar factor of a NumPy, torch or JAX matrix by products alone; see `iteration` for the arguments.

    W is first divided by an upper bound on σ₁, min(‖W‖_F, √(‖W‖₁‖W‖_∞)) with its rounding, so that all σ lie in [0, 1].
    Formats narrower than float32 are computed in float32. A zero matrix gives zeros; NaN and Inf come out as NaN.
    """
    plan = iteration(method, floor, steps)
    require_shape(tuple(W.shape), Band(), stacked)
    xp = _namespace(W)
    work = W if xp.finfo(W.dtype).bits >= 32 else _cast(W, xp.float32)
    part = scaled(xp, work, 0.0, math.inf, xp.amax(xp.abs(work), (-2, -1))[..., None, None])
    bound = _norm_bound(xp, part.matrix)
    wide = part.matrix / xp.where(bound > 0, bound, xp.ones_like(bound))
    tall = W.shape[-2] > W.shape[-1]
    wide = wide.mT if tall else wide
    for triple in plan.steps:
        wide = _step(wide, triple)
    return Polar(_cast(wide.mT if tall else wide, W.dtype), (bound * part.up)[..., 0, 0], plan)


def _step(wide: Any, triple: Triple) -> Any:
    a, b, c = triple
    gram = wide @ wide.mT
    factor = b * gram + c * (gram @ gram) if c else b * gram
    return a * wide + factor @ wide


def _norm_bound(xp: Any, matrix: Any) -> Any:
    """min(‖W‖_F, √(‖W‖₁‖W‖_∞)) ≥ σ₁ for entries of size about 1, sums in any order included; shape (..., 1, 1)."""
    size = xp.abs(matrix)
    sums = xp.amax(size.sum(-1), -1) * xp.amax(size.sum(-2), -1)
    squares = (size * size).sum(-1).sum(-1)
    rounding = 1 + (sum(matrix.shape[-2:]) + 16) * float(xp.finfo(matrix.dtype).eps)
    return (xp.sqrt(xp.where(sums < squares, sums, squares)) * rounding)[..., None, None]


def cubic_step(weight: Tensor) -> Tensor:
    """W(3I − WᵀW)/2, a new tensor: σ → σ(3 − σ²)/2, which squares the distance to 1. 4n²m operations, n the short side.

    Safe where ‖WᵀW − I‖ < 2, as then σ < √3: `ns_step` looks.
    """
    tall = weight.shape[0] > weight.shape[1]
    new = _step(weight.mT if tall else weight, CUBIC)
    return new.mT if tall else new


def ns_step(weight: Tensor) -> Tensor:
    """The cubic step in place, where the defect ‖WᵀW − I‖_F (short side) is below 0.9; returns the defect.

    Then |σ² − 1| < 1 for every σ, rounding included: 0 < σ < √2, inside the interval of convergence, and no
    direction is lost. Else W stays, bit for bit. NaN compares as false, so a poisoned weight stays too.
    On the device, without synchronization.
    """
    import torch

    with torch.no_grad():
        tall = weight.shape[0] > weight.shape[1]
        wide = weight.mT if tall else weight
        gram = wide @ wide.mT
        defect = torch.linalg.matrix_norm(gram - torch.eye(len(gram), dtype=gram.dtype, device=gram.device))
        wide.copy_(torch.where(defect < SAFE_DEFECT, 1.5 * wide - 0.5 * (gram @ wide), wide))
    return defect


def _namespace(matrix: Any) -> Any:
    root = type(matrix).__module__.split(".")[0]
    return import_module({"jax": "jax.numpy", "jaxlib": "jax.numpy", "torch": "torch"}.get(root, "numpy"))


def _cast(array: Any, dtype: Any) -> Any:
    return array.to(dtype) if hasattr(array, "to") and not hasattr(array, "astype") else array.astype(dtype)
