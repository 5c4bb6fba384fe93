"""Normalization while training: a parametrization W·min(1, c/σ̂) that serves every weight at norm c at most.

σ̂ approaches σ₁ from below, so the weight that is served may exceed the cap by what σ̂ lacks: with Adam at 1e-3 on
layers of 64 and 256, 0.1 to 0.6 percent on average and at most 9 after the first, largest step (torch's own: 7 percent
and 27); about 1e-5 after a refresh. It is an ESTIMATE; `opnorm.measure` proves what is saved.
`torch.nn.utils.parametrize.remove_parametrizations(module, "weight")` bakes what is served into a plain weight.

Cost: a step's first reading of a weight makes one block iteration: two passes over it with `rank` vectors, a
convolution as many forward and input-gradient calls of its own for `rank` images.
Source: Miyato, Kataoka, Koyama and Yoshida, *Spectral normalization for generative adversarial networks*, 2018, for
W/σ̂; what differs here, and why, is in `opnorm explain normalize`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch

from opnorm.constraint.normalization.mounting import mount
from opnorm.constraint.normalization.operators import Matrix, Operator, convolution_operator
from opnorm.constraint.normalization.scaled import STATE, SpectralScale
from opnorm.constraint.normalization.split import SplitScale, part_sizes
from opnorm.errors import UnsupportedInput, UsageError
from opnorm.linalg.convolution.geometry import Settings

_CONVOLUTIONS = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)
_TRANSPOSED = (torch.nn.ConvTranspose1d, torch.nn.ConvTranspose2d, torch.nn.ConvTranspose3d)


def normalize(
    module: torch.nn.Module,
    name: str = "weight",
    *,
    cap: float = 1.0,
    always: bool = False,
    operator: Literal["true", "flattened"] = "true",
    input_shape: Sequence[int] | None = None,
    split: int | Sequence[int] | None = None,
    rank: int | None = None,
    iterations: int = 1,
) -> torch.nn.Module:
    """Serve `module`'s weight as W·min(1, cap/σ̂), and return the module.

    always: W·cap/σ̂ instead, which also scales small weights up. operator: what σ is of; 'true' is the layer's linear
    map, of a convolution with its stride, padding and groups; 'flattened' the weight reshaped into a matrix, as in
    `torch.nn.utils.parametrizations.spectral_norm`, which bounds no convolution. input_shape: (channels, *size) of what
    a convolution gets; None: any size. split: a fused weight's equal parts, or their sizes, each with its own norm;
    None: one, and three for `in_proj_weight` of `torch.nn.MultiheadAttention`. rank: vectors kept warm; None: 8, of a
    convolution 4. iterations: after each step of the optimizer.

    Raises `UsageError` for settings that do not fit, `UnsupportedInput` for a weight whose operator is not known.
    """
    weight = parameter_of(module, name)
    if not (isinstance(cap, int | float) and math.isfinite(cap) and cap > 0):
        raise UsageError(f"cap={cap!r} is not possible: give a number above 0")
    for value, word in ((1 if rank is None else rank, "rank"), (iterations, "iterations")):
        if type(value) is not int or value < 1:
            raise UsageError(f"{word}={value!r} is not possible: give a whole number of at least 1")
    if operator not in ("true", "flattened"):
        raise UsageError(f"operator={operator!r} is not known; choose 'true' or 'flattened'")
    chosen = operator_of(module, name, weight, flattened=operator == "flattened", input_shape=input_shape)

    def made(part: torch.Tensor) -> SpectralScale:
        vectors = usual_rank(chosen) if rank is None else rank
        return SpectralScale(
            part, chosen, cap=float(cap), always=always, rank=vectors, iterations=iterations, kept=STATE
        )

    if split is None and isinstance(module, torch.nn.MultiheadAttention) and name == "in_proj_weight":
        split = 3
    if split is not None and not (isinstance(chosen, Matrix) and chosen.dim == 0 and weight.ndim > 1):
        raise UsageError(
            f"split={split!r}: only a matrix splits into parts of its outputs, not {_words(module, weight)}"
        )
    what = f"split of {name!r}"
    parametrization = (
        made(weight) if split is None else SplitScale(weight, part_sizes(split, weight.shape[0], what), made)
    )
    mount(module, name, parametrization)
    return module


def parameter_of(module: torch.nn.Module, name: str) -> torch.Tensor:
    """The module's tensor of this name; `UsageError` with those that there are."""
    if not isinstance(module, torch.nn.Module):
        raise UsageError(f"<{type(module).__name__}> is no torch.nn.Module: give the layer, such as model.fc")
    weight = getattr(module, name, None)
    if isinstance(weight, torch.nn.parameter.UninitializedTensorMixin):
        raise UsageError(f"{name!r} of {type(module).__name__} has no shape yet; run the model once, then normalize")
    if isinstance(weight, torch.Tensor):
        if not (weight.is_floating_point() or weight.is_complex()):
            raise UnsupportedInput(f"{name!r} of dtype {weight.dtype} cannot be scaled; only floating point can")
        if weight.numel() == 0:
            raise UnsupportedInput(f"{name!r} of shape {tuple(weight.shape)} has no entries to scale")
        return weight
    there = ", ".join(n for n, _ in module.named_parameters(recurse=False)) or "none of its own"
    raise UsageError(f"{type(module).__name__} has no parameter {name!r}; it has: {there}")


