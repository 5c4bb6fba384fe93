"""Measuring a model changes nothing in it, bit for bit, and runs none of its code."""

import copy
import random
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from live import report_of
from small_models import MODELS


class Watched(nn.Module):
    """Counts its calls, moves a buffer and the random state in `forward`, and holds hooks."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3)
        self.norm = nn.BatchNorm2d(3)
        self.spectral = nn.utils.parametrizations.spectral_norm(nn.Linear(3, 4))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            self.old = nn.utils.spectral_norm(nn.Linear(4, 4))
        self.drop = nn.Dropout(0.5)
        self.register_buffer("steps", torch.zeros(()))
        self.calls = 0
        self.seen = []
        self.conv.register_forward_hook(lambda m, args, out: self.seen.append(out))
        self.conv.register_forward_pre_hook(lambda m, args: self.seen.append(args))

    def forward(self, x):
        self.calls += 1
        self.steps += 1
        torch.rand(3, device="cpu")
        random.random()
        np.random.rand()
        x = self.norm(self.conv(x)).mean((2, 3))
        return self.drop(self.old(self.spectral(x)))


def snapshot(model):
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {
        "bits": {name: t.detach().clone() for name, t in tensors.items()},
        "versions": {name: t._version for name, t in tensors.items()},
        "ids": {name: (id(t), t.data_ptr(), t.requires_grad) for name, t in tensors.items()},
        "grads": {n: None if p.grad is None else p.grad.clone() for n, p in model.named_parameters()},
        "training": {name: m.training for name, m in model.named_modules()},
        "hooks": {
            name: [list(getattr(m, a)) for a in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")]
            for name, m in model.named_modules()
        },
        "attributes": {name: sorted(vars(m)) for name, m in model.named_modules()},
        "random": (torch.get_rng_state(), random.getstate(), repr(np.random.get_state(legacy=False))),
    }


def assert_same(before, after):
    for key in ("versions", "ids", "training", "hooks", "attributes"):
        assert before[key] == after[key]
    for key in ("bits", "grads"):
        for name, tensor in before[key].items():
            other = after[key][name]
            if tensor is None:
                assert other is None
            else:
                assert torch.equal(tensor.reshape(-1).view(torch.uint8), other.reshape(-1).view(torch.uint8)), name
    assert torch.equal(before["random"][0], after["random"][0])
    assert before["random"][1] == after["random"][1]
    assert before["random"][2] == after["random"][2]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(2, 6, 6), None])
def test_a_model_with_side_effects(training, shape):
    torch.manual_seed(0)
    model = Watched().train(training)
    model(torch.randn(4, 2, 6, 6)).sum().backward()
    calls, seen = model.calls, len(model.seen)
    before = snapshot(model)
    report = report_of(model, shape)
    assert_same(before, snapshot(model))
    assert (model.calls, len(model.seen)) == (calls, seen)
    assert "hooks" in report["conv.weight"].reason
    if shape:
        assert "on 2x6x6" in report["conv.weight"].operator


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("name", MODELS)
def test_the_small_models(name):
    kind, shape = MODELS[name]
    model = kind()
    example = torch.randn(2, *shape) if len(shape) > 1 else torch.randint(0, 11, (2, *shape))
    model(example).sum().backward()
    before = snapshot(model)
    report_of(model, shape)
    assert_same(before, snapshot(model))


def test_a_spectral_norm_in_training_mode_keeps_its_vectors():
    torch.manual_seed(1)
    model = nn.ModuleDict({"a": nn.utils.parametrizations.spectral_norm(nn.Linear(6, 5))}).train()
    twin = copy.deepcopy(model)
    report = report_of(model)
    assert torch.equal(model["a"].parametrizations.weight[0]._u, twin["a"].parametrizations.weight[0]._u)
    served = twin.eval()["a"].weight.detach().double().numpy()
    assert report["a.weight"].lower <= np.linalg.norm(served, 2) * (1 + 1e-6) <= report["a.weight"].upper * (1 + 2e-6)
