"""Top singular triplets against constructed ones, by both ways of finding them."""

import numpy as np
import pytest
from constructed import made, orthonormal

from opnorm.errors import UndefinedNorm
from opnorm.frameworks import aslinearoperator
from opnorm.linalg.near import Near
from opnorm.spectrum.directions.triplets import EXACT_SIDE, top_triplets

VALUES = [5.0, 4.0, 2.5, 1.0, 0.5]
SHAPES = [(7, 9), (30, 200), (200, 30), (60, 60), (EXACT_SIDE + 40, EXACT_SIDE + 200), (EXACT_SIDE + 200, 600)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_constructed_triplets_are_found(shape, dtype):
    matrix, left, right = made(*shape, VALUES)
    found = top_triplets(aslinearoperator(matrix.astype(dtype)), 3)
    slack = 1e-4 if dtype == np.float32 else 1e-6
    assert found.values == pytest.approx(VALUES[:3], rel=slack)
    assert all(found.settled)
    for i in range(3):
        assert abs(found.left[:, i] @ left[:, i]) > 1 - slack
        assert abs(found.right[:, i] @ right[:, i]) > 1 - slack
        # the two sides belong together: uᵀAv = σ, not −σ
        assert found.left[:, i] @ matrix @ found.right[:, i] == pytest.approx(VALUES[i], rel=slack)
    assert np.abs(found.left.T @ found.left - np.eye(3)).max() < 1e-6
    assert np.abs(found.right.T @ found.right - np.eye(3)).max() < 1e-6


@pytest.mark.parametrize("side", [40, EXACT_SIDE + 8])
def test_a_bulk_below_a_spike(side):
    rng = np.random.default_rng(3)
    u, v = orthonormal(side, 1, 4)[:, 0], orthonormal(2 * side, 1, 5)[:, 0]
    noise = rng.standard_normal((side, 2 * side)) / np.sqrt(2 * side)
    matrix = 8 * np.outer(u, v) + noise
    found = top_triplets(aslinearoperator(matrix), 2)
    truth = np.linalg.svd(matrix)
    assert found.values[0] == pytest.approx(truth[1][0], rel=1e-9)
    assert abs(found.left[:, 0] @ truth[0][:, 0]) > 1 - 1e-8
    assert found.settled[0]


@pytest.mark.parametrize("side", [24, EXACT_SIDE + 8])
def test_equal_singular_values_are_not_settled(side):
    matrix, _, _ = made(side, side + 8, [3.0, 3.0, 1.0])
    found = top_triplets(aslinearoperator(matrix), 3)
    assert found.settled == (False, False, True)


@pytest.mark.parametrize("scale", [1e-250, 1e-30, 1e30, 1e150])
def test_any_scale(scale):
    matrix, left, _ = made(20, 30, VALUES)
    found = top_triplets(aslinearoperator(matrix * scale), 2)
    assert found.values == pytest.approx([5 * scale, 4 * scale], rel=1e-9)
    assert abs(found.left[:, 0] @ left[:, 0]) > 1 - 1e-9


def test_low_rank_zero_and_empty():
    matrix, _, _ = made(10, 12, [2.0])
    assert len(top_triplets(aslinearoperator(matrix), 5).values) == 1
    assert len(top_triplets(aslinearoperator(np.zeros((4, 6))), 3).values) == 0
    empty = top_triplets(aslinearoperator(np.zeros((0, 6))), 3)
    assert empty.left.shape == (0, 0)
    assert empty.right.shape == (6, 0)


def test_a_nan_has_no_directions():
    matrix = np.ones((4, 5))
    matrix[2, 3] = np.nan
    with pytest.raises(UndefinedNorm):
        top_triplets(aslinearoperator(matrix), 1)


def test_a_near_operator_has_the_directions_of_what_is_computed():
    matrix, left, _ = made(6, 8, VALUES)
    found = top_triplets(Near(aslinearoperator(matrix), relative=1e-7), 1)
    assert abs(found.left[:, 0] @ left[:, 0]) > 1 - 1e-9
