"""Quantities, noise edge, density, tail and units, against closed forms and planted structure."""

import math

import numpy as np
import pytest
from scipy.integrate import quad

import opnorm
from gallery import haar, with_spectrum
from opnorm.bound import Evidence
from opnorm.errors import UndefinedNorm, UsageError
from opnorm.frameworks import aslinearoperator
from opnorm.linalg.measure import measure_operator
from opnorm.linalg.operator import FunctionOperator
from opnorm.linalg.request import Request
from opnorm.spectrum import density, magnitude, noise, quadrature
from opnorm.spectrum.describe import describe
from opnorm.spectrum.document import Spectrum
from opnorm.spectrum.magnitude import METRICS, spectrum_of
from opnorm.spectrum.singular import singular_values
from opnorm.spectrum.text import lines
from opnorm.spectrum.units import units_of


def spectrum(operator: object, evidence: Evidence = Evidence.PROBABLE, **options: object) -> Spectrum:
    request, wrapped = Request(evidence), aslinearoperator(operator)
    return spectrum_of(wrapped, measure_operator(wrapped, request), request, **options)


ONES = ("stable_rank", "effective_rank", "participation_ratio", "numerical_rank")

CLOSED = {
    "identity": (
        np.eye(20),
        dict.fromkeys(ONES, 20)
        | {"nuclear": 20, "schatten_4": 20**0.25, "frobenius": 20**0.5}
        | {"condition": 1, "smallest": 1, "median": 1, "log_det": 0},
    ),
    "hadamard": (
        np.array([[1, 1], [1, -1]]),
        {"stable_rank": 2, "nuclear": 8**0.5, "condition": 1, "log_det": math.log(2)},
    ),
    "rank one": (
        np.outer([1, 2, 2], [2, 3, 6, 0]),
        dict.fromkeys(ONES, 1)
        | {"nuclear": 21, "schatten_4": 21, "frobenius": 21, "condition": None, "smallest": 0, "log_det": None},
    ),
    "two": (
        np.diag([4.0, 1.0]),
        {"stable_rank": 17 / 16, "effective_rank": 5 / 4**0.8, "participation_ratio": 289 / 257}
        | {"nuclear": 5, "schatten_4": 257**0.25, "condition": 4, "smallest": 1, "median": 2.5, "log_det": math.log(4)},
    ),
    "zero": (
        np.zeros((3, 4)),
        dict.fromkeys(("nuclear", "frobenius", "smallest", "numerical_rank"), 0)
        | dict.fromkeys(("stable_rank", "effective_rank", "condition", "alpha", "outliers")),
    ),
}


@pytest.mark.parametrize("name", CLOSED)
@pytest.mark.parametrize("scale", [1.0, 2.0**400, 2.0**-400])
def test_closed_forms(name: str, scale: float) -> None:
    matrix, truth = CLOSED[name]
    found = spectrum(matrix * scale).quantities
    for key, value in truth.items():
        quantity = found[key]
        if key in ("nuclear", "schatten_4", "frobenius", "smallest", "median") and value is not None:
            value = value * scale
        if key == "log_det" and value is not None:
            value = value + min(matrix.shape) * math.log(scale)
        if value is None:
            assert quantity.value is None
            assert quantity.note
            continue
        assert quantity.value == pytest.approx(value, rel=1e-12, abs=1e-7 * scale if key == "smallest" else 1e-12)
        if quantity.lower is not None and quantity.upper is not None:
            assert quantity.lower <= quantity.value <= quantity.upper
            assert quantity.evidence == "proved"
            assert quantity.lower <= value * (1 + 1e-15) + 1e-12
            assert value * (1 - 1e-15) - 1e-12 <= quantity.upper


def test_every_metric_has_a_number_or_a_reason() -> None:
    for operator in (np.eye(3), np.zeros((2, 2)), np.zeros((0, 3)), opnorm.Convolution(np.ones((2, 2, 3, 3)))):
        found = spectrum(operator)
        assert set(found.quantities) == set(METRICS) - {"from_initial"}
        assert all(q.value is not None or q.note for q in found.quantities.values())
        assert lines(found)


@pytest.mark.parametrize("number", [1.7e308, 5e-324])
def test_the_ends_of_the_range(number: float) -> None:
    found = spectrum(np.full((60, 70), number))
    assert all(q.value is None or math.isfinite(q.value) for q in found.quantities.values())
    assert lines(found)


