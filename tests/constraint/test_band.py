"""The band: what is accepted, what is refused and in which words."""

from dataclasses import FrozenInstanceError
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest
import torch

import opnorm
from opnorm.constraint.band import Band
from opnorm.explain import explanation, topics

INF = float("inf")


@pytest.mark.parametrize(
    ("lo", "hi", "kind"),
    [(0, INF, "free"), (0, 2, "cap"), (0.5, INF, "floor"), (0.5, 2, "band"), (1, 1, "orthogonal"), (0, 1e-30, "cap")],
)
def test_kinds(lo, hi, kind):
    band = Band(lo, hi)
    assert band.kind == kind
    assert isinstance(band.lo, float)
    assert isinstance(band.hi, float)


@pytest.mark.parametrize(
    ("lo", "hi", "named"),
    [
        (2, 1, ["lo=2.0", "hi=1.0", "lo ≤ hi"]),
        (-1, 1, ["lo=-1.0", "at least 0"]),
        (0, -1, ["hi=-1.0", "above 0"]),
        (0, 0, ["hi=0.0", "above 0"]),
        (INF, INF, ["lo=inf", "finite"]),
        (float("nan"), 1, ["lo=nan"]),
        (0, float("nan"), ["hi=nan"]),
        ("1", 2, ["lo='1'"]),
        (0, None, ["hi=None"]),
        (True, 2, ["lo=True"]),
        (0, 1 + 0j, ["hi="]),
    ],
)
def test_refusals_name_what_was_given(lo, hi, named):
    with pytest.raises(opnorm.UsageError) as caught:
        Band(lo, hi)
    for part in named:
        assert part in str(caught.value)


def test_numbers_of_other_types_are_numbers():
    assert Band(np.float32(0.5), Fraction(3, 2)) == Band(0.5, 1.5)


def test_frozen():
    with pytest.raises(FrozenInstanceError):
        Band(0, 1).hi = 2


@pytest.mark.parametrize("make", [np.array, torch.tensor, jnp.array])
def test_clip_in_every_framework(make):
    sigma = make([0.0, 0.3, 1.0, 7.0])
    np.testing.assert_allclose(np.asarray(Band(0.5, 2).clip(sigma)), [0.5, 0.5, 1.0, 2.0])
    np.testing.assert_allclose(np.asarray(Band().clip(sigma)), [0.0, 0.3, 1.0, 7.0])


@pytest.mark.parametrize("topic", ["band", "polar"])
def test_explained(topic):
    assert topic in topics()
    assert explanation(topic).startswith(f"{topic}: ")
