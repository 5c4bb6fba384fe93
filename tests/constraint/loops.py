"""A small regression and the ways to train it, for tests of the gate in loops."""

import torch
from torch import nn

from opnorm.constraint.gate import control
from opnorm.constraint.rules import cap

CAP = 0.7
GENERATOR = torch.Generator().manual_seed(5)
INPUTS, TARGETS = torch.randn(96, 12, generator=GENERATOR), torch.randn(96, 4, generator=GENERATOR)


def mlp(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(12, 64), nn.GELU(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 4))


def adam(model, lr=3e-3):
    return torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=lr)


def loss_of(model, step=0):
    part = slice(32 * (step % 3), 32 * (step % 3) + 32)
    return nn.functional.mse_loss(model(INPUTS[part]), 20 * TARGETS[part])


def train(model, optimizer, steps, start=0, gate=None):
    for step in range(start, start + steps):
        optimizer.zero_grad()
        loss = loss_of(model, step)
        if gate is not None:
            loss = loss + gate.penalty()
        loss.backward()
        optimizer.step()
    return loss


def norms(model):
    return [float(torch.linalg.matrix_norm(p.detach().double(), 2)) for p in model.parameters() if p.dim() == 2]


def weights(model):
    return [p.detach().clone() for p in model.parameters()]


def assert_same(one, other):
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def gated(model, *rules, optimizer=None, **options):
    optimizer = optimizer or adam(model)
    return control(model, list(rules) or [cap("*", CAP)], **options).attach(optimizer), optimizer
