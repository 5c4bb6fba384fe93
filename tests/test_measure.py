"""Every bracket holds, and is as narrow as asked, over a gallery of known norms."""

import numpy as np
import pytest

import opnorm
from gallery import CLOSED_FORMS, profiles, with_spectrum

LEVELS = ["estimate", "probable", "proved"]


def holds(measurement, truth, level, slack=1e-14):
    bracket = measurement.bracket(level)
    assert bracket.lower <= truth * (1 + slack)
    assert bracket.upper >= truth * (1 - slack)
    return bracket


@pytest.mark.parametrize("level", ["probable", "proved"])
@pytest.mark.parametrize("width", [1e-2, 1e-6])
@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_closed_forms(name, width, level):
    matrix, truth = CLOSED_FORMS[name]()
    bracket = holds(opnorm.spectral_norm(matrix, evidence=level, width=width, seed=1), truth, level)
    assert bracket.width <= width


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("shape", [(40, 60), (60, 40), (700, 600)])
@pytest.mark.parametrize("profile", profiles(4))
def test_constructed_spectra(profile, shape, level):
    rng = np.random.default_rng(7)
    sigma = profiles(min(shape))[profile]
    matrix = with_spectrum(sigma, *shape, rng)
    measurement = opnorm.spectral_norm(matrix, evidence=level, seed=3)
    # The construction rounds: |‖A‖ − max σ| is a small multiple of n·u.
    bracket = holds(measurement, sigma.max(), level, slack=1e-12)
    assert bracket.width <= 0.01
