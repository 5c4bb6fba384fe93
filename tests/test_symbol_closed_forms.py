"""Convolutions whose norm is known by heart, and what their settings cannot change."""

import math

import numpy as np
import pytest
from scipy.linalg import hadamard

from opnorm.bound import Evidence
from opnorm.errors import UndefinedNorm, UnsupportedInput
from opnorm.linalg.convolution import at_size, by_symbol
from opnorm.linalg.convolution.by_symbol import ANY_SIZE, UNKNOWN_SETTINGS, BareKernel
from opnorm.linalg.convolution.operator import Convolution
from opnorm.linalg.measure import measure_operator
from opnorm.linalg.request import Request
from symbol_cases import explicit, matrix, operator, random_case, random_kernel

LAPLACIAN = np.array([[0.0, 1, 0], [1, 4, 1], [0, 1, 0]])[None, None]


def bracket(conv, width=0.01, evidence=Evidence.PROVED):
    return measure_operator(conv, Request(evidence, width)).bracket(evidence)


def assert_holds(found, value, width=0.01):
    assert found.lower <= value * (1 + 1e-12)
    assert found.upper >= value * (1 - 1e-12)
    assert found.upper <= found.lower * (1 + width)


def box(taps):
    return np.full((1, 1, taps), 1 / taps)


@pytest.mark.parametrize(
    ("kernel", "settings", "value"),
    [
        (LAPLACIAN, {}, 8.0),
        (np.array([[[1.0, 2, 1]]]), {}, 4.0),
        (np.array([[[1.0, 2, 1]]]), {"dilation": 3}, 4.0),
        (np.array([[[1.0, -1]]]), {}, 2.0),
        (np.array([[[1.0, 0, -1]]]), {"stride": 2}, math.sqrt(2) * math.sqrt(2)),
        (np.array([[[1.0, 1]]]), {"stride": 2}, math.sqrt(2)),
        (box(5), {}, 1.0),
        (box(6), {"stride": 3}, math.sqrt(12) / 6),
        (np.ones((3, 2, 3, 4)), {}, 12 * math.sqrt(6)),
        (np.ones((2, 2, 2, 2, 2)), {}, 16.0),
        (np.ones((6, 1, 3, 3)), {"groups": 3}, 9 * math.sqrt(2)),
        (hadamard(8)[:, :, None, None].astype(float), {"stride": 3}, math.sqrt(8)),
        (np.einsum("a,b->ab", [1.0, 2, 1], [1.0, -1])[None, None], {}, 8.0),
        (np.eye(3)[:, :, None, None] * np.pad([[1.0]], 1), {"padding": 1}, 1.0),
    ],
)
@pytest.mark.parametrize("width", [0.01, 1e-6])
def test_any_size(kernel, settings, value, width):
    assert_holds(bracket(Convolution(kernel, **settings), width), value, width)


def test_a_strided_pair_of_taps_aliases():
    """[1, 0, −1] at stride 2 is [1, −1] on the even entries: norm 2."""
    assert_holds(bracket(Convolution(np.array([[[1.0, 0, -1]]]), stride=2), 1e-8), 2.0, 1e-8)


@pytest.mark.parametrize("n", [1, 2, 5, 9, 40])
def test_laplacian_at_a_size(n):
    value = 4 + 4 * math.cos(math.pi / (n + 1))
    assert_holds(bracket(Convolution(LAPLACIAN, (1, n, n), padding=1)), value)


def test_the_laplacian_by_symbol_at_a_size(monkeypatch):
    """At 90² no Gram matrix is formed; at 16² the best phases are exact for it."""
    value = 4 + 4 * math.cos(math.pi / 91)
    found = measure_operator(Convolution(LAPLACIAN, (1, 90, 90), padding=1), Request(Evidence.PROVED))
    assert found.method == "symbol"
    assert_holds(found.bracket("proved"), value)
    for name, value in (("GRAM_SIDE", 0), ("IMPLICIT_SIDE", 0), ("_GRAM_WORK", 0)):
        monkeypatch.setattr(at_size, name, value)
    assert_holds(bracket(Convolution(LAPLACIAN, (1, 16, 16), padding=1)), 4 + 4 * math.cos(math.pi / 17))


