"""A plain twin and a controlled twin, stepped alternately in one process, so that both see the same noise.

Time is the mean wall time of a whole step (forward, backward, optimizer, control); `ratio` is controlled / plain.
Hold is the worst true σ/c over all layers after the control's turn, sampled every `sample` steps outside the timed
part, idle steps included. Loss is the mean over the last 20 steps' batches after a final exact clip, where asked for.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

Hook = Callable[[int], None]
Arm = Callable[[Any, nn.Module], Hook | None]
"""Prepares a model before its optimizer is made (parametrizes it, builds kernels); returns what follows each step."""


@dataclass(frozen=True)
class Contender:
    """One way of control: how it prepares the model, its ceiling, and whether it ends with an exact clip."""

    name: str
    arm: Arm
    ceiling: float = 1.0
    clip_at_end: bool = False


@dataclass
class Run:
    """What one seed gave."""

    plain: list[float] = field(default_factory=list)
    controlled: list[float] = field(default_factory=list)
    hooks: list[float] = field(default_factory=list)
    holds: list[float] = field(default_factory=list)
    attach: float = 0.0
    loss: float = 0.0
    plain_loss: float = 0.0

    @property
    def ratio(self) -> float:
        return statistics.fmean(self.controlled) / statistics.fmean(self.plain)

    @property
    def median_ratio(self) -> float:
        return statistics.median(self.controlled) / statistics.median(self.plain)

    @property
    def share(self) -> float:
        """Mean time of the hook alone over the mean plain step."""
        return statistics.fmean(self.hooks) / statistics.fmean(self.plain)

    @property
    def hold(self) -> float:
        return max(self.holds)


class Twin:
    """A model in training, with what runs after each of its steps."""

    def __init__(self, case: Any, seed: int, contender: Contender | None) -> None:
        self.case, self.seed = case, seed
        self.model = case.model(seed)
        began = time.perf_counter()
        self.hook = contender.arm(case, self.model) if contender else None
        self.attach = time.perf_counter() - began
        self.optimizer = case.optimizer(self.model)

    def step(self, index: int) -> tuple[float, float]:
        """Seconds of the whole step, and of the hook in it."""
        batch = self.case.batch(self.seed, index)
        began = time.perf_counter()
        self.case.loss(self.model, batch).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        middle = time.perf_counter()
        if self.hook is not None:
            self.hook(index)
        ended = time.perf_counter()
        return ended - began, ended - middle

    @torch.no_grad()
    def final_loss(self, steps: int) -> float:
        self.model.eval()
        losses = [self.case.loss(self.model, self.case.batch(self.seed, i)).item() for i in range(steps - 20, steps)]
        self.model.train()
        return statistics.fmean(losses)


def run(
    case: Any, contender: Contender, seed: int, steps: int = 300, sample: int = 13, idle: bool = True, skip: int = 2
) -> Run:
    """Train both twins; the first `skip` steps of each are not timed (memory is first touched there)."""
    result = Run()
    plain, controlled = Twin(case, seed, None) if idle else None, Twin(case, seed, contender)
    result.attach = controlled.attach
    gc.disable()
    for index in range(steps + skip):
        turns = [plain, controlled] if index % 2 else [controlled, plain]
        for twin in turns:
            if twin is None:
                continue
            whole, hook = twin.step(index)
            if index < skip:
                result.attach += hook
                continue
            (result.plain if twin is plain else result.controlled).append(whole)
            if twin is controlled:
                result.hooks.append(hook)
        if index % sample == sample - 1 or index == 0:
            result.holds.append(_worst(case, controlled.model) / contender.ceiling)
            gc.collect()
    gc.enable()
    if contender.clip_at_end:
        clip_exactly(case.layers(controlled.model), contender.ceiling)
    result.loss = controlled.final_loss(steps + skip)
    result.plain_loss = plain.final_loss(steps + skip) if plain is not None else float("nan")
    return result


def _worst(case: Any, model: nn.Module) -> float:
    training = model.training
    model.eval()
    with torch.no_grad():
        worst = max(case.norms(model))
    model.train(training)
    return worst


@torch.no_grad()
def clip_exactly(layers: Sequence[nn.Linear], ceiling: float) -> None:
    """Singular values above the ceiling down to it, by SVD."""
    for layer in layers:
        u, s, vh = torch.linalg.svd(layer.weight, full_matrices=False)
        layer.weight.copy_((u * s.clamp(max=ceiling)) @ vh)
