"""Is it a power law, or something else with a long tail? Likelihood ratios against three alternatives.

All of y = log(λ/λ_min) ≥ 0, for which a power law is the exponential law (α − 1)e^−(α−1)y. Alternatives, by maximum
likelihood:

- exponential in λ: rate 1/(mean λ/λ_min − 1);
- lognormal: y normal, cut at 0. Its ratio var y/mean² y falls from 1 to 0 as μ/σ grows, so one equation in one unknown
  remains; where the sample's ratio is 1 or more the best lognormal is the power law itself, its limit for μ → −∞;
- power law with an exponential cutoff, λ^−a e^−bλ, b ≥ 0: an exponential family, so the likelihood is concave, and
Newton's
  method finds its maximum; b = 0, the power law itself, where the mean is no less than the power law's.

A difference of log-likelihoods R counts where it is significant at 5 %: by Vuong's test for the first two (Q. H.
Vuong, *Econometrica* 57 (1989) 307), by χ² with half its mass at 0 for the last, which contains the power law at the
edge of its parameters (H. Chernoff, *Ann. Math. Statist.* 25 (1954) 573). The alternative of the highest likelihood
among those that are significantly better is favored; else the power law if it is significantly better than the
exponential; else none.

Guarantee: an estimate. Cost: a few hundred evaluations of k logarithms, and a quadrature.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from scipy.optimize import brentq
from scipy.special import erfc, log_ndtr

from opnorm.linalg.rounding import Float64

SIGNIFICANT = 0.05

_PARAMETERS = {"exponential": 1, "lognormal": 2, "truncated power law": 2}

_NODES = 400
_CUTOFF = 45.0
"""e^−45 is where integrals end."""

_LOG_ROOT = 0.5 * math.log(2 * math.pi)


def favored(beyond: Float64, alpha: float) -> str:
    """'power law', 'lognormal', 'truncated power law', 'exponential' or 'undecided', from y and the power law's α."""
    law = math.log(alpha - 1) - (alpha - 1) * beyond
    others = {
        "exponential": exponential(beyond),
        "lognormal": lognormal(beyond),
        "truncated power law": truncated(beyond, alpha),
    }
    better: dict[str, float] = {}
    for name, likelihoods in others.items():
        if likelihoods is None:
            continue
        gain, p_value = compared(likelihoods, law, nested=name == "truncated power law")
        if gain > 0 and p_value < SIGNIFICANT:
            better[name] = gain - _PARAMETERS[name] * math.log(len(beyond)) / 2
    if better:
        return max(better, key=lambda name: better[name])
    rival = others["exponential"]
    gain, p_value = (0.0, 1.0) if rival is None else compared(law, rival, nested=False)
    return "power law" if gain > 0 and p_value < SIGNIFICANT else "undecided"


def compared(first: Float64, second: Float64, *, nested: bool) -> tuple[float, float]:
    """R = Σ(log p₁ − log p₂), and how likely its sign is chance."""
    difference = first - second
    ratio = float(difference.sum())
    if nested:
        return ratio, float(erfc(math.sqrt(max(ratio, 0.0)))) / 2 if ratio > 0 else 1.0
    spread = float(difference.std()) * math.sqrt(len(difference))
    return ratio, float(erfc(abs(ratio) / (math.sqrt(2) * spread))) if spread > 0 else 1.0


def exponential(beyond: Float64) -> Float64 | None:
    """log p(y) of the exponential law in λ; None where λ leaves the range of floats."""
    if beyond[-1] > 700:
        return None
    excess = np.expm1(beyond)
    mean = float(excess.mean())
    return np.asarray(beyond - excess / mean - math.log(mean)) if mean > 0 else None


