"""The distribution of singular values by stochastic Lanczos quadrature, for operators too large to decompose.

For a random unit vector v on the sphere of R^m, E vᵀf(AAᵀ)v = tr f(AAᵀ)/m. k Lanczos steps from v give nodes θⱼ and
weights ωⱼ, the Gauss rule of the measure that v sees: vᵀf(AAᵀ)v ≈ Σωⱼ f(θⱼ), exact for polynomials of degree 2k − 1
(G. H. Golub and G. Meurant, *Matrices, Moments and Quadrature*, 2010; S. Ubaru, J. Chen and Y. Saad, SIAM J. Matrix
Anal. Appl. 38 (2017) 1075). Several vectors run in lockstep, so that a step is one pass over the weights, where they
live. Nothing is orthogonalized again: what rounding does to the recurrence repeats nodes and shares out their
weights, and leaves sums of them as they are (A. Greenbaum, *Linear Algebra Appl.* 113 (1989) 7; T. Chen, T. Trogdon
and S. Ubaru, ICML 2021).

Guarantee: ESTIMATE. `error` of what follows is the spread over the vectors (one standard error, by jackknife); what
the rule itself leaves out is not in it: values below about σ₁/k are told apart poorly, sums are good where f and the
density are smooth at the scale of the nodes. Cost: k passes over the operator with a block of p vectors; 32pm bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from opnorm.linalg.centering import centered
from opnorm.linalg.operator import LinearOperator
from opnorm.linalg.request import Request
from opnorm.linalg.rounding import Float64
from opnorm.linalg.start import start_block

PROBES, STEPS = 10, 40
"""Vectors and steps: shares of a smooth density come out within about a percent."""

_DONE = 1e-10

NEGLIGIBLE = 2.0**-10
"""Of the largest node: products in float32 cannot tell what lies below from 0."""

_STREAM = b"quadrature"


@dataclass(frozen=True, slots=True)
class Quadrature:
    """What p random vectors saw of m singular values. sigma, weights: (p, k); each row of weights sums up to 1."""

    sigma: Float64
    weights: Float64
    count: int

    def mean(self, function: Callable[[Float64], Float64]) -> Float64:
        """Of f(σ) over all m values, one estimate a vector: (p,)."""
        return np.asarray((self.weights * function(self.sigma)).sum(axis=1))

    def estimated(self, *parts: Float64, combine: Callable[..., float]) -> tuple[float, float]:
        """combine(mean of each part) and its standard error, by leaving out one vector at a time."""
        means = [float(part.mean()) for part in parts]
        probes = len(parts[0])
        left_out = [
            combine(*((part.sum() - part[i]) / (probes - 1) for part in parts)) for i in range(probes)
        ]  # fmt: skip
        spread = float(np.square(np.asarray(left_out) - np.mean(left_out)).sum())
        return combine(*means), float(np.sqrt(spread * (probes - 1) / probes))

    def below(self, points: Float64) -> Float64:
        """The share of values at most each point, as each vector sees it: (p, points).

        The distribution function of a Gauss rule crosses the true one within every step (Markov and Stieltjes), so
        half a step is counted at its node, and what lies between nodes is interpolated in log σ.
        """
        return np.stack([_shares(s, w, points) for s, w in zip(self.sigma, self.weights, strict=True)])

    def quantile(self, share: float) -> Float64:
        """The value below which a share of all lies, as each vector sees it: (p,)."""
        return np.array([_quantile(s, w, share) for s, w in zip(self.sigma, self.weights, strict=True)])


def quadrature(
    operator: LinearOperator, request: Request, probes: int = PROBES, steps: int = STEPS
) -> Quadrature | None:
    """The nodes and weights of an operator's singular values, in its own units; None for a single row or column."""
    wide, exponent = centered(operator.wide())
    rows = wide.shape[0]
    steps = min(steps, rows)
    if rows < 2:
        return None
    start = start_block(rows, probes, request.seed, request.key + _STREAM)
    diagonal, beside = _lanczos(wide, start, steps)
    values, vectors = np.linalg.eigh(_tridiagonal(diagonal, beside))
    with np.errstate(over="ignore", under="ignore"):
        sigma = np.ldexp(np.sqrt(np.maximum(values, 0.0)), exponent)
    return Quadrature(sigma, np.asarray(vectors[:, 0, :] ** 2), rows)


def _lanczos(wide: LinearOperator, start: Float64, steps: int) -> tuple[Float64, Float64]:
    """α (steps, p) and β (steps − 1, p) of one three-term recurrence a column, none of which knows of the others."""
    probes = start.shape[1]
    diagonal, beside = np.zeros((steps, probes)), np.zeros((steps - 1, probes))
    vector, before, length = start / np.linalg.norm(start, axis=0), np.zeros_like(start), np.zeros(probes)
    for step in range(steps):
        image = np.asarray(wide.gram(vector), dtype=np.float64) - length * before
        diagonal[step] = np.einsum("mp,mp->p", vector, image)
        if step + 1 == steps:
            break
        image -= diagonal[step] * vector
        length = np.linalg.norm(image, axis=0)
        # An invariant subspace is complete: what follows is decoupled, and has no weight.
        length = np.where(length > _DONE * diagonal[: step + 1].max(axis=0), length, 0.0)
        beside[step] = length
        before, vector = vector, np.where(length > 0, image / np.where(length > 0, length, 1.0), 0.0)
    return diagonal, beside


def _tridiagonal(diagonal: Float64, beside: Float64) -> Float64:
    steps, probes = diagonal.shape
    whole = np.zeros((probes, steps, steps))
    at = np.arange(steps)
    whole[:, at, at] = diagonal.T
    whole[:, at[1:], at[:-1]] = beside.T
    whole[:, at[:-1], at[1:]] = beside.T
    return whole


def _steps(sigma: Float64, weights: Float64) -> tuple[float, Float64, Float64]:
    """The share of what counts as 0, and of the other nodes, ascending: log σ and the share counted there."""
    kept = (weights > 0) & (sigma > NEGLIGIBLE * sigma.max(initial=0.0))
    order = np.argsort(sigma[kept])
    logs, sizes = np.log(sigma[kept][order]), weights[kept][order]
    zero = max(0.0, 1 - float(sizes.sum()))
    shares = zero + np.cumsum(sizes) - sizes / 2
    if len(logs) > 1:  # half of the lowest node lies below it, as far as half the way to the next
        logs, shares = np.concatenate([[1.5 * logs[0] - 0.5 * logs[1]], logs]), np.concatenate([[zero], shares])
    return zero, logs, shares


def _shares(sigma: Float64, weights: Float64, points: Float64) -> Float64:
    zero, logs, shares = _steps(sigma, weights)
    if len(logs) == 0:
        return np.ones(len(points))
    with np.errstate(divide="ignore"):
        return np.asarray(np.interp(np.log(points), logs, shares, left=zero, right=1.0))


def _quantile(sigma: Float64, weights: Float64, share: float) -> float:
    zero, logs, shares = _steps(sigma, weights)
    return 0.0 if len(logs) == 0 or share <= zero else float(np.exp(np.interp(share, shares, logs)))
