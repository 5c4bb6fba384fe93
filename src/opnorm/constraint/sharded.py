"""Parameters whose entries lie on several processes (FSDP2, HSDP, tensor parallelism: `DTensor`).

A norm is of the whole matrix. `opened` gathers one parameter, lets it be moved as any other, and writes back each
process's own part. Every process computes the same from the same entries, so that nothing is sent back, and what is
computed must depend on nothing else: replicas then stay equal, as they do under an optimizer.

Data flow: DTensor → `full_tensor` (all-gather) → a plain tensor, moved in place → cut as the placements say (local) →
copied into the parameter's own memory. Cost: one all-gather and one matrix of memory at a time.
A plain parameter is itself: nothing is copied or sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

if TYPE_CHECKING:
    from opnorm.constraint.sites import Site


def is_sharded(tensor: torch.Tensor) -> bool:
    """Whether it is a DTensor."""
    if not dist.is_available():
        return False
    from torch.distributed.tensor import DTensor

    return isinstance(tensor, DTensor)


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """All of its entries as a plain tensor; tracked by autograd where the tensor is. A collective call if sharded."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor


def gathered(tensor: torch.Tensor) -> torch.Tensor:
    """All of its entries, untracked: a plain tensor's own memory, a copy of a sharded one's."""
    return whole(tensor.detach())


@torch.no_grad()
def store(parameter: torch.Tensor, entries: torch.Tensor) -> None:
    """Write all entries of a parameter, each process its own part; rounded to the parameter's dtype."""
    target = parameter.detach()
    if not is_sharded(target):
        target.copy_(entries)
        return
    from torch.distributed.tensor import DTensor, Replicate

    mesh = target.device_mesh
    every = DTensor.from_local(entries.to(target.dtype), mesh, [Replicate()] * mesh.ndim, run_check=False)
    target.to_local().copy_(every.redistribute(mesh, target.placements).to_local())


@contextmanager
def opened(site: Site) -> Iterator[torch.Tensor]:
    """The site's matrix or kernel, to be read or moved in place; what was moved is in the parameter afterwards."""
    parameter = site.parameters[0]
    entries = gathered(parameter)
    before = entries._version
    yield entries[site.index] if site.index else entries
    if entries._version != before and is_sharded(parameter):
        store(parameter, entries)
