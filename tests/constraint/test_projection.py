"""The projection itself: nearest, exact, unchanged inside, in every framework, at every scale."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import torch
from spectra import BANDS, INF, SHAPES, SPECTRA, defined, matrix, reference, sigma

import opnorm
from gallery import haar, with_spectrum
from opnorm.constraint.projection import project

FRAMEWORKS = {"numpy": np.asarray, "torch": lambda w: torch.from_numpy(w.copy()), "jax": jnp.asarray}

FORMATS = [(f, d) for f in FRAMEWORKS for d in ("float64", "float32", "float16") if (f, d) != ("jax", "float64")]


def allowed(dtype: str, k: int) -> float:
    """What the docstring states: (4 + √k)ε."""
    return (4 + np.sqrt(k)) * float(ml_dtypes.finfo(dtype).eps)


@pytest.mark.parametrize(("framework", "dtype"), FORMATS)
@pytest.mark.parametrize("band", BANDS)
def test_clips_singular_values_and_nothing_else(framework, dtype, band):
    lo, hi = band
    for spectrum in SPECTRA:
        for shape in SHAPES[:2] if framework == "jax" else SHAPES:  # JAX compiles for every shape
            if not defined(spectrum, lo):
                continue
            w = matrix(spectrum, shape).astype(dtype)
            given = FRAMEWORKS[framework](w)
            got = project(given, lo, hi)
            assert type(got) is type(given)
            assert got.dtype == given.dtype
            eps = allowed(str(np.asarray(given).dtype), min(shape))
            np.testing.assert_allclose(np.asarray(got, dtype=float), reference(w, lo, hi), atol=20 * eps, rtol=0)
            assert sigma(got)[0] <= hi * (1 + eps)


def test_no_competitor_is_nearer():
    rng = np.random.default_rng(1)
    for lo, hi in BANDS:
        w = rng.standard_normal((5, 8))
        best = np.linalg.norm(w - project(w, lo, hi))
        u, s, vt = np.linalg.svd(w, full_matrices=False)
        for _ in range(300):
            turn = np.linalg.qr(np.eye(5) + 0.1 * rng.standard_normal((5, 5)))[0]
            values = (s + 0.2 * rng.standard_normal(5)).clip(lo, hi)
            assert np.linalg.norm(w - (u @ turn * values) @ vt) >= best - 1e-12


@pytest.mark.parametrize(("framework", "dtype"), FORMATS)
def test_inside_the_band_every_bit_stays(framework, dtype):
    for lo, hi in [(0.0, 3.0), (0.05, 3.0), (0.0, INF), (0.05, INF)]:
        w = matrix("simple", (6, 9)).astype(dtype)
        w[0, 0] = -0.0
        given = FRAMEWORKS[framework](w)
        got = project(given, lo, hi)
        assert got is not given
        assert np.asarray(got).tobytes() == np.asarray(given).tobytes()


@pytest.mark.parametrize("framework", ["numpy", "torch"])
def test_a_matrix_on_the_edge_is_inside(framework):
    for seed in range(20):
        q = 0.7 * haar(12, 12, np.random.default_rng(seed))
        for lo in (0.0, 0.7):
            got = project(FRAMEWORKS[framework](q), lo, 0.7)
            assert np.asarray(got).tobytes() == q.tobytes()


def test_projecting_again_changes_nothing():
    rng = np.random.default_rng(2)
    for lo, hi in BANDS:
        for shape in [(30, 40), (40, 30), (33, 33)]:
            once = project(rng.standard_normal(shape) / 4, lo, hi)
            assert project(once, lo, hi).tobytes() == once.tobytes()


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("scale", [1e-30, 1e30, 2.0**-149, 3e38])
def test_extreme_scales_in_float32(framework, scale):
    """Squares of these overflow or vanish in float32."""
    w = (matrix("simple", (6, 9)) * (scale if scale < 1e38 else 1e38)).astype(np.float32)
    top = sigma(w)[0]
    got = np.asarray(project(FRAMEWORKS[framework](w), 0.0, top / 2), dtype=np.float64)
    assert np.isfinite(got).all()
    subnormal = np.sqrt(got.size) * 2.0**-150
    assert sigma(got)[0] <= top / 2 * (1 + allowed("float32", 6)) + subnormal
    if scale > 1e-40:
        np.testing.assert_allclose(got / top, reference(w, 0, top / 2) / top, atol=1e-6)


@pytest.mark.parametrize("exponent", [-1070, -700, 0, 700, 1020])
def test_extreme_scales_in_float64(exponent):
    w = np.ldexp(matrix("simple", (6, 9)), exponent)
    once = np.ldexp(project(w, 0.0, float(np.ldexp(1.0, exponent))), -exponent)
    loss = 0 if exponent > -1000 else 2.0**-4
    np.testing.assert_allclose(once, reference(matrix("simple", (6, 9)), 0, 1), atol=1e-14 + 2 * loss)


@pytest.mark.parametrize("ratio", [1e3, 1e6, 1e12, 1e30])
def test_a_cap_far_below_the_norm(ratio):
    """Here the Gram matrix would lose everything below the cap; the norm must still be held."""
    rng = np.random.default_rng(3)
    w = with_spectrum(np.concatenate([[ratio, ratio / 3], rng.uniform(0.1, 3, 10)]), 12, 20, rng)
    got = project(w, 0.0, 1.0)
    assert sigma(got)[0] <= 1 + allowed("float64", 12)
    np.testing.assert_allclose(got, reference(w, 0, 1), atol=max(1e-13, 4e-15 * ratio) if ratio < 1e12 else 2)


def test_small_singular_values_below_a_floor():
    """σ = 1e-9·σ₁ is lost in a Gram matrix; an SVD knows its direction to seven digits."""
    rng = np.random.default_rng(4)
    w = with_spectrum(np.array([1.0, 0.5, 1e-9]), 3, 7, rng)
    np.testing.assert_allclose(project(w, 0.1, 2.0), reference(w, 0.1, 2.0), atol=1e-7)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_zero_matrix(framework, shape):
    zero = FRAMEWORKS[framework](np.zeros(shape, dtype=np.float32))
    np.testing.assert_array_equal(np.asarray(project(zero, 0.0, 1.0)), 0)
    np.testing.assert_array_equal(np.asarray(project(zero, 0.5, 1.0)), 0.5 * np.eye(*shape))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_rank_deficient_with_a_floor_reaches_the_band(framework):
    for spectrum in ("zeros", "rank one"):
        for shape in SHAPES:
            got = sigma(project(FRAMEWORKS[framework](matrix(spectrum, shape)), 0.5, 1.0))
            assert got.min() >= 0.5 - 1e-5
            assert got.max() <= 1 + 1e-5


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_stacks(framework):
    stack = np.stack([matrix(s, (5, 8)) for s in ("simple", "all equal", "repeated inside")])
    stack[1] *= 1e-3
    for lo, hi in [(0.0, 1.0), (0.5, 1.5)]:
        got = np.asarray(project(FRAMEWORKS[framework](stack), lo, hi, stacked=True))
        for one, w in zip(got, stack, strict=True):
            np.testing.assert_allclose(one, reference(w, lo, hi), atol=1e-13 if framework != "jax" else 1e-5)
    calm = np.stack([0.1 * stack[0], stack[0]])
    got = np.asarray(project(FRAMEWORKS[framework](calm), 0, 1, stacked=True))
    assert got[0].tobytes() == np.asarray(FRAMEWORKS[framework](calm))[0].tobytes()


@pytest.mark.parametrize("framework", ["numpy", "torch"])
def test_what_stays_in_a_stack_does_not_pass_through_the_scaling(framework):
    """1e-20 beside 1e300 loses digits when 1e300 is scaled to 1."""
    stack = np.stack([np.diag([1e300, 1.2345678901e-20]), np.diag([1e301, 1.0])])
    got = np.asarray(project(FRAMEWORKS[framework](stack), 0.0, 5e300, stacked=True))
    assert got[0].tobytes() == stack[0].tobytes()
    assert got[1, 0, 0] == pytest.approx(5e300)


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float8_e5m2", ">f4"])
def test_other_float_formats_of_numpy(name):
    dtype = np.dtype(name if name == ">f4" else getattr(ml_dtypes, name))
    w = matrix("simple", (6, 9)).astype(dtype)
    got = project(w, 0.0, 1.0)
    assert got.dtype == dtype
    exact = reference(w, 0, 1)
    eps = 2.0**-23 if name == ">f4" else float(ml_dtypes.finfo(dtype).eps)
    assert np.abs(got.astype(float) - exact).max() <= eps / 2 * np.abs(exact).max() * 1.0001


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_other_float_formats_of_torch(name):
    dtype = getattr(torch, name)
    w = torch.from_numpy(matrix("simple", (6, 9))).to(dtype)
    got = project(w, 0.0, 1.0)
    assert got.dtype == dtype
    exact = torch.from_numpy(reference(w.double().numpy(), 0, 1)).to(dtype)
    assert torch.equal(got.double(), exact.double())


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_nan_and_inf_are_counted(framework, poison):
    w = np.eye(4, 6)
    w[1, 2] = w[3, 5] = poison
    with pytest.raises(opnorm.UndefinedNorm, match=r"2 (NaN|Inf)"):
        project(FRAMEWORKS[framework](w), 0.0, 1.0)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_refusals(framework):
    make = FRAMEWORKS[framework]
    kernel = make(np.zeros((8, 4, 3, 3)))
    with pytest.raises(opnorm.UnsupportedInput, match=r"(?s)\(8, 4, 3, 3\).*convolution.*stacked=True"):
        project(kernel, 0.0, 1.0)
    with pytest.raises(opnorm.UnsupportedInput, match=r"floor such as lo=0.5"):
        project(kernel, 0.5, 1.0)
    with pytest.raises(opnorm.UnsupportedInput, match="vector"):
        project(make(np.zeros(3)), 0.0, 1.0)
    with pytest.raises(opnorm.UnsupportedInput, match="int32"):
        project(make(np.zeros((3, 3), dtype=np.int32)), 0.0, 1.0)
    with pytest.raises(opnorm.UnsupportedInput, match="complex"):
        project(make(np.zeros((3, 3), dtype=np.complex64)), 0.0, 1.0)
    with pytest.raises(opnorm.UsageError, match="range of"):
        project(make(np.eye(3, dtype=np.float16)), 1e6, 1e7)
    with pytest.raises(opnorm.UsageError, match="lo=2"):
        project(make(np.eye(3)), 2.0, 1.0)
    assert project(make(np.zeros((0, 3))), 0.0, 1.0).shape == (0, 3)


def test_masked_arrays_and_lists():
    with pytest.raises(opnorm.UnsupportedInput, match="filled"):
        project(np.ma.masked_array(np.eye(2), mask=np.eye(2)), 0, 1)
    np.testing.assert_allclose(project([[3.0, 0.0], [0.0, 0.5]], 0, 1), [[1.0, 0.0], [0.0, 0.5]], atol=1e-15)


def test_the_given_array_is_not_written_to():
    w = matrix("simple", (6, 9))
    kept = w.copy()
    for make in (np.asarray, torch.from_numpy):
        project(make(w), 0.5, 1.0)
        np.testing.assert_array_equal(w, kept)


def test_jax_under_jit_and_vmap():
    w = jnp.asarray(np.stack([matrix("simple", (5, 8), seed) for seed in range(3)]))
    together = jax.jit(jax.vmap(lambda x: project(x, 0.5, 1.0)))(w)
    for one, alone in zip(together, w, strict=True):
        np.testing.assert_allclose(one, project(alone, 0.5, 1.0), atol=2e-6)
    assert bool(jnp.isnan(jax.jit(lambda x: project(x, 0, 1))(w[0].at[0, 0].set(jnp.nan))).all())


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_edges_beyond_the_range_of_the_dtype(framework):
    w = FRAMEWORKS[framework](matrix("simple", (6, 9)).astype(np.float32))
    np.testing.assert_array_equal(np.asarray(project(w, 0.0, 1e300)), np.asarray(w))
    np.testing.assert_array_equal(np.asarray(project(w, 0.0, 1e-300)), 0)
    with pytest.raises(opnorm.UsageError, match="float32"):
        project(w, 1e300, 1e300)


def test_torch_layouts_devices_and_seeds():
    state = torch.random.get_rng_state()
    base = torch.randn(20, 30, generator=torch.Generator().manual_seed(0))
    view = base.t()[::2]
    np.testing.assert_allclose(project(view, 0, 1).numpy(), reference(view.numpy(), 0, 1), atol=1e-6)
    assert torch.equal(torch.random.get_rng_state(), state)
    with pytest.raises(opnorm.UnsupportedInput, match="meta"):
        project(torch.empty(3, 3, device="meta"), 0, 1)


@pytest.mark.parametrize("n", [20, 130])
def test_stated_error_of_a_gaussian_square(n):
    """The hard case: many values at the cap, in every precision and by both paths."""
    rng = np.random.default_rng(n)
    w = rng.standard_normal((n, n)) / np.sqrt(n)
    for dtype in ("float64", "float32", "float16"):
        for lo in (0.0, 0.4):
            for make in FRAMEWORKS.values():
                got = project(make(w.astype(dtype)), lo, 1.0)
                eps = allowed(np.asarray(got).dtype.name, n)
                assert sigma(got)[0] - 1 <= eps
                assert sigma(got)[-1] >= lo - 2 * eps
