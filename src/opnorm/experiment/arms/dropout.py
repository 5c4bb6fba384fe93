"""Dropout (Srivastava et al., 2014) on hidden outputs, put in by forward hooks and taken out at the end.

Where: after each activation module but those after the last weight; in a model without activation modules (they are
functions there) after each linear, convolution or recurrent layer but the last, which comes to the same for ReLU. The
model's own dropout layers stay as they are. In training each entry is zeroed with probability p and the others grow by
1/(1 − p); in evaluation nothing happens. Cost: one mask an activation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from opnorm.experiment.arms.arm import Strength
from opnorm.experiment.arms.technique import Technique, arm

_LAYERS = (torch.nn.Linear, torch.nn.modules.conv._ConvNd, torch.nn.RNNBase)
_ACTIVATIONS = (
    torch.nn.ReLU, torch.nn.ReLU6, torch.nn.LeakyReLU, torch.nn.PReLU, torch.nn.RReLU, torch.nn.ELU, torch.nn.SELU,
    torch.nn.CELU, torch.nn.GELU, torch.nn.SiLU, torch.nn.Mish, torch.nn.Softplus, torch.nn.Tanh, torch.nn.Sigmoid,
    torch.nn.Hardtanh, torch.nn.Hardswish, torch.nn.Hardsigmoid, torch.nn.Softsign, torch.nn.LogSigmoid,
)  # fmt: skip


class Dropped(Technique):
    """Hooks with a generator of their own, so that the same seed drops the same entries."""

    name = "dropout"

    def __init__(self, setting: Mapping[str, float], seed: int) -> None:
        super().__init__(setting, seed)
        self._hooks: list[Any] = []
        self._generators: dict[torch.device, torch.Generator] = {}

    def prepare(self, model: torch.nn.Module) -> torch.nn.Module:
        """Hook the hidden outputs."""
        self._hooks = [module.register_forward_hook(self._drop) for module in hidden(model)]
        return model

    def finish(self, model: torch.nn.Module) -> torch.nn.Module:
        """Without the hooks."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        return model

    def _drop(self, module: torch.nn.Module, _: Any, output: Any) -> Any:
        if not module.training:
            return output
        if isinstance(output, tuple):  # of a recurrent layer: outputs, then its state
            return (self._drop(module, _, output[0]), *output[1:])
        keep = 1 - self.setting["dropout"]
        drawn = torch.rand(output.shape, generator=self._generator(output.device), device=output.device)
        return output * (drawn < keep) / keep

    def _generator(self, device: torch.device) -> torch.Generator:
        if device not in self._generators:
            self._generators[device] = torch.Generator(device=device).manual_seed(self.seed)
        return self._generators[device]


def hidden(model: torch.nn.Module) -> list[torch.nn.Module]:
    """The modules whose outputs are dropped from, in the order in which the model registered them."""
    known = [m for m in model.modules() if isinstance(m, _LAYERS + _ACTIVATIONS)]
    last = max((i for i, m in enumerate(known) if isinstance(m, _LAYERS)), default=0)
    before = known[:last]
    return [m for m in before if isinstance(m, _ACTIVATIONS)] or before


def _remarks(model: torch.nn.Module) -> tuple[str, ...]:
    return () if hidden(model) else ("dropout does nothing here: the model has no hidden layer",)


DROPOUT = arm(Dropped, "dropout on hidden outputs", Strength("dropout", 0.05, 0.2, 0.5), remarks=_remarks)
