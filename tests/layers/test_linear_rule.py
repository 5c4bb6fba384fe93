"""Matrices and their parts, whichever way they are stored."""

import numpy as np
import pytest
import torch

from opnorm.bound import Evidence
from opnorm.errors import UsageError
from opnorm.frameworks import aslinearoperator
from opnorm.layers.linear import linear, slices
from opnorm.linalg.measure import measure_operator
from opnorm.linalg.request import Request

WEIGHT = np.random.default_rng(1).standard_normal((6, 15)).astype(np.float32)


def norm(entry, array):
    bracket = measure_operator(aslinearoperator(entry.build({entry.tensors[0]: array})), Request(Evidence.PROVED, 1e-6))
    return bracket.bracket("proved").lower


@pytest.mark.parametrize("wrap", [np.asarray, torch.from_numpy])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_matrix_is_itself_and_named_as_it_acts(transposed, wrap):
    entry = linear("w", WEIGHT.shape, "float32", transposed=transposed)
    assert norm(entry, wrap(WEIGHT)) == pytest.approx(np.linalg.norm(WEIGHT.astype(float), 2), rel=2e-6)
    assert entry.operator == ("dense 15x6 (stored transposed)" if transposed else "dense 6x15")
    assert (entry.status, entry.derived, entry.kind) == ("weight", False, "linear")


@pytest.mark.parametrize("wrap", [np.asarray, torch.from_numpy])
@pytest.mark.parametrize("axis", [0, 1])
def test_parts_are_cut_where_they_meet(axis, wrap):
    sizes = [("q", 1), ("k", 2), ("v", 3)] if axis == 0 else [("q", 5), ("k", 4), ("v", 6)]
    entries = slices("w", WEIGHT.shape, "float32", sizes, axis=axis)
    cuts = np.cumsum([s for _, s in sizes])[:-1]
    for entry, (suffix, size), part in zip(entries, sizes, np.split(WEIGHT, cuts, axis=axis), strict=True):
        assert entry.name == f"w[{suffix}]"
        assert entry.shape == part.shape
        assert size in entry.shape
        assert norm(entry, wrap(WEIGHT)) == pytest.approx(np.linalg.norm(part.astype(float), 2), rel=2e-6)


def test_parts_that_do_not_add_up_are_refused():
    with pytest.raises(UsageError, match=r"does not hold parts of \[2, 3\] on axis 0"):
        slices("w", (6, 15), "float32", [("q", 2), ("k", 3)])
