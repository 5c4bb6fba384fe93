"""Faults of training under each technique: no finite weight is made non-finite, and all recover."""

import pytest
from faulty import FAULTS, GATES, run

OURS = (*GATES, "normalize", "penalty")


@pytest.mark.parametrize("technique", OURS)
@pytest.mark.parametrize("fault", FAULTS)
def test_control_spoils_nothing_and_recovers(fault, technique):
    spoiled, recovered = run(fault, technique)
    assert not spoiled
    assert recovered


def test_torch_spectral_norm_serves_nan_for_zero_weights():
    """What the cells above would show if nothing were done about it."""
    assert run("all zero", "torch spectral_norm")[0]
