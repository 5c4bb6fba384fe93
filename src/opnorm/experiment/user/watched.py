"""An arm that knows what a user's loop asked of it: one that is ignored would come out as practically the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from opnorm.errors import UsageError
from opnorm.experiment.arms.arm import Applied

if TYPE_CHECKING:
    import torch

NEEDED = ("prepare", "weight_decay", "rate", "attach", "penalty", "finish")
LOOP = (
    "model = arm.prepare(model); an optimizer with lr=lr*arm.rate and weight_decay=arm.weight_decay, such as AdamW; "
    "arm.attach(model, optimizer); each step loss + arm.penalty(model, inputs); stop after arm.patience epochs without "
    "gain, if that is not None; return arm.finish(model)"
)


class Watched:
    """`Applied`, and the names that were asked for."""

    def __init__(self, arm: Applied) -> None:
        self._arm = arm
        self.used: set[str] = set()

    def require_used(self, fit: str) -> None:
        """Raise `UsageError` where a part of the arm was left out."""
        needed = NEEDED if self._arm.patience is None else (*NEEDED, "patience")
        missing = [f"arm.{name}" for name in needed if name not in self.used]
        if missing:
            raise UsageError(
                f"{fit}, given the arm {self._arm.name!r}, never used {', '.join(missing)}: an arm "
                f"that is left out would look as if it changed nothing. A loop goes: {LOOP}"
            )

    @property
    def name(self) -> str:
        """Of the arm."""
        return self._arm.name

    @property
    def setting(self) -> Mapping[str, float]:
        """What is tried."""
        return self._arm.setting

    @property
    def rate(self) -> float:
        """Factor on the learning rate."""
        self.used.add("rate")
        return self._arm.rate

    @property
    def weight_decay(self) -> float:
        """For the optimizer."""
        self.used.add("weight_decay")
        return self._arm.weight_decay

    @property
    def patience(self) -> int | None:
        """Epochs without gain."""
        self.used.add("patience")
        return self._arm.patience

    def prepare(self, model: torch.nn.Module) -> torch.nn.Module:
        """Before the optimizer is made."""
        self.used.add("prepare")
        return self._arm.prepare(model)

    def attach(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """After the optimizer is made."""
        self.used.add("attach")
        self._arm.attach(model, optimizer)

    def penalty(self, model: torch.nn.Module, inputs: torch.Tensor) -> torch.Tensor | float:
        """Added to the loss."""
        self.used.add("penalty")
        return self._arm.penalty(model, inputs)

    def finish(self, model: torch.nn.Module) -> torch.nn.Module:
        """At the end."""
        self.used.add("finish")
        return self._arm.finish(model)
