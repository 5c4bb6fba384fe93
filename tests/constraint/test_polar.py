"""Newton–Schulz sets: their proved ranges against ball arithmetic and sampling, and the factors they give."""

from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flint import arb, ctx
from spectra import sigma

import opnorm
from gallery import haar, with_spectrum
from opnorm.constraint.polar import CUBIC, MUON, QUINTIC, cubic_step, iteration, minimax, ns_step, output_range, polar

FRAMEWORKS = {"numpy": np.asarray, "torch": lambda w: torch.from_numpy(w.copy()), "jax": jnp.asarray}
METHODS = ["minimax", "contracting", "cubic", "muon"]


def apply(steps, x):
    for a, b, c in steps:
        x = x * (a + x * x * (b + x * x * c))
    return x


def exact(value: float) -> arb:
    fraction = Fraction(value)
    return arb(int(fraction.numerator)) / int(fraction.denominator)


def enclosed(steps, lo, hi, pieces):
    """The range over [lo, hi] in Arb balls, piece by piece: contains the true one, and shrinks to it."""
    lows, highs = [], []
    for k in range(pieces):
        left, right = (exact(lo) + (exact(hi) - exact(lo)) * i / pieces for i in (k, k + 1))
        x = arb((left + right) / 2, (right - left) / 2)
        for step in steps:
            a, b, c = map(exact, step)
            middle = arb(x.mid())
            slope = a + x * x * (3 * b + x * x * 5 * c)
            x = middle * (a + middle**2 * (b + middle**2 * c)) + slope * (x - middle)
        lows.append(float(x.lower()))
        highs.append(float(x.upper()))
    return min(lows), max(highs)


@pytest.fixture(autouse=True)
def precision():
    before, ctx.prec = ctx.prec, 120
    yield
    ctx.prec = before


