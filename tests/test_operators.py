"""Every operator against its dense matrix, its adjoint, and the rounding that it states."""

import math

import numpy as np
import pytest
import scipy.sparse as sp

import opnorm
from opnorm.linalg.algebra import BlockDiagonal, Product, Scaled, Sum
from opnorm.linalg.operator import Adjoint

RNG = np.random.default_rng(0)
A, B, C = RNG.standard_normal((7, 5)), RNG.standard_normal((5, 9)), RNG.standard_normal((7, 5))
SPARSE = sp.random(20, 30, density=0.2, random_state=1, format="csr")


def op(matrix):
    return opnorm.aslinearoperator(matrix)


CASES = {
    "matrix": (op(A), A),
    "float32": (op(A.astype(np.float32)), A.astype(np.float32).astype(float)),
    "adjoint": (Adjoint(op(A)), A.T),
    "transpose": (op(A).T, A.T),
    "product": (op(A) @ op(B), A @ B),
    "sum": (op(A) + op(C), A + C),
    "difference": (op(A) - op(C), A - C),
    "scaled": (op(A) * 0.3, 0.3 * A),
    "negative": (-op(A), -A),
    "block diagonal": (
        opnorm.block_diagonal(A, B),
        np.block([[A, np.zeros((7, 9))], [np.zeros((5, 5)), B]]),
    ),
    "nested": (2.0 * (op(A) @ op(B) + op(C) @ op(B)).T, 2 * (A @ B + C @ B).T),
    "low-rank update": (
        opnorm.low_rank_update(op(A), op(C[:, :2]), op(B[:2, :5]), 0.5),
        A + 0.5 * C[:, :2] @ B[:2, :5],
    ),
    "sparse": (op(SPARSE), SPARSE.toarray()),
    "rescaled": (op(A).rescaled(-3), A / 8),
    "sparse rescaled": (op(SPARSE).rescaled(5), SPARSE.toarray() * 32),
    "strided": (op(np.repeat(A, 2, axis=0)[::2, ::-1]), A[:, ::-1]),
}


