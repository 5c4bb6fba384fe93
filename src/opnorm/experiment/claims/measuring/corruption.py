"""Gaussian noise on what may be moved; the draws depend on the seed and the data's shape alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from opnorm.experiment.claims.measuring.reach import Reach
from opnorm.experiment.data.seeds import generator


def corrupted(inputs: np.ndarray, reach: Reach, level: float, seed: int, draws: int) -> Iterator[np.ndarray]:
    """`inputs` + level·scale·noise, so many times."""
    source = generator("corruption", seed)
    for _ in range(draws):
        noise = source.standard_normal(inputs.shape, np.float32)
        yield (inputs + np.float32(level * reach.scale) * noise * reach.mask).astype(np.float32)
