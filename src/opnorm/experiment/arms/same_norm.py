"""A control: weight decay just strong enough that the layers' norms are, in the geometric mean, those of the cap.

If it does as well as the cap, the size of the weights was what mattered, and not the technique. Its decay is not tuned
on validation data but found by search (`training.matching`); its learning rate is the one that the cap chose.
"""

from __future__ import annotations

from opnorm.experiment.arms.arm import Strength
from opnorm.experiment.arms.l2 import DECAY, Decayed
from opnorm.experiment.arms.technique import arm


class SameNorm(Decayed):
    """Weight decay under another name."""

    name = "same_norm"


SAME_NORM = arm(
    SameNorm, "control: weight decay to the norms of the cap", Strength(DECAY, 0.01, 1.0, 100.0), matches="cap"
)
