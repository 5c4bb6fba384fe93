"""Adapted layers for tests: a site from plain tensors, and a stand-in of PEFT's class under its qualified name."""

import math

import torch
from torch import nn

from opnorm.constraint.rules import cap
from opnorm.constraint.sites import Site


class Linear(nn.Module):
    """W + s·B·A as `peft.tuners.lora.layer.Linear` holds and applies it."""

    def __init__(self, base_layer, r, alpha, fan_in_fan_out=False):
        super().__init__()
        rows, columns = base_layer.weight.shape[:: -1 if fan_in_fan_out else 1]
        self.base_layer = base_layer.requires_grad_(False)
        self.fan_in_fan_out = fan_in_fan_out
        self.lora_A = nn.ModuleDict({"default": nn.Linear(columns, r, bias=False)})
        self.lora_B = nn.ModuleDict({"default": nn.Linear(r, rows, bias=False)})
        nn.init.zeros_(self.lora_B["default"].weight)
        self.scaling = {"default": alpha / r}
        self.active_adapters, self.merged, self.disable_adapters = ["default"], False, False
        self.use_dora, self.lora_variant = {"default": False}, {}

    def forward(self, x):
        return self.base_layer(x) + self.scaling["default"] * self.lora_B["default"](self.lora_A["default"](x))


Linear.__module__, Linear.__qualname__ = "peft.tuners.lora.layer", "Linear"


def site(rows, columns, rank, *, base=0.9, size=1.0, scale=2.0, dtype=torch.float32, transposed=False, seed=0):
    """‖W‖ = base, and factors of Gaussian entries; size: of B."""
    generator = torch.Generator().manual_seed(seed)

    def gaussian(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64) / math.sqrt(shape[0])

    weight = gaussian(rows, columns)
    weight *= base / torch.linalg.matrix_norm(weight, 2)
    b, a = size * gaussian(rows, rank), gaussian(columns, rank).T
    stored = weight.T.contiguous() if transposed else weight
    parameters = tuple(nn.Parameter(t.to(dtype)) for t in (stored, b, a))
    parameters[0].requires_grad_(False)
    return Site(
        "q", "q", "adapted", ("q.w", "q.b", "q.a"), parameters, cap("*", 1.0), (rows, columns),
        scale=scale, transposed=transposed,
    )  # fmt: skip


def explicit(site):
    """W + s·B·A in float64."""
    base, b, a = (p.detach().double() for p in site.parameters)
    return (base.T if site.transposed else base) + site.scale * b @ a


def norm(site):
    return float(torch.linalg.matrix_norm(explicit(site), 2))
