"""Norms of convolutions in closed form, at any scale; and that their float64 products err no more than stated."""

import itertools
import math

import numpy as np
import pytest

import opnorm
from opnorm.bound import Evidence
from opnorm.errors import OpnormError
from opnorm.frameworks.convolution import convolution
from opnorm.linalg.convolution.operator import Convolution
from opnorm.linalg.measure import measure_operator
from opnorm.linalg.request import Request
from test_convolution_products import GROUPS, SIZES, explicit


class Plain(Convolution):
    """Without theorems of its own: measured as any operator is."""

    def own_bounds(self, request):
        return None


def laplacian(axes, scale=1.0):
    """2·axes at the center, 1 at its neighbours: (2·axes)(1 + cos(π/(n+1))) at size n, zero padding."""
    kernel = np.zeros((3,) * axes)
    for axis, side in itertools.product(range(axes), (0, 2)):
        kernel[tuple(side if a == axis else 1 for a in range(axes))] = scale
    kernel[(1,) * axes] = 2 * axes * scale
    return kernel[None, None]


def closed_forms():
    for axes, n in ((1, 40), (2, 12), (3, 5)):
        exact = 2 * axes * (1 + math.cos(math.pi / (n + 1)))
        yield f"laplacian {axes}-D", laplacian(axes), (1, *(n,) * axes), {"padding": 1}, exact
    both = np.array([[2.0, 1.0], [1.0, 3.0]])[:, :, None, None] * laplacian(2)[0, 0]
    mixed = np.linalg.norm([[2, 1], [1, 3]], 2) * 4 * (1 + math.cos(math.pi / 10))
    yield "laplacian, channels mixed", both, (2, 9, 9), {"padding": "same"}, mixed
    box = np.full((1, 1, 3, 3), 1 / 9)
    yield "box filter, circular", box, (1, 8, 7), {"padding": 1, "padding_mode": "circular"}, 1.0
    yield "all ones, circular", np.ones((3, 5, 2, 2)), (5, 6, 6), {"padding": 1, "padding_mode": "circular"}, None
    yield "all ones, one window", np.ones((3, 5, 4, 4)), (5, 4, 4), {}, math.sqrt(3 * 5 * 16)
    patches = np.random.default_rng(0).standard_normal((6, 3, 4, 4))
    yield "patches", patches, (3, 16, 16), {"stride": 4}, np.linalg.norm(patches.reshape(6, -1), 2)
    pointwise = np.random.default_rng(1).standard_normal((7, 9, 1, 1))
    yield "1×1", pointwise, (9, 10, 10), {}, np.linalg.norm(pointwise[:, :, 0, 0], 2)
    depthwise = np.stack([laplacian(2)[0] * factor for factor in (0.5, -2.0, 1.0)])
    largest = 2 * 4 * (1 + math.cos(math.pi / 8))
    yield "depthwise", depthwise, (3, 7, 7), {"padding": 1, "groups": 3}, largest
    replicated = {"padding": ((2, 0), (0, 3)), "padding_mode": "replicate"}
    yield "replicated edges", np.ones((1, 1, 1, 1)), (1, 6, 6), replicated, math.sqrt(12)
    repeat = {"stride": 3, "transposed": True}
    yield "nearest upsampling", np.ones((1, 1, 3, 3)), (1, 6, 6), repeat, 3.0
    hadamard = np.array([[1.0, 1.0], [1.0, -1.0]])[:, :, None]
    yield "Hadamard, dilated", np.repeat(hadamard, 2, axis=2), (2, 8), {"dilation": 8, "padding": 8}, None


FORMS = {name: (kernel, shape, settings, exact) for name, kernel, shape, settings, exact in closed_forms()}
TOGETHER = 1 + 1e-12


def measured(kind, name, evidence, scale=1.0, width=0.01):
    kernel, shape, settings, exact = FORMS[name]
    if exact is None:
        exact = np.linalg.norm(explicit_of(kernel, shape, settings), 2)
    operator = kind(kernel * scale, shape, **settings)
    request = Request(Evidence.parse(evidence), width, seed=0)
    return measure_operator(operator, request).bracket(evidence), exact * scale


def explicit_of(kernel, shape, settings):
    columns = math.prod(shape)
    return Convolution(kernel, shape, **settings).matmat64(np.eye(columns))


@pytest.mark.parametrize("evidence", ["probable", "proved"])
@pytest.mark.parametrize("kind", [Plain, convolution], ids=["general", "symbol"])
@pytest.mark.parametrize("name", FORMS)
def test_closed_forms(name, kind, evidence):
    bracket, exact = measured(kind, name, evidence)
    assert bracket.lower <= exact * TOGETHER
    assert bracket.upper >= exact / TOGETHER
    assert bracket.width <= 0.01 or kind is convolution