def test_proved_intervals_are_narrow_and_hold() -> None:
    rng = np.random.default_rng(0)
    sigma = np.linspace(1, 3, 40)
    found = spectrum(with_spectrum(sigma, 40, 70, rng), Evidence.PROVED).quantities
    shares = sigma / sigma.sum()
    truth = {
        "nuclear": sigma.sum(),
        "schatten_4": (sigma**4).sum() ** 0.25,
        "participation_ratio": (sigma**2).sum() ** 2 / (sigma**4).sum(),
        "effective_rank": math.exp(-(shares * np.log(shares)).sum()),
        "condition": 3.0,
        "stable_rank": (sigma**2).sum() / 9,
        "log_det": np.log(sigma).sum(),
        "median": 2.0,
    }
    for key, value in truth.items():
        quantity = found[key]
        assert quantity.evidence == "proved"
        assert quantity.lower - 1e-13 * abs(value) <= value <= quantity.upper + 1e-13 * abs(value)
        assert quantity.upper - quantity.lower < 1e-10 * abs(value)


def test_stable_rank_without_values_is_the_measured_interval() -> None:
    matrix = np.random.default_rng(0).standard_normal((30, 2000))
    found = spectrum(matrix, Evidence.ESTIMATE).quantities["stable_rank"]
    truth = (matrix**2).sum() / np.linalg.norm(matrix, 2) ** 2
    assert found.lower <= truth <= found.upper


def test_distance_from_initialization() -> None:
    rng = np.random.default_rng(0)
    before = rng.standard_normal((20, 3000)).astype(np.float32)
    after = before + 0.01 * rng.standard_normal((20, 3000)).astype(np.float32)
    found = describe(after, initial=before, seed=0).quantities["from_initial"]
    exact = math.sqrt(math.fsum(np.square(after.astype(float) - before.astype(float)).ravel()))
    assert found.lower <= exact <= found.upper
    assert found.upper / found.lower - 1 < 1e-10
    assert describe(after, initial=after, seed=0).quantities["from_initial"].value == 0
    with pytest.raises(UsageError, match="shape"):
        describe(after, initial=before.T)
    with pytest.raises(UndefinedNorm):
        describe(after, initial=np.where(before > 3, np.nan, before))


# The noise edge


@pytest.mark.parametrize("beta", [1e-4, 0.01, 0.3, 0.9, 0.999999, 1.0])
def test_the_law_against_its_density(beta: float) -> None:
    low, high = (1 - math.sqrt(beta)) ** 2, (1 + math.sqrt(beta)) ** 2
    for share in (0.05, 0.5, 0.9):
        top = noise.law_quantile(share, beta)
        # The density in the angle, where it has no poles.
        end = math.acos(min(1.0, max(-1.0, (1 + beta - top) / (2 * math.sqrt(beta)))))
        mass, _ = quad(
            lambda t: 2 / math.pi * math.sin(t) ** 2 / (1 + beta - 2 * math.sqrt(beta) * math.cos(t)), 0, end
        )
        assert mass == pytest.approx(share, abs=1e-6)
        assert low <= top <= high


def test_the_median_of_the_law_is_the_published_one() -> None:
    """Gavish and Donoho 2014: λ(β)/√μ_β is 2.858 for β = 1, with λ(1) = 4/√3."""
    assert 4 / math.sqrt(3) / math.sqrt(noise.law_quantile(0.5, 1.0)) == pytest.approx(2.858, abs=5e-4)


@pytest.mark.parametrize("shape", [(300, 300), (200, 800), (800, 200)])
@pytest.mark.parametrize("size", [0.02, 3.0])
def test_noise_alone_has_no_outliers(shape: tuple[int, int], size: float) -> None:
    edges = []
    for seed in range(3):
        matrix = size * np.random.default_rng(seed).standard_normal(shape)
        found = spectrum(matrix, tail=False).noise
        assert found is not None
        assert found.scale == pytest.approx(size, rel=0.03)
        assert found.outliers.upper <= 2
        edges.append(found.edge / (size * (math.sqrt(shape[0]) + math.sqrt(shape[1]))))
    assert np.mean(edges) == pytest.approx(1, rel=0.02)


