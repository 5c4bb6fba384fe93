"""A model's outputs as arrays: evaluation mode, no gradient, in batches, random state untouched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

BATCH = 1024


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Every module in evaluation mode, and afterwards as each was; torch's random state is kept."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def device_of(model: torch.nn.Module) -> Any:
    """Where the model's first parameter lives; the CPU without one."""
    first = next(model.parameters(), None)
    return torch.device("cpu") if first is None else first.device


def outputs_of(model: torch.nn.Module, inputs: np.ndarray) -> np.ndarray:
    """float32, one row an example; outputs of shape (n, 1) for one value each come as (n,)."""
    device = device_of(model)
    with torch.no_grad():
        parts = [
            model(torch.tensor(inputs[at : at + BATCH]).to(device)).float().cpu().numpy()  # a copy: models write on it
            for at in range(0, len(inputs), BATCH)
        ]
    found = np.concatenate(parts)
    return found[:, 0] if found.ndim == 2 and found.shape[1] == 1 else found