@pytest.mark.parametrize("mode", ["zeros", "circular"])
def test_toeplitz_and_circulant(mode):
    n, kernel = 1000, np.array([[[1.0, 2, 1]]])
    value = 2 + 2 * math.cos(math.pi / (n + 1)) if mode == "zeros" else 4.0
    assert_holds(bracket(Convolution(kernel, (1, n), padding=1, padding_mode=mode)), value)


@pytest.mark.parametrize(("size", "stride"), [(12, 1), (12, 3), (35, 5), (7, 1)])
def test_circulants_are_exact(size, stride):
    kernel = np.random.default_rng(size).standard_normal((3, 2, 5))
    conv = Convolution(kernel, (2, size), stride=stride, padding=2, padding_mode="circular")
    value = np.linalg.norm(explicit(kernel, (size,), (stride,), ((2, 2),), (1,), mode="circular"), 2)
    found = measure_operator(conv, Request(Evidence.PROVED, 1e-6))
    assert found.method == "symbol"
    assert_holds(found.bracket("proved"), value, 1e-6)


def test_disjoint_windows_are_the_flattened_kernel():
    kernel = np.random.default_rng(0).standard_normal((6, 3, 4, 4))
    flat = np.linalg.norm(kernel.reshape(6, -1), 2)
    for size in (None, (3, 8, 8), (3, 11, 9)):
        assert_holds(bracket(Convolution(kernel, size, stride=4), 1e-6), flat, 1e-6)
    truncated = Convolution(kernel, (3, 3, 3), stride=4, padding=1)  # no window lies inside
    value = np.linalg.norm(explicit(kernel, (3, 3), (4, 4), ((1, 1), (1, 1)), (1, 1)), 2)
    assert value < flat * 0.99
    assert_holds(bracket(truncated), value)


def test_a_kernel_beyond_its_input():
    """Taps that meet nothing but padding do not count; where all do, the operator is zero."""
    kernel = np.random.default_rng(1).standard_normal((1, 1, 9))
    assert_holds(bracket(Convolution(kernel, (1, 1), padding=4, stride=9)), abs(kernel[0, 0, 4]))
    nothing = measure_operator(Convolution(kernel[:, :, :3], (1, 1), padding=((3, 1),), stride=3), Request())
    assert (nothing.method, nothing.bracket("proved").upper) == ("zero", 0)


@pytest.mark.parametrize("scale", [-1000, -300, 300, 990])
def test_powers_of_two_change_nothing_else(scale):
    kernel = np.random.default_rng(2).standard_normal((4, 3, 3, 3))
    for size in (None, (3, 40, 40)):
        plain = bracket(Convolution(kernel, size, padding=1))
        scaled = bracket(Convolution(np.ldexp(kernel, scale), size, padding=1))
        assert scaled.upper == pytest.approx(math.ldexp(plain.upper, scale), rel=1e-12)
        assert scaled.lower == pytest.approx(math.ldexp(plain.lower, scale), rel=1e-12)


def test_subnormal_kernels():
    counts = np.random.default_rng(3).integers(1, 9, (2, 2, 3))
    kernel = counts * 2.0**-1074
    found = bracket(Convolution(kernel))
    assert found.lower <= np.linalg.norm(counts.sum(axis=2), 2) * 2.0**-1074 <= found.upper
    assert found.upper - found.lower <= 2.0**-1073


def test_transposition_and_groups_are_the_same_norm():
    rng = np.random.default_rng(4)
    for _ in range(30):
        kernel, _, case = random_case(rng)
        case.pop("padding_mode")
        conv, adjoint = Convolution(kernel, **case), Convolution(kernel, transposed=True, **case)
        assert bracket(conv) == bracket(adjoint)
        groups = case["groups"]
        each = kernel.shape[0] // groups
        alone = [
            bracket(Convolution(kernel[g * each : (g + 1) * each], **{**case, "groups": 1})) for g in range(groups)
        ]
        together = bracket(conv)
        assert together.lower <= max(b.upper for b in alone)
        assert together.upper >= max(b.lower for b in alone)


