"""What arms that hold norms while training have in common: a gate on the optimizer, finished by an exact projection.

Guarantee: what `finish` returns holds the rules, PROVED (`Gate.finalize`), whatever the steps between moves left.
Cost: a gate that moves each layer every fourth step, and one decomposition a layer at the end; a convolution's last
proof is 1 % wide, so that its norm may end up to 1 % below its ceiling.
"""

from __future__ import annotations

import torch

from opnorm.constraint.gate import Gate, control
from opnorm.constraint.rules import Rule, cap
from opnorm.experiment.arms.technique import Technique
from opnorm.experiment.arms.weights import left_out, weights_of

EVERY = 4
"""Optimizer steps between moves of a layer."""

WIDTH = 0.01
"""Of the proof of a convolution."""

PLAIN_KERNELS = "convolutions are held under the ceiling only: no floor can be held within a kernel's support"


class Held(Technique):
    """A technique made of rules, which `rules` gives for a model."""

    _gate: Gate | None = None

    def rules(self, model: torch.nn.Module) -> list[Rule]:
        """To be given by each arm."""
        raise NotImplementedError

    def attach(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """A gate on the optimizer."""
        self._gate = control(model, self.rules(model), every=EVERY, seed=self.seed).attach(optimizer)

    def finish(self, model: torch.nn.Module) -> torch.nn.Module:
        """The last projection, and its proof. A loop that left `attach` out has this one all the same."""
        gate = control(model, self.rules(model), seed=self.seed) if self._gate is None else self._gate
        gate.finalize(model=model, width=WIDTH)
        gate.detach()
        return model


def patterns(model: torch.nn.Module) -> tuple[list[str], list[str]]:
    """Of the held matrices, and of the held convolutions."""
    weights = weights_of(model)
    return [w.pattern for w in weights if w.settings is None], [w.pattern for w in weights if w.settings is not None]


def with_kernels_capped(model: torch.nn.Module, rule: Rule | None, ceiling: float) -> list[Rule]:
    """A rule for matrices, if any, and a cap for convolutions, which have no floor."""
    kernels = patterns(model)[1]
    return [*([] if rule is None else [rule]), *([cap(kernels, ceiling)] if kernels else [])]


def remarks_of_floor(model: torch.nn.Module) -> tuple[str, ...]:
    """Of arms with a floor."""
    return (*((PLAIN_KERNELS,) if patterns(model)[1] else ()), *left_out(model))
