"""Power-law tails: recovered exponents, the library `powerlaw` beside, rival laws, and refusals."""

import math
import warnings

import numpy as np
import pytest

from opnorm.spectrum import alternatives, tail
from opnorm.spectrum.tail import fitted, tail_of
from opnorm.spectrum.values import Values


def pareto(alpha: float, count: int, seed: int) -> np.ndarray:
    """log λ of a power law from 1 on, ascending."""
    return np.sort(np.random.default_rng(seed).exponential(1 / (alpha - 1), count))


def values(logs: np.ndarray) -> Values:
    return Values(np.exp(np.sort(logs)[::-1] / 2), "gram")


@pytest.mark.parametrize("alpha", [1.6, 2.5, 4.0, 8.0])
def test_exponents_are_recovered(alpha: float) -> None:
    misses = []
    for seed in range(8):
        found = tail_of(values(pareto(alpha, 600, seed)))
        assert found is not None
        misses.append((found.alpha - alpha) / found.error)
    assert abs(np.mean(misses)) < 1.5
    assert np.abs(misses).max() < 5


def test_a_body_below_the_tail_is_left_out() -> None:
    rng = np.random.default_rng(0)
    body, beyond = np.log(rng.uniform(0.05, 1, 400)), pareto(3.0, 300, 1)
    found = tail_of(values(np.concatenate([body, beyond])))
    assert found is not None
    assert 0.6 < found.least < 1.7
    assert found.alpha == pytest.approx(3.0, abs=4 * found.error)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_scale_changes_nothing_but_where_the_tail_begins(scale: float) -> None:
    logs = pareto(3.0, 200, 0)
    plain, moved = tail_of(values(logs)), tail_of(values(logs + math.log(scale)))
    assert plain is not None
    assert moved is not None
    assert moved.alpha == pytest.approx(plain.alpha, rel=1e-9)
    assert moved.least == pytest.approx(scale * plain.least, rel=1e-9)
    assert (moved.points, moved.favored) == (plain.points, plain.favored)


def test_few_points_give_no_exponent() -> None:
    assert tail_of(values(pareto(3.0, tail.LEAST_POINTS - 1, 0))) is None
    assert tail_of(values(np.zeros(300))) is None
    found = tail_of(values(pareto(3.0, 60, 0)))
    assert found is not None
    assert found.points >= tail.LEAST_POINTS


def quietly(action):
    """The library warns of its own deprecations."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return action()


def both_sides(x: np.ndarray, alpha: float) -> float:
    """Kolmogorov and Smirnov's distance, the slow way."""
    law = 1 - (x / x[0]) ** (1 - alpha)
    steps = np.arange(len(x) + 1) / len(x)
    return float(max(np.abs(law - steps[:-1]).max(), np.abs(law - steps[1:]).max()))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("alpha", [2.2, 3.6])
def test_fits_against_the_library(alpha: float, seed: int) -> None:
    powerlaw = pytest.importorskip("powerlaw")
    logs = pareto(alpha, 150, seed)
    found = tail_of(values(logs))
    assert found is not None
    x = np.exp(logs)
    ranges = {"alpha": [1, None]}  # by default the library allows no exponent above 3
    fit = quietly(lambda: powerlaw.Fit(x, xmin=found.least * (1 - 1e-12), verbose=0, parameter_ranges=ranges))
    law = quietly(lambda: fit.power_law)
    assert fit.n == found.points
    assert found.alpha == pytest.approx(law.alpha, rel=2e-4)
    assert found.error == pytest.approx(law.standard_err, rel=1e-3)
    assert found.distance == pytest.approx(both_sides(x[x >= found.least * (1 - 1e-12)], found.alpha), abs=1e-9)
    assert law.D <= found.distance + 1e-6 <= law.D + 1 / fit.n + 2e-6  # one side of each step only


