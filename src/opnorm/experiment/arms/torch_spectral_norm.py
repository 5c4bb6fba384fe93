"""torch's own spectral norm, `torch.nn.utils.parametrizations.spectral_norm`, as it is usually used, times a factor.

Every linear and convolution layer serves factor·W/σ̂, with one power iteration a forward pass in training; of a
convolution σ̂ is the norm of the kernel reshaped into a matrix, which bounds no convolution (Miyato et al., 2018). It
scales small weights up as well. σ̂ lies below σ₁, so that what comes out may exceed the factor a little: nothing is
projected at the end, as nothing is where people use it. In the end the weights served are the weights.
Cost: about that of a matrix-vector product a layer and forward pass.
"""

from __future__ import annotations

import torch
from torch.nn.utils import parametrizations, parametrize

from opnorm.experiment.arms.arm import Strength
from opnorm.experiment.arms.mounted import folded, layers, unreached
from opnorm.experiment.arms.technique import Technique, arm


class _Times(torch.nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight * self.factor


class TorchNormed(Technique):
    """Two parametrizations a layer: torch's, then the factor."""

    name = "torch_spectral_norm"

    def prepare(self, model: torch.nn.Module) -> torch.nn.Module:
        """Mount them; torch draws its start vectors from the global generator, which is kept as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            for _, module in layers(model):
                parametrizations.spectral_norm(module)
                training = module.training
                module.eval()  # or the second one's look at the weight would be one more power iteration
                parametrize.register_parametrization(module, "weight", _Times(self.setting["factor"]))
                module.train(training)
        return model

    def finish(self, model: torch.nn.Module) -> torch.nn.Module:
        """Served weights become the weights."""
        model.eval()
        return folded(model)


TORCH_SPECTRAL_NORM = arm(
    TorchNormed,
    "torch's spectral_norm times a factor",
    Strength("factor", 0.7, 1.0, 6.0),
    spectral=True,
    ceiling="factor",
    remarks=unreached,
)
