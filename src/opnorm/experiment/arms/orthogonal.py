"""opnorm's orthogonal weights: every singular value at one scale (`opnorm.orthogonalize`); convolutions under it."""

from __future__ import annotations

import torch

from opnorm.constraint.rules import Rule, orthogonalize
from opnorm.experiment.arms.arm import Strength
from opnorm.experiment.arms.held import Held, patterns, remarks_of_floor, with_kernels_capped
from opnorm.experiment.arms.technique import arm


class Orthogonal(Held):
    """σ_i = scale for every singular value of the short side."""

    name = "orthogonal"

    def rules(self, model: torch.nn.Module) -> list[Rule]:
        """Orthogonal matrices, capped kernels."""
        scale, matrices = self.setting["scale"], patterns(model)[0]
        return with_kernels_capped(model, orthogonalize(matrices, scale) if matrices else None, scale)


ORTHOGONAL = arm(
    Orthogonal,
    "opnorm orthogonal: singular values all at one scale",
    Strength("scale", 0.7, 1.0, 4.0),
    spectral=True,
    remarks=remarks_of_floor,
)
