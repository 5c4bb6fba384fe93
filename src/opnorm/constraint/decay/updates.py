"""How large one step of an optimizer can be, whatever the gradients are: what the optimizer's algorithm alone allows.

The way: an optimizer and one of its parameter groups → `step_of` → a `Step`: decay λ, largest learning rate η, and a
bound s on the update's spectral norm, for W ← (1 − ηλ)W − ηO with ‖O‖ ≤ s; or the reason why there is none.

Muon: O is what a Newton–Schulz polynomial makes of a matrix of norm at most 1; its largest value is enclosed for the
user's own coefficients. torch iterates in bfloat16, for which no useful bound is provable, as entrywise errors grow
like √min(m, n); 1 % is allowed for it, where attacks of every kind reached 0.62 %: an ESTIMATE. Adam: by
Cauchy–Schwarz an entry's m̂/√v̂ is at most 7.3 at the usual β, PROVED with the rounding of its moments. Others are
refused, or taken on the user's word. Proofs: docs/proofs.md, the section on decay.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch

from opnorm.bound import Evidence
from opnorm.constraint.ranges import output_range
from opnorm.errors import UsageError

UpdateSize: TypeAlias = float | Literal["sign"] | Callable[[int, int], float]
"""A user's word on updates: their largest spectral norm; 'sign', entries of at most 1; or a function (out, in)."""

BFLOAT16_ALLOWANCE = 0.01
"""By which Newton–Schulz in bfloat16 may exceed its polynomial, relatively. The most that was found is 0.0062, over
12 polynomials and 1×1 to 1024×1024: random, graded, low-rank, Hadamard and hill-climbed matrices."""

NORMALIZED = 1 + 2.0**-6
"""‖X‖_F of a matrix divided by its norm, both rounded to bfloat16, more than its two roundings allow."""


@dataclass(frozen=True, slots=True)
class Step:
    """W ← (1 − η·decay)W − ηO, ‖O‖ ≤ size, η ≤ rate. why: where `size` comes from, in words."""

    size: float
    decay: float
    rate: float
    evidence: Evidence
    why: str


def step_of(
    optimizer: torch.optim.Optimizer, group: Mapping[str, Any], parameter: torch.Tensor, update: UpdateSize | None
) -> Step | str:
    """The step that `group` makes of a matrix, or why its size has no bound."""
    kind = type(optimizer)
    own = f"{kind.__module__}.".startswith("torch.optim.")
    known = _KNOWN.get(kind.__name__) if own else None
    if known is not None:
        return known(optimizer, group, parameter)
    if update is not None:
        size, why = _on_word(update, parameter)
        return Step(size, float(group.get("weight_decay", 0.0)), largest_rate(group), Evidence.ASSUMED, why)
    return (
        f"the updates of {kind.__module__}.{kind.__qualname__} are not known: if its weight decay is decoupled, state "
        "the size of its updates with update=, such as 'sign' (Lion, signSGD: entries of at most 1) or a spectral norm"
    )


def largest_rate(group: Mapping[str, Any]) -> float:
    """The largest learning rate that the group knows of: now, at first, and that of a one-cycle schedule."""
    return max(float(group[key]) for key in ("lr", "initial_lr", "max_lr") if group.get(key) is not None)


def _on_word(update: UpdateSize, parameter: torch.Tensor) -> tuple[float, str]:
    rows, columns = parameter.shape
    if update == "sign":
        return math.sqrt(rows * columns), f"entries of at most 1 (your word), so a norm of at most √({rows}·{columns})"
    size = float(update(rows, columns)) if callable(update) else float(update)
    if not (math.isfinite(size) and size > 0):
        raise UsageError(f"update={update!r} is not possible: give a norm above 0, 'sign', or a function (out, in)")
    return size, f"updates of norm at most {size:.4g} (your word)"


def _muon(_: torch.optim.Optimizer, group: Mapping[str, Any], parameter: torch.Tensor) -> Step | str:
    rows, columns = parameter.shape
    exact = largest_output(group["ns_coefficients"], group["ns_steps"])
    if not exact < 1e6:
        return f"{group['ns_steps']} Newton–Schulz steps of coefficients {group['ns_coefficients']} may diverge"
    scale = {
        "original": math.sqrt(max(1.0, rows / columns)), "match_rms_adamw": 0.2 * math.sqrt(max(rows, columns)),
    }.get(group["adjust_lr_fn"] or "original")  # fmt: skip
    if scale is None:
        return f"Muon's adjust_lr_fn={group['adjust_lr_fn']!r} is not known here"
    largest = exact * (1 + BFLOAT16_ALLOWANCE)
    why = (
        f"Muon's updates have a norm of at most {largest:.4g}·{scale:.4g}: its polynomial reaches {exact:.4g}, "
        f"its bfloat16 is allowed {BFLOAT16_ALLOWANCE:.0%} more, its learning rate is multiplied by {scale:.4g}"
    )
    return Step(largest * scale, float(group["weight_decay"]), largest_rate(group), Evidence.ESTIMATE, why)


