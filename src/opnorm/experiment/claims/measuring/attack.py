"""The worst that can be found within an L2 ball: projected gradient ascent with the model's own gradients.

What is raised is not the loss, whose gradient rounds to 0 where a model is sure of itself (so that training harder
would seem to make it safe), but for classes the margin z_j − z_y of a wrong class over the right one, for numbers the
error itself, with its sign (Carlini and Wagner, 2017; Madry et al., 2018).
Two runs from the example itself: towards the wrong class that the linearized model reaches first (Moosavi-Dezfooli et
al., DeepFool, 2016), which on a linear model is the worst class and so the exact optimum; and towards whatever wrong
class is the highest at each step. For numbers: upwards and downwards. Each example keeps the worst point met.
Guarantee: every point lies within the radius, so the worst case is at least as bad as what is found: an estimate from
one side, no certificate. Cost: 2·STEPS passes forward and backward, and one backward a class, at most CANDIDATES.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from opnorm.experiment.claims.measuring.outputs import device_of
from opnorm.experiment.subject import Part, Task

STEPS = 10
STRIDE = 2.5 / STEPS
"""Of the radius: the ball can be crossed, and its edge followed."""

CANDIDATES = 10

Aim = Callable[[Any], Any]
"""Outputs → (n, …), what is to grow."""


def attacked(model: torch.nn.Module, part: Part, task: Task, mask: np.ndarray, radius: float) -> np.ndarray:
    """The inputs, each moved by at most `radius` where `mask` is 1."""
    device = device_of(model)
    start = torch.from_numpy(np.ascontiguousarray(part.inputs)).to(device)
    targets = torch.from_numpy(np.ascontiguousarray(part.targets)).to(device)
    allowed = torch.from_numpy(mask).to(device)
    with torch.enable_grad():
        aims, damage = _classes(model, start, targets, allowed, radius) if task.classifies else _numbers(targets)
        found = Found(start, damage(_detached(model, start)))
        for aim in aims:
            _climb(model, found, start, allowed, radius, aim, damage)
    return np.asarray(found.worst.cpu().numpy())


class Found:
    """The worst point of each example so far, and how bad it is."""

    def __init__(self, start: torch.Tensor, damage: torch.Tensor) -> None:
        self.worst, self.damage = start.clone(), damage

    def take(self, points: torch.Tensor, damage: torch.Tensor) -> None:
        """Keep what is worse."""
        better = damage > self.damage
        self.damage = torch.where(better, damage, self.damage)
        self.worst[better] = points[better]


def _climb(
    model: torch.nn.Module,
    found: Found,
    start: torch.Tensor,
    allowed: torch.Tensor,
    radius: float,
    aim: Aim,
    damage: Aim,
) -> None:
    points = start
    for _ in range(STEPS):
        slope = _slope(model, points, aim) * allowed
        points = start + _within(points + STRIDE * radius * _unit(slope) - start, radius)
        found.take(points, damage(_detached(model, points)))


def _classes(
    model: torch.nn.Module, start: torch.Tensor, targets: torch.Tensor, allowed: torch.Tensor, radius: float
) -> tuple[tuple[Aim, ...], Aim]:
    toward = _nearest(model, start, targets, allowed, radius)

    def over_right(outputs: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        margin = outputs.gather(-1, chosen[..., None]) - outputs.gather(-1, targets[..., None])
        return margin.flatten(1).sum(1)

    def highest(outputs: torch.Tensor) -> torch.Tensor:
        return over_right(outputs, _wrong(outputs.detach(), targets).argmax(-1))

    return (lambda outputs: over_right(outputs, toward), highest), highest


def _nearest(
    model: torch.nn.Module, start: torch.Tensor, targets: torch.Tensor, allowed: torch.Tensor, radius: float
) -> torch.Tensor:
    """The wrong class j that maximizes (z_j − z_y) + radius·‖∇(z_j − z_y)‖, among those of the highest logits."""
    outputs = _detached(model, start)
    ranked = _wrong(outputs, targets).argsort(dim=-1, descending=True, stable=True)[..., : outputs.shape[-1] - 1]
    if outputs.ndim != 2:
        return ranked[..., 0]
    reached = []
    for chosen in ranked[:, :CANDIDATES].unbind(1):

        def aim(z: torch.Tensor, chosen: torch.Tensor = chosen) -> torch.Tensor:
            return (z.gather(1, chosen[:, None]) - z.gather(1, targets[:, None]))[:, 0]

        slope = _slope(model, start, aim) * allowed
        reached.append(aim(outputs) + radius * torch.linalg.vector_norm(slope.flatten(1), dim=1))
    best = torch.stack(reached, 1).argmax(1)
    return ranked.gather(1, best[:, None])[:, 0]


def _wrong(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return outputs.scatter(-1, targets[..., None], -torch.inf)


def _numbers(targets: torch.Tensor) -> tuple[tuple[Aim, ...], Aim]:
    """Upwards and downwards; the damage is the size of the error."""

    def damage(outputs: torch.Tensor) -> torch.Tensor:
        return (outputs.reshape(targets.shape) - targets).abs().reshape(len(targets), -1).sum(1)

    def up(outputs: torch.Tensor) -> torch.Tensor:
        return outputs.reshape(len(targets), -1).sum(1)

    return (up, lambda outputs: -up(outputs)), damage


def _slope(model: torch.nn.Module, points: torch.Tensor, aim: Aim) -> torch.Tensor:
    points = points.detach().requires_grad_()
    (found,) = torch.autograd.grad(
        aim(model(points.clone()).float()).sum(), points, allow_unused=True, materialize_grads=True
    )
    return torch.nan_to_num(found, nan=0.0, posinf=0.0, neginf=0.0)


def _detached(model: torch.nn.Module, points: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(points.clone()).float()  # a model may write on what it is given


def _norms(batch: torch.Tensor) -> torch.Tensor:
    return torch.linalg.vector_norm(batch.flatten(1), dim=1).reshape(-1, *[1] * (batch.ndim - 1))


def _unit(batch: torch.Tensor) -> torch.Tensor:
    norms = _norms(batch)
    return batch / torch.where(norms > 0, norms, torch.ones_like(norms))


def _within(moves: torch.Tensor, radius: float) -> torch.Tensor:
    return moves * torch.clamp(radius / _norms(moves).clamp_min(1e-30), max=1.0)