def lognormal(beyond: Float64) -> Float64 | None:
    """log p(y) of the normal law cut at 0; None where the best one is the power law."""
    mean, target = float(beyond.mean()), float(beyond.var()) / float(beyond.mean()) ** 2
    low, high = -30.0, 60.0
    if not _moments(high)[1] < target < _moments(low)[1]:
        return None
    turn = float(brentq(lambda t: _moments(t)[1] - target, low, high, xtol=1e-12))
    sigma = mean / _moments(turn)[0]
    scaled = beyond / sigma - turn
    return np.asarray(-(scaled**2) / 2 - math.log(sigma) - _LOG_ROOT - float(log_ndtr(turn)))


def _moments(turn: float) -> tuple[float, float]:
    """Of a standard normal moved by t = μ/σ and cut at 0: the mean, and variance over mean squared."""
    hazard = math.exp(-turn * turn / 2 - _LOG_ROOT - float(log_ndtr(turn)))
    mean = turn + hazard
    return mean, (1 - hazard * mean) / mean**2


def truncated(beyond: Float64, alpha: float) -> Float64 | None:
    """log p(y) of the power law with a cutoff; None where the best cutoff is at infinity, or λ leaves the range.

    a ≥ 0: where the likelihood would have it below, its maximum lies at a = 0, the exponential law.
    """
    if beyond[-1] > 500:
        return None
    sizes = np.exp(beyond)
    means = np.array([float(beyond.mean()), float(sizes.mean())])
    if alpha > 2 and means[1] >= (alpha - 1) / (alpha - 2):
        return None
    found = _newton(means, np.array([alpha, 0.1 / means[1]]))
    if found is None:
        return None
    parameters, partition = found
    if parameters[0] < 0:
        return exponential(beyond)
    return np.asarray((1 - parameters[0]) * beyond - parameters[1] * sizes - partition)


def _newton(means: Float64, parameters: Float64) -> tuple[Float64, float] | None:
    """Minimize a·mean(y) + b·mean(λ) + log Z(a, b), Z = ∫₀^∞ e^(1−a)y − b e^y dy, by damped steps in (a, log b)."""
    value, gradient, curvature = _objective(means, parameters)
    for _ in range(60):
        jacobian = np.array([1.0, parameters[1]])
        slope = gradient * jacobian
        bend = curvature * np.outer(jacobian, jacobian) + np.diag([0.0, abs(slope[1])]) + 1e-12 * np.eye(2)
        step = -np.linalg.solve(bend, slope)
        step *= min(1.0, 2.0 / float(np.abs(step).max(initial=1e-300)))
        if float(np.abs(slope).max()) < 1e-9:
            break
        for _ in range(30):
            trial = np.array([parameters[0] + step[0], parameters[1] * math.exp(step[1])])
            found = _objective(means, trial)
            if found[0] <= value:
                break
            step /= 2
        else:
            break
        done = value - found[0] < 1e-13 * (1 + abs(value))
        parameters, (value, gradient, curvature) = trial, found
        if done:
            break
    partition = value - float(parameters @ means)
    return (parameters, partition) if math.isfinite(value) else None


def _objective(means: Float64, parameters: Float64) -> tuple[float, Float64, Float64]:
    """Value, gradient and Hessian (the covariance of y and e^y), by Gauss and Legendre's rule."""
    a, b = parameters
    end = math.log1p(_CUTOFF / b)
    if a > 1:
        end = min(end, _CUTOFF / (a - 1))
    nodes, weights = _rule()
    y = end * (nodes + 1) / 2
    sizes = np.exp(y)
    exponent = (1 - a) * y - b * sizes
    peak = float(exponent.max())
    density = weights * np.exp(exponent - peak)
    total = float(density.sum())
    mean = np.array([density @ y, density @ sizes]) / total
    apart = np.stack([y, sizes]) - mean[:, None]
    partition = math.log(total * end / 2) + peak
    value = a * means[0] + b * means[1] + partition
    return value, means - mean, (apart * density) @ apart.T / total


@functools.cache
def _rule() -> tuple[Float64, Float64]:
    return np.polynomial.legendre.leggauss(_NODES)
