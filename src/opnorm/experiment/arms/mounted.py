"""What arms that parametrize layers have in common: which layers, and folding them back into plain weights."""

from __future__ import annotations

import torch
from torch.nn.utils import parametrize

from opnorm.constraint.losses.penalties import KNOWN
from opnorm.errors import UsageError
from opnorm.experiment.arms.weights import left_out, weights_of


def layers(model: torch.nn.Module) -> list[tuple[str, torch.nn.Module]]:
    """The linear and convolution layers whose `weight` is held, each once, with its path."""
    held = {weight.tensor for weight in weights_of(model)}
    modules = [(path, module) for path, module in model.named_modules() if isinstance(module, KNOWN)]
    found = [(path, module) for path, module in modules if f"{path}.weight".lstrip(".") in held]
    if not found:
        raise UsageError(
            f"{type(model).__name__} has no linear or convolution layer that could be parametrized; the arm 'cap' acts "
            "on weights of other layers"
        )
    return found


def unreached(model: torch.nn.Module) -> tuple[str, ...]:
    """Held weights that belong to other layers, which a parametrization of this arm does not reach."""
    reached = {f"{path}.weight".lstrip(".") for path, _ in layers(model)}
    others = sorted({w.tensor for w in weights_of(model)} - reached)
    here = (
        (f"not reached by a parametrization of linear and convolution layers: {', '.join(others)}",) if others else ()
    )
    return (*here, *left_out(model))


def folded(model: torch.nn.Module) -> torch.nn.Module:
    """Without parametrizations: what each serves is now the weight, at the place that it had."""
    for module in model.modules():
        if not parametrize.is_parametrized(module, "weight"):
            continue
        parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
        module._parameters = {"weight": module._parameters.pop("weight"), **module._parameters}
    return model
