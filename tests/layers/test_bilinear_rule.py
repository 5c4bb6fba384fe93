"""Bilinear weights: three unfoldings, each an upper bound on the form, tight for rank one."""

import numpy as np
import pytest
import torch
from torch import nn

from live import assert_brackets, norm, rows_of
from opnorm.layers.bilinear import bilinear


@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy])
def test_unfoldings_bound_the_form(convert):
    rng = np.random.default_rng(3)
    tensor = rng.standard_normal((4, 3, 5))
    entries = bilinear("w", tensor.shape, "float64")
    assert [e.derived for e in entries] == [False, True, True]
    matrices = [np.asarray(e.build({"w": convert(tensor)})) for e in entries]
    assert [m.shape for m in matrices] == [e.shape for e in entries] == [(4, 15), (3, 20), (5, 12)]
    bounds = [norm(m) for m in matrices]
    for _ in range(200):
        x, y = rng.standard_normal(3), rng.standard_normal(5)
        for _ in range(20):  # alternate towards the largest value, so that the bound is really tried
            y = np.einsum("kij,i->kj", tensor, x).T @ np.einsum("kij,i,j->k", tensor, x, y)
            x = np.einsum("kij,j->ki", tensor, y).T @ np.einsum("kij,i,j->k", tensor, x, y)
            x, y = x / np.linalg.norm(x), y / np.linalg.norm(y)
        reached = np.linalg.norm(np.einsum("kij,i,j->k", tensor, x, y))
        assert reached <= min(bounds) * (1 + 1e-12)
    assert reached > 0.5 * min(bounds)


def test_rank_one_is_exact():
    rng = np.random.default_rng(4)
    u, v, w = rng.standard_normal(4), rng.standard_normal(3), rng.standard_normal(5)
    tensor = np.einsum("k,i,j->kij", u, v, w)
    truth = np.linalg.norm(u) * np.linalg.norm(v) * np.linalg.norm(w)
    for entry in bilinear("w", tensor.shape, "float64"):
        assert norm(entry.build({"w": tensor})) == pytest.approx(truth, rel=1e-12)


def test_each_unfolding_is_the_map_it_names():
    """Fixing one input of torch's own layer gives the slices whose unfolding is measured."""
    torch.manual_seed(1)
    layer = nn.Bilinear(3, 4, 2, bias=False).double()
    rows = rows_of(nn.ModuleDict({"b": layer}))
    first = torch.stack([layer(x.expand(4, 3), torch.eye(4).double()).T for x in torch.eye(3).double()])
    second = torch.stack([layer(torch.eye(3).double(), y.expand(3, 4)).T for y in torch.eye(4).double()])
    assert_brackets(rows["b.weight[first input unfolding]"], norm(first.detach().reshape(3, -1)))
    assert_brackets(rows["b.weight[second input unfolding]"], norm(second.detach().reshape(4, -1)))
    assert_brackets(rows["b.weight[output unfolding]"], norm(layer.weight.detach().reshape(2, -1)))
    assert "not a linear map of both" in rows["b.weight[output unfolding]"].reason
