"""How the cores are shared between layers and within one, settled before NumPy is loaded.

Two layers at a time, each with half of the cores: reading, hashing, conversion and the small dense algebra of one
layer then fill the time in which the products of the other have the memory to themselves. More at a time would cost
memory in proportion. The threads within a layer do not depend on `--jobs`, so that its numbers do not either; who
sets a thread variable of a BLAS keeps it.
"""

from __future__ import annotations

import os

AT_A_TIME = 2
"""Layers measured at a time unless `--jobs` says otherwise."""

VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def default_jobs() -> int:
    """Layers at a time on this machine."""
    return min(AT_A_TIME, cores())


def share_cores() -> None:
    """Tell the BLAS that this process will load how many threads a layer has; without effect once it is loaded."""
    if not any(name in os.environ for name in VARIABLES):
        os.environ.update(dict.fromkeys(VARIABLES, str(max(1, cores() // AT_A_TIME))))
