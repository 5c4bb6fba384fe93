"""`opnorm.parametrize.spectral_norm`: in the place of `torch.nn.utils.parametrizations.spectral_norm`.

The same signature and state dict; a served weight has norm 1, small weights scaled up, as there. What is repaired:
`docs/` has the list, "Coming from torch's spectral_norm". For a ceiling that leaves small weights alone, and for other
ceilings than 1, use `opnorm.normalize`.
"""

from __future__ import annotations

import torch

from opnorm.constraint.normalization.mounting import mount
from opnorm.constraint.normalization.operators import ConvolutionOperator
from opnorm.constraint.normalization.scaled import SpectralScale
from opnorm.constraint.normalize import operator_of, parameter_of, usual_rank
from opnorm.errors import UsageError


def spectral_norm(
    module: torch.nn.Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> torch.nn.Module:
    """Serve `module`'s weight as W/σ̂, and return the module.

    n_power_iterations: after each step of the optimizer, not at each reading. eps: taken and not needed: the iteration
    is scaled by itself, and zeros stay zeros. dim: None, the layer's true operator, of a convolution at any input size;
    a number, the weight reshaped into (dim, all else), which is torch's own norm and bounds no convolution.

    The state dict has torch's keys: `original`, and for matrices `0._u`, `0._v`. It loads torch's checkpoints, plain
    ones and those of the older hook, and torch loads it (not for convolutions with dim=None, without strict=False).
    """
    weight = parameter_of(module, name)
    if type(n_power_iterations) is not int or n_power_iterations < 1:
        raise UsageError(f"n_power_iterations={n_power_iterations!r} is not possible: give a whole number, at least 1")
    if not (isinstance(eps, int | float) and eps >= 0):
        raise UsageError(f"eps={eps!r} is not possible: give a number from 0")
    if dim is not None and not (type(dim) is int and -weight.ndim <= dim < weight.ndim):
        raise UsageError(f"dim={dim!r} is not possible: the weight has {weight.ndim} dimensions")
    place = None if dim is None else dim % weight.ndim
    operator = operator_of(module, name, weight, flattened=dim is not None, dim=place)
    kept = () if isinstance(operator, ConvolutionOperator) or weight.ndim < 2 else ("_u", "_v")
    scale = SpectralScale(
        weight, operator, always=True, rank=usual_rank(operator), iterations=n_power_iterations, kept=kept
    )
    mount(module, name, scale)
    return module
