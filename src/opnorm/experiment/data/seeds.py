"""Random generators of a trial's data: each draw has its own, keyed by its purpose and the seed.

So no draw depends on how many were made before it, on the process or on the order of cells, and the global random
state is never used.
"""

from __future__ import annotations

import zlib

import numpy as np

from opnorm.errors import UsageError


def generator(purpose: str, seed: int) -> np.random.Generator:
    """The generator of one purpose under one seed."""
    if seed < 0:
        raise UsageError(f"the seed {seed} is negative: seeds of a trial are whole numbers from 0")
    return np.random.default_rng([zlib.crc32(purpose.encode()), seed])


def whole_seed(purpose: str, seed: int) -> int:
    """A seed for a library that takes a whole number below 2³²."""
    return int(generator(purpose, seed).integers(2**32))
