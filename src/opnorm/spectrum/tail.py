"""A power law fitted to the largest eigenvalues λ = σ² of WᵀW, after Clauset, Shalizi and Newman.

p(λ) ∝ λ^−α for λ ≥ λ_min. For each λ_min the maximum-likelihood exponent is α = 1 + k/Σ log(λ/λ_min) over the k
values in the tail, with standard error (α − 1)/√k; the λ_min is chosen whose law is nearest to the tail in the
distance of Kolmogorov and Smirnov (A. Clauset, C. R. Shalizi and M. E. J. Newman, SIAM Review 51 (2009) 661). C. H.
Martin and M. W. Mahoney, JMLR 22 (2021) 165, read α of layers: about 2 to 6 where training went well. The law is of
λ: of σ the exponent is 2α − 1.

What others get wrong and is right here: the distance is taken on both sides of every step of the empirical
distribution; fewer than 50 points give no exponent, as none could be trusted; α is not held below
3; the error is that of α at the λ_min chosen, and leaves out that λ_min was chosen.

The fits are closed forms, done here for all λ_min at once. `powerlaw` 2.0.0, the library of the field, builds an
object for each λ_min and takes thirty times as long, for comparisons with other laws three hundred times; by default
it holds α below 3 and so misreports every layer above, and it measures one side of each step. It is the tests'
independent implementation. Alternatives: `opnorm.spectrum.alternatives`.

Guarantee: an estimate, with its error and its goodness of fit. Cost: k²/2 exponentials, at most `CANDIDATES`·k
and about `MOST_WORK`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from opnorm.linalg.rounding import Float64
from opnorm.spectrum.alternatives import favored
from opnorm.spectrum.document import Tail
from opnorm.spectrum.values import Values

LEAST_POINTS = 50
"""A tail has at least so many points."""

CANDIDATES = 1024
"""Values of λ_min that are tried at most, evenly spaced in rank; fewer of very many values, as `MOST_WORK` says."""

MOST_WORK, FEWEST = 1 << 28, 32
"""Exponentials spent on a fit, a few seconds, and how many λ_min are tried whatever they cost."""

SIMULATIONS = 200
"""Samples behind a p-value, whose own standard error is then at most 0.035."""

_CHUNK = 1 << 22
_STREAM = b"tail"


@dataclass(frozen=True, slots=True)
class Fit:
    """The law nearest to a tail: of `points` values from `start` on, ascending."""

    alpha: float
    start: int
    points: int
    distance: float


def tail_of(values: Values, *, simulations: int = 0, seed: int = 0) -> Tail | None:
    """The tail of all λ = σ² above the resolution; None for fewer than 50 of them, or where all are alike.

    simulations: samples for the p-value, which is None for 0. A p-value below 0.1 speaks against the law.
    """
    logs = 2 * np.log(values.positive())[::-1]
    fit = fitted(logs)
    if fit is None:
        return None
    beyond = logs[fit.start :] - logs[fit.start]
    least = math.exp(min(logs[fit.start], 709.0))
    error = (fit.alpha - 1) / math.sqrt(fit.points)
    p_value = goodness(logs, fit, simulations, seed) if simulations else None
    return Tail(fit.alpha, error, least, fit.points, fit.distance, p_value, favored(beyond, fit.alpha))


def fitted(logs: Float64) -> Fit | None:
    """The best fit to log λ, ascending; None where there are too few points, or too few different ones."""
    count = len(logs)
    if count < LEAST_POINTS:
        return None
    tried = min(CANDIDATES, max(FEWEST, MOST_WORK // count))
    starts = np.unique(np.linspace(0, count - LEAST_POINTS, tried).round().astype(int))
    # A start within a run of equal values would cut the run: its first stands for all.
    starts = np.unique(np.searchsorted(logs, logs[starts]))
    sums = np.cumsum(logs[::-1])[::-1]
    points = count - starts
    excess = sums[starts] - points * logs[starts]
    usable = excess > 1e-9 * points
    starts, points, excess = starts[usable], points[usable], excess[usable]
    if len(starts) == 0:
        return None
    alphas = 1 + points / excess
    distances = _distances(logs, starts, alphas)
    best = int(np.argmin(distances))
    return Fit(float(alphas[best]), int(starts[best]), int(points[best]), float(distances[best]))


def _distances(logs: Float64, starts: np.ndarray, alphas: Float64) -> Float64:
    """Kolmogorov and Smirnov's distance between each tail and its law, both sides of each step."""
    count = len(logs)
    distances = np.empty(len(starts))
    size = max(1, _CHUNK // count)
    rank = np.arange(count)
    for first in range(0, len(starts), size):
        part = slice(first, first + size)
        start = starts[part, None]
        law = -np.expm1(np.minimum((1 - alphas[part, None]) * (logs - logs[start]), 0.0))
        steps = (rank - start) / (count - start)
        apart = np.maximum(np.abs(law - steps), np.abs(law - steps - 1 / (count - start)))
        distances[part] = np.where(rank >= start, apart, 0.0).max(axis=1)
    return distances


def goodness(logs: Float64, fit: Fit, simulations: int, seed: int) -> float:
    """The share of samples drawn from the fitted law that, fitted alike, lie farther from theirs (Clauset et al. §4.1).

    Each sample has as many points; each comes from the law with the tail's share, else from the values below it.
    """
    rng = np.random.Generator(np.random.PCG64DXSM(np.random.SeedSequence([seed, *_STREAM])))
    body, least, count = logs[: fit.start], logs[fit.start], len(logs)
    farther = 0
    for _ in range(simulations):
        inside = rng.random(count) < fit.points / count if len(body) else np.ones(count, dtype=bool)
        drawn = least + rng.exponential(1 / (fit.alpha - 1), count)
        sample = np.where(inside, drawn, rng.choice(body, count) if len(body) else drawn)
        found = fitted(np.sort(sample))
        farther += found is not None and found.distance >= fit.distance
    return farther / simulations