@pytest.mark.parametrize("name", CASES)
def test_products_and_adjoint(name):
    operator, dense = CASES[name]
    assert operator.shape == dense.shape
    x, y = RNG.standard_normal((dense.shape[1], 3)), RNG.standard_normal((dense.shape[0], 3))
    np.testing.assert_allclose(operator.matmat(x), dense @ x, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(operator.rmatmat(y), dense.T @ y, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(operator.gram64(y), dense @ (dense.T @ y), rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(np.hstack([b.copy() for b in operator.blocks64(2)]), dense, rtol=1e-12, atol=1e-13)
    assert opnorm.adjoint_defect(operator) < 1e-6


@pytest.mark.parametrize("name", CASES)
def test_stated_rounding_holds(name):
    """c bounds the error of float64 products, against extended precision; N bounds the norm."""
    operator, dense = CASES[name]
    rounding = operator.rounding
    long = _exact(name, dense)
    assert rounding.norm >= np.linalg.norm(dense, 2) * (1 - 1e-13)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((dense.shape[1], 4)) * 10.0 ** rng.integers(-8, 8)
        error = np.linalg.norm((operator.matmat64(x) - long @ x.astype(np.longdouble)).astype(float))
        assert error <= rounding.forward * np.linalg.norm(x)
        y = rng.standard_normal((dense.shape[0], 4))
        error = np.linalg.norm((operator.rmatmat64(y) - long.T @ y.astype(np.longdouble)).astype(float))
        assert error <= rounding.adjoint * np.linalg.norm(y)


def _exact(name, dense):
    """The operator in extended precision, its parts multiplied there."""
    a, b, c = (m.astype(np.longdouble) for m in (A, B, C))
    composed = {
        "product": a @ b,
        "sum": a + c,
        "difference": a - c,
        "scaled": np.longdouble(0.3) * a,
        "nested": 2 * (a @ b + c @ b).T,
        "low-rank update": a + np.longdouble(0.5) * c[:, :2] @ b[:2, :5],
    }
    return composed.get(name, dense.astype(np.longdouble))


@pytest.mark.parametrize("level", ["probable", "proved"])
@pytest.mark.parametrize("name", CASES)
def test_norms_of_operators(name, level):
    operator, dense = CASES[name]
    truth = np.linalg.norm(dense, 2)
    bracket = opnorm.spectral_norm(operator, evidence=level, width=1e-6, seed=0).bracket(level)
    assert bracket.lower <= truth * (1 + 1e-13)
    assert bracket.upper >= truth * (1 - 1e-13)
    assert bracket.width <= 1e-6


def test_thin_factors_are_not_multiplied_out():
    """W + s·B·A and B·A at 1500×1500: only blocks of vectors ever pass through the parts."""
    rng = np.random.default_rng(3)
    w = rng.standard_normal((1500, 1500)).astype(np.float32)
    b, a = rng.standard_normal((1500, 4)).astype(np.float32), rng.standard_normal((4, 1500)).astype(np.float32)
    adapted = opnorm.low_rank_update(op(w), op(b), op(a), 0.1)
    widest = _spy(adapted)
    truth = np.linalg.norm(w.astype(float) + 0.1 * b.astype(float) @ a.astype(float), 2)
    bracket = opnorm.spectral_norm(adapted, seed=0).bracket()
    assert bracket.lower <= truth <= bracket.upper
    assert bracket.width <= 0.01
    assert max(widest) < 800
    thin = opnorm.spectral_norm(op(b) @ op(a), width=1e-8, seed=0).bracket()
    core = np.linalg.qr(b.astype(float))[1] @ np.linalg.qr(a.T.astype(float))[1].T
    assert thin.lower <= np.linalg.norm(core, 2) <= thin.upper
    assert thin.width <= 1e-8


def _spy(operator):
    widths = []
    inner = operator.matmat64

    def spied(block):
        widths.append(block.shape[1])
        return inner(block)

    operator.matmat64 = spied
    return widths


def test_functions_are_estimates_only():
    operator = opnorm.FunctionOperator((7,), (5,), lambda x: A @ x, lambda y: A.T @ y)
    measurement = opnorm.spectral_norm(operator, evidence="proved", seed=0)
    assert measurement.bracket("probable").upper is None
    estimate = measurement.bracket("estimate")
    assert estimate.lower == pytest.approx(np.linalg.norm(A, 2), rel=1e-6)
    assert estimate.upper >= estimate.lower
    assert "unknown rounding" in measurement.note


def test_functions_see_tensors():
    """Tensor-shaped spaces: a circular shift-and-add on 4×6 images, norm 2."""

    def apply(x):
        assert x.shape[:2] == (4, 6)
        return x + np.roll(x, 1, axis=1)

    operator = opnorm.FunctionOperator((4, 6), (4, 6), apply, lambda y: y + np.roll(y, -1, axis=1))
    assert opnorm.adjoint_defect(operator) < 1e-14
    assert opnorm.spectral_norm(operator, seed=0).bracket("estimate").lower == pytest.approx(2.0, rel=1e-9)


def test_a_wrong_adjoint_is_visible():
    operator = opnorm.FunctionOperator(7, 5, lambda x: A @ x, lambda y: C.T @ y)
    assert opnorm.adjoint_defect(operator) > 0.01


def test_a_function_of_the_wrong_shape_is_named():
    operator = opnorm.FunctionOperator(7, 5, lambda x: A @ x, lambda y: y)
    with pytest.raises(opnorm.UnsupportedInput, match="returned shape"):
        opnorm.spectral_norm(operator)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Product(op(A), op(C)),
        lambda: Sum(op(A), op(B)),
        lambda: Scaled(op(A), math.nan),
        lambda: BlockDiagonal(),
    ],
)
def test_impossible_compositions_are_refused(make):
    with pytest.raises(opnorm.UsageError):
        make()


TINY_CHAIN = [1e200, 1e200, 1e-200, 1e-200]


def test_parts_that_underflow_are_refused_not_proved_zero():
    """1e200·(1e200·(1e-200·(1e-200·A))) is A; in floats its inner part is 0."""
    operator = op(np.diag([1.0, 0.5]))
    for factor in reversed(TINY_CHAIN):
        operator = factor * operator
    with pytest.raises(opnorm.UnsupportedInput, match="powers of two"):
        opnorm.spectral_norm(operator, evidence="proved")
    with pytest.raises(opnorm.UnsupportedInput, match="powers of two"):
        opnorm.spectral_norm(1e150 * (1e150 * op(np.array([[1.39]]) * 3.51e-312)))
    with pytest.raises(opnorm.UnsupportedInput, match="powers of two"):
        opnorm.spectral_norm(op(1e200 * A) @ op(1e200 * B))


@pytest.mark.parametrize("exponent", [-180, -60, 60, 180])
def test_operators_of_moderate_scale_keep_their_width(exponent):
    matrix = RNG.standard_normal((90, 100))
    operator = op(matrix) * 2.0**exponent + op(matrix) * 2.0**exponent
    bracket = opnorm.spectral_norm(operator, seed=0).bracket()
    truth = 2 * np.linalg.norm(matrix, 2)
    assert np.ldexp(bracket.lower, -exponent) <= truth <= np.ldexp(bracket.upper, -exponent)
    assert bracket.width <= 0.01


def test_exact_zeros_are_exactly_zero():
    """A freshly initialised LoRA pair has B = 0."""
    fresh = op(np.zeros((300, 4))) @ op(RNG.standard_normal((4, 200)))
    assert opnorm.spectral_norm(fresh).bracket("proved").upper == 0.0
    assert opnorm.spectral_norm(0.0 * op(A)).bracket("proved").upper == 0.0
    weight = RNG.standard_normal((300, 200))
    bracket = opnorm.spectral_norm(op(weight) + fresh, seed=0).bracket()
    assert bracket.lower <= np.linalg.norm(weight, 2) <= bracket.upper


def test_what_cancels_is_small_and_says_so():
    matrix = RNG.standard_normal((100, 120))
    measurement = opnorm.spectral_norm(op(matrix) - op(matrix), seed=0)
    assert measurement.bracket().lower == 0.0
    assert measurement.bracket().upper < 1e-3 * np.linalg.norm(matrix, 2)
    assert "reached" in measurement.note
