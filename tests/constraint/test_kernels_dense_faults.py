"""Weights that are zero, of rank one, huge, tiny or not finite: no kernel makes a finite weight non-finite."""

import pytest
import torch

from opnorm.constraint.kernels.dense import choose
from opnorm.constraint.outcome import read

TECHNIQUES = {"cap": (0.0, 1.0), "band": (0.5, 1.0), "orthogonal": (1.0, 1.0), "watch": (0.0, 1.0)}
SHAPES = [(1, 9), (20, 30), (90, 70)]


def gaussian(shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", [1e-38, 1e-30, 1e-15, 1.0, 1e15, 1e30, 1e36])
def test_any_scale_stays_finite_and_ends_in_the_band(technique, shape, scale):
    lo, hi = TECHNIQUES[technique]
    weight, kernel = gaussian(shape) * scale, choose(shape, technique, 0)
    before = weight.clone()
    for _ in range(12):
        told = kernel.hold(weight, lo, hi)
        assert torch.isfinite(weight).all()
        assert torch.isfinite(told).all()
        assert read(told)["skipped"] == 0
    if technique == "watch" or (technique == "cap" and scale <= 1e-15):
        assert torch.equal(weight, before)
        return
    for _ in range(30):
        kernel.hold(weight, lo, hi)
    assert float(torch.linalg.svdvals(weight.double())[0]) <= hi * 1.01 or scale == 1e-38


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rank", [0, 1, 2])
def test_few_or_no_singular_values(technique, shape, rank):
    lo, hi = TECHNIQUES[technique]
    weight = sum(
        (torch.outer(gaussian(shape[:1], i), gaussian(shape[1:], i + 9)) for i in range(rank)), torch.zeros(shape)
    )
    kernel = choose(shape, technique, 0)
    for _ in range(20):
        kernel.hold(weight, lo, hi)
        assert torch.isfinite(weight).all()
    if technique in ("cap", "orthogonal"):
        assert float(torch.linalg.svdvals(weight.double())[0]) <= hi * 1.01


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("poison", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("first", [True, False])
def test_a_poisoned_weight_is_skipped_and_the_kernel_recovers(technique, shape, poison, first):
    lo, hi = TECHNIQUES[technique]
    clean, kernel = gaussian(shape) / 3, choose(shape, technique, 0)
    weight = clean.clone()
    for _ in range(0 if first else 3):
        kernel.hold(weight, lo, hi)
    good = weight.clone()
    weight[0, -1] = poison
    bad, told = weight.clone(), []
    for _ in range(12):
        told.append(read(kernel.hold(weight, lo, hi))["skipped"])
        assert torch.equal(weight.nan_to_num(7, 8, 9), bad.nan_to_num(7, 8, 9))
    assert told[-1] == 1
    weight.copy_(good)
    for _ in range(40):
        assert read(kernel.hold(weight, lo, hi))["skipped"] == 0
    assert torch.isfinite(weight).all()
    if technique != "watch":
        assert float(torch.linalg.svdvals(weight.double())[0]) <= hi * 1.01


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_look_at_a_poisoned_weight_says_so(technique):
    for shape in SHAPES:
        weight = gaussian(shape)
        weight[0, 0] = float("nan")
        assert read(choose(shape, technique, 0).look(weight))["skipped"] == 1
