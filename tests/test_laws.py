"""Identities of the norm, over random matrices: scaling, adjoint, permutation, blocks, inequalities."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import opnorm
from opnorm.linalg.entrywise import Entrywise

ELEMENTS = st.one_of(st.just(0.0), st.floats(2.0**-60, 1e3, width=32), st.floats(-1e3, -(2.0**-60), width=32))
MATRICES = arrays(np.float64, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9), elements=ELEMENTS)
WIDTH = 1e-9


def bracket(matrix, **options):
    return opnorm.spectral_norm(matrix, evidence="proved", width=WIDTH, seed=0, **options).bracket("proved")


def overlap(a, b):
    """Two brackets of the same number."""
    return a.lower <= b.upper and b.lower <= a.upper


@given(MATRICES)
@settings(max_examples=200, deadline=None)
def test_against_numpy(matrix):
    found, truth = bracket(matrix), np.linalg.norm(matrix, 2)
    assert found.lower <= truth * (1 + 1e-13)
    assert found.upper >= truth * (1 - 1e-13)
    assert found.upper - found.lower <= 1.01 * WIDTH * truth + 1e-300


@given(MATRICES, st.integers(-900, 900))
@settings(max_examples=100, deadline=None)
def test_scaling_by_powers_of_two_is_exact(matrix, exponent):
    scaled = np.ldexp(matrix, exponent)
    if not np.isfinite(scaled).all() or (np.abs(scaled[matrix != 0]) < 2.0**-1000).any():
        return
    plain, shifted = bracket(matrix), bracket(scaled)
    assert overlap_scaled(plain, shifted, exponent)


def overlap_scaled(plain, shifted, exponent):
    low, high = np.ldexp(plain.lower, exponent), np.ldexp(plain.upper, exponent)
    return low <= shifted.upper and shifted.lower <= high


@given(MATRICES)
@settings(max_examples=100, deadline=None)
def test_adjoint(matrix):
    assert overlap(bracket(matrix), bracket(matrix.T))


@given(MATRICES, st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_permutations_and_signs(matrix, random):
    rows, columns = list(range(matrix.shape[0])), list(range(matrix.shape[1]))
    random.shuffle(rows)
    random.shuffle(columns)
    signs = np.array([random.choice([-1.0, 1.0]) for _ in rows])
    assert overlap(bracket(matrix), bracket(signs[:, None] * matrix[rows][:, columns]))


@given(MATRICES, MATRICES)
@settings(max_examples=100, deadline=None)
def test_block_diagonal_is_the_maximum(a, b):
    whole = np.block([[a, np.zeros((a.shape[0], b.shape[1]))], [np.zeros((b.shape[0], a.shape[1])), b]])
    one, two, both = bracket(a), bracket(b), bracket(whole)
    assert both.lower <= max(one.upper, two.upper)
    assert both.upper >= max(one.lower, two.lower)


@given(MATRICES)
@settings(max_examples=200, deadline=None)
def test_entrywise_bounds_enclose(matrix):
    operator = opnorm.aslinearoperator(matrix)
    sums: Entrywise = operator.entrywise()
    found = bracket(matrix)
    for bound in sums.bounds():
        if bound.side == "lower":
            assert bound.value <= found.upper
        else:
            assert bound.value >= found.lower


@given(MATRICES)
@settings(max_examples=100, deadline=None)
def test_triangle_and_product_inequalities(matrix):
    a = opnorm.aslinearoperator(matrix)
    single, double, square = bracket(a), bracket(a + a), bracket(a @ a.T)
    assert overlap_scaled(single, double, 1)
    assert square.upper >= single.lower**2 * (1 - 1e-12)
    assert square.lower <= single.upper**2 * (1 + 1e-12)