@pytest.mark.parametrize("spikes", [1, 5, 20])
@pytest.mark.parametrize("shape", [(250, 250), (200, 600)])
def test_planted_spikes_are_counted(spikes: int, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(spikes)
    edge = math.sqrt(shape[0]) + math.sqrt(shape[1])
    planted = (haar(shape[0], spikes, rng) * np.linspace(2, 4, spikes) * edge) @ haar(shape[1], spikes, rng).T
    found = spectrum(rng.standard_normal(shape) + planted).quantities["outliers"]
    assert (found.lower, found.value, found.upper, found.evidence) == (spikes, spikes, spikes, "proved")


def test_no_edge_without_a_bulk() -> None:
    low_rank = with_spectrum(np.where(np.arange(40) < 15, 1.0, 0.0), 40, 40, np.random.default_rng(0))
    for operator in (low_rank, np.ones((3, 500)), np.zeros((40, 40))):
        assert spectrum(operator).noise is None


# Densities


def test_exact_density_adds_up() -> None:
    sigma = np.concatenate([np.full(10, 10.0), np.full(30, 1.0), np.zeros(10)])
    found = spectrum(with_spectrum(sigma, 50, 60, np.random.default_rng(0))).density
    assert found is not None
    assert found.method == "exact"
    assert math.fsum(found.shares) + found.zero == pytest.approx(1)
    assert found.zero == pytest.approx(0.2)
    assert found.shares[0] == pytest.approx(0.6)
    assert found.shares[-1] == pytest.approx(0.2)
    assert len(found.edges) == len(found.shares) + 1
    assert 10 ** found.edges[0] == pytest.approx(1)
    assert 10 ** found.edges[-1] == pytest.approx(10)


def test_equal_values_have_one_bin() -> None:
    found = spectrum(np.eye(30)).density
    assert found is not None
    assert max(found.shares) == 1


def sampled(sigma: np.ndarray, seed: int = 0) -> quadrature.Quadrature:
    matrix = with_spectrum(sigma, len(sigma), len(sigma) + 50, np.random.default_rng(1)).astype(np.float32)
    rule = quadrature.quadrature(aslinearoperator(matrix), Request(seed=seed))
    assert rule is not None
    return rule


SMOOTH = {
    "gaussian": np.linalg.svd(np.random.default_rng(0).standard_normal((400, 500)), compute_uv=False),
    "power law": np.arange(1.0, 401) ** -0.7,
    "half zero": np.concatenate([np.linspace(1, 2, 200), np.zeros(200)]),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_quadrature_against_all_values(name: str) -> None:
    sigma = np.sort(SMOOTH[name])[::-1]
    rule = sampled(sigma)
    points = np.quantile(sigma[sigma > 0], [0.1, 0.3, 0.5, 0.7, 0.9]) * (1 + 1e-9)
    points = points[points > sigma[0] / quadrature.STEPS]
    truth = np.array([(sigma <= p).mean() for p in points])
    shares = rule.below(points)
    error = shares.std(axis=0, ddof=1) / math.sqrt(len(shares))
    assert (np.abs(shares.mean(axis=0) - truth) < 5 * error + 0.015).all()
    for function in (lambda s: s, np.square, lambda s: s**4):
        value, spread = rule.estimated(rule.mean(function), combine=lambda v: v)
        assert abs(value - function(sigma).mean()) < 5 * spread + 1e-3 * function(sigma).mean()
        assert spread < 0.5 * value


def test_errors_of_quadrature_are_of_the_right_size() -> None:
    sigma = SMOOTH["gaussian"]
    misses = []
    for seed in range(12):
        value, spread = sampled(sigma, seed).estimated(sampled(sigma, seed).mean(np.square), combine=lambda v: v)
        misses.append((value - np.square(sigma).mean()) / spread)
    assert 0.3 < np.sqrt(np.mean(np.square(misses))) < 2.5


def test_sampled_density_against_the_exact_one() -> None:
    sigma = SMOOTH["gaussian"]
    rule = sampled(sigma)
    found = density.sampled(rule)
    assert found is not None
    counts = np.histogram(np.log10(sigma), bins=found.edges)[0] / len(sigma)
    assert math.fsum(found.shares) + found.zero == pytest.approx(1, abs=0.01)
    assert np.abs(np.array(found.shares) - counts).max() < 0.03
    assert all(error >= 0 for error in found.errors)


def test_large_operators_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opnorm.spectrum.singular.SIDE", 100)
    sigma = SMOOTH["power law"]
    matrix = with_spectrum(sigma, 400, 450, np.random.default_rng(0))
    found = spectrum(matrix)
    assert found.method == "quadrature"
    assert found.profile == ()
    truth = {"nuclear": sigma.sum(), "participation_ratio": (sigma**2).sum() ** 2 / (sigma**4).sum()}
    for key, value in truth.items():
        quantity = found.quantities[key]
        assert quantity.evidence == "estimate"
        assert abs(quantity.value - value) < 5 * quantity.error + 0.01 * value
    assert found.quantities["condition"].value is None
    assert found.quantities["stable_rank"].lower <= (sigma**2).sum() <= found.quantities["stable_rank"].upper


def test_one_seed_gives_one_quadrature() -> None:
    sigma = SMOOTH["gaussian"]
    assert np.array_equal(sampled(sigma, 3).sigma, sampled(sigma, 3).sigma)
    assert not np.array_equal(sampled(sigma, 3).sigma, sampled(sigma, 4).sigma)


def test_breakdown_of_the_recurrence() -> None:
    rule = quadrature.quadrature(aslinearoperator(np.eye(60)), Request())
    assert rule is not None
    assert rule.mean(lambda s: s) == pytest.approx(np.ones(10))
    assert rule.weights.sum(axis=1) == pytest.approx(np.ones(10))


# Units


def test_dead_and_duplicate_units() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((300, 40)).astype(np.float32)
    matrix[[7, 200]] = 0
    matrix[:, 3] = 0
    matrix[50] = 3.7 * matrix[10]
    matrix[60] = -matrix[10]
    matrix[299] = matrix[298]
    matrix[100] = matrix[101] + 1e-3 * rng.standard_normal(40) * (np.arange(40) != 3)
    for scale in (1.0, 2.0**-100, 2.0**100):
        found = units_of(aslinearoperator(matrix * np.float32(scale)))
        assert found.dead_outputs == (7, 200)
        assert found.dead_inputs == (3,)
        assert found.duplicate_outputs == ((10, 50), (10, 60), (298, 299))
        assert (found.dead_outputs_count, found.dead_inputs_count, found.duplicate_outputs_count) == (2, 1, 3)


def test_nothing_is_dead_in_noise() -> None:
    found = units_of(aslinearoperator(np.random.default_rng(0).standard_normal((5000, 8)).astype(np.float32)))
    assert (found.dead_outputs_count, found.dead_inputs_count, found.duplicate_outputs_count) == (0, 0, 0)


def test_many_duplicates_are_counted_and_few_are_listed() -> None:
    found = units_of(aslinearoperator(np.ones((1000, 5))))
    assert found.duplicate_outputs_count == 999
    assert found.duplicate_outputs == tuple((0, i) for i in range(1, 33))


def test_filters_are_units() -> None:
    kernel = np.random.default_rng(0).standard_normal((8, 3, 3, 3)).astype(np.float32)
    kernel[2] = 0
    kernel[:, 1] = 0
    kernel[5] = 2 * kernel[4]
    found = spectrum(opnorm.Convolution(kernel)).units
    assert found is not None
    assert (found.dead_outputs, found.dead_inputs, found.duplicate_outputs) == ((2,), (1,), ((4, 5),))


def test_transposed_storage_exchanges_outputs_and_inputs() -> None:
    matrix = np.random.default_rng(0).standard_normal((6, 9))
    matrix[2] = 0
    found = spectrum(matrix, transposed=True).units
    assert found is not None
    assert (found.dead_outputs, found.dead_inputs) == ((), (2,))


# The public function


def test_describe_takes_what_spectral_norm_takes() -> None:
    torch = pytest.importorskip("torch")
    matrix = np.random.default_rng(0).standard_normal((20, 30)).astype(np.float32)
    for given in (matrix, torch.from_numpy(matrix), matrix.tolist(), aslinearoperator(matrix)):
        assert describe(given, seed=0).quantities["nuclear"].value == pytest.approx(
            np.linalg.norm(matrix, "nuc"), rel=1e-5
        )
    with pytest.raises(UndefinedNorm):
        describe(np.array([[np.inf]]))
    with pytest.raises(UsageError):
        describe(matrix, evidence="surely")


def test_same_seed_same_spectrum() -> None:
    box = FunctionOperator(5, 5, lambda x: 2 * x, lambda y: 2 * y)
    for given in (np.random.default_rng(0).standard_normal((60, 70)), box):
        assert describe(given, seed=1, p_value=True) == describe(given, seed=1, p_value=True)


def test_profile() -> None:
    found = spectrum(np.diag(np.arange(1.0, 201)))
    assert len(found.profile) == 64
    assert found.ranks[:9] == (*range(8), 8)
    assert found.ranks[-1] == 199
    assert found.profile == pytest.approx([200.0 - r for r in found.ranks])
    assert spectrum(np.eye(3)).ranks == (0, 1, 2)
    assert magnitude.PROFILE == 64


def test_lines_say_what_is_known() -> None:
    rng = np.random.default_rng(0)
    text = "\n".join(lines(describe(rng.standard_normal((100, 120)) + np.ones((100, 120)), seed=0)))
    for word in ("Effective rank", "proved", "Outliers", "density of log σ", "noise:", "tail:"):
        assert word in text


def test_values_and_estimates_agree() -> None:
    matrix = np.random.default_rng(0).standard_normal((50, 60))
    first = singular_values(aslinearoperator(matrix), Request(Evidence.PROVED))
    second = singular_values(aslinearoperator(matrix), Request(Evidence.ESTIMATE))
    assert first is not None
    assert second is not None
    assert first.sigma == pytest.approx(second.sigma, rel=1e-12)
