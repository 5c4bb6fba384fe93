"""At the ends of the range of floats: no proved end that underflow took away, and no sum that overflow ends."""

import json
import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse
import torch
from counting import Counter

import opnorm
from opnorm.linalg.operator import FunctionOperator
from opnorm.spectrum.directions.filters import filter_pictures, frequency_direction
from opnorm.spectrum.values import Values

LEAST = 2.0**-1074


def spectrum(matrix, evidence="probable"):
    found = opnorm.describe(matrix, evidence=evidence, seed=0)
    json.dumps([q.value for q in found.quantities.values()], allow_nan=False)
    return found


@pytest.mark.parametrize("evidence", ["probable", "proved"])
def test_a_value_below_the_smallest_float_is_not_proved_to_be_0(evidence):
    whole = [[3, 2], [4, 3]]  # of determinant 1: its smaller singular value is 1/σ₁, below 1/6
    smallest = spectrum(np.array(whole) * LEAST, evidence).quantities["smallest"]
    square = Fraction(sum(x * x for row in whole for x in row))
    assert square > 36  # so that 1/σ₁ > 1/√38 > 0
    assert smallest.lower == 0
    assert 0 < smallest.upper <= 2 * LEAST


def test_products_with_a_small_factor_keep_their_upper_ends():
    known = Values(np.array([1.0, 1e-300]), "gram", np.array([1.0, 1e-300]), np.array([1.0, 1e-300]))
    scaled = known.scaled(1e-100)
    assert scaled.upper[1] > 0
    assert scaled.lower[1] == 0
    assert not known.scaled(0.0).upper.any()


@pytest.mark.parametrize("evidence", ["estimate", "probable", "proved"])
@pytest.mark.parametrize("matrix", [np.eye(20) * 1e308, np.diag(np.linspace(1, 1.7, 60) * 1e308)], ids=["eye", "diag"])
def test_sums_beyond_the_range_are_absent_and_ratios_are_not(matrix, evidence):
    found, like = spectrum(matrix, evidence).quantities, spectrum(matrix / 2.0**1000, evidence).quantities
    assert found["nuclear"].value is None
    assert "range" in found["nuclear"].note
    for name in ("effective_rank", "participation_ratio", "condition", "numerical_rank"):
        assert found[name].value == pytest.approx(like[name].value, rel=1e-12)
    assert found["median"].value == pytest.approx(like["median"].value * 2.0**1000, rel=1e-12)


@pytest.mark.parametrize("size", [1e-300, 1e-90, 1e90, 1e300])
def test_a_quadrature_knows_no_scale(size):
    matrix = scipy.sparse.random(8200, 8300, density=2e-4, random_state=0, format="csr")
    found, like = spectrum(matrix * size), spectrum(matrix)
    assert found.method == "quadrature"
    for name in ("effective_rank", "participation_ratio", "numerical_rank"):
        assert found.quantities[name].value == pytest.approx(like.quantities[name].value, rel=1e-6)
    for name in ("nuclear", "schatten_4", "median"):
        assert found.quantities[name].value / size == pytest.approx(like.quantities[name].value, rel=1e-6)


@pytest.mark.parametrize("size", [1e-300, 1e-100, 1e-30, 1e100, 1e300])
def test_an_operator_given_by_functions_knows_no_scale(size):
    matrix = np.random.default_rng(0).standard_normal((1030, 1040))
    operator = FunctionOperator(1030, 1040, lambda x: size * (matrix @ x), lambda y: size * (matrix.T @ y))
    like = FunctionOperator(1030, 1040, lambda x: matrix @ x, lambda y: matrix.T @ y)
    rank, expected = (spectrum(o).quantities["effective_rank"].value for o in (operator, like))
    assert rank == pytest.approx(expected, rel=1e-6)
    norm = opnorm.spectral_norm(operator, evidence="estimate", seed=0).bracket("estimate")
    assert norm.lower / size == pytest.approx(np.linalg.norm(matrix, 2), rel=0.05)


@pytest.mark.parametrize("size", [1e-310, 1e300])
def test_changes_of_kernels_and_matrices_know_no_scale(size):
    rng = np.random.default_rng(0)
    kernel, matrix = rng.standard_normal((4, 3, 3, 3)), rng.standard_normal((6, 7))
    base = {"c.weight": kernel * size, "m.weight": matrix * size}
    report = opnorm.compare(base, {"c.weight": 2 * base["c.weight"], "m.weight": 2 * base["m.weight"]})
    report.to_json()
    of_kernel, of_matrix = (change.quantities for change in report.comparison.changes)
    assert of_kernel["delta_frobenius"].value / size == pytest.approx(np.linalg.norm(kernel), rel=1e-6)
    assert of_kernel["relative_frobenius"].value == pytest.approx(1.0)
    assert of_matrix["delta_rank"].value == 6


@pytest.mark.parametrize("exponent", [-1000, 1000])
def test_pictures_of_filters_know_no_scale(exponent):
    kernel = np.random.default_rng(0).standard_normal((4, 3, 5, 5))
    moved, size = np.ldexp(kernel, exponent), 2.0**exponent
    found, like = frequency_direction(moved, 1), frequency_direction(kernel, 1)
    assert found.sigma / size == pytest.approx(like.sigma)
    assert found.pictures[0].values == like.pictures[0].values
    captions = [picture.caption for picture in filter_pictures(moved, [0, 1, 2, 3])]
    norms = np.linalg.norm(kernel.reshape(4, -1), axis=1)
    assert [float(c.rpartition(" ")[2]) / size for c in captions] == pytest.approx(list(norms), rel=0.01)


def test_a_whole_report_of_huge_kernels_is_finite():
    kernel = np.random.default_rng(0).standard_normal((4, 3, 3, 3)) * 1e300
    row = opnorm.measure({"c.weight": kernel}, insight=True).rows[0]
    assert row.directions
    assert all(math.isfinite(d.sigma) for d in row.directions)


def test_a_lazily_negated_tensor():
    tensor = torch.arange(12.0).reshape(3, 4)
    assert opnorm.spectral_norm(torch._neg_view(tensor), seed=0) == opnorm.spectral_norm(-tensor, seed=0)


def test_the_oracle_sees_an_upper_end_that_underflowed():
    """σ₂ of this matrix is 8e-325, below every float, and not 0."""
    tiny = np.array([[3.0, 2.0], [4.0, 3.0]]) * 5e-324
    top = np.array([3.5e-323, 5e-324])
    assert Counter(tiny).brackets(np.zeros(2), top)
    assert not Counter(tiny).brackets(np.zeros(2), np.array([top[0], 0.0]))
    assert Counter(np.array([[1.0, 1.0], [1.0, 1.0]])).brackets(np.zeros(2), np.array([2.1, 0.0]))
