"""opnorm's normalization: layers serve W·min(1, c/σ̂) while training (`opnorm.normalize`).

In the end the weights served become the weights, and a last exact projection takes off what σ̂ lacked: σ₁ ≤ c, PROVED.
"""

from __future__ import annotations

import torch

from opnorm.constraint.gate import control
from opnorm.constraint.normalize import normalize
from opnorm.constraint.rules import cap
from opnorm.experiment.arms.arm import Strength
from opnorm.experiment.arms.held import WIDTH
from opnorm.experiment.arms.mounted import folded, layers, unreached
from opnorm.experiment.arms.technique import Technique, arm
from opnorm.experiment.arms.weights import weights_of


class Normalized(Technique):
    """A parametrization a layer."""

    name = "normalize"

    def prepare(self, model: torch.nn.Module) -> torch.nn.Module:
        """Mount it."""
        for _, module in layers(model):
            normalize(module, cap=self.setting["ceiling"])
        return model

    def finish(self, model: torch.nn.Module) -> torch.nn.Module:
        """Plain weights under the ceiling."""
        model.eval()
        folded(model)
        reached = {f"{path}.weight".lstrip(".") for path, _ in layers(model)}
        names = [weight.pattern for weight in weights_of(model) if weight.tensor in reached]
        control(model, cap(names, self.setting["ceiling"])).finalize(width=WIDTH)
        return model


NORMALIZE = arm(
    Normalized,
    "opnorm normalize: weights served at norm c at most",
    Strength("ceiling", 0.7, 2.0, 6.0),
    spectral=True,
    ceiling="ceiling",
    remarks=unreached,
)
