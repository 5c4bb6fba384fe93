"""What a cell's seed decides, and the isolation of everything that draws.

The split has the cell's seed. Start and order have it too, in every arm; under `AGAIN` another one that follows from
it. Orders are drawn by a generator keyed by (seed, epoch), so that no arm's other draws shift them.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from opnorm.experiment.document import AGAIN, Cell

_ORDER = 0x0DE5
"""Keeps orders apart from other draws keyed by the same seed."""


@dataclass(frozen=True, slots=True)
class Seeds:
    """split: of the data. run: of start, order, and what an arm draws."""

    split: int
    run: int


def seeds_of(cell: Cell) -> Seeds:
    """The same in every arm, but for the start and order of an arm that runs again."""
    if not cell.arm.endswith(f"@{AGAIN}"):
        return Seeds(cell.seed, cell.seed)
    digest = hashlib.sha256(f"{AGAIN}:{cell.seed}".encode()).digest()
    return Seeds(cell.seed, int.from_bytes(digest[:4], "little") >> 1)


def batches(seed: int, epoch: int, examples: int, size: int) -> list[np.ndarray]:
    """All examples in a new order, in batches of nearly equal size, at most `size`: none is a single leftover."""
    order = np.random.default_rng([_ORDER, seed, epoch]).permutation(examples)
    return np.array_split(order, -(-examples // size))


@contextmanager
def isolated(seed: int) -> Iterator[None]:
    """All global random states start from `seed`, for models and loops that draw from them, and come back after, and so
    do torch's default type and whether gradients are kept, which a loop of the user's may leave changed.
    """  # fmt: skip
    plain, legacy = random.getstate(), np.random.get_state()
    kind, slopes = torch.get_default_dtype(), torch.is_grad_enabled()
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            random.seed(seed)
            np.random.seed(seed % 2**32)
            torch.manual_seed(seed)
            yield
    finally:
        random.setstate(plain)
        np.random.set_state(legacy)
        torch.set_default_dtype(kind)
        torch.set_grad_enabled(slopes)


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread of torch and of each BLAS, as the last bits of a sum depend on their number; some milliseconds."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(threads)
