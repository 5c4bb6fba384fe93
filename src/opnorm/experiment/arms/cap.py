"""opnorm's cap: after steps of the optimizer, singular values above the ceiling are clipped to it (`opnorm.cap`).

Every linear map is held, the last layer too: what a ceiling costs there in confidence is part of the question.
"""

from __future__ import annotations

import torch

from opnorm.constraint.rules import Rule, cap
from opnorm.experiment.arms.arm import Strength
from opnorm.experiment.arms.held import Held, patterns
from opnorm.experiment.arms.technique import arm
from opnorm.experiment.arms.weights import left_out


class Capped(Held):
    """σ₁ ≤ cap."""

    name = "cap"

    def rules(self, model: torch.nn.Module) -> list[Rule]:
        """One rule for all."""
        matrices, kernels = patterns(model)
        return [cap(matrices + kernels, self.setting["cap"])]


CAP = arm(
    Capped, "opnorm cap: σ₁ at most c", Strength("cap", 0.7, 2.0, 6.0), spectral=True, ceiling="cap", remarks=left_out
)
