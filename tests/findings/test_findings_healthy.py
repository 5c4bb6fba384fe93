"""Healthy models are silent: initializations, small models of every kind, trained ones, and a real one."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from findings_made import codes, measured, spectrum_of
from torch import nn

import opnorm
from opnorm.readers import open_checkpoint
from small_models import MODELS

ROOT = Path(__file__).parents[2]


def orthogonal(m, n, g):
    q = np.linalg.qr(g.standard_normal((max(m, n), min(m, n))))[0]
    return q if m >= n else q.T


INITIALIZATIONS = {
    "He": lambda m, n, g: g.standard_normal((m, n)) * math.sqrt(2 / n),
    "Glorot": lambda m, n, g: g.uniform(-1, 1, (m, n)) * math.sqrt(6 / (m + n)),
    "torch": lambda m, n, g: g.uniform(-1, 1, (m, n)) / math.sqrt(n),
    "GPT-2": lambda m, n, g: g.standard_normal((m, n)) * 0.02,
    "orthogonal": lambda m, n, g: orthogonal(m, n, g),
    "sparse": lambda m, n, g: g.standard_normal((m, n)) * (g.random((m, n)) < 0.5),
    "heavy-tailed": lambda m, n, g: g.standard_t(3, (m, n)) / math.sqrt(n),
}
SHAPES = ((64, 48), (128, 64), (64, 128), (96, 96), (10, 64), (2, 64), (1, 32))


@pytest.mark.parametrize("name", INITIALIZATIONS)
def test_initializations_are_silent(name):
    rng = np.random.default_rng(0)
    arrays = {
        f"layers.{i}.{j}.weight": INITIALIZATIONS[name](m, n, rng).astype(np.float32)
        for i in range(3)
        for j, (m, n) in enumerate(SHAPES)
    }
    assert codes(measured(arrays)) == []


@pytest.mark.parametrize("name", MODELS)
def test_small_models_are_silent(name):
    torch.manual_seed(0)
    make, _ = MODELS[name]
    assert codes(opnorm.measure(make().eval())) == []


def test_the_demo_is_silent():
    report = opnorm.measure(ROOT / "src/opnorm/demo/digits.safetensors")
    with open_checkpoint(ROOT / "src/opnorm/demo/digits.safetensors") as checkpoint:
        arrays = {t.name: checkpoint.read(t) for t in checkpoint.tensors}
    rows = [replace(r, spectrum=spectrum_of(arrays[r.name])) if r.status == "measured" else r for r in report.rows]
    assert codes(replace(report, rows=tuple(rows))) == []


def trained(model, batches, steps=150, rate=3e-3):
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    for _ in range(steps):
        x, y = batches()
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x).flatten(0, -2), y.flatten())
        loss.backward()
        optimizer.step()
    return model.eval(), float(loss.detach())


def with_spectra(model):
    report = opnorm.measure(model)
    state = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
    rows = [
        replace(r, spectrum=spectrum_of(state[r.name]))
        if r.status == "measured" and r.name in state and state[r.name].ndim == 2
        else r
        for r in report.rows
    ]
    return replace(report, rows=tuple(rows))


def test_a_trained_classifier_is_silent():
    torch.manual_seed(0)
    means = torch.randn(6, 20)

    def batches():
        y = torch.randint(6, (64,))
        return means[y] + 0.7 * torch.randn(64, 20), y

    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 6))
    model, loss = trained(model, batches)
    assert loss < 0.2
    assert codes(with_spectra(model)) == []


class Copier(nn.Module):
    """Says what it saw four positions ago."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.embed, self.place = nn.Embedding(16, 32), nn.Parameter(torch.randn(12, 32) * 0.3)
        self.body = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.head = nn.Linear(32, 16)

    def forward(self, tokens):
        return self.head(self.body(self.embed(tokens) + self.place))


def test_a_trained_transformer_is_silent():
    torch.manual_seed(0)

    def batches():
        x = torch.randint(16, (32, 12))
        return x, x.roll(4, 1)

    model, loss = trained(Copier(), batches, steps=120)
    assert loss < 1.0
    assert codes(with_spectra(model)) == []
