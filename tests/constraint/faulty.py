"""Training runs that go wrong in one way, under one technique: what control did to weights that were finite."""

from __future__ import annotations

import math

import torch
from torch import nn

import opnorm

CEILING, STEPS, AT, BACK = 1.0, 24, 8, 12


def _nan_loss(loss, model):
    return loss * math.nan


def _inf_loss(loss, model):
    return loss * 1e38 * 1e38


def scaled(factor):
    def fault(model):
        for layer in model:
            if isinstance(layer, nn.Linear):
                _weight(layer).mul_(factor)

    return fault


def _weight(layer):
    if hasattr(layer, "parametrizations"):
        return layer.parametrizations.weight.original.data
    return layer.weight.data


def _nan_entry(model):
    _weight(model[2])[0, 0] = math.nan


def _inf_entry(model):
    _weight(model[2])[0, 0] = math.inf


def _rank_one(model):
    weight = _weight(model[2])
    weight.copy_(3 * torch.ones_like(weight) / weight.shape[0])


FAULTS = {
    "none": (None, None),
    "NaN loss once": (_nan_loss, None),
    "infinite loss once": (_inf_loss, None),
    "a NaN entry": (None, _nan_entry),
    "an infinite entry": (None, _inf_entry),
    "all zero": (None, scaled(0.0)),
    "times 1e30": (None, scaled(1e30)),
    "times 1e20": (None, scaled(1e20)),
    "times 1e-15": (None, scaled(1e-15)),
    "times 1e-30": (None, scaled(1e-30)),
    "rank one, norm 3": (None, _rank_one),
    "infinite learning rate once": (None, None),
}

GATES = {
    "cap": lambda: opnorm.cap("*", CEILING),
    "scale": lambda: opnorm.cap("*", CEILING, method="scale"),
    "band": lambda: opnorm.band("*", 0.2, CEILING),
    "orthogonal": lambda: opnorm.orthogonalize("*", CEILING),
}


def network():
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 4))
    with torch.no_grad():
        for layer in (model[0], model[2], model[4]):
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) / 6)
            layer.bias.zero_()
    return model


def served_norms(model):
    norms = []
    for layer in (model[0], model[2], model[4]):
        weight = layer.weight.detach().double()
        finite = bool(torch.isfinite(weight).all())
        norms.append(float(torch.linalg.matrix_norm(weight, 2)) if finite else math.nan)
    return norms


def _finite(model):
    """Whether what is stored is finite, a layer."""
    return [bool(torch.isfinite(_weight(layer)).all()) for layer in (model[0], model[2], model[4])]


@torch.no_grad()
def _spoiled(model, before):
    """Whether a layer that was stored finite is served with other than finite entries."""
    after = [bool(torch.isfinite(layer.weight).all()) for layer in (model[0], model[2], model[4])]
    return any(b and not a for b, a in zip(before, after, strict=True))


def run(fault, technique):
    """(spoiled, recovered): did control make a finite weight non-finite; after the weights of before the fault were
    put back, were all served weights finite and under 1.1 times the ceiling within `STEPS − BACK` steps.
    """  # fmt: skip
    on_loss, on_weights = FAULTS[fault]
    model = network()
    if technique == "normalize":
        for layer in (model[0], model[2], model[4]):
            opnorm.normalize(layer, cap=CEILING)
    elif technique in ("torch spectral_norm", "torch orthogonal"):
        register = (
            nn.utils.parametrizations.spectral_norm if "norm" in technique else nn.utils.parametrizations.orthogonal
        )
        for layer in (model[0], model[2], model[4]):
            register(layer)
    gate = opnorm.control(model, GATES[technique]()) if technique in GATES else None
    penalized = opnorm.control(model, opnorm.penalize("*", CEILING)) if technique == "penalty" else None
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(64, 12, generator=generator), torch.randint(0, 4, (64,), generator=generator)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    spoiled, kept = False, None
    for step in range(STEPS):
        if step == AT:
            kept = [p.detach().clone() for p in model.parameters()]
            if on_weights is not None:
                with torch.no_grad():
                    on_weights(model)
        if step == BACK:
            with torch.no_grad():
                for parameter, values in zip(model.parameters(), kept, strict=True):
                    parameter.copy_(values)
            optimizer = torch.optim.Adam(model.parameters(), 3e-3)
        spoiled |= _spoiled(model, _finite(model))
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        if penalized is not None:
            loss = loss + penalized.penalty()
        (on_loss(loss, model) if on_loss is not None and step == AT else loss).backward()
        if step == AT and "learning rate" in fault:
            optimizer.param_groups[0]["lr"] = math.inf
        optimizer.step()
        optimizer.param_groups[0]["lr"] = 3e-3
        before = _finite(model)
        if gate is not None:
            gate.step()
        spoiled |= _spoiled(model, before)
    last = served_norms(model)
    limit = math.inf if technique == "penalty" else 1.1 * CEILING
    return spoiled, all(math.isfinite(n) and n <= limit for n in last)
