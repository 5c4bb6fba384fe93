"""The layers of an estimator's network: made from a seed, read out as arrays, made anew from arrays.

Layers are named `layer0`, `layer1`, …, which are the names in its certificate. Initial weights are as in
`torch.nn.Linear`, uniform within 1/√inputs, but from a generator of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch

ACTIVATIONS = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh}
"""Each of slope at most 1, entry by entry, so that the Lipschitz bound is that of the layers."""


class Dropout(torch.nn.Module):
    """Inverted dropout with a generator of its own: torch's draws from the global one."""

    def __init__(self, rate: float, generator: torch.Generator) -> None:
        super().__init__()
        self.rate, self.generator = rate, generator

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Zeros with probability `rate`, the rest scaled up, while training."""
        if not self.training:
            return values
        kept = torch.rand(values.shape, generator=self.generator) >= self.rate
        return values * kept / (1 - self.rate)


def network(
    sizes: Sequence[int], activation: str, dropout: float, dtype: torch.dtype, generator: torch.Generator
) -> torch.nn.Sequential:
    """Layers of these sizes, inputs and outputs included, with new weights."""
    model = torch.nn.Sequential()
    last = len(sizes) - 2
    for place, (inputs, outputs) in enumerate(pairwise(sizes)):
        model.add_module(f"layer{place}", _layer(inputs, outputs, dtype, generator))
        if place < last:
            model.add_module(f"activation{place}", ACTIVATIONS[activation]())
        if place < last and dropout:
            model.add_module(f"dropout{place}", Dropout(dropout, generator))
    return model


def _layer(inputs: int, outputs: int, dtype: torch.dtype, generator: torch.Generator) -> torch.nn.Linear:
    layer = torch.nn.utils.skip_init(torch.nn.Linear, inputs, outputs, dtype=dtype)
    bound = inputs**-0.5
    for parameter in layer.parameters():
        torch.nn.init.uniform_(parameter, -bound, bound, generator=generator)
    return layer


def layers(model: torch.nn.Sequential) -> list[torch.nn.Linear]:
    """Its linear layers, in order."""
    return [module for module in model if isinstance(module, torch.nn.Linear)]


def arrays(model: torch.nn.Sequential) -> tuple[list[Any], list[Any]]:
    """(weights, biases) as scikit-learn lays them out: (inputs, outputs), (outputs,)."""
    made = layers(model)
    return [m.weight.detach().numpy().T for m in made], [m.bias.detach().numpy() for m in made]


def rebuilt(weights: Sequence[Any], biases: Sequence[Any], activation: str) -> torch.nn.Sequential:
    """The network that `arrays` was read from, ready to be applied, with copies of its values."""
    sizes = [weights[0].shape[0], *(len(bias) for bias in biases)]
    dtype = torch.from_numpy(np.empty(0, weights[0].dtype)).dtype
    model = network(sizes, activation, 0.0, dtype, torch.Generator())
    with torch.no_grad():
        for layer, weight, bias in zip(layers(model), weights, biases, strict=True):
            layer.weight.copy_(torch.tensor(weight.T))
            layer.bias.copy_(torch.tensor(bias))
    return model.eval()
