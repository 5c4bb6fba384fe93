"""The arms: each a file with one technique, and a line in `ARMS`.

A new arm is a `Technique` (`technique`) that overrides what it does to a training, its `arm(...)`, and a line here.
"""

from __future__ import annotations

from collections.abc import Mapping

from opnorm.experiment.arms.arm import Applied as Applied
from opnorm.experiment.arms.arm import Arm as Arm
from opnorm.experiment.arms.arm import Strength as Strength
from opnorm.experiment.arms.band import BAND
from opnorm.experiment.arms.cap import CAP
from opnorm.experiment.arms.dropout import DROPOUT
from opnorm.experiment.arms.early_stopping import EARLY_STOPPING
from opnorm.experiment.arms.jacobian import JACOBIAN
from opnorm.experiment.arms.l1 import L1
from opnorm.experiment.arms.l2 import L2
from opnorm.experiment.arms.naming import found
from opnorm.experiment.arms.none import NONE
from opnorm.experiment.arms.normalize import NORMALIZE
from opnorm.experiment.arms.orthogonal import ORTHOGONAL
from opnorm.experiment.arms.penalty import PENALTY
from opnorm.experiment.arms.same_norm import SAME_NORM
from opnorm.experiment.arms.torch_spectral_norm import TORCH_SPECTRAL_NORM

ARMS: Mapping[str, Arm] = {
    arm.name: arm
    for arm in (
        NONE, L2, L1, DROPOUT, EARLY_STOPPING, TORCH_SPECTRAL_NORM, CAP, BAND, NORMALIZE, ORTHOGONAL, PENALTY, JACOBIAN,
        SAME_NORM,
    )
}  # fmt: skip


def arm_of(name: str) -> Arm:
    """'cap', 'cap+l2' in any order, 'none@again'. `UsageError` where a name is not known or parts do not fit."""
    return found(name, ARMS)
