"""Muon beside AdamW under one gate: weights far below what decay alone keeps, and both rules of norm hold at once."""

import torch
from torch import nn

from opnorm.constraint.decay.invariant import norm_invariant
from opnorm.constraint.gate import control
from opnorm.constraint.rules import cap

CAP = 1.5


def train(gated, steps=60):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 4))
    muon = torch.optim.Muon([model[0].weight, model[2].weight], lr=0.05, weight_decay=0.1)
    rest = [p for p in model.parameters() if not any(p is q for q in muon.param_groups[0]["params"])]
    adamw = torch.optim.AdamW(rest, lr=5e-3)
    rows = norm_invariant([muon, adamw], model)
    gate = control(model, cap("*", CAP)).attach(muon, adamw) if gated else None
    g = torch.Generator().manual_seed(1)
    x = torch.randn(128, 16, generator=g)
    y = (x @ torch.randn(16, 4, generator=g)).argmax(1)
    for _ in range(steps):
        muon.zero_grad(), adamw.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        muon.step(), adamw.step()
    norms = {n: float(torch.linalg.matrix_norm(p.detach(), 2)) for n, p in model.named_parameters() if p.ndim == 2}
    return norms, rows, gate, float(loss.detach())


def test_a_cap_composes_with_muon_beside_adamw():
    free, rows, _, _ = train(gated=False)
    held, _, gate, loss = train(gated=True)
    assert gate.steps == 60
    assert max(free.values()) > 1.3 * CAP
    assert max(held.values()) <= 1.1 * CAP
    assert loss < 1.0
    for row in rows:
        assert held[row.name] < free[row.name] <= row.bound.value
    assert "0.weight" in str(gate.report())
