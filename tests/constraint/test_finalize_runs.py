"""Short training runs of random models and rules, proved by `finalize` and decomposed: the benchmark's, fewer."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import opnorm

HOME = Path(__file__).parents[2] / "benchmarks" / "control" / "proofs.py"


@pytest.fixture(scope="module")
def proofs():
    spec = importlib.util.spec_from_file_location("benchmark_proofs", HOME)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look their annotations up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_no_bound_is_missed(proofs):
    outcomes = [proofs.run(seed) for seed in range(5000, 5030)]
    assert [words for o in outcomes for words in o.missed] == []
    finished = [o for o in outcomes if not o.refused and not o.diverged]
    assert len(finished) >= 25
    kinds = {part for o in finished for kind in o.kinds for part in kind.split(", ")}
    assert kinds >= {"dense", "convolution", "cap", "band", "orthogonal", "bfloat16", "float16", "float32", "float64"}


def finished_band():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 9))
    gate = opnorm.control(model, opnorm.band("*", 0.5, 0.8))
    return model, gate.held[0].site, gate.finalize().rows[0]


@pytest.mark.parametrize(
    ("spoiled", "claim", "says"),
    [
        (lambda w: 1.001 * w / np.linalg.norm(w, 2) * 0.8, {}, "σ₁"),
        (lambda w: 0.5 * w, {}, "σ_min"),
        (lambda w: w, {"upper": 0.1}, "σ₁"),
        (lambda w: w, {"smallest": 0.79999}, "σ_min"),
        (lambda w: 0.9 * w / np.linalg.norm(w, 2), {"tolerance": 1.0, "hi": 9.0, "upper": 9.0}, "σ₁"),
    ],
)
def test_the_check_sees_what_is_not_so(proofs, spoiled, claim, says):
    _, site, row = finished_band()
    outcome = proofs.Outcome()
    weight = site.weight().double().numpy()
    proofs.check(outcome, weight, site, row)
    assert outcome.missed == []
    proofs.check(outcome, spoiled(weight), site, replace(row, **claim))
    assert len(outcome.missed) == 1
    assert says in outcome.missed[0]


def test_the_check_sees_a_convolution_above_its_bound(proofs):
    layer = nn.Sequential(nn.Conv2d(2, 3, 3, stride=2, padding=1))
    gate = opnorm.control(layer, opnorm.cap("*", 0.1), input_shape=(2, 6, 5))
    row, site = gate.finalize().rows[0], gate.held[0].site
    outcome = proofs.Outcome()
    proofs.check(outcome, proofs.explicit(layer, site, (2, 6, 5)), site, row)
    assert outcome.missed == []
    with torch.no_grad():
        layer[0].weight.mul_(1.1)
    proofs.check(outcome, proofs.explicit(layer, site, (2, 6, 5)), site, row)
    assert len(outcome.missed) == 1
