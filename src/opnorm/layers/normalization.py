"""Normalization layers: what they are as maps, and what they do to their neighbours.

BatchNorm in evaluation mode is affine, with linear part diag(γ/√(var + ε)) exactly; folded into the layer before it,
diag(γ/√(var + ε))·W. In training mode it divides by statistics of the batch and is no linear map.

LayerNorm and RMSNorm are not linear: x̂ = (x − mean)/√(var(x) + ε). Their Jacobian is
diag(γ)(I − 11ᵀ/n − x̂x̂ᵀ/n)/√(var + ε), whose middle factor is a contraction, so max|γ|/√ε bounds it everywhere: for
LayerNorm, RMSNorm, GroupNorm and InstanceNorm alike a *worst case*, met only where the input is nearly constant (at
x = 0, where it is attained by RMSNorm), typically hundreds of times too large. So it stands beside γ under that name.
What reaches the next layer is γ ⊙ x̂ with ‖x̂‖ ≤ √n, hence the folded operators W·diag(γ) (RMSNorm) and
W·diag(γ)(I − 11ᵀ/n) (LayerNorm, whose x̂ has mean 0).

Guarantee: the constants are PROVED, from float64 numbers rounded outward; folded operators have that of what they
are folded into (`opnorm.linalg.folded`, `near`). Cost: one read of the vectors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from opnorm.bound import Bracket
from opnorm.errors import UndefinedNorm, UnsupportedInput
from opnorm.layers.plan import Also, Arrays, Entry
from opnorm.layers.vectors import COUNTS, not_a_map, numbers
from opnorm.linalg.diagonal import Diagonal, normalizing_scales
from opnorm.linalg.request import Request, proved
from opnorm.linalg.rounding import up

WORST = "worst-case Lipschitz constant"
_MEANING = "max|γ|/√ε, over all inputs: met only by nearly constant ones, far above what the layer does elsewhere"
BATCH_STATISTICS = "normalizes by the statistics of the batch, also in evaluation mode: not a linear map"


def layer_norm(
    path: str,  # noqa: ARG001
    weight: str,
    bias: str,
    shape: tuple[int, ...],
    dtype: str,
    *,
    eps: float | None,
    rms: bool = False,
) -> tuple[Entry, ...]:
    """γ and β of a LayerNorm (`rms`: RMSNorm; GroupNorm too) at `path`; a name is empty where there is none."""
    scale = _scale(weight, shape, dtype, eps, "RMSNorm" if rms else "LayerNorm") if weight else None
    shift = not_a_map(bias, shape, dtype, "bias") if bias else None
    return tuple(entry for entry in (scale, shift) if entry is not None)


def _scale(name: str, shape: tuple[int, ...], dtype: str, eps: float | None, family: str) -> Entry:
    """γ: no map alone, with the worst-case constant beside it where ε is known."""
    size = "x".join(map(str, shape))
    reason = f"a vector of {size}: scale"
    if eps is None or not 0 < eps < math.inf:
        return Entry(name, (name,), "scale", "", shape, dtype, "not_a_map", reason)

    def find(arrays: Arrays, request: Request) -> Bracket:  # noqa: ARG001
        return worst_case(numbers(arrays[name]), eps)

    def build(arrays: Arrays) -> Any:
        return Diagonal(numbers(arrays[name]))

    also = (Also(WORST, f"{_MEANING} ({family}, ε = {eps:g})", find),)
    return Entry(name, (name,), "scale", "", shape, dtype, "not_a_map", reason, build=build, also=also)


def worst_case(scales: np.ndarray[Any, np.dtype[np.float64]], eps: float) -> Bracket:
    """max|γ|/√ε, rounded up; the layer may do better, so there is no lower bound."""
    if not np.isfinite(scales).all():
        raise UndefinedNorm(int(np.isnan(scales).sum()), int(np.isinf(scales).sum()))
    value = up(float(np.abs(scales).max(initial=0.0)) / math.sqrt(eps), 8)
    if not math.isfinite(value):
        raise UnsupportedInput(f"max|γ|/√ε for ε = {eps!r} is beyond float64: give a larger ε")
    return Bracket(None, proved("upper", value, "norm law"))


def batch_norm(
    path: str,  # noqa: ARG001
    names: Mapping[str, str],
    shape: tuple[int, ...],
    dtype: str,
    *,
    eps: float | None,
) -> tuple[Entry, ...]:
    """Rows of a BatchNorm. names: `weight`, `bias`, `running_mean`, `running_var`, `num_batches_tracked`, each to
    its tensor's name where there is one. eps None: not known, so that γ stays a vector without an operator.
    """  # fmt: skip
    rest = {role: name for role, name in names.items() if role not in ("weight", "running_var")}
    vectors = tuple(_vector(role, name, shape, dtype) for role, name in rest.items())
    if eps is None or "running_var" not in names:
        reason = "" if eps is None else BATCH_STATISTICS
        unknown = [("weight", "scale", reason), ("running_var", "running statistic", "")]
        return (*(not_a_map(names[r], shape, dtype, kind, why) for r, kind, why in unknown if r in names), *vectors)
    return (_evaluation(names, shape, dtype, eps), *vectors)


def _evaluation(names: Mapping[str, str], shape: tuple[int, ...], dtype: str, eps: float) -> Entry:
    def build(arrays: Arrays) -> Diagonal:
        return Diagonal(*evaluation_scales(arrays, names, eps))

    used = scale_tensors(names)
    words = f"diag({'γ' if 'weight' in names else '1'}/√(var + ε)) of {shape[0]} channels, ε = {eps:g}, evaluation mode"
    return Entry(used[0], used, "batch norm", words, (shape[0], shape[0]), dtype, build=build)


def evaluation_scales(
    arrays: Arrays, names: Mapping[str, str], eps: float
) -> tuple[np.ndarray[Any, np.dtype[np.float64]], float]:
    """γ/√(var + ε) from the tensors, and the relative error."""
    gamma = numbers(arrays[names["weight"]]) if "weight" in names else None
    return normalizing_scales(gamma, numbers(arrays[names["running_var"]]), eps)


def scale_tensors(names: Mapping[str, str]) -> tuple[str, ...]:
    """The tensors that an evaluation-mode BatchNorm's linear part is made of."""
    return tuple(names[role] for role in ("weight", "running_var") if role in names)


def _vector(role: str, name: str, shape: tuple[int, ...], dtype: str) -> Entry:
    if role == "num_batches_tracked":
        return not_a_map(name, (), "int64", "indices", COUNTS)
    return not_a_map(name, shape, dtype, "bias" if role == "bias" else "running statistic")
