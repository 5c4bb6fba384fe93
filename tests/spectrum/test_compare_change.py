"""ΔW and what follows from it: proved brackets against the interval oracle, constructed changes, Weyl's inequality."""

from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest

from gallery import haar, with_spectrum
from opnorm.bound import Evidence
from opnorm.errors import UnsupportedInput
from opnorm.frameworks import aslinearoperator
from opnorm.frameworks.convolution import Convolution
from opnorm.frameworks.scaled_blocks import ScaledBlocks
from opnorm.linalg.convolution.by_symbol import BareKernel
from opnorm.linalg.diagonal import Diagonal
from opnorm.linalg.measure import measure_operator
from opnorm.linalg.near import Near
from opnorm.linalg.request import Request
from opnorm.spectrum.comparison import difference as module
from opnorm.spectrum.comparison.change import examined
from opnorm.spectrum.comparison.difference import Difference, difference
from opnorm.spectrum.comparison.document import Change
from opnorm.spectrum.comparison.figures import ratio
from opnorm.spectrum.comparison.subject import Subject
from opnorm.spectrum.document import Quantity
from oracle import Oracle

PROVED = Request(Evidence.PROVED, 1e-6)


def change(base, tuned, request=PROVED, unit=0.0):
    """The change of two arrays."""
    a, b = aslinearoperator(base), aslinearoperator(tuned)
    return examined(Change("w", "w", "linear", "", a.shape, "changed"), Subject(a, b, difference(b, a), unit), request)


def exact_difference(tuned, base):
    """tuned − base as integers over one power of two, in float64 where that is exact."""
    pairs = zip(tuned, base, strict=True)
    return [[Fraction(float(x)) - Fraction(float(y)) for x, y in zip(r, s, strict=True)] for r, s in pairs]


class ExactOracle(Oracle):
    """The oracle over fractions instead of floats: of ΔW in exact arithmetic."""

    def __init__(self, rows):
        self.fractions = rows if len(rows) <= len(rows[0]) else [list(c) for c in zip(*rows, strict=True)]
        self._grams = {}

    def _gram(self, precision):
        from flint import arb, arb_mat, fmpq

        if precision not in self._grams:
            balls = arb_mat([[arb(fmpq(x.numerator, x.denominator)) for x in row] for row in self.fractions])
            self._grams[precision] = (balls * balls.transpose()).tolist()
        return self._grams[precision]


DTYPES = [np.float64, np.float32, np.float16, ml_dtypes.bfloat16]


def survives(seed):
    """Brackets at three widths of a pair whose entries lie in twelve binades, of two dtypes, against the oracle."""
    rng = np.random.default_rng(seed)
    rows, columns = rng.integers(1, 9, 2)
    first, second = (DTYPES[i] for i in rng.integers(0, 4, 2))
    base = (rng.standard_normal((rows, columns)) * 2.0 ** rng.integers(-6, 7, (rows, columns))).astype(first)
    near = base.astype(np.float64) if seed % 2 else np.zeros((rows, columns))
    tuned = (near + 10.0 ** -rng.integers(0, 9) * rng.standard_normal((rows, columns))).astype(second)
    exact = exact_difference(tuned.astype(np.float64), base.astype(np.float64))
    for width in (1e-2, 1e-9, 1e-15):
        found = change(base, tuned, Request(Evidence.PROVED, width)).delta
        narrow = found.upper <= found.lower * (1 + max(width, 1e-6))
        if not (found.evidence == "proved" and narrow and ExactOracle(exact).holds(found.lower, found.upper)):
            return False
    return True


@pytest.mark.parametrize("seed", range(12))
def test_the_bracket_of_the_difference_is_proved(seed):
    assert survives(seed)


def single(self, start, stop):
    """The difference in float32, as tools take it that load weights in their own precision."""
    tuned, base = (o._read(start, stop).astype(np.float32) for o in (self.tuned, self.base))
    return (tuned - base).astype(np.float64)


def one_sided(self, start, stop):
    return self.tuned._read(start, stop).astype(np.float64)


@pytest.mark.parametrize("mutant", [single, one_sided])
def test_a_broken_difference_is_caught(mutant, monkeypatch):
    monkeypatch.setattr(Difference, "_read", mutant)
    assert not all(survives(seed) for seed in range(12))


