"""Norms that an optimizer keeps by itself: decoupled weight decay against updates of bounded size.

Theorem N. W ← (1 − ηλ)W − ηO with ‖O‖ ≤ s and 0 ≤ ηλ ≤ 1 keeps ‖W‖ ≤ max(‖W₀‖, s/λ), for every schedule of η: a step
is a weighted mean of W and −O/λ. So Muon at λ = 0.1 cannot take a square weight beyond 12.2, and no gate is needed for
a ceiling there. Sources: the argument is folklore, in print for conditional gradients (Pethick et al. 2025, "Training
deep learning models with norm-constrained LMOs"); constants and rounding were derived here (docs/proofs.md).

Data: optimizer, names → a row for each matrix: `Invariant`. What sizes of updates rest on: `constraint.decay.updates`.
Guarantee: each row's own evidence. The rounding of the weights themselves (a float32 step errs by 4·2⁻²⁴·√min(m, n),
relatively, at worst) adds up over a run and is part of the bound only where `steps` is given: without, a row is an
ESTIMATE. Cost: the norm of each matrix now, PROVED, once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch

from opnorm.bound import Bound, Evidence
from opnorm.constraint.decay.updates import Step, UpdateSize, step_of
from opnorm.errors import UndefinedNorm, UsageError
from opnorm.frameworks import aslinearoperator
from opnorm.linalg.measure import measure_operator
from opnorm.linalg.request import Request

Optimizers: TypeAlias = torch.optim.Optimizer | Sequence[torch.optim.Optimizer]
Names: TypeAlias = torch.nn.Module | Iterable[tuple[str, torch.nn.Parameter]] | None


@dataclass(frozen=True, slots=True)
class Invariant:
    """What an optimizer keeps of one matrix. bound: on σ₁ from now on, None where there is none. start: of σ₁ now,
    PROVED. level: s/λ, where σ₁ ends if updates always agree; None without decay. why: in words.
    """  # fmt: skip

    name: str
    shape: tuple[int, int]
    optimizer: str
    bound: Bound | None
    start: float | None
    level: float | None
    why: str

    @property
    def evidence(self) -> Evidence | None:
        """Of the bound."""
        return None if self.bound is None else self.bound.evidence

    def __str__(self) -> str:
        size = "×".join(map(str, self.shape))
        head = f"{self.name} ({size}): " + ("no bound" if self.bound is None else str(self.bound))
        return f"{head}. {self.why}"


def norm_invariant(
    optimizer: Optimizers, model: Names = None, *, steps: int | None = None, update: UpdateSize | None = None
) -> tuple[Invariant, ...]:
    """The bound on the spectral norm that `optimizer` itself keeps, for each matrix among its parameters.

    optimizer: one, or several. model: a module or (name, parameter) pairs, for names. steps: how many steps the run
    still takes; the bound then includes the rounding of the weights in each of them, holds without decay too, and is
    PROVED where the size of updates is. update: your word on the updates of optimizers that are not torch's own, whose
    decay must be decoupled: 'sign' for Lion and signSGD, a spectral norm, or a function (out, in); evidence ASSUMED.

    Holds for constant weight decay and betas, learning rates of at most 1/λ and, with `steps`, of at most the largest
    that the optimizer knows of. Convolution kernels and vectors have no rows. Cost: σ₁ of each matrix is proved once.
    """
    if steps is not None and (type(steps) is not int or steps < 0):
        raise UsageError(f"steps={steps!r} is not possible: give the whole number of steps still to come")
    return tuple(_invariant(*found, steps, update) for found in _matrices(optimizer, model))


def decay_for(
    cap: float, optimizer: Optimizers, model: Names = None, *, update: UpdateSize | None = None
) -> dict[str, float]:
    """The weight decay λ = s/cap by which `optimizer` keeps each matrix that starts within `cap` there, by name.

    A parameter group needs the largest of its matrices. `UsageError` where updates have no bound, or where a learning
    rate is too large for that decay (ηλ > 1). The evidence is that of `norm_invariant`.
    """
    if not (math.isfinite(cap) and cap > 0):
        raise UsageError(f"cap={cap!r} is not possible: give a norm above 0")
    decays = {}
    for owner, group, name, parameter in _matrices(optimizer, model):
        step = step_of(owner, group, parameter, update)
        if isinstance(step, str):
            raise UsageError(f"{name}: no weight decay gives a bound, for {step}")
        decays[name] = math.nextafter(step.size / cap, math.inf)
        if step.rate * decays[name] > 1:
            raise UsageError(
                f"{name}: a cap of {cap:g} needs a weight decay of {decays[name]:.3g}, too much for a learning rate of "
                f"{step.rate:g}: use one of at most {1 / decays[name]:.3g}, or hold the layer with opnorm.cap"
            )
    return decays


def _matrices(
    optimizer: Optimizers, model: Names
) -> Iterator[tuple[torch.optim.Optimizer, dict[str, Any], str, torch.Tensor]]:
    optimizers = [optimizer] if isinstance(optimizer, torch.optim.Optimizer) else list(optimizer)
    pairs = model.named_parameters() if isinstance(model, torch.nn.Module) else model or ()
    names = {id(parameter): name for name, parameter in pairs}
    for owner in optimizers:
        for i, group in enumerate(owner.param_groups):
            own = group.get("param_names") or [f"param_groups[{i}].params[{j}]" for j in range(len(group["params"]))]
            for parameter, fallback in zip(group["params"], own, strict=True):
                if parameter.ndim == 2 and parameter.is_floating_point():
                    yield owner, group, names.get(id(parameter), fallback), parameter


def _invariant(
    owner: torch.optim.Optimizer, group: dict[str, Any], name: str, parameter: torch.Tensor, steps: int | None,
    update: UpdateSize | None,
) -> Invariant:  # fmt: skip
    shape = (parameter.shape[0], parameter.shape[1])
    kind = type(owner).__name__
    try:
        start = _proved_norm(parameter)
    except UndefinedNorm as undefined:
        return Invariant(name, shape, kind, None, None, None, str(undefined))
    step = step_of(owner, group, parameter, update)
    if isinstance(step, str):
        return Invariant(name, shape, kind, None, start, None, step)
    level = step.size / step.decay * (1 + 1e-12) if step.decay > 0 else None
    obstacle = _obstacle(step, parameter.dtype, steps)
    value = math.inf if obstacle else _rounded(_reach(step, start, steps), parameter, steps)
    if not math.isfinite(value):
        return Invariant(name, shape, kind, None, start, level, f"{obstacle or _LOST}. {step.why}")
    evidence = step.evidence if steps is not None else min(step.evidence, Evidence.ESTIMATE)
    return Invariant(
        name, shape, kind, Bound("upper", value, evidence, "decay"), start, level, _told(step, start, steps)
    )


def _proved_norm(parameter: torch.Tensor) -> float:
    upper = measure_operator(aslinearoperator(parameter.detach()), Request(Evidence.PROVED)).bracket("proved").upper
    return math.inf if upper is None else upper


_NO_DECAY = 1e-280
"""A share ηλ below which decay is left out: what is said without it holds with it."""

_LOST = "the rounding of so many steps may exceed any bound"


_NEGATIVE = "a learning rate or a weight decay below 0 lets weights grow without bound: give numbers of at least 0"


def _obstacle(step: Step, dtype: torch.dtype, steps: int | None) -> str:
    if not (step.rate >= 0 and step.decay >= 0):
        return _NEGATIVE
    if step.rate * step.decay > 1:
        return (
            f"a learning rate of {step.rate:g} with weight decay {step.decay:g} overshoots (their product is above 1): "
            f"lower one of them"
        )
    if steps is not None:
        return ""
    if step.decay <= 0:
        return (
            "without weight decay nothing draws the weight back: say how many steps the run takes (steps=), or hold it"
        )
    if step.rate * step.decay <= torch.finfo(dtype).eps / 2:
        short = str(dtype).removeprefix("torch.")
        return f"a decay of {step.rate * step.decay:.1g} a step is lost in the rounding of {short} weights"
    return ""


def _reach(step: Step, start: float, steps: int | None) -> float:
    """max(start, s/λ), or how far `steps` steps of the largest rate get: they approach s/λ, or go on without it."""
    if steps is None:
        return max(start, step.size / step.decay) * (1 + 1e-12)
    lost = step.rate * step.decay
    if lost < _NO_DECAY:
        return (start + steps * step.rate * step.size) * (1 + 1e-12)
    # 1 − (1 − ηλ)^T by logarithms near 1: as 1 − ηλ itself, a small ηλ would round away, and the growth with it.
    share = -math.expm1(steps * math.log1p(-lost)) if lost < 1 else float(steps > 0)
    return max(start, start + (step.size / step.decay - start) * share) * (1 + 1e-9)


def _rounded(value: float, parameter: torch.Tensor, steps: int | None) -> float:
    """`value` with what `steps` steps of rounded weights may add: a factor 1 + 4u√r each, and underflow."""
    if not steps:
        return value
    numbers = torch.finfo(parameter.dtype)
    u = numbers.eps / 2
    exponent = steps * math.log1p(4 * u / (1 - 4 * u) * math.sqrt(min(parameter.shape)))
    lost = 8 * steps * numbers.tiny * math.sqrt(parameter.numel())
    return (value + lost) * math.exp(exponent) * (1 + 1e-9) if exponent < 700 else math.inf


def _told(step: Step, start: float, steps: int | None) -> str:
    now = f"its norm now is at most {start:.4g}"
    if step.decay <= 0:
        return f"{step.why}; {now}; no weight decay, so only for the {steps} steps to come"
    rounding = "the weights' own rounding not counted (give steps=)" if steps is None else f"for {steps} steps"
    ends = (
        f"decay {step.decay:g} holds them at {step.size / step.decay:.4g}, for learning rates up to {1 / step.decay:g}"
    )
    return f"{step.why}; {ends}; {now}; {rounding}"
