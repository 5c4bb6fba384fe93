"""What may be moved, and the data's own size that moves are measured in."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from opnorm.experiment.subject import Split


@dataclass(frozen=True, slots=True)
class Reach:
    """mask: of an example's shape, 1.0 where it may be moved. scale: root-mean-square standard deviation there.

    distance: scale·√(entries that may be moved), the root-mean-square distance of training examples from their mean.
    """

    mask: np.ndarray
    scale: float

    @property
    def distance(self) -> float:
        """Of examples from their mean, over the entries that may be moved."""
        return self.scale * math.sqrt(float(self.mask.sum()))


def reach_of(split: Split) -> Reach | None:
    """From the training part alone; None where nothing may be moved: tokens, or no numeric column."""
    inputs = split.train.inputs
    if np.issubdtype(inputs.dtype, np.integer) or split.movable == ():
        return None
    mask = np.zeros(inputs.shape[1:], np.float32)
    flat = mask.reshape(-1)
    flat[:] = 1.0 if split.movable is None else 0.0
    flat[list(split.movable or ())] = 1.0
    spread = inputs.reshape(len(inputs), -1)[:, flat > 0].astype(np.float64).var(axis=0)
    return Reach(mask, math.sqrt(float(spread.mean())))