def test_streamed_and_formed_differences_agree(monkeypatch):
    rng = np.random.default_rng(0)
    base = rng.standard_normal((40, 60)).astype(np.float32)
    tuned = (base + 1e-3 * rng.standard_normal((40, 60))).astype(np.float32)
    formed = change(base, tuned).delta
    monkeypatch.setattr(module, "MOST_FORMED", 0)
    assert isinstance(difference(aslinearoperator(tuned), aslinearoperator(base)), Difference)
    streamed = change(base, tuned).delta
    truth = np.linalg.norm(tuned.astype(float) - base.astype(float), 2)
    for found in (formed, streamed, change(base.T, tuned.T).delta):
        assert found.lower <= truth * (1 + 1e-12)
        assert found.upper >= truth * (1 - 1e-12)
        assert found.upper <= found.lower * (1 + 1e-6)


def test_equal_numbers_have_no_difference_however_large():
    big = np.full((3, 4), 1e300)
    found = change(big, big)
    assert found.status == "equal"
    assert found.delta.upper == 0
    tiny = np.full((3, 4), 5e-324)
    assert change(tiny, 0 * tiny).delta.lower > 0


def test_a_difference_beyond_the_range_is_refused():
    found = change(np.full((2, 2), -1.5e308), np.full((2, 2), 1.5e308))
    assert found.status == "refused"
    assert "beyond the range of float64" in found.reason


@pytest.mark.parametrize(("nan", "side"), [(0, "BASE"), (1, "TUNED")])
def test_a_nan_has_no_numbers_and_says_where(nan, side):
    pair = [np.eye(3), np.eye(3) * 2]
    pair[nan] = pair[nan].copy()
    pair[nan][0, 0] = np.nan
    found = change(*pair)
    assert (found.status, found.reason, found.delta) == ("undefined", f"{side} holds 1 NaN", None)


@pytest.mark.parametrize("rank", [1, 3, 8])
@pytest.mark.parametrize(
    ("dtype", "unit"), [(np.float32, 2.0**-24), (np.float64, 2.0**-53), (ml_dtypes.bfloat16, 2.0**-8)]
)
def test_a_merged_low_rank_change_has_its_norm_and_its_rank(rank, dtype, unit):
    rng = np.random.default_rng(rank)
    base = (0.05 * rng.standard_normal((96, 64))).astype(dtype)
    sigma = np.linspace(1.0, 0.5, rank) * 0.3
    tuned = (base.astype(float) + with_spectrum(sigma, 96, 64, rng)).astype(dtype)
    found = change(base, tuned, unit=unit)
    assert found.quantities["delta_rank"].value == rank
    assert found.delta.upper == pytest.approx(0.3, rel=0.02)
    truth = np.linalg.norm(tuned.astype(float) - base.astype(float))
    frobenius = found.quantities["delta_frobenius"]
    assert frobenius.lower <= truth * (1 + 1e-14)
    assert truth * (1 - 1e-14) <= frobenius.upper <= frobenius.lower * (1 + 1e-11)
    stable = found.quantities["delta_stable_rank"]
    exact = (sigma**2).sum() / sigma.max() ** 2
    assert stable.value == pytest.approx(exact, rel=0.05)
    assert stable.lower >= 1


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_a_cast_drifts_no_more_than_its_unit_roundoff_allows(dtype):
    rng = np.random.default_rng(1)
    base = (0.02 * rng.standard_normal((128, 80))).astype(np.float32)
    unit = {"float16": 2.0**-11, "bfloat16": 2.0**-8}[np.dtype(dtype).name]
    found = change(base, base.astype(dtype), unit=unit)
    assert found.quantities["relative_frobenius"].upper <= unit
    assert 0 < found.relative.lower <= found.relative.upper <= unit
    assert found.quantities["delta_rank"].value == 0, "rounding is no change of rank"