def largest_output(coefficients: Sequence[float], steps: int) -> float:
    """The largest |σ| after `steps` of σ ← aσ + bσ³ + cσ⁵ from anywhere in [0, `NORMALIZED`], rounded up."""
    low, high = output_range([float(c) for c in coefficients], steps, 0.0, NORMALIZED) if steps else (0.0, NORMALIZED)
    return max(-low, high)


def _adam(optimizer: torch.optim.Optimizer, group: Mapping[str, Any], parameter: torch.Tensor) -> Step | str:
    name = type(optimizer).__name__
    if group["weight_decay"] and not group.get("decoupled_weight_decay", name == "AdamW"):
        return f"{name} adds its decay to the gradient, where normalization undoes it: use AdamW"
    if group.get("base_momentum") != group.get("max_momentum"):
        return f"{name}'s bound is for constant betas: make its schedule with cycle_momentum=False"
    beta1, beta2 = (float(b) for b in group["betas"])
    entry = adam_ratio(beta1, beta2, float(group["eps"]), parameter.dtype)
    if not entry < 1e6:
        short = str(parameter.dtype).removeprefix("torch.")
        return f"{name}'s updates have no useful bound at betas {(beta1, beta2)}, eps {group['eps']:g} in {short}"
    rows, columns = parameter.shape
    why = (
        f"{name}'s updates have entries of at most {entry:.3g}, so a norm of at most {entry:.3g}·√({rows}·{columns}): "
        "only gradients made for it come near"
    )
    size = entry * math.sqrt(rows * columns) * (1 + 1e-12)
    return Step(size, float(group["weight_decay"]), largest_rate(group), Evidence.PROVED, why)


def adam_ratio(beta1: float, beta2: float, eps: float, dtype: torch.dtype = torch.float64) -> float:
    """A bound on |m̂/(√v̂ + ε)| for any gradients and any number of steps, rounded moments included; inf: none.

    In exact arithmetic (1−β₁)/√((1−β₂)(1−β₁²/β₂)), approached as steps go on (docs/proofs.md).
    """
    u, tiny = torch.finfo(dtype).eps / 2, torch.finfo(dtype).tiny
    b, a = beta1 + 16 * u, (1 - beta1) * (1 + 32 * u)
    d, s = beta2 * (1 - 8 * u), (1 - beta2) * (1 - 8 * u)
    if not (0 <= b < 1 and 0 < d < 1 and b * b < d and eps >= 4 * tiny):
        return math.inf
    reach = a / math.sqrt(s * (1 - b * b / d))
    lost = reach * math.sqrt(4 * tiny / (1 - d)) + 4 * tiny / (1 - b)
    floor = (1 - beta1) * math.sqrt(1 - beta2) * eps * (1 - 8 * u)
    return (1 + 32 * u) * (reach + lost / floor) * (1 + 1e-12)


def _none(reason: str) -> Callable[..., Step | str]:
    return lambda optimizer, *_: f"{type(optimizer).__name__}'s updates {reason}"


_UNBOUNDED = _none("grow with the gradients, which nothing bounds")

_KNOWN: dict[str, Callable[[torch.optim.Optimizer, Mapping[str, Any], torch.Tensor], Step | str]] = {
    "Muon": _muon,
    "AdamW": _adam,
    "Adam": _adam,
    **dict.fromkeys(("SGD", "ASGD", "LBFGS", "Adagrad", "Adadelta"), _UNBOUNDED),
    "RAdam": _none("are plain momentum in its first steps: they grow with the gradients"),
    "Adafactor": _none("grow with the weights themselves"),
    **dict.fromkeys(("NAdam", "Adamax", "RMSprop", "Rprop"), _none("have no bound that is derived here")),
}
"""Optimizers of torch.optim by name. Adagrad and Adadelta are bounded, but have no decoupled decay to balance them."""
