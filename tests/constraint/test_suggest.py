"""Suggestions: ceilings from runs whose norms are known, on real gates."""

import json

import pytest
import torch
from torch import nn

import opnorm
from opnorm.constraint.diagnosis.suggest import suggest
from opnorm.constraint.gate import control


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))


def ramp(copy, steps=40, to=3.0):
    """A run whose norms are known: both weights are set to σ = min(to, step·to/10) at each step."""
    optimizer = torch.optim.SGD(copy.parameters(), lr=0.0)
    for step in range(1, steps + 1):
        for layer in (copy[0], copy[2]):
            with torch.no_grad():
                layer.weight.copy_(torch.eye(*layer.weight.shape) * min(to, step * to / 10))
                layer.weight.grad = torch.zeros_like(layer.weight)
        optimizer.step()


def test_suggestions_are_headroom_times_the_level_and_hold_the_run():
    given = model()
    before = {k: v.clone() for k, v in given.state_dict().items()}
    found = suggest(given, ramp, headroom=1.25)
    assert {k: bool((v == before[k]).all()) for k, v in given.state_dict().items()} == dict.fromkeys(before, True)
    assert [s.name for s in found.sites] == ["0.weight", "2.weight"]
    assert found.steps == 40
    for site in found.sites:
        assert site.level == pytest.approx(3.0, rel=0.02)
        assert site.ceiling == pytest.approx(3.75, rel=0.02)
        assert not site.growing
    assert "cap 3.7" in str(found)
    assert json.loads(json.dumps(found.to_dict()))["headroom"] == 1.25
    gate = control(given, found.rules)
    assert [h.site.name for h in gate.held] == ["0.weight", "2.weight"]


def test_a_run_that_still_grows_is_told():
    found = suggest(model(), lambda m: ramp(m, steps=9, to=10.0))
    assert all(site.growing for site in found.sites)
    assert "still growing" in str(found)


def test_a_run_without_steps_is_refused_and_leaves_nothing_behind():
    from torch.optim import optimizer as module

    hooks = len(module._global_optimizer_pre_hooks)
    given = model()
    with pytest.raises(opnorm.UsageError, match="train that copy"):
        suggest(given, lambda copy: ramp(given))
    with pytest.raises(ZeroDivisionError):
        suggest(given, lambda copy: 1 / 0)
    with pytest.raises(opnorm.UsageError, match="headroom"):
        suggest(given, ramp, headroom=0)
    assert len(module._global_optimizer_pre_hooks) == hooks


def test_names_with_brackets_become_patterns_that_match():
    attention = nn.MultiheadAttention(8, 2)

    def run(copy):
        optimizer = torch.optim.SGD(copy.parameters(), lr=0.1)
        for _ in range(3):
            copy.in_proj_weight.grad = torch.ones_like(copy.in_proj_weight)
            optimizer.step()

    found = suggest(attention, run)
    assert len(found.sites) >= 3
    gate = control(attention, found.rules)
    assert {h.site.name for h in gate.held} == set(found.levels)