@pytest.mark.parametrize(
    ("steps", "lo", "hi"),
    [
        ([MUON] * 5, 0.0, 1.0),
        ([MUON] * 5, 1e-3, 1.0),
        ([MUON] * 3, 0.4, 1.1),
        ([CUBIC] * 4, 0.2, 1.7),
        ([QUINTIC] * 2, 0.0, 1.2),
        (list(iteration("minimax", 1e-3).steps), 1e-3, 1.0),
        ([(1.5, -0.5, 0.0)], -2.0, 1.0),
        ([(0.3, 0.0, 0.0)], -1.0, 2.0),
        ([(0.0, 0.0, 1.0)], -1.0, 1.0),
    ],
)
def test_ranges_against_balls_and_samples(steps, lo, hi):
    low, high = output_range(steps, len(steps), lo, hi)
    outer = enclosed(steps, lo, hi, 4000 // len(steps))
    inner = apply(steps, np.linspace(lo, hi, 200001))
    assert outer[0] - 1e-14 <= low <= inner.min() + 1e-15
    assert inner.max() - 1e-15 <= high <= outer[1] + 1e-14
    assert low >= inner.min() - 1e-6
    assert high <= inner.max() + 1e-6


def test_the_ends_are_on_the_safe_side():
    """The cubic's maximum is 1, at 1. Ends are exact where a float holds them, else one float outwards."""
    assert output_range(CUBIC, 1, 0.0, 1.5) == (0.0, np.nextafter(1.0, 2))
    assert output_range(CUBIC, 1, 0.0, 0.5) == (0.0, 0.6875)
    low, high = output_range((0.1, 0.0, 0.0), 1, 0.0, 0.3)
    assert low == 0
    assert Fraction(high) >= Fraction(0.1) * Fraction(0.3) > Fraction(np.nextafter(high, 0))


def test_random_polynomials_never_leave_their_range():
    rng = np.random.default_rng(0)
    for _ in range(150):
        steps = [tuple(rng.uniform(-4, 4, 3)) for _ in range(int(rng.integers(1, 4)))]
        lo, hi = sorted(rng.uniform(-1.5, 1.5, 2))
        low, high = output_range(steps, len(steps), lo, hi)
        for x in rng.uniform(lo, hi, 30):
            value = exact(float(x))
            for step in steps:
                a, b, c = map(exact, step)
                value = value * (a + value**2 * (b + value**2 * c))
            assert value >= exact(low)
            assert value <= exact(high)


def test_known_ranges():
    """Figures published for Jordan's coefficients, and the interval of convergence of the cubic."""
    low, high = output_range(MUON, 5, 1e-3, 1.0)
    assert low == pytest.approx(0.4705, abs=1e-4)
    assert high == pytest.approx(1.2024, abs=1e-4)
    assert output_range(CUBIC, 60, 0.01, 1.732)[0] == pytest.approx(1, abs=1e-9)
    assert output_range(CUBIC, 60, 1.0, 1.733)[0] < 0.9
    assert output_range(CUBIC, 60, 2.2, 2.25) == (-np.inf, np.inf)


@pytest.mark.parametrize(
    ("coefficients", "steps", "lo", "hi", "named"),
    [
        ((1.0, 2.0), 1, 0, 1, "ax"),
        ([MUON, MUON], 3, 0, 1, "once a step"),
        (MUON, 0, 0, 1, "steps=0"),
        (MUON, 1, 1, 0, "the lower first"),
        (MUON, 1, 0, float("inf"), "finite"),
        ((1.0, float("nan"), 0.0), 1, 0, 1, "nan"),
    ],
)
def test_ranges_refuse(coefficients, steps, lo, hi, named):
    with pytest.raises(opnorm.UsageError, match=named):
        output_range(coefficients, steps, lo, hi)


@pytest.mark.parametrize("floor", [1e-6, 1e-3, 0.1, 0.9])
def test_minimax_equioscillates(floor):
    """Chebyshev: the best odd quintic meets ±e in turn at four points."""
    a, b, c = minimax(floor, 1.0)
    x = np.linspace(floor, 1.0, 100001)
    error = 1 - apply([(a, b, c)], x)
    worst = np.abs(error).max()
    turns = np.sign(error[np.abs(error) > worst * (1 - 1e-6)])
    assert np.count_nonzero(np.diff(turns)) == 3
    for nudge in ((1e-3, 0, 0), (0, 1e-3, 0), (0, 0, 1e-3), (1e-3, -2e-3, 1e-3)):
        for sign in (1, -1):
            other = np.array([a, b, c]) + sign * np.array(nudge) * worst
            assert np.abs(1 - apply([other], x)).max() > worst


def test_iterations_reach_what_they_state():
    for method in METHODS:
        for floor in (1e-4, 1e-2):
            plan = iteration(method, floor)
            values = apply(plan.steps, np.geomspace(floor, 1, 20001))
            assert values.min() >= plan.low - 1e-14
            assert values.max() <= plan.high + 1e-14
            assert apply(plan.steps, np.geomspace(1e-12, floor, 2001)).min() >= 0
            if method != "muon":
                assert 1 - plan.low < 1e-6
    assert iteration("contracting", 1e-3).high <= 1
    for steps in (1, 2, 4, 6):  # a plain division by the largest value leaves some of these an ulp above
        assert iteration("contracting", 1e-3, steps).high <= 1
        assert iteration("contracting", 3e-3, steps).high <= 1
    assert len(iteration("minimax", 1e-3).steps) < len(iteration("cubic", 1e-3).steps)


@pytest.mark.parametrize("bad", [{"method": "svd"}, {"floor": 0.0}, {"floor": 1.0}, {"steps": 0}, {"steps": 999}])
def test_iterations_refuse(bad):
    with pytest.raises(opnorm.UsageError, match=next(iter(bad))):
        iteration(**bad)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("framework", "shape"),
    [("numpy", (12, 20)), ("numpy", (20, 12)), ("torch", (12, 20)), ("torch", (20, 12)), ("jax", (20, 12))],
)
def test_factors(framework, method, shape):
    rng = np.random.default_rng(1)
    u, v = haar(shape[0], 12, rng), haar(shape[1], 12, rng)
    w = ((u * np.geomspace(7.0, 0.1, 12)) @ v.T).astype(np.float32)
    given = FRAMEWORKS[framework](w)
    result = polar(given, method)
    assert type(result.factor) is type(given)
    assert result.factor.dtype == given.dtype
    assert float(result.scale) >= sigma(w)[0]
    assert result.iteration.floor * float(result.scale) <= 0.1
    values = sigma(result.factor)
    assert values.min() >= result.iteration.low - 1e-5
    assert values.max() <= result.iteration.high + 1e-5
    if method != "muon":
        np.testing.assert_allclose(np.asarray(result.factor), u @ v.T, atol=2e-5)


