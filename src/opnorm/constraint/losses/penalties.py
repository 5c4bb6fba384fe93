"""Losses that pull norms down, each with its gradient and its cost. None promises anything: the optimizer decides.

`spectral_penalty`: hinge Σ max(0, σ_j − c)² on the top k, ½σ₁² (Yoshida and Miyato, *Spectral norm regularization*,
2017) or σ₁, by SVD or Krylov iteration each time. `SpectralPenalty`: the same with warm directions, for training.
`orthogonality_penalty`: ‖WWᵀ − s²I‖²_F on the short side: on the long side WᵀW has rank at most that of the short, so
that ‖WᵀW − I‖²_F never falls below the difference of the sides, whatever W is. The short side is exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, TypeAlias, cast

import torch

from opnorm.constraint.losses.norms import EXACT, Method, krylov_values
from opnorm.constraint.losses.spectral_functions import hinge_sum, singular_values
from opnorm.constraint.losses.warm import WarmTop as WarmTop
from opnorm.constraint.normalization.operators import Matrix, Operator, convolution_operator, working
from opnorm.constraint.normalize import operator_of
from opnorm.constraint.rules import Rule
from opnorm.constraint.sites import Site
from opnorm.errors import UnsupportedInput, UsageError
from opnorm.linalg.convolution.geometry import Settings

Kind: TypeAlias = Literal["hinge", "norm", "linear"]
KNOWN = (
    torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d,
    torch.nn.ConvTranspose1d, torch.nn.ConvTranspose2d, torch.nn.ConvTranspose3d,
)  # fmt: skip
"""Modules whose `weight` is penalized where a whole model is given."""

Weights: TypeAlias = torch.Tensor | torch.nn.Module | Iterable[torch.Tensor | torch.nn.Module]


def spectral_penalty(
    weights: Weights, *, kind: Kind = "hinge", above: float = 0.0, top: int = 4, method: Method = "auto"
) -> torch.Tensor:
    """The sum over `weights` of a function of their singular values; a scalar, multiply it by your own factor.

    weights: matrices, modules (their linear and convolution layers, as true operators at any size), or several.
    kind: 'hinge' Σ max(0, σ_j − above)² over the `top` largest, 'norm' ½σ₁², 'linear' σ₁. method: 'svd', 'krylov', or
    'auto', by size. The gradient is exact for 'svd', repeated values included. In training, `SpectralPenalty` costs
    two passes over each weight in the place of an SVD.
    """
    _check(kind, above, top)
    terms = [_term(weight, operator, kind, above, top, method) for weight, operator in _operators(weights)]
    return torch.stack(terms).sum()


def orthogonality_penalty(weight: torch.Tensor, *, scale: float = 1.0) -> torch.Tensor:
    """‖WWᵀ − scale²·I‖²_F on the short side of a matrix: 0 where every singular value is `scale`.

    Gradient 4(WWᵀ − scale²·I)W. Cost: two products of m²n multiplications, backward included three.
    """
    if weight.ndim != 2 or weight.numel() == 0:
        raise UnsupportedInput(
            f"a tensor of shape {tuple(weight.shape)} is no matrix; a reshaped kernel is not its convolution, for "
            "which use layers that are orthogonal by construction"
        )
    wide = working(weight if weight.shape[0] <= weight.shape[1] else weight.mT)
    gram = wide @ wide.mT
    return (gram - scale**2 * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)).square().sum()


def of_values(values: torch.Tensor, kind: str, above: float) -> torch.Tensor:
    """The penalty of singular values, the largest first."""
    if kind == "hinge":
        return (values - above).clamp_min(0.0).square().sum()
    return values[0].square() / 2 if kind == "norm" else values[0]


def penalty_of(
    weight: torch.Tensor, rule: Rule, above: float, warm: WarmTop | None = None, *, factor: float = 1.0
) -> torch.Tensor:
    """The loss term of a rule made by `opnorm.penalize`, its weight included.

    above: the ceiling on σ. warm: the state kept for this weight (`warm_for`), which 'orthogonality' does not use.
    factor: of the rule's norm on σ; the term is in the rule's norm.
    """
    if rule.penalty == "orthogonality":
        return rule.weight * orthogonality_penalty(weight, scale=1 / factor) * factor**4
    top = rule.top if rule.penalty == "hinge" else 1
    values = singular_values(weight, top) if warm is None else warm.top(weight)[0][:top]
    return rule.weight * of_values(values * factor, rule.penalty, above * factor)


def warm_for(site: Site, seed: int) -> WarmTop:
    """The warm state for a site's penalty: of its matrix, or of the convolution that it is."""
    weight = site.weight()
    if site.kind == "convolution":
        operator = convolution_operator(tuple(weight.shape), cast("Settings", dict(site.settings)), site.input_shape)
        return WarmTop(tuple(weight.shape), site.rule.top, seed, weight.device, operator=operator)
    return WarmTop(tuple(weight.shape), site.rule.top, seed, weight.device)