def test_all_ones_circular_is_the_sum():
    bracket, exact = measured(Plain, "all ones, circular", "probable", width=1e-6)
    assert exact >= 4 * math.sqrt(15) - 1e-9
    assert bracket.lower <= exact * TOGETHER <= bracket.upper * TOGETHER**2


@pytest.mark.parametrize("kind", [Plain, convolution], ids=["general", "symbol"])
@pytest.mark.parametrize("exponent", [-1070, -996, -130, 130, 996, 1018])
def test_powers_of_two_change_nothing(kind, exponent):
    """1e±300 and subnormal numbers included."""
    for name in ("laplacian 2-D", "patches", "replicated edges"):
        bracket, exact = measured(kind, name, "probable", scale=math.ldexp(1.0, exponent))
        assert bracket.lower <= exact * TOGETHER
        assert bracket.upper >= exact / TOGETHER
        assert bracket.width <= 0.01 or exponent < -1050 or kind is convolution


@pytest.mark.parametrize("exponent", [-140, -100, 100, 120])
def test_float32_kernels_of_any_scale(exponent):
    kernel = np.ldexp(np.random.default_rng(0).integers(-9, 10, (4, 3, 3, 3)).astype(np.float32), exponent)
    operator = Plain(kernel, (3, 9, 9), padding=1)
    exact = np.linalg.norm(explicit(np.ldexp(kernel.astype(float), -exponent), (3, 9, 9), padding=1), 2)
    bracket = measure_operator(operator, Request(seed=0)).bracket()
    assert math.ldexp(bracket.lower, -exponent) <= exact <= math.ldexp(bracket.upper, -exponent)
    assert bracket.width <= 0.01
    np.testing.assert_array_equal(operator.rescaled(-exponent).centered().kernel, kernel)


def test_rescaling_is_exact():
    rng = np.random.default_rng(0)
    for kernel in (rng.standard_normal((3, 2, 3)), rng.standard_normal((3, 2, 3)).astype(np.float32)):
        operator = convolution(kernel, (2, 9), stride=2)
        x = rng.standard_normal((18, 2))
        moved = operator.rescaled(-400).rescaled(407)
        np.testing.assert_array_equal(moved.matmat64(x), 128 * operator.matmat64(x))
        np.testing.assert_array_equal(moved.matmat(x), 128 * operator.matmat(x))
        assert moved.rounding.norm == pytest.approx(128 * operator.rounding.norm)
        assert moved.frobenius() == pytest.approx(128 * operator.frobenius())
        assert isinstance(moved, Convolution)


@pytest.mark.parametrize("kind", [Plain, Convolution])
def test_a_rescaled_convolution_is_measured_in_its_own_units(kind):
    operator = kind(laplacian(2), (1, 9, 9), padding=1)
    exact = 4 * (1 + math.cos(math.pi / 10))
    for exponent in (-1000, -3, 5, 900):
        bracket = measure_operator(operator.rescaled(exponent), Request(seed=0)).bracket()
        assert bracket.lower <= math.ldexp(exact, exponent) * TOGETHER
        assert bracket.upper >= math.ldexp(exact, exponent) / TOGETHER


def test_zero_kernels_are_exactly_zero():
    zero = convolution(np.zeros((2, 3, 3, 3)), (3, 8, 8), padding=1)
    assert measure_operator(zero, Request()).bracket("proved").upper == 0.0
    assert zero.frobenius() == 0.0
    composed = opnorm.aslinearoperator(np.ones((4, zero.shape[0]))) @ zero
    assert measure_operator(composed, Request()).bracket("proved").upper == 0.0


def test_convolutions_compose():
    """A residual block of two convolutions and a shortcut, against its matrix."""
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((2, 4, 4, 3, 3))
    a, b = (convolution(k, (4, 6, 6), padding=1) for k in (first, second))
    dense = explicit(second, (4, 6, 6), padding=1) @ explicit(first, (4, 6, 6), padding=1)
    skip = opnorm.aslinearoperator(np.eye(144))
    bracket = opnorm.spectral_norm(b @ a + skip, seed=0).bracket()
    assert bracket.lower <= np.linalg.norm(dense + np.eye(144), 2) <= bracket.upper
    assert bracket.width <= 0.01
    with pytest.raises(opnorm.UnsupportedInput, match="powers of two"):
        opnorm.spectral_norm(b @ convolution(first * 1e300, (4, 6, 6), padding=1))


