"""The baseline: nothing but the learning rate is tuned."""

from __future__ import annotations

from opnorm.experiment.arms.technique import Technique, arm

NONE = arm(Technique, "no regularization")
