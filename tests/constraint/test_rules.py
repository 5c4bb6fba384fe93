import itertools
import math

import pytest
import torch

import opnorm
from opnorm.constraint.rules import band, cap, orthogonalize, penalize, watch
from opnorm.constraint.schedule import anneal, at, piecewise


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: cap("a", -1.0), "number from 0"),
        (lambda: cap("a", float("nan")), "number from 0"),
        (lambda: cap("a", 0.0), "ceiling of 0"),
        (lambda: cap("a", "4"), "number from 0"),
        (lambda: band("a", 2.0, 1.0), "lo = 2.0 lies above hi = 1.0"),
        (lambda: orthogonalize("a", math.inf), "finite"),
        (lambda: cap((), 1.0), "names no layers"),
        (lambda: cap(3, 1.0), "names no layers"),
        (lambda: cap("a", 1.0, every=0), "every=0"),
        (lambda: cap("a", 1.0, norm="l1"), "'spectral', 'rms'"),
        (lambda: cap("a", 1.0, split=0), "split=0"),
        (lambda: cap("a", 1.0, split=(3, -1)), "sizes"),
        (lambda: cap("a", 1.0, method="prune"), "'clip' or 'scale'"),
        (lambda: penalize("a", weight=-1.0), "weight=-1.0"),
        (lambda: penalize("a", top=0), "top=0"),
        (lambda: penalize("a", kind="l2"), "'hinge', 'norm' or 'orthogonality'"),
        (lambda: anneal(-1), "at least 0"),
        (lambda: anneal(10, curve="square"), "'geometric', 'linear' or 'cosine'"),
        (lambda: anneal(10, start=0), "above 0"),
        (lambda: piecewise({5: 1.0}), "step 0"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_is_allowed(make, says):
    with pytest.raises(opnorm.UsageError, match=says.replace("(", r"\(")):
        make()


def test_a_rule_says_itself():
    assert str(cap("blocks.*", 4.0)) == "cap('blocks.*', 4)"
    assert str(band(("a", torch.nn.Linear), 0.5, 2)) == "band('a', Linear, 0.5, 2)"
    assert str(orthogonalize("p")) == "orthogonalize('p', scale=1)"
    assert str(penalize("p", above=3)) == "penalize('p', above=3)"
    assert str(watch()) == "watch('*')"


@pytest.mark.parametrize(("norm", "factor"), [("spectral", 1.0), ("rms", 0.5), (lambda o, i: o * i, 64 * 16.0)])
def test_norms_of_rectangular_operators_are_factors_on_sigma(norm, factor):
    """RMS(Wx)/RMS(x) is at most σ·√(in/out): with 64 outputs and 16 inputs, σ/2."""
    assert cap("a", 1.0, norm=norm).factor(64, 16) == factor


def test_rms_norm_is_the_largest_ratio_of_root_mean_squares():
    weight = torch.randn(64, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    _, sigma, v = torch.linalg.svd(weight)
    image = weight @ v[0]
    assert image.square().mean().sqrt() / v[0].square().mean().sqrt() == pytest.approx(
        float(sigma[0]) * cap("a", 1.0, norm="rms").factor(64, 16)
    )


@pytest.mark.parametrize("curve", ["geometric", "linear", "cosine"])
def test_a_warmup_leads_from_where_a_weight_is_to_its_band(curve):
    warmup = anneal(100, curve=curve)
    ceilings = [warmup(step, 0.5, 2.0, 8.0)[1] for step in range(130)]
    assert ceilings[0] == pytest.approx(8.0)
    assert ceilings[100:] == [2.0] * 30
    assert all(a >= b for a, b in itertools.pairwise(ceilings))
    assert [warmup(step, 0.5, 2.0, 8.0)[0] for step in (0, 50, 100)] == [0.0, 0.25, 0.5]
    assert warmup(0, 0.0, 2.0, 1.0) == (0.0, 2.0), "a weight below its ceiling is not let up to more"


def test_geometric_warmup_has_equal_factors():
    warmup = anneal(10, start=32.0)
    ceilings = [warmup(step, 0.0, 1.0, 0.0)[1] for step in range(11)]
    assert all(b / a == pytest.approx(32 ** (-1 / 10)) for a, b in itertools.pairwise(ceilings))


def test_levels_by_step():
    level = piecewise({0: 8.0, 1000: 4.0})
    assert [at(level, s) for s in (0, 999, 1000, 5000)] == [8.0, 8.0, 4.0, 4.0]
    assert at(3, 77) == 3.0
