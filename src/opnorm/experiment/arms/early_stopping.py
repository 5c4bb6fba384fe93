"""Early stopping: training ends after `patience` epochs without a better validation score; the best epoch is kept."""

from __future__ import annotations

from collections.abc import Mapping

from opnorm.experiment.arms.arm import Strength
from opnorm.experiment.arms.technique import Technique, arm


class Stopped(Technique):
    """A patience, which the training loop reads."""

    name = "early_stopping"

    def __init__(self, setting: Mapping[str, float], seed: int) -> None:
        super().__init__(setting, seed)
        self.patience = max(1, round(self.setting["patience"]))


EARLY_STOPPING = arm(Stopped, "early stopping on validation data", Strength("patience", 2.0, 5.0, 12.0))