PADDINGS = [
    {"padding": ((3, 4),)},
    {"padding": ((2, 1),), "padding_mode": "circular"},
    {"padding": ((3, 3),), "padding_mode": "replicate"},
    {"padding": ((2, 2),), "padding_mode": "reflect"},
]


@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize("transposed", [False, True])
def test_stated_rounding_holds(axes, transposed):
    """Against extended precision, on kernels and blocks of graded size and with heavy cancellation."""
    tightest = 0.0
    for seed, (settings, stride) in enumerate(itertools.product(PADDINGS[: 1 if transposed else 4], (1, 2))):
        groups, rows, columns = GROUPS[seed % len(GROUPS)]
        rng = np.random.default_rng(seed)
        kernel = rng.standard_normal((groups * rows, columns, *(3,) * axes)) * 2.0 ** rng.integers(-20, 20)
        kernel *= np.exp(rng.standard_normal(kernel.shape) * (seed % 3) * 4)
        settings = {**settings, "padding": settings["padding"] * axes, "stride": stride, "groups": groups}
        shape = (groups * (rows if transposed else columns), *SIZES[axes])
        settings |= {"padding": 1, "transposed": True} if transposed else {}
        try:
            operator = convolution(kernel, shape, **settings)
        except OpnormError:
            continue
        tightest = max(tightest, worst_error(operator, kernel, rng))
    assert 1e-4 < tightest <= 1.0


def worst_error(operator, kernel, rng):
    """Largest error of a product over what is stated of it; products with unit vectors have none."""
    dense = operator.matmat64(np.eye(operator.shape[1]))
    overlap = operator.geometry.mode != "zeros"
    long = dense.astype(np.longdouble) if not overlap else extended_matrix(operator, kernel)
    known, worst = operator.rounding, 0.0
    for _ in range(5):
        x = rng.standard_normal((operator.shape[1], 3)) * np.exp(rng.standard_normal((operator.shape[1], 1)) * 3)
        y = rng.standard_normal((operator.shape[0], 3))
        forward = np.linalg.norm((operator.matmat64(x) - long @ x.astype(np.longdouble)).astype(float), axis=0)
        adjoint = np.linalg.norm((operator.rmatmat64(y) - long.T @ y.astype(np.longdouble)).astype(float), axis=0)
        worst = max(worst, float((forward / np.linalg.norm(x, axis=0)).max() / known.forward))
        worst = max(worst, float((adjoint / np.linalg.norm(y, axis=0)).max() / known.adjoint))
    return worst


def extended_matrix(operator, kernel):
    """Entries that sum several taps, in extended precision: convolution without padding times the padding."""
    known = operator.geometry
    padded = tuple(n + sum(p) for n, p in zip(known.size, known.padding, strict=True))
    channels = operator.domain[0]
    inner = Convolution(kernel, (channels, *padded), stride=known.stride, groups=known.groups)
    one = Convolution(
        np.ones((channels, 1, *(1,) * len(padded))),
        operator.domain,
        groups=channels,
        padding=known.padding,
        padding_mode=known.mode,
    )
    dense = inner.matmat64(np.eye(inner.shape[1])).astype(np.longdouble)
    return dense @ one.matmat64(np.eye(one.shape[1])).astype(np.longdouble)


def test_the_gram_error_holds_for_a_long_sum():
    """512 channels and nine taps: 4608 products a sum."""
    rng = np.random.default_rng(0)
    operator = convolution(rng.standard_normal((2, 512, 3, 3)), (512, 3, 3), padding=1)
    dense = operator.T.matmat64(np.eye(operator.shape[0])).astype(np.longdouble)
    y = rng.standard_normal((operator.shape[0], 4))
    error = np.linalg.norm((operator.gram64(y) - dense.T @ (dense @ y)).astype(float))
    assert 0 < error <= operator.rounding.gram * np.linalg.norm(y)


def test_frobenius_counts_what_meets_the_input():
    """Taps over padding alone do not count, however large."""
    kernel = np.array([[[1e300, 3e-300, 1e300]]])
    assert convolution(kernel, (1, 1), padding=1).frobenius() == pytest.approx(3e-300, rel=1e-15)
    ones = convolution(np.ones((2, 3, 3, 3)), (3, 4, 4), padding=1)
    assert ones.frobenius() == pytest.approx(math.sqrt(2 * 3 * (4 * 4 + 8 * 6 + 4 * 9)), rel=1e-15)
    assert convolution(np.ones((1, 1, 3)), (1, 5), padding=1, padding_mode="circular").frobenius() is None
