"""Two processes that train together over gloo, for tests: what each returned, within a time limit."""

import tempfile
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

PROCESSES = 2
LIMIT = 100.0
"""Seconds; two processes that share a busy machine import torch slowly."""


def together(work, *arguments):
    """`work(rank, *arguments)` in each of two processes, with a process group; what they returned, by rank."""
    with tempfile.TemporaryDirectory() as folder:
        running = mp.spawn(_begin, (folder, work, arguments), PROCESSES, join=False)
        deadline = time.monotonic() + LIMIT
        while not running.join(timeout=1.0):
            if time.monotonic() > deadline:
                for process in running.processes:
                    process.kill()
                raise TimeoutError(f"{work.__name__} took longer than {LIMIT} s: a rank waits for another")
        return [torch.load(Path(folder, f"{rank}.pt"), weights_only=True) for rank in range(PROCESSES)]


def _begin(rank, folder, work, arguments):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=PROCESSES)
    try:
        torch.save(work(rank, *arguments), Path(folder, f"{rank}.pt"))
    finally:
        dist.destroy_process_group()