def operator_of(
    module: torch.nn.Module,
    name: str,
    weight: torch.Tensor,
    *,
    flattened: bool,
    input_shape: Sequence[int] | None = None,
    dim: int | None = None,
) -> Operator:
    """What a module's weight is as an operator. dim: of the outputs, for a flattened weight."""
    if isinstance(module, torch.nn.RNNBase):
        raise UnsupportedInput(
            f"{type(module).__name__} reads copies of its weights, which no parametrization reaches; use an "
            "opnorm.cap rule, which acts on the weights themselves"
        )
    transposed = isinstance(module, _TRANSPOSED)
    if flattened or weight.ndim <= 2:
        if input_shape is not None:
            raise UsageError(
                f"input_shape={input_shape!r} is for convolutions; leave it out for {_words(module, weight)}"
            )
        return Matrix((1 if transposed else 0) if dim is None else dim)
    if name == "weight" and isinstance(module, _CONVOLUTIONS + _TRANSPOSED):
        if weight.is_complex():
            raise UnsupportedInput("a complex convolution is not known as an operator; use operator='flattened'")
        shape = None if input_shape is None else tuple(input_shape)
        return convolution_operator(tuple(weight.shape), settings_of(module), shape)
    raise UnsupportedInput(
        f"what {_words(module, weight)} does with a weight of {weight.ndim} axes is not known; operator='flattened' "
        "takes it for a matrix, as torch does"
    )


def usual_rank(operator: Operator) -> int:
    """Vectors of a warm block: each costs little beside the first for a matrix, and as much for a convolution."""
    return 8 if isinstance(operator, Matrix) else 4


def settings_of(module: Any) -> Settings:
    """A convolution module's settings, its padding as torch computed it."""
    padding = module.padding
    if module.padding_mode != "zeros" and not isinstance(padding, str):
        flat = module._reversed_padding_repeated_twice
        padding = tuple(zip(flat[0::2], flat[1::2], strict=True))[::-1]
    settings: Settings = {
        "stride": module.stride, "padding": padding, "dilation": module.dilation, "groups": module.groups,
        "padding_mode": module.padding_mode,
    }  # fmt: skip
    if module.transposed:
        settings |= {"transposed": True, "output_padding": module.output_padding}
    return settings


def _words(module: torch.nn.Module, weight: torch.Tensor) -> str:
    return f"{type(module).__name__} {'x'.join(map(str, weight.shape))}"