class SpectralPenalty:
    """`spectral_penalty` of a model's layers with warm directions: call it once a step and add it to the loss.

    One block iteration a weight a step, `top` + 2 vectors. The values lie a little below the true ones. The first call
    converges. `state_dict` and `load_state_dict` resume it bit by bit.
    """

    def __init__(self, model: Weights, *, kind: Kind = "hinge", above: float = 0.0, top: int = 4) -> None:
        _check(kind, above, top)
        self.kind, self.above, self.top, self.model = kind, above, top, model
        if isinstance(model, Iterator):
            raise UsageError("an iterator of weights can be read once; give a model, or a list")
        count = top if kind == "hinge" else 1
        self.warm = [
            WarmTop(tuple(w.shape), count, number, w.device, operator=operator)
            for number, (w, operator) in enumerate(_operators(model))
        ]

    def __call__(self) -> torch.Tensor:
        """The penalty, a scalar."""
        pairs = zip(_operators(self.model), self.warm, strict=True)
        return torch.stack([of_values(warm.top(w)[0], self.kind, self.above) for (w, _), warm in pairs]).sum()

    def state_dict(self) -> dict[str, Any]:
        """Of each weight."""
        return {str(number): warm.state_dict() for number, warm in enumerate(self.warm)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what `state_dict` gave; `UsageError` where it is of other weights."""
        if set(state) != {str(n) for n in range(len(self.warm))}:
            raise UsageError(f"a state of {len(state)} weights does not fit {len(self.warm)}: it is another model's")
        for number, warm in enumerate(self.warm):
            warm.load_state_dict(state[str(number)])


def _check(kind: str, above: float, top: int) -> None:
    if kind not in ("hinge", "norm", "linear"):
        raise UsageError(f"kind={kind!r} is not known; choose 'hinge', 'norm' or 'linear'")
    if not above >= 0:
        raise UsageError(f"above={above!r} is not possible: give a number from 0")
    if type(top) is not int or top < 1:
        raise UsageError(f"top={top!r} is not possible: give a whole number of at least 1")


def _term(weight: torch.Tensor, operator: Operator, kind: Kind, above: float, top: int, method: Method) -> torch.Tensor:
    count = top if kind == "hinge" else 1
    small = isinstance(operator, Matrix) and min(operator.shape(weight)) <= EXACT
    if method == "krylov" or not (small or method == "svd"):
        return of_values(krylov_values(weight, operator, count), kind, above)
    if not isinstance(operator, Matrix):
        raise UsageError("method='svd' is for matrices; leave it at 'auto' where there are convolutions")
    if kind == "hinge":
        return hinge_sum(weight, above, top)
    return of_values(singular_values(weight, 1), kind, above)


def _operators(weights: Weights) -> list[tuple[torch.Tensor, Operator]]:
    """Every weight, tracked, with what it is as an operator."""
    if isinstance(weights, torch.Tensor):
        if weights.ndim != 2:
            raise UnsupportedInput(f"a tensor of shape {tuple(weights.shape)} is no matrix; give its module")
        return [(weights, Matrix())]
    if isinstance(weights, torch.nn.Module):
        found = [m for m in weights.modules() if isinstance(m, KNOWN)]
        if not found:
            raise UsageError(f"{type(weights).__name__} has no linear or convolution layer to penalize")
        return [(m.weight, operator_of(m, "weight", m.weight, flattened=False)) for m in found]
    pairs = [pair for each in weights for pair in _operators(each)]
    if not pairs:
        raise UsageError("there are no weights to penalize: give a tensor, a module, or several")
    return pairs
