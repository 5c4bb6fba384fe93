"""The loss of a task: cross entropy for classes, one or several targets an example; squared error for numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch.nn import functional

from opnorm.errors import UsageError
from opnorm.experiment.subject import Task

Loss: TypeAlias = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def loss_of(task: Task) -> Loss:
    """Of outputs and targets, the mean over all targets."""
    return _cross_entropy if task.classifies else _squared_error


def _cross_entropy(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """outputs: (batch, classes) or (batch, places, classes)."""
    if outputs.shape[:-1] != targets.shape:
        raise UsageError(_shapes(outputs, targets, "that of the targets and, last, one logit a class"))
    return functional.cross_entropy(outputs.reshape(-1, outputs.shape[-1]), targets.reshape(-1))


def _squared_error(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    if outputs.numel() != targets.numel():
        raise UsageError(_shapes(outputs, targets, "one value a target"))
    return functional.mse_loss(outputs.reshape(targets.shape), targets)


def _shapes(outputs: torch.Tensor, targets: torch.Tensor, wanted: str) -> str:
    return (
        f"the model's outputs have shape {tuple(outputs.shape)} where the targets have {tuple(targets.shape)}: their "
        f"shape must be {wanted}"
    )