def test_the_rounding_of_a_few_large_entries_is_no_rank():
    """As in real models: entries a thousand times the others, whose rounding alone stands far above the rest's."""
    rng = np.random.default_rng(4)
    base = (0.02 * rng.standard_normal((96, 200))).astype(np.float32)
    base[rng.integers(0, 96, 5), rng.integers(0, 200, 5)] = 20 * rng.uniform(1, 2, 5)
    found = change(base, base.astype(ml_dtypes.bfloat16), unit=2.0**-8)
    assert found.quantities["delta_rank"].value == 0


@pytest.mark.parametrize("seed", range(8))
def test_weyls_inequality_holds_and_the_shift_is_the_largest(seed):
    rng = np.random.default_rng(seed)
    rows, columns = rng.integers(3, 60, 2)
    base = rng.standard_normal((rows, columns))
    tuned = base + 10.0 ** -rng.integers(0, 12) * rng.standard_normal((rows, columns))
    found = change(base, tuned)
    shifts = np.abs(np.linalg.svd(tuned, compute_uv=False) - np.linalg.svd(base, compute_uv=False))
    noise = 1e-13 * np.linalg.norm(base, 2)
    assert shifts.max() <= found.delta.upper + noise
    shift = found.quantities["largest_shift"].value
    assert shift == pytest.approx(shifts.max(), rel=1e-5, abs=noise)
    assert shift <= found.delta.upper + noise


def test_the_relative_drift_is_a_bracket():
    rng = np.random.default_rng(3)
    base, step = rng.standard_normal((30, 20)), rng.standard_normal((30, 20))
    found = change(base, base + step)
    truth = np.linalg.norm(base + step - base, 2) / np.linalg.norm(base, 2)
    assert found.relative.lower <= truth * (1 + 1e-12)
    assert truth * (1 - 1e-12) <= found.relative.upper <= found.relative.lower * (1 + 3e-6)
    assert found.relative.evidence == "proved"


def test_a_zero_base_has_no_relative_drift():
    found = change(np.zeros((4, 4)), np.eye(4))
    assert found.relative.value is None
    assert "zero" in found.relative.note
    assert found.delta.upper == pytest.approx(1)


def test_ratios_round_outward():
    third = ratio(Quantity(1.0, 1.0, 1.0, "proved"), Quantity(3.0, 3.0, 3.0, "probable"))
    assert Fraction(third.lower) < Fraction(1, 3) < Fraction(third.upper)
    assert third.evidence == "probable"


def test_probable_evidence_keeps_its_odds():
    rng = np.random.default_rng(5)
    base = rng.standard_normal((600, 700)).astype(np.float32)
    found = change(base, base + np.float32(1e-3) * rng.standard_normal((600, 700)).astype(np.float32), Request())
    assert found.delta.evidence == "probable"
    assert 0 < found.failure_probability <= 3e-12


def test_quantized_against_original():
    rng = np.random.default_rng(6)
    weight = rng.standard_normal((48, 32)).astype(np.float32)
    scale = (np.abs(weight).max(axis=1) / 127).astype(np.float32)
    codes = np.round(weight / scale[:, None]).astype(np.int8)
    a, b = aslinearoperator(weight), ScaledBlocks(codes, scale[:, None], (1, 32))
    found = examined(Change("w", "w", "linear", "", (48, 32), "changed"), Subject(a, b, difference(b, a)), PROVED)
    error = codes.astype(float) * scale[:, None].astype(float) - weight.astype(float)
    assert found.delta.evidence == "proved"
    assert found.delta.lower <= np.linalg.norm(error, 2) * (1 + 1e-12)
    assert found.delta.upper >= np.linalg.norm(error, 2) * (1 - 1e-12)


KERNELS = {"f32": (np.float32, 1.0), "wide f64": (np.float64, 1e9)}


@pytest.mark.parametrize(("dtype", "spread"), KERNELS.values(), ids=KERNELS)
@pytest.mark.parametrize(
    "settings", [{"padding": 1}, {"padding": 1, "stride": 2}, {"padding": 1, "padding_mode": "reflect"}]
)
def test_the_difference_of_convolutions_is_one(dtype, spread, settings):
    rng = np.random.default_rng(7)
    kernels = [
        (rng.standard_normal((4, 3, 3, 3)) * spread ** rng.uniform(-1, 1, (4, 3, 3, 3))).astype(dtype) for _ in "ab"
    ]
    a, b = (Convolution(k, (3, 6, 5), **settings) for k in kernels)
    delta = difference(b, a)
    bracket = measure_operator(delta, PROVED).bracket("proved")
    formed = [np.asarray(o.matmat64(np.eye(90)), dtype=np.longdouble) for o in (a, b)]
    truth = np.linalg.norm((formed[1] - formed[0]).astype(float), 2)
    assert bracket.lower <= truth * (1 + 1e-12)
    assert bracket.upper >= truth * (1 - 1e-12)
    assert bracket.upper <= bracket.lower * (1 + 1e-2)
    assert isinstance(delta, Near) == (dtype == np.float64)


