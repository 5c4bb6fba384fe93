"""Bytes of tensors that a training holds between steps and keeps for the backward passes of one step.

Counted on storages, each once, so that views add nothing; deterministic. Allocations inside an operation are not seen.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import torch


@contextmanager
def only_new_objects() -> Iterator[None]:
    """What exists already is set aside, so that looking for tensors takes no time: a process has a million objects."""
    if gc.get_freeze_count():  # somebody else's, whose objects `unfreeze` would bring back
        yield
        return
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


class Steps(Protocol):
    """What can take a step."""

    optimizer: torch.optim.Optimizer

    def step(self) -> None:
        """One."""


S = TypeVar("S", bound=Steps)


def kept_bytes(make: Callable[[], S]) -> tuple[S, int]:
    """What `make` gives, and what it keeps; one step of it is taken."""
    before = _alive()
    made = make()
    made.optimizer.zero_grad(set_to_none=True)  # the step frees old gradients, and others may take their addresses
    known = _alive().keys()
    saved: dict[int, Any] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            saved[storage.data_ptr()] = storage  # kept, so that no other storage takes its place meanwhile
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        made.step()
    held = {at: size for at, size in _alive().items() if at not in before}
    return made, sum(held.values()) + sum(storage.nbytes() for storage in saved.values())


def _alive() -> dict[int, int]:
    """Address → bytes of every storage that a tensor object of this process refers to, but those set aside."""
    gc.collect()
    found: dict[int, int] = {}
    for one in gc.get_objects():
        if issubclass(type(one), torch.Tensor):
            for tensor in (one, one.grad if one.is_leaf else None):
                if tensor is not None and tensor.layout is torch.strided and tensor.device.type != "meta":
                    storage = tensor.untyped_storage()
                    found[storage.data_ptr()] = storage.nbytes()
    return found
