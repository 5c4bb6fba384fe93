"""Shared by the tests of normalization: modules with known entries, and what they serve."""

import torch

from opnorm.constraint.normalize import normalize
from opnorm.parametrize import spectral_norm

OURS = (spectral_norm, normalize)


def norm(weight: torch.Tensor) -> float:
    return torch.linalg.matrix_norm(weight.detach().double().flatten(1), 2).item()


def linear(rows: int, columns: int, scale: float = 1.0, seed: int = 0, dtype=torch.float32) -> torch.nn.Linear:
    module = torch.nn.Linear(columns, rows)
    entries = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    module.weight = torch.nn.Parameter((entries * scale).to(dtype))
    module.bias.data.zero_()
    return module.to(dtype)


def original(module: torch.nn.Module) -> torch.nn.Parameter:
    return module.parametrizations.weight.original


def state(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: buffer.clone() for name, buffer in module.named_buffers()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name].nan_to_num(), other[name].nan_to_num()) for name in one)


def stepped(module: torch.nn.Module, inputs: torch.Tensor, steps: int, lr: float = 0.1) -> None:
    optimizer = torch.optim.SGD(module.parameters(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        module(inputs).square().mean().neg().backward()
        optimizer.step()
