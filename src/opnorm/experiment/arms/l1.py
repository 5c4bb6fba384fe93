"""L1: strength·Σ|w| over the weights that spectral arms hold, added to the loss, by its subgradient.

Entries come close to 0 and, as the optimizer has no proximal step, seldom to 0 itself. Cost: one pass over the weights.
"""

from __future__ import annotations

import torch

from opnorm.experiment.arms.arm import Strength
from opnorm.experiment.arms.technique import Technique, arm
from opnorm.experiment.arms.weights import Weight, weights_of


class Sparse(Technique):
    """The sum of absolute values."""

    name = "l1"
    _weights: tuple[Weight, ...] = ()

    def prepare(self, model: torch.nn.Module) -> torch.nn.Module:
        """See which weights there are, before anything is mounted on them."""
        self._weights = weights_of(model)
        return model

    def penalty(self, model: torch.nn.Module, inputs: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        """strength·Σ|w|."""
        return self.setting["l1"] * torch.stack([w.of(model).abs().sum() for w in self._weights]).sum()


L1 = arm(Sparse, "L1: sum of absolute weights", Strength("l1", 3e-5, 1e-3, 1e-2))
