"""The last projection: proved on the stored numbers, in every format, with nothing moved that need not be."""

import sys

import ml_dtypes
import numpy as np
import pytest
import torch

import opnorm.constraint.finalize.matrix as finalize_module
from gallery import with_spectrum
from opnorm.constraint.finalize.matrix import TOLERANCE, finalize_matrix
from opnorm.constraint.finalize.stored import FORMATS, format_of, numpy_dtype
from opnorm.errors import BoundMissed, NotFinite, UnsupportedInput, UsageError
from oracle import Oracle

BANDS = ((0.0, 1.0), (0.0, 0.37), (0.5, 2.0), (1.0, 1.0), (0.0, 1e6))
SPECTRA = (
    lambda m, rng: np.abs(rng.standard_normal(m)) + 1e-3,
    lambda m, rng: np.r_[np.full(m - m // 2, 3.0), np.full(m // 2, 0.1)],
    lambda m, rng: np.geomspace(100, 1e-2, m),
    lambda m, rng: np.ones(m),
    lambda m, rng: np.r_[5.0, np.zeros(m - 1)],
)


def drawn(rng, largest):
    m = int(rng.integers(1, largest))
    n = m + int(rng.integers(0, 10))
    matrix = with_spectrum(SPECTRA[int(rng.integers(len(SPECTRA)))](m, rng), m, n, rng)
    return matrix.T if rng.random() < 0.5 else matrix


def sigma(values):
    return np.linalg.svd(np.asarray(values, dtype=np.float64), compute_uv=False)


def runs(count, largest, seed):
    rng, missed, worst = np.random.default_rng(seed), [], dict.fromkeys(FORMATS, 0.0)
    for number in range(count):
        kind = list(FORMATS)[number % len(FORMATS)]
        lo, hi = BANDS[number // len(FORMATS) % len(BANDS)]
        matrix = drawn(rng, largest)
        found = finalize_matrix(matrix, lo, hi, kind, seed=number)
        values, t = found.values, TOLERANCE[kind] if lo else 0.0
        assert format_of(values.dtype) == kind
        floor, ceiling = found.band
        oracle = Oracle(values)
        held = ceiling <= hi * (1 + t) and floor >= lo * (1 - t) and (oracle.compare(ceiling) <= 0 or not values.any())
        true = sigma(values)
        held = held and true[0] <= ceiling * (1 + 1e-13) and true[-1] >= floor * (1 - 1e-9)
        if not held:
            missed.append((number, kind, lo, hi, found.band))
        if lo:
            worst[kind] = max(worst[kind], true[0] / hi - 1, 1 - true[-1] / lo)
    return missed, worst


def test_random_runs_in_every_format():
    assert runs(160, 10, 0)[0] == []


@pytest.mark.slow
def test_a_thousand_random_runs_miss_none(capsys):
    missed, worst = runs(1000, 25, 1)
    with capsys.disabled():
        excess = {kind: round(value / FORMATS[kind], 2) for kind, value in worst.items()}
        sys.stdout.write(f"\nlargest excess of a band, in unit roundoffs: {excess}\n")
    assert missed == []


@pytest.mark.parametrize("kind", FORMATS)
def test_bands_beside_the_exact_projection(kind):
    """Nothing but rounding separates the result from the nearest matrix, which SVD gives."""
    rng = np.random.default_rng(5)
    matrix = with_spectrum(np.linspace(2.0, 0.2, 24), 24, 40, rng)
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    for lo, hi in ((0.0, 1.0), (0.5, 1.0), (1.0, 1.0)):
        exact = (u * np.clip(s, lo, hi)) @ vt
        values = np.asarray(finalize_matrix(matrix, lo, hi, kind).values, dtype=np.float64)
        smallest = float(ml_dtypes.finfo(numpy_dtype(kind)).smallest_subnormal)
        allowed = 2 * FORMATS[kind] * np.linalg.norm(exact) + 24 * 40 * smallest + 1e-11
        assert np.linalg.norm(values - exact) <= allowed


@pytest.mark.parametrize("kind", FORMATS)
def test_what_lies_inside_stays_bit_for_bit(kind):
    matrix = with_spectrum(np.linspace(0.8, 0.3, 12), 12, 20, np.random.default_rng(2))
    stored = matrix.astype(numpy_dtype(kind))
    for lo, hi in ((0.0, 1.0), (0.1, 1.2)):
        found = finalize_matrix(matrix, lo, hi, kind)
        assert not found.changed
        assert found.values.tobytes() == stored.tobytes()
        again = finalize_matrix(stored, lo, hi)
        assert again.values.tobytes() == stored.tobytes()


@pytest.mark.parametrize("kind", FORMATS)
def test_finishing_twice_changes_nothing(kind):
    matrix = 3 * np.random.default_rng(3).standard_normal((17, 30))
    once = finalize_matrix(matrix, 0.0, 1.0, kind)
    twice = finalize_matrix(once.values, 0.0, 1.0)
    assert once.changed
    assert not twice.changed
    assert once.values.tobytes() == twice.values.tobytes()


def test_the_weight_given_is_never_changed():
    matrix = np.random.default_rng(4).standard_normal((9, 9)).astype(np.float32)
    before = matrix.copy()
    finalize_matrix(matrix, 0.0, 0.5)
    finalize_matrix(matrix, 0.5, 0.5)
    assert np.array_equal(matrix, before)


@pytest.mark.parametrize("kind", ["float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_torch_and_numpy_give_the_same_bits(kind):
    weight = torch.nn.Parameter(torch.randn(12, 7, generator=torch.Generator().manual_seed(0)))
    dtype = getattr(torch, kind)
    state = torch.get_rng_state()
    found = finalize_matrix(weight, 0.0, 0.9, dtype)
    assert torch.equal(torch.get_rng_state(), state)
    assert found.values.dtype is dtype
    assert not found.values.requires_grad
    other = finalize_matrix(weight.detach().numpy(), 0.0, 0.9, kind)
    assert np.array_equal(found.values.double().numpy(), np.asarray(other.values, dtype=np.float64))
    assert finalize_matrix(weight.detach().to(dtype).t(), 0.0, 0.9).values.dtype is dtype


@pytest.mark.parametrize("scale", [1e-30, 1e30])
@pytest.mark.parametrize(("lo", "hi"), [(0.0, 1.0), (0.5, 1.0), (1.0, 1.0)])
def test_far_from_one(scale, lo, hi):
    matrix = np.random.default_rng(6).standard_normal((20, 26)).astype(np.float32) * np.float32(scale)
    found = finalize_matrix(matrix, lo * scale, hi * scale)
    t = TOLERANCE["float32"] if lo else 0.0
    assert found.band[1] <= hi * scale * (1 + t)
    assert found.band[0] >= lo * scale * (1 - t)
    assert sigma(found.values)[0] == pytest.approx(hi * scale, rel=1e-5)


def test_a_ceiling_far_below_the_weight():
    rng = np.random.default_rng(7)
    for largest in (1e3, 1e6, 1e12, 1e20):
        matrix = with_spectrum(np.geomspace(largest, 1e-3, 12), 12, 18, rng)
        for kind in ("float64", "float32", "bfloat16"):
            found = finalize_matrix(matrix, 0.0, 1.0, kind)
            assert found.band[1] <= 1.0
            assert sigma(found.values)[0] > 0.98


def test_no_ceiling_and_corners():
    matrix = np.random.default_rng(8).standard_normal((5, 6))
    free = finalize_matrix(matrix, 0.0, np.inf)
    assert np.array_equal(free.values, matrix)
    assert finalize_matrix(np.zeros((4, 5)), 0.0, 1.0).band == (0.0, 0.0)
    assert finalize_matrix(np.zeros((0, 5)), 0.0, 1.0).values.shape == (0, 5)
    raised = finalize_matrix(np.zeros((3, 4), np.float32), 0.5, 1.0)
    assert raised.band[0] >= 0.5
    assert sigma(finalize_matrix(matrix, 0.7, np.inf).values)[-1] >= 0.7
    single = finalize_matrix(np.array([[3.0]], np.float16), 0.0, 1.0)
    assert single.values[0, 0] == pytest.approx(1.0, rel=1e-3)
    assert single.band[1] <= 1.0


def test_a_small_floor_under_a_high_ceiling_is_proved():
    matrix = with_spectrum(np.geomspace(10, 1e-6, 16), 16, 16, np.random.default_rng(9))
    found = finalize_matrix(matrix, 1e-2, 1.0, "float32")
    assert found.band[0] >= 1e-2
    assert found.band[1] <= 1.0


def test_entries_that_are_not_finite_are_counted_and_named():
    matrix = np.ones((3, 4), np.float32)
    matrix[0, 0], matrix[1, 1:3] = np.nan, np.inf
    with pytest.raises(NotFinite, match=r"head\.weight holds 1 NaN and 2 Inf"):
        finalize_matrix(matrix, 0.0, 1.0, name="head.weight")


def test_formats_too_coarse_are_named():
    matrix = np.random.default_rng(10).standard_normal((40, 40))
    with pytest.raises(BoundMissed, match=r"blocks\.0.*zero in float8_e4m3fn"):
        finalize_matrix(matrix, 0.0, 1e-4, "float8_e4m3fn", name="blocks.0")
    with pytest.raises(BoundMissed, match="wider format"):
        finalize_matrix(matrix, 0.01, 0.01, "float8_e4m3fn", name="blocks.0")
    with pytest.raises(NotFinite, match=r"Inf|NaN"):
        finalize_matrix(matrix * 1e6, 0.0, np.inf, "float16")
    assert finalize_matrix(matrix * 1e6, 0.0, 1.0, "float16").band[1] <= 1.0


def test_a_short_side_beyond_the_gram_matrix(monkeypatch):
    import opnorm.linalg.at_most as at_most_module

    monkeypatch.setattr(finalize_module, "GRAM_SIDE_MOST", 8)
    monkeypatch.setattr(at_most_module, "GRAM_SIDE_MOST", 8)
    assert finalize_matrix(0.5 * np.eye(9), 0.0, 1.0).band[1] <= 1.0
    with pytest.raises(BoundMissed, match="short side"):
        finalize_matrix(2 * np.eye(9), 0.0, 1.0)


@pytest.mark.parametrize(("lo", "hi"), [(2.0, 1.0), (-1.0, 1.0), (0.0, 0.0), (0.0, float("nan"))])
def test_impossible_bands(lo, hi):
    with pytest.raises(UsageError):
        finalize_matrix(np.eye(2), lo, hi)


def test_what_is_no_matrix_of_floats():
    for other in (np.ones(3), np.ones((2, 2, 2)), np.ones((2, 2), np.int32), np.ones((2, 2), complex)):
        with pytest.raises(UnsupportedInput):
            finalize_matrix(other, 0.0, 1.0)
    with pytest.raises(UnsupportedInput, match="bfloat16"):
        finalize_matrix(np.eye(2), 0.0, 1.0, "int8")


def test_a_bound_that_only_rounding_breaks_is_seen():
    """Sabotage: clipped exactly and rounded without looking, more than half of the weights exceed the ceiling."""
    rng, exceeded = np.random.default_rng(12), 0
    for _ in range(20):
        matrix = with_spectrum(np.full(16, 2.0), 16, 24, rng)
        u, s, vt = np.linalg.svd(matrix, full_matrices=False)
        careless = ((u * np.minimum(s, 1.0)) @ vt).astype(ml_dtypes.bfloat16)
        exceeded += Oracle(careless).compare(1.0) > 0
        assert Oracle(finalize_matrix(matrix, 0.0, 1.0, "bfloat16").values).compare(1.0) <= 0
    assert exceeded > 10
