"""L2: decoupled weight decay (Loshchilov and Hutter, *Decoupled weight decay regularization*, 2019).

Each step multiplies every parameter by 1 − lr·decay. With Adam that is not the same as adding ½·decay·‖w‖² to the loss,
which its scaling would undo. Cost: none.
"""

from __future__ import annotations

from collections.abc import Mapping

from opnorm.experiment.arms.arm import Strength
from opnorm.experiment.arms.technique import Technique, arm

DECAY = "decay"


class Decayed(Technique):
    """The optimizer's own decay."""

    name = "l2"

    def __init__(self, setting: Mapping[str, float], seed: int) -> None:
        super().__init__(setting, seed)
        self.weight_decay = self.setting[DECAY]


L2 = arm(Decayed, "L2: decoupled weight decay", Strength(DECAY, 0.1, 1.0, 10.0))