def test_the_bound_for_any_size_is_approached():
    kernel = np.random.default_rng(5).standard_normal((3, 3, 4))
    any_size = bracket(Convolution(kernel, stride=2), 1e-4)
    sizes = [np.linalg.norm(explicit(kernel, (n,), (2,), ((1, 2),), (1,)), 2) for n in (4, 8, 16, 64, 256)]
    assert sizes == sorted(sizes)
    assert any_size.lower * 0.998 < sizes[-1] < any_size.upper


def test_notes_say_what_is_bounded():
    kernel = np.random.default_rng(6).standard_normal((2, 2, 3))
    assert measure_operator(Convolution(kernel), Request()).note == ANY_SIZE
    padded = measure_operator(Convolution(kernel, padding=1, padding_mode="reflect"), Request())
    assert "'reflect' widens the upper bound by its own norm, 1.73" in padded.note


def test_padding_modes_of_any_size():
    """Where the bound for any size has to pay for its padding, no single size exceeds it."""
    rng = np.random.default_rng(7)
    for _ in range(150):
        kernel, size, case = random_case(rng, ("circular", "reflect", "replicate"))
        value = np.linalg.norm(matrix(kernel, size, case), 2)
        assert bracket(operator(kernel, None, case)).upper >= value * (1 - 1e-12)


def test_unknown_settings_bound_all_of_them():
    """Every stride, dilation, zero padding and size, every grouping of the same array, forward and transposed."""
    rng = np.random.default_rng(8)
    for _ in range(25):
        kernel = random_kernel(rng, (6, int(rng.integers(1, 4)), *rng.integers(1, 4, int(rng.integers(1, 3)))))
        found = measure_operator(BareKernel(kernel), Request(Evidence.PROVED))
        assert found.note == UNKNOWN_SETTINGS
        assert found.bracket("proved").lower is None
        axes = kernel.ndim - 2
        for groups in (1, 2, 3, 6):
            stride, dilation = (tuple(int(x) for x in rng.integers(1, 4, axes)) for _ in range(2))
            padding = tuple((int(a), int(b)) for a, b in rng.integers(0, 6, (axes, 2)))
            size = tuple(int(n) for n in rng.integers(9, 12, axes)) if axes == 1 else (9, 9)
            value = np.linalg.norm(explicit(kernel, size, stride, padding, dilation, groups), 2)
            assert found.bracket("proved").upper >= value * (1 - 1e-12)


def test_a_bare_kernel_is_refused_where_it_must_be():
    with pytest.raises(UndefinedNorm):
        measure_operator(BareKernel(np.full((1, 1, 2), np.nan)), Request())
    with pytest.raises(UnsupportedInput, match="unknown settings"):
        BareKernel(np.ones((1, 1, 2))).matmat(np.ones((1, 1)))
    zero = measure_operator(BareKernel(np.zeros((2, 2, 3, 3))), Request()).bracket("proved")
    assert zero.upper == 0
    dense = measure_operator(BareKernel(np.diag([3.0, 2.0])[:, :, None]), Request()).bracket()
    assert dense.upper == pytest.approx(3, rel=0.011)
    assert dense.lower is None


@pytest.mark.parametrize("evidence", list(Evidence)[1:])
def test_every_evidence_is_served(evidence):
    kernel = np.random.default_rng(9).standard_normal((40, 40, 3, 3)).astype(np.float32)
    for size in (None, (40, 30, 30), (40, 6, 6)):
        found = measure_operator(Convolution(kernel, size, padding=1), Request(evidence))
        assert found.bracket(evidence).width <= 0.01


def test_too_many_taps_are_bounded_by_the_flattened_kernel(monkeypatch):
    monkeypatch.setattr(by_symbol, "MOST_LAG_ENTRIES", 0)
    rng = np.random.default_rng(10)
    for evidence in (Evidence.PROVED, Evidence.PROBABLE, Evidence.ESTIMATE):
        for _ in range(40):
            kernel, size, case = random_case(rng)
            value = np.linalg.norm(matrix(kernel, size, case), 2)
            found = measure_operator(operator(kernel, None, case), Request(evidence)).bracket("probable")
            assert value * (1 - 1e-12) <= found.upper
            assert found.lower <= found.upper
            assert found.upper <= 1.02 * math.sqrt(math.prod(kernel.shape[2:])) * found.lower
    assert "too many taps" in measure_operator(Convolution(np.ones((2, 2, 3))), Request()).note
