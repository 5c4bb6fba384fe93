"""The built-in models, small enough for many trainings: one file each, one line in `MODELS`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from opnorm.errors import UsageError
from opnorm.experiment.data.seeds import whole_seed
from opnorm.experiment.data.words import nearest, shown
from opnorm.experiment.models.charlm import CHARLM
from opnorm.experiment.models.cnn import CNN
from opnorm.experiment.models.conv1d import CONV1D
from opnorm.experiment.models.linear import LINEAR
from opnorm.experiment.models.mlp import MLP
from opnorm.experiment.models.model import Inputs, Model, Shape

if TYPE_CHECKING:
    from torch import nn

MODELS: Mapping[str, Model] = {m.name: m for m in (LINEAR, MLP, CNN, CONV1D, CHARLM)}

DEFAULTS: Mapping[Inputs, str] = {
    Inputs.TABLE: "mlp", Inputs.SERIES: "conv1d", Inputs.IMAGE: "cnn", Inputs.TOKENS: "charlm",
}  # fmt: skip


def require_model(name: str | None, inputs: Inputs) -> Model:
    """The model of that name, or the usual one, if it takes such inputs."""
    model = MODELS.get(name or DEFAULTS[inputs])
    allowed = ", ".join(m.name for m in MODELS.values() if inputs in m.takes)
    if model is None:
        raise UsageError(
            f"there is no model {shown(name)}; for {inputs} inputs there are {allowed}."
            f"{nearest(str(name), list(MODELS))} For a model of your own, write a file with build_model and load_data"
        )
    if inputs not in model.takes:
        raise UsageError(f"the model {model.name} does not take {inputs} inputs: choose one of {allowed}")
    return model


def build(name: str, shape: Shape, condition: str, seed: int) -> nn.Module:
    """A fresh model; its start follows from `seed` alone, and torch's own random state is left as it was."""
    model = MODELS["linear" if condition == "linear" else name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(whole_seed("start", seed))
        return model.build(shape, model.depth * (2 if condition == "deep" else 1))
