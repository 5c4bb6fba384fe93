"""opnorm's penalty: weight·Σ max(0, σ_j − above)² over the four largest singular values (`opnorm.penalize`).

0, gradient included, while every norm lies below `above`. Nothing is held: the optimizer decides.
Cost: two passes over each weight a step with six vectors kept warm.
"""

from __future__ import annotations

import torch

from opnorm.constraint.gate import Gate, control
from opnorm.constraint.rules import penalize
from opnorm.experiment.arms.arm import Strength
from opnorm.experiment.arms.technique import Technique, arm
from opnorm.experiment.arms.weights import left_out, weights_of


class Penalized(Technique):
    """A gate that is attached to nothing: it only gives the loss term."""

    name = "penalty"
    _gate: Gate | None = None

    def penalty(self, model: torch.nn.Module, inputs: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        """Of all held weights."""
        if self._gate is None:
            names = [weight.pattern for weight in weights_of(model)]
            rule = penalize(names, self.setting["above"], self.setting["penalty"])
            self._gate = control(model, rule, seed=self.seed)
        return self._gate.penalty()


PENALTY = arm(
    Penalized,
    "opnorm penalty: a loss on norms above a ceiling",
    Strength("penalty", 1e-3, 1e-2, 0.3),
    Strength("above", 0.5, 1.0, 4.0),
    spectral=True,
    ceiling="above",
    remarks=left_out,
)
