"""The largest row norm, proved from both sides, beside the norm of the table."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from opnorm.errors import UndefinedNorm
from opnorm.layers.embedding import ROW_NORM, embedding, largest_row_norm
from opnorm.linalg.request import Request


def exact_square(table):
    return max(sum(Fraction(float(x)) ** 2 for x in row) for row in table)


@pytest.mark.parametrize("scale", [1.0, 1e-160, 1e160, 1e-300, 1e290])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_largest_row_in_exact_arithmetic(dtype, scale):
    if dtype == np.float32 and scale != 1.0:
        scale = 1e-20 if scale < 1 else 1e20
    rng = np.random.default_rng(4)
    for _ in range(20):
        table = (rng.standard_normal((7, 5)) * scale).astype(dtype)
        bracket, truth = largest_row_norm(table), exact_square(table)
        assert Fraction(bracket.lower) ** 2 <= truth <= Fraction(bracket.upper) ** 2
        assert bracket.width < 1e-14


def test_long_rows_leave_room_for_their_rounding():
    table = np.random.default_rng(6).standard_normal((3, 4000))
    bracket, truth = largest_row_norm(table), exact_square(table)
    assert Fraction(bracket.lower) ** 2 <= truth <= Fraction(bracket.upper) ** 2


@pytest.mark.parametrize("wrap", [np.asarray, torch.from_numpy])
def test_it_stands_beside_the_norm_and_below_it(wrap):
    table = np.random.default_rng(0).standard_normal((40, 8)).astype(np.float32)
    entry = embedding("wte.weight", table.shape, "float32")
    (also,) = entry.also
    found = also.find({"wte.weight": wrap(table)}, Request())
    rows = np.linalg.norm(table.astype(float), axis=1)
    assert also.name == ROW_NORM
    assert found.lower <= rows.max() * (1 + 1e-15)
    assert found.upper >= rows.max() * (1 - 1e-15)
    assert found.upper < np.linalg.norm(table.astype(float), 2)
    assert entry.operator == "embedding 40x8"


def test_bfloat16_tables_are_exact():
    table = torch.randn(9, 6, generator=torch.Generator().manual_seed(0)).bfloat16()
    found, truth = largest_row_norm(table), exact_square(table.double().numpy())
    assert Fraction(found.lower) ** 2 <= truth <= Fraction(found.upper) ** 2


def test_a_table_of_zeros_and_an_empty_one():
    assert largest_row_norm(np.zeros((3, 4))).upper == 0
    assert largest_row_norm(np.zeros((0, 4))).upper == 0


def test_the_smallest_float_is_not_lost():
    found = largest_row_norm(np.array([[5e-324]]))
    assert found.lower <= 5e-324 <= found.upper


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_non_finite_entries_are_undefined(value):
    with pytest.raises(UndefinedNorm):
        largest_row_norm(np.array([[1.0, value]]))
