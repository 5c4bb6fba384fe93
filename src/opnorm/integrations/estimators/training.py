"""One training: AdamW on minibatches, a gate after each step, and at the end the last projection and the proof.

Data: `Settings` and examples → `Trained`. Everything random comes from one generator keyed by `Settings.seed`, so that
the same call gives the same bits on the same machine, libraries and thread counts; no global state is read or written.
Cost: a step of a small network takes some 0.7 ms on one core and its gate 0.2 ms more; the proof one decomposition a
layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch

from opnorm.constraint.finalize.certificate import Certificate
from opnorm.constraint.gate import Gate, control
from opnorm.constraint.rules import Rule, band, cap, watch
from opnorm.errors import UsageError
from opnorm.integrations.estimators.network import network

Loss: TypeAlias = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(outputs, targets) → one loss an example."""


@dataclass(frozen=True, slots=True)
class Settings:
    """hidden, activation, dropout: of the network. lo, hi: the band, `hi` None for no ceiling. patience: epochs without
    gain on validation data before training stops, None for never.
    """  # fmt: skip

    hidden: tuple[int, ...]
    activation: str
    dropout: float
    lo: float
    hi: float | None
    every: int
    weight_decay: float
    learning_rate: float
    epochs: int
    batch: int
    patience: int | None
    seed: int

    @property
    def rule(self) -> Rule:
        """What to hold: every layer, the last one included."""
        if self.lo > 0:
            return band("*.weight", self.lo, math.inf if self.hi is None else self.hi)
        return watch("*.weight") if self.hi is None else cap("*.weight", self.hi)


@dataclass(frozen=True, slots=True)
class Examples:
    """inputs: an array or CSR matrix (n, features). targets: class codes, or values (n, outputs). weights: mean 1."""

    inputs: Any
    targets: Any
    weights: Any

    def __len__(self) -> int:
        return len(self.targets)

    def of(self, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Some of them as tensors: inputs, targets, weights."""
        chosen = places.numpy()
        rows = self.inputs[chosen]
        dense = rows if isinstance(rows, np.ndarray) else rows.toarray()
        return torch.from_numpy(dense), torch.from_numpy(self.targets[chosen]), torch.from_numpy(self.weights[chosen])


@dataclass(frozen=True, slots=True)
class Trained:
    """The finished network with its certificate, and the losses of each epoch (`validation` empty without any)."""

    model: torch.nn.Sequential
    certificate: Certificate
    losses: tuple[float, ...]
    validation: tuple[float, ...]


def train(settings: Settings, outputs: int, examples: Examples, held_out: Examples | None, loss: Loss) -> Trained:
    """A network with so many outputs, fitted to `examples`; `UsageError` where the loss leaves the finite numbers."""
    generator = torch.Generator().manual_seed(settings.seed)
    sizes = (examples.inputs.shape[1], *settings.hidden, outputs)
    dtype = torch.from_numpy(np.empty(0, examples.inputs.dtype)).dtype
    model = network(sizes, settings.activation, settings.dropout, dtype, generator)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    gate = control(model, settings.rule, every=settings.every, seed=settings.seed)
    if settings.rule.moves:
        gate.attach(optimizer)
    return _trained(settings, model, optimizer, gate, generator, examples, held_out, loss)


def _trained(
    settings: Settings, model: torch.nn.Sequential, optimizer: torch.optim.Optimizer, gate: Gate,
    generator: torch.Generator, examples: Examples, held_out: Examples | None, loss: Loss,
) -> Trained:  # fmt: skip
    losses: list[float] = []
    validation: list[float] = []
    best = [p.detach().clone() for p in model.parameters()]
    with torch.enable_grad():
        for epoch in range(1, settings.epochs + 1):
            losses.append(_epoch(model, optimizer, generator, examples, settings.batch, loss))
            if not math.isfinite(losses[-1]):
                raise UsageError(_diverged(epoch, losses, settings))
            if held_out is None:
                continue
            validation.append(_loss_on(model, held_out, loss))
            if validation[-1] <= min(validation):
                best = [p.detach().clone() for p in model.parameters()]
            elif settings.patience is not None and epoch - _place_of_least(validation) >= settings.patience:
                break
    gate.detach()
    if held_out is not None:
        _restore(model, best)
    return Trained(model.eval(), gate.finalize(), tuple(losses), tuple(validation))


def _epoch(
    model: torch.nn.Sequential, optimizer: torch.optim.Optimizer, generator: torch.Generator,
    examples: Examples, batch: int, loss: Loss,
) -> float:  # fmt: skip
    """Each example once, in a new order; the mean loss on the way."""
    model.train()
    total = 0.0
    for places in torch.randperm(len(examples), generator=generator).split(batch):
        inputs, targets, weights = examples.of(places)
        mean = (loss(model(inputs), targets) * weights).mean()
        optimizer.zero_grad()
        mean.backward()
        optimizer.step()
        total += float(mean.detach()) * len(places)
    return total / len(examples)


@torch.no_grad()
def _loss_on(model: torch.nn.Sequential, examples: Examples, loss: Loss) -> float:
    model.eval()
    inputs, targets, weights = examples.of(torch.arange(len(examples)))
    return float((loss(model(inputs), targets) * weights).mean())


@torch.no_grad()
def _restore(model: torch.nn.Sequential, values: list[torch.Tensor]) -> None:
    for parameter, value in zip(model.parameters(), values, strict=True):
        parameter.copy_(value)


def _place_of_least(validation: list[float]) -> int:
    """Of the last of the smallest, counted from 1."""
    least = min(validation)
    return max(place for place, value in enumerate(validation, 1) if value == least)


def _diverged(epoch: int, losses: list[float], settings: Settings) -> str:
    before = f"; it was {losses[-2]:.4g} before" if len(losses) > 1 else ""
    return (
        f"the loss is {losses[-1]} after epoch {epoch}{before}: no network came out. Scale the inputs, such as by "
        f"sklearn.preprocessing.StandardScaler, or lower learning_rate={settings.learning_rate:g}"
    )
