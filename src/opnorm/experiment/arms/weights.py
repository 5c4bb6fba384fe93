"""Which of a model's weights spectral arms hold, and how large they are.

Held is every weight that `opnorm.measure` knows as one linear map and that is trained: of linear layers (the last one
too), convolutions, recurrent cells and attention's projections. Not held: embeddings, which look up rows instead of
mapping vectors, also where a tied output layer uses them; scales of normalization layers; bilinear layers. Each that
is left out is named with its reason by `left_out`.

Norms are estimates from below for the curve and for matching: an SVD to a short side of 512, above it converged Krylov
iteration, a convolution at any input size by its symbol (`opnorm.linalg.convolution`).
"""

from __future__ import annotations

import glob
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch

from opnorm.bound import Evidence
from opnorm.constraint.losses.norms import differentiable_spectral_norm
from opnorm.errors import UsageError
from opnorm.frameworks.convolution import convolution
from opnorm.layers.plan import ConvolutionPart, Entry, Part
from opnorm.linalg.convolution.geometry import Settings
from opnorm.linalg.measure import measure_operator
from opnorm.linalg.request import Request
from opnorm.readers.live import open_model

_WIDTH = 0.1
"""Of a convolution's bracket; its lower end, which is taken, is nearer than that by far."""

_SHOWN = 6
_SMALLEST = 1e-12


@dataclass(frozen=True, slots=True)
class Weight:
    """One linear map. tensor: the parameter's name; index: where in it the matrix lies. settings: a convolution's."""

    name: str
    tensor: str
    index: tuple[int | slice, ...] = field(default=(), hash=False)
    settings: Mapping[str, Any] | None = field(default=None, hash=False)

    @property
    def pattern(self) -> str:
        """Names this weight alone in a rule."""
        return glob.escape(self.name)

    def of(self, model: torch.nn.Module) -> torch.Tensor:
        """The entries as the model serves them, tracked: what a parametrization makes of them, where there is one."""
        path, _, leaf = self.tensor.rpartition(".")
        tensor = cast("torch.Tensor", getattr(model.get_submodule(path), leaf))
        return tensor[self.index] if self.index else tensor


def weights_of(model: torch.nn.Module) -> tuple[Weight, ...]:
    """Those that are held, in the order of the model. `UsageError` where there is none."""
    trained = {name for name, p in model.named_parameters(remove_duplicate=False) if p.requires_grad}
    found = tuple(
        _weight(entry)
        for entry in _entries(model)
        if not _why_not(entry) and not entry.derived and entry.tensors[0] in trained
    )
    if not found:
        raise UsageError(
            f"{type(model).__name__} has no weight that a spectral arm could hold: it needs linear layers or "
            "convolutions that are trained. Leave spectral arms out, or give another model"
        )
    return found


def left_out(model: torch.nn.Module) -> tuple[str, ...]:
    """The weights that no spectral arm holds, with the reasons, in one sentence; none where all are held."""
    trained = {name for name, p in model.named_parameters(remove_duplicate=False) if p.requires_grad}
    reasons = []
    for entry in (e for e in _entries(model) if not e.derived):
        reason = _why_not(entry) or ("" if entry.tensors[0] in trained else "it is not trained")
        if reason:
            reasons.append(f"{entry.name} ({reason})")
    if not reasons:
        return ()
    more = f" and {len(reasons) - _SHOWN} more" if len(reasons) > _SHOWN else ""
    return (f"not held by spectral arms: {', '.join(reasons[:_SHOWN])}{more}",)


def norms(model: torch.nn.Module, weights: tuple[Weight, ...]) -> dict[str, float]:
    """σ₁ of each as it is served now, estimated. `UndefinedNorm` for entries that are not finite."""
    with torch.no_grad():
        return {weight.name: _norm(weight.of(model).detach(), weight.settings) for weight in weights}


def mean_log_norm(model: torch.nn.Module) -> float:
    """The mean over held weights of log σ₁."""
    found = norms(model, weights_of(model)).values()
    return sum(math.log(max(norm, _SMALLEST)) for norm in found) / len(found)


def _norm(entries: torch.Tensor, settings: Mapping[str, Any] | None) -> float:
    if settings is None:
        return float(differentiable_spectral_norm(entries))
    operator = convolution(entries, None, **cast("Settings", dict(settings)))
    bracket = measure_operator(operator, Request(Evidence.ESTIMATE, _WIDTH)).bracket(Evidence.ESTIMATE)
    return bracket.lower or 0.0


def _entries(model: torch.nn.Module) -> list[Entry]:
    plan = open_model(model).plan
    return [entry for layer in plan for entry in layer.entries if entry.status in ("weight", "refused")]


def _why_not(entry: Entry) -> str:
    if entry.status == "refused":
        return entry.reason
    if entry.kind == "embedding":
        return "an embedding looks up rows"
    if isinstance(entry.part, ConvolutionPart):
        return "" if entry.part.settings is not None else "a kernel of unknown settings"
    return "" if isinstance(entry.part, Part) else f"of kind '{entry.kind}'"


def _weight(entry: Entry) -> Weight:
    part = entry.part
    if isinstance(part, ConvolutionPart):
        return Weight(entry.name, part.tensor, (), dict(part.settings or {}))
    assert isinstance(part, Part)
    return Weight(entry.name, part.tensor, part.index)