def test_the_scale_is_an_upper_bound_near_equality():
    """Rank one: σ₁ = ‖W‖_F, so that any rounding downwards would show."""
    rng = np.random.default_rng(2)
    for _ in range(200):
        w = np.outer(rng.standard_normal(int(rng.integers(1, 40))), rng.standard_normal(30)).astype(np.float32)
        assert float(polar(w, "cubic", steps=1).scale) >= sigma(w)[0]


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_extreme_scales_and_zero(framework, scale):
    w = (haar(6, 6, np.random.default_rng(3)) * scale).astype(np.float32)
    result = polar(FRAMEWORKS[framework](w))
    np.testing.assert_allclose(np.asarray(result.factor) * scale, w, atol=2e-6 * scale)
    assert float(result.scale) >= sigma(w)[0]
    zero = polar(FRAMEWORKS[framework](np.zeros((3, 5), dtype=np.float32)))
    np.testing.assert_array_equal(np.asarray(zero.factor), 0)


def test_stacks_and_half_precision():
    stack = torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    result = polar(stack, stacked=True)
    assert result.factor.dtype == torch.bfloat16
    assert result.scale.shape == (3,)
    for one, w in zip(result.factor, stack, strict=True):
        torch.testing.assert_close(one, polar(w).factor)
    with pytest.raises(opnorm.UnsupportedInput, match="stacked=True"):
        polar(stack)


@pytest.mark.parametrize("shape", [(8, 8), (6, 10), (10, 6)])
def test_the_cubic_step_squares_the_distance(shape):
    rng = np.random.default_rng(4)
    before = 1 + rng.uniform(-0.1, 0.1, min(shape))
    w = torch.from_numpy(with_spectrum(before, *shape, rng))
    kept = w.clone()
    after = sigma(cubic_step(w).numpy())
    assert torch.equal(w, kept)
    assert after.max() <= 1 + 1e-15
    np.testing.assert_allclose(np.sort(after), np.sort(before * (3 - before**2) / 2), atol=1e-14)
    assert (1 - after).max() <= 1.5 * ((before - 1) ** 2).max() * 1.07


@pytest.mark.parametrize("shape", [(6, 10), (10, 6)])
def test_ns_step_guards_itself(shape):
    rng = np.random.default_rng(5)
    near = torch.from_numpy(with_spectrum(1 + rng.uniform(-0.1, 0.1, 6), *shape, rng))
    stepped = cubic_step(near)
    defect = ns_step(near)
    assert 0 < float(defect) < 1
    torch.testing.assert_close(near, stepped)
    far = torch.from_numpy(with_spectrum(np.array([1.7, 1, 1, 1, 1, 1.0]), *shape, rng))
    lost = torch.from_numpy(with_spectrum(np.array([0.0, 1.2, 1, 1, 1, 1.0]), *shape, rng))
    poisoned = near.clone()
    poisoned[0, 0] = float("nan")
    for w in (far, lost, poisoned):
        kept = w.clone()
        assert not float(ns_step(w)) < 1
        assert w.numpy().tobytes() == kept.numpy().tobytes()
    parameter = torch.nn.Parameter(stepped.float())
    ns_step(parameter)
    assert parameter.grad_fn is None
