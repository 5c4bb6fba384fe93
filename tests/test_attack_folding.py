"""Folded normalization where it is hardest: near-constant rows, scales on both sides, the ends of float64."""

from fractions import Fraction

import numpy as np
import pytest

from opnorm.bound import Evidence
from opnorm.errors import UnsupportedInput
from opnorm.frameworks import aslinearoperator
from opnorm.layers.convolution import convolution
from opnorm.layers.folding import folded_batch_norm
from opnorm.linalg.diagonal import shortened
from opnorm.linalg.folded import folded
from opnorm.linalg.measure import measure_operator
from opnorm.linalg.near import Near
from opnorm.linalg.request import Request
from symbol_cases import explicit

NAMES = {"weight": "g", "running_var": "v"}


def bracket(operator, width=1e-3):
    return measure_operator(operator, Request(Evidence.PROVED, width)).bracket("proved")


def test_shortened_scales_before_centering_move_what_centering_cancels():
    """W·diag(c) has nearly constant rows, so that rounding c to 24 bits changes W·diag(c)(I − 11ᵀ/n) by a quarter."""
    rng = np.random.default_rng(0)
    weight = (rng.uniform(0.9, 1.1, 64) * rng.standard_normal((8, 1))).astype(np.float32)
    scales = 1 / weight[0].astype(np.float64)
    short, relative = shortened(scales)
    assert (short != scales).any()
    exact = [[Fraction(float(w)) * Fraction(float(c)) for w, c in zip(row, scales, strict=True)] for row in weight]
    means = [sum(row) / len(row) for row in exact]
    truth = np.array([[float(x - mean) for x in row] for row, mean in zip(exact, means, strict=True)])
    found = bracket(folded(aslinearoperator(weight), columns=short, centered=True, relative=relative))
    assert found.lower <= np.linalg.norm(truth, 2) <= found.upper


def test_scales_on_both_sides_are_not_exact():
    """Three numbers of 24 bits make one of 72: the entries streamed are rounded, and that is stated."""
    row, column, entry = (np.float32(1 + 2.0**-23),) * 3
    weight = np.full((1, 2), entry)
    operator = folded(aslinearoperator(weight), rows=np.array([float(row)]), columns=np.full(2, float(column)))
    assert isinstance(operator, Near)
    assert operator.absolute > 0
    exact = 2 * (Fraction(float(row)) ** 3) ** 2
    streamed = next(iter(operator.operator.blocks64()))[0, 0]
    assert Fraction(float(streamed)) != Fraction(float(row)) ** 3
    found = bracket(operator)
    assert Fraction(found.lower) ** 2 <= exact <= Fraction(found.upper) ** 2


def test_a_scaled_matrix_is_not_folded_as_if_it_were_not():
    base = aslinearoperator(np.eye(3, dtype=np.float32)).rescaled(3)
    with pytest.raises(UnsupportedInput, match="as stored"):
        folded(base, rows=np.ones(3))


def folded_kernel(kernel, scale, padding, settings):
    arrays = {"w": kernel, "g": np.full(kernel.shape[0], scale), "v": np.ones(kernel.shape[0])}
    row = convolution("w", kernel.shape, str(kernel.dtype), settings=settings, input_shape=(kernel.shape[1], 6, 6))
    return folded_batch_norm(row, NAMES, eps=0.0, label="bn", padding=padding).build(arrays)


@pytest.mark.parametrize("size", [1.0, 1e160, 1e300, 1e-120])
def test_kernels_of_any_scale_are_folded(size):
    kernel = np.random.default_rng(1).standard_normal((4, 3, 3, 3))
    truth = np.linalg.norm(explicit(kernel, (6, 6), (1, 1), ((1, 1), (1, 1)), (1, 1)), 2) * 1.5
    found = bracket(folded_kernel(kernel * size, 1.5, 1, {"padding": 1}), 0.01)
    assert found.lower <= truth * size * (1 + 1e-12)
    assert truth * size <= found.upper * (1 + 1e-12)


def test_near_the_largest_float_an_upper_bound_may_be_absent():
    kernel = np.full((1, 1, 3, 3), 1.7e308)
    found = bracket(folded_kernel(kernel, 1.0, 1, {"padding": 1}), 0.01)
    assert found.upper is None
    assert found.lower >= 1e308


@pytest.mark.parametrize("dtype", [np.uint32, np.int32, np.float64])
def test_kernels_of_more_than_24_bits_round_when_scaled(dtype):
    """32 + 24 bits are more than 53: by how much the scaled kernel was rounded depends on the padding."""
    kernel = np.array([[[[2**31 - 1, 3], [5, 7]]]], dtype=dtype)
    assert folded_kernel(kernel, 1 / 3, 1, {"padding": 1}).absolute > 0
    with pytest.raises(UnsupportedInput, match="padding"):
        folded_kernel(kernel, 1 / 3, None, {"padding": 1})
    assert folded_kernel(kernel % 1000, 1 / 3, None, {"padding": 1}).absolute == 0
