"""The Jacobian penalty: strength·E‖J‖²_F at the batch's inputs (`opnorm.jacobian_penalty`; Hoffman et al., 2019).

It acts on how far outputs move with inputs at data, not on any weight's norm. Batch statistics are off while it is
computed, so that outputs depend on their own inputs alone. Cost: a further forward and a double backward pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

from opnorm.constraint.losses.jacobian import jacobian_penalty
from opnorm.errors import UsageError
from opnorm.experiment.arms.arm import Strength
from opnorm.experiment.arms.technique import Technique, arm


class Flattened(Technique):
    """One random projection a step, from a generator that is kept."""

    name = "jacobian"

    def __init__(self, setting: Mapping[str, float], seed: int) -> None:
        super().__init__(setting, seed)
        self._generator = torch.Generator().manual_seed(seed)

    def penalty(self, model: torch.nn.Module, inputs: torch.Tensor) -> torch.Tensor:
        """`UsageError` for inputs that are no real numbers, such as tokens."""
        if not inputs.is_floating_point():
            raise UsageError(
                f"arm 'jacobian': inputs of {inputs.dtype} have no derivative; leave the arm out for tokens and classes"
            )
        with _without_batch_statistics(model):
            return self.setting["jacobian"] * jacobian_penalty(model, inputs, generator=self._generator)


@contextmanager
def _without_batch_statistics(model: torch.nn.Module) -> Iterator[None]:
    active = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm) and m.training]
    for module in active:
        module.eval()
    try:
        yield
    finally:
        for module in active:
            module.train()


JACOBIAN = arm(Flattened, "Jacobian penalty at the data", Strength("jacobian", 1e-3, 3e-2, 0.3))