@pytest.mark.parametrize("kind", ["exponential", "lognormal", "truncated_power_law"])
@pytest.mark.parametrize("sample", ["pareto", "lognormal", "exponential"])
def test_rivals_against_the_library(kind: str, sample: str) -> None:
    """Our likelihood is at least the library's, whose optimizer stops early; and no more than its own law allows."""
    powerlaw = pytest.importorskip("powerlaw")
    rng = np.random.default_rng(2)
    draws = {
        "pareto": rng.exponential(1 / 1.6, 200),
        "lognormal": np.abs(rng.normal(0.8, 0.4, 200)),
        "exponential": np.log1p(rng.exponential(1.0, 200)),
    }
    beyond = np.sort(draws[sample])
    beyond -= beyond[0]
    alpha = 1 + 1 / beyond.mean()
    ours = {
        "exponential": lambda: alternatives.exponential(beyond),
        "lognormal": lambda: alternatives.lognormal(beyond),
        "truncated_power_law": lambda: alternatives.truncated(beyond, alpha),
    }[kind]()
    x = np.exp(beyond)
    ranges = {"alpha": [0, None], "Lambda": [0, None], "mu": [None, None], "sigma": [0, None]}
    names = {"exponential": ["Lambda"], "lognormal": ["mu", "sigma"], "truncated_power_law": ["alpha", "Lambda"]}[kind]
    chosen = {name: ranges[name] for name in names}
    fit = quietly(lambda: powerlaw.Fit(x, xmin=1.0, verbose=0, parameter_ranges=chosen))
    theirs = quietly(lambda: getattr(fit, kind).loglikelihoods(x))
    law = math.log(alpha - 1) - alpha * beyond
    likelihood = law.sum() if ours is None else (ours - beyond).sum()
    assert likelihood >= theirs.sum() - 1e-3
    if ours is not None:
        assert likelihood == pytest.approx(theirs.sum(), abs=0.5)
        density = np.exp(ours - beyond)
        assert np.isfinite(density).all()


@pytest.mark.parametrize("kind", ["exponential", "lognormal", "truncated"])
def test_rivals_are_densities(kind: str) -> None:
    """Each fitted law integrates to 1 over the sample, outside of which little of its mass lies."""
    beyond = np.sort(np.abs(np.random.default_rng(0).normal(0.8, 0.4, 400)))
    beyond -= beyond[0]
    alpha = 1 + 1 / beyond.mean()
    fit = {
        "exponential": lambda: alternatives.exponential(beyond),
        "lognormal": lambda: alternatives.lognormal(beyond),
        "truncated": lambda: alternatives.truncated(beyond, alpha),
    }[kind]()
    assert fit is not None
    # log p(y) is known at 400 places of [0, 1.9]; nearly all of the mass lies there.
    assert np.trapezoid(np.exp(fit), beyond) == pytest.approx(1, abs=0.02)


def test_favored_laws() -> None:
    rng = np.random.default_rng(0)
    samples = {
        "power law": rng.exponential(1 / 1.2, 2000),
        "lognormal": np.abs(rng.normal(1.5, 0.5, 2000)),
        "exponential": np.log1p(rng.exponential(1.0, 2000)),
    }
    for name, y in samples.items():
        beyond = np.sort(y) - y.min()
        assert alternatives.favored(beyond, 1 + 1 / beyond.mean()) == name
    few = np.sort(rng.exponential(0.2, 50))
    assert alternatives.favored(few - few[0], 1 + 1 / (few - few[0]).mean()) == "undecided"


def test_a_cutoff_is_seen() -> None:
    rng = np.random.default_rng(1)
    y = rng.exponential(1 / 0.5, 40000)
    kept = y[rng.random(len(y)) < np.exp(-0.02 * np.exp(y))][:3000]
    beyond = np.sort(kept) - kept.min()
    assert alternatives.favored(beyond, 1 + 1 / beyond.mean()) == "truncated power law"


def test_goodness_of_fit() -> None:
    logs = pareto(2.5, 300, 3)
    good = tail_of(values(logs), simulations=60, seed=1)
    bad = tail_of(values(np.log(np.random.default_rng(0).uniform(0.5, 1, 300))), simulations=60, seed=1)
    assert good is not None
    assert bad is not None
    assert good.p_value > 0.1 > bad.p_value
    assert tail_of(values(logs), simulations=60, seed=1) == good


def test_the_best_start_is_the_nearest() -> None:
    logs = np.sort(np.concatenate([pareto(3.0, 80, 0), np.random.default_rng(0).uniform(-1, 0, 40)]))
    found = fitted(logs)
    assert found is not None
    slow = [
        (both_sides(np.exp(logs[i:]), 1 + (len(logs) - i) / (logs[i:] - logs[i]).sum()), i)
        for i in range(len(logs) - tail.LEAST_POINTS + 1)
    ]
    assert (found.distance, found.start) == pytest.approx(min(slow), rel=1e-9)


def test_very_many_values_cost_no_more_and_fit_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    logs = np.sort(np.random.default_rng(0).exponential(1 / 1.5, 20_000))
    seen: list[int] = []
    original = tail._distances

    def counted(values: np.ndarray, starts: np.ndarray, alphas: np.ndarray) -> np.ndarray:
        seen.append(len(values) * len(starts))
        return original(values, starts, alphas)

    monkeypatch.setattr(tail, "_distances", counted)
    monkeypatch.setattr(tail, "MOST_WORK", 1 << 20)
    found = tail.fitted(logs)
    assert max(seen) <= 1 << 20
    assert found is not None
    assert found.alpha == pytest.approx(2.5, rel=0.1)