def test_kernels_with_unknown_settings_have_an_upper_bound_only():
    rng = np.random.default_rng(8)
    kernels = [rng.standard_normal((4, 3, 3, 3)) for _ in "ab"]
    a, b = map(BareKernel, kernels)
    found = examined(
        Change("k", "k", "convolution", "", (4, 3, 3, 3), "changed"), Subject(a, b, difference(b, a)), PROVED
    )
    true = Convolution(kernels[1] - kernels[0], (3, 9, 9), padding=1)
    assert found.delta.lower is None
    assert found.delta.upper >= measure_operator(true, PROVED).bracket("proved").lower
    assert found.relative.value is None
    frobenius = found.quantities["relative_frobenius"]
    assert frobenius.value == pytest.approx(np.linalg.norm(kernels[1] - kernels[0]) / np.linalg.norm(kernels[0]))
    assert frobenius.note == "of the kernel"
    assert "largest_shift" not in found.quantities


def test_what_subtraction_of_kernels_rounds_away_is_added(monkeypatch):
    """1 + 2⁻⁶⁰ is no float64 number: the bracket must hold it, and does not where the rest is dropped."""
    a, b = (Convolution(np.array([[[[x]]]])) for x in (-(2.0**-60), 1.0))
    exact = Fraction(1) + Fraction(1, 2**60)

    def holds():
        bracket = measure_operator(difference(b, a), Request(Evidence.PROVED, 1e-12)).bracket("proved")
        return Fraction(bracket.lower) <= exact <= Fraction(bracket.upper)

    assert holds()
    assert difference(b, a).absolute >= 2.0**-60
    monkeypatch.setattr(module, "_two_difference", lambda t, s: (t - s, 0 * t))
    assert not isinstance(difference(b, a), Near)


def test_settings_that_differ_are_refused():
    kernel = np.ones((2, 2, 3, 3))
    with pytest.raises(UnsupportedInput, match="different settings"):
        difference(Convolution(kernel, stride=2), Convolution(kernel))
    assert isinstance(difference(Convolution(kernel, stride=2), BareKernel(0 * kernel)), type(Convolution(kernel)))


def test_diagonals_and_what_is_not_known_of_them():
    a, b = Diagonal(np.array([1.0, -2.0, 3.0]), 1e-6), Diagonal(np.array([1.5, -2.0, 2.0]), 0.0)
    bracket = measure_operator(difference(b, a), PROVED).bracket("proved")
    assert 1 - 1e-5 < bracket.lower <= 1 - 3e-6
    assert 1 + 3e-6 <= bracket.upper < 1 + 1e-5


def test_integers_beyond_float64_are_refused():
    wide = np.array([[2**60 + 1]])
    with pytest.raises(UnsupportedInput, match="exactly"):
        difference(aslinearoperator(wide), aslinearoperator(wide))


def test_rotated_top_direction():
    rng = np.random.default_rng(9)
    left, right = haar(40, 3, rng), haar(30, 3, rng)
    angle = np.deg2rad(20)
    turned = np.cos(angle) * left[:, 0] + np.sin(angle) * left[:, 1]
    base = 5 * np.outer(left[:, 0], right[:, 0]) + 0.5 * np.outer(left[:, 2], right[:, 2])
    tuned = 5 * np.outer(turned, right[:, 0]) + 0.5 * np.outer(left[:, 2], right[:, 2])
    assert change(base, tuned).quantities["rotation"].value == pytest.approx(20, abs=1e-4)
    assert "not settled" in change(np.eye(4), np.diag([1.0, 1, 1, 2])).quantities["rotation"].note
