"""Models that are wrapped or copied: what is inside, and numbers on which all processes agree."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch.optim.swa_utils import AveragedModel

_WRAPPERS = (torch.nn.parallel.DistributedDataParallel, torch.nn.DataParallel, AveragedModel)


def unwrapped(model: torch.nn.Module) -> torch.nn.Module:
    """The model inside DDP, DataParallel, `torch.compile` or a moving average: its modules have their own names."""
    inner = getattr(model, "_orig_mod", None)
    if isinstance(inner, torch.nn.Module):
        return unwrapped(inner)
    if isinstance(model, _WRAPPERS):
        return unwrapped(model.module)
    return model


def largest_of_all(value: float) -> float:
    """The largest of all processes' numbers; where there is one process, its own."""
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return value
    device = torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else None
    shared = torch.tensor([value], dtype=torch.float64, device=device)
    dist.all_reduce(shared, dist.ReduceOp.MAX)
    return float(shared)
