"""opnorm's band: every singular value between a floor and a ceiling (`opnorm.band`); convolutions under the ceiling."""

from __future__ import annotations

import torch

from opnorm.constraint.rules import Rule, band
from opnorm.experiment.arms.arm import Strength
from opnorm.experiment.arms.held import Held, patterns, remarks_of_floor, with_kernels_capped
from opnorm.experiment.arms.technique import arm


class Banded(Held):
    """low ≤ σ_i ≤ high for every singular value of the short side."""

    name = "band"

    def rules(self, model: torch.nn.Module) -> list[Rule]:
        """A band for matrices, a cap for kernels."""
        low, high = self.setting["low"], self.setting["high"]
        matrices = patterns(model)[0]
        return with_kernels_capped(model, band(matrices, low, high) if matrices else None, high)


BAND = arm(
    Banded,
    "opnorm band: singular values between a floor and a ceiling",
    Strength("low", 0.01, 0.1, 0.5),
    Strength("high", 0.7, 2.0, 6.0),
    spectral=True,
    ceiling="high",
    remarks=remarks_of_floor,
)
