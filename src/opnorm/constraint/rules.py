"""What to hold, and where, as plain data: `cap`, `band`, `orthogonalize`, `penalize`, `watch`.

A rule names layers by patterns of row names or module paths (`*` crosses dots), by module types, or both. It says
nothing of when it acts or on what it is mounted: the same rules serve a training loop and a file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal, TypeAlias

from opnorm.constraint.schedule import Level, at
from opnorm.errors import UsageError

Where: TypeAlias = str | type | Sequence[str | type]
Technique: TypeAlias = Literal["cap", "band", "orthogonal", "penalty", "watch"]
Norm: TypeAlias = Literal["spectral", "rms"] | Callable[[int, int], float]
Split: TypeAlias = int | Sequence[int] | None
Penalty: TypeAlias = Literal["hinge", "norm", "orthogonality"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of a user's wishes; made by the functions below, which check it.

    lo, hi: of the norm asked for. split: equal parts of the output side, or their sizes. every: optimizer steps from
    one move to the next, None for the gate's own. norm: 'spectral' (σ), 'rms' (σ·√(in/out)), or a function of
    (out, in) that gives the factor on σ. weight, top, penalty: of a loss term.
    """

    where: tuple[str | type, ...]
    technique: Technique
    lo: Level = 0.0
    hi: Level = math.inf
    split: Split = None
    every: int | None = None
    norm: Norm = "spectral"
    method: Literal["clip", "scale"] = "clip"
    weight: float = 0.0
    top: int = 1
    penalty: Penalty = "hinge"

    def __str__(self) -> str:
        places = ", ".join(repr(w) if isinstance(w, str) else w.__name__ for w in self.where)
        values = {
            "cap": f", {_shown(self.hi)}", "band": f", {_shown(self.lo)}, {_shown(self.hi)}",
            "orthogonal": f", scale={_shown(self.hi)}", "penalty": f", above={_shown(self.hi)}", "watch": "",
        }[self.technique]  # fmt: skip
        verb = {"orthogonal": "orthogonalize", "penalty": "penalize"}.get(self.technique, self.technique)
        return f"{verb}({places}{values})"

    @property
    def moves(self) -> bool:
        """Whether it changes weights by itself."""
        return self.technique in ("cap", "band", "orthogonal")

    def levels(self, step: int) -> tuple[float, float]:
        """(lo, hi) of the norm asked for at a step; `UsageError` where functions of the step give no band."""
        lo, hi = at(self.lo, step), at(self.hi, step)
        if callable(self.lo) or callable(self.hi):
            _require_band(self, lo, hi, f" at step {step}")
        return lo, hi

    def factor(self, rows: int, columns: int) -> float:
        """What σ is multiplied by to give the norm asked for, of an operator with so many outputs and inputs."""
        if self.norm == "spectral":
            return 1.0
        value = math.sqrt(columns / rows) if self.norm == "rms" else float(self.norm(rows, columns))
        if not (math.isfinite(value) and value > 0):
            raise UsageError(f"norm of {self} gives the factor {value!r} for {rows}x{columns}: it must be above 0")
        return value


def cap(
    where: Where,
    max: Level,  # noqa: A002  (the field's own word, as on the command line)
    *,
    split: Split = None,
    every: int | None = None,
    norm: Norm = "spectral",
    method: Literal["clip", "scale"] = "clip",
) -> Rule:
    """Hold σ₁ ≤ `max`: singular values above are clipped to it, the others stay.

    where: patterns of names, module types, or a sequence of both. max: a number above 0, or a function of the step.
    split: a fused matrix held as so many equal parts of its outputs (q, k, v; heads), or parts of given sizes.
    method: 'scale' multiplies the whole weight instead: it shrinks every direction each time one grows.
    """
    return _checked(Rule(_places(where), "cap", 0.0, max, split, every, norm, method))


def band(
    where: Where, lo: Level, hi: Level, *, split: Split = None, every: int | None = None, norm: Norm = "spectral"
) -> Rule:
    """Hold lo ≤ σ_i ≤ hi for every singular value of the short side. `UsageError` where lo > hi."""
    return _checked(Rule(_places(where), "band", lo, hi, split, every, norm))


def orthogonalize(
    where: Where, scale: Level = 1.0, *, split: Split = None, every: int | None = None, norm: Norm = "spectral"
) -> Rule:
    """Hold every singular value of the short side at `scale`."""
    return _checked(Rule(_places(where), "orthogonal", scale, scale, split, every, norm))


def penalize(
    where: Where,
    above: Level = 0.0,
    weight: float = 1e-2,
    *,
    top: int = 4,
    kind: Penalty = "hinge",
    split: Split = None,
    norm: Norm = "spectral",
) -> Rule:
    """Add to the loss what is beyond the ceiling `above`; nothing is promised, the optimizer decides.

    kind: 'hinge' weight·Σ max(0, σ_j − above)² over the `top` largest; 'norm' weight·σ₁²/2; 'orthogonality'
    weight·‖WWᵀ − I‖²_F on the short side.
    """
    rule = Rule(_places(where), "penalty", 0.0, above, split, None, norm, "clip", weight, top, kind)
    return _checked(rule)


def watch(where: Where = "*", *, split: Split = None, every: int | None = 50, norm: Norm = "spectral") -> Rule:
    """Only look: estimates of σ₁, refreshed every so many steps."""
    return _checked(Rule(_places(where), "watch", split=split, every=every, norm=norm))


def _places(where: Where) -> tuple[str | type, ...]:
    listed = isinstance(where, Sequence) and not isinstance(where, str | type)
    places: tuple[Any, ...] = tuple(where) if listed else (where,)  # type: ignore[arg-type]
    if not places or not all(isinstance(p, str | type) and p for p in places):
        raise UsageError(
            f"where={_given(where)} names no layers: give names or patterns such as 'blocks.*.mlp.*', or "
            "module types such as torch.nn.Linear"
        )
    return places


def _checked(rule: Rule) -> Rule:
    upper = {"cap": "max", "penalty": "above", "orthogonal": "scale"}.get(rule.technique, "hi")
    for level, name in ((rule.lo, "lo"), (rule.hi, upper)):
        if not callable(level) and not (_is_number(level) and level >= 0):
            raise UsageError(f"{rule}: {name} must be a number from 0, or a function of the step, not {_given(level)}")
    lo, hi = rule.lo, rule.hi
    if not callable(lo) and not callable(hi):
        _require_band(rule, lo, hi)
    if rule.every is not None and not (type(rule.every) is int and rule.every >= 1):
        raise UsageError(f"{rule}: every={rule.every!r} is not possible; give a whole number of steps, at least 1")
    _check_choices(rule)
    return rule


def _require_band(rule: Rule, lo: float, hi: float, when: str = "") -> None:
    if lo > hi:
        raise UsageError(f"{rule}: lo = {lo} lies above hi = {hi}{when}; exchange them, or use opnorm.cap")
    if rule.moves and hi == 0:
        raise UsageError(f"{rule}: a ceiling of 0{when} leaves no weight; give a number above 0")
    if rule.moves and not math.isfinite(lo):
        name = "scale" if rule.technique == "orthogonal" else "lo"
        raise UsageError(f"{rule}: {name} must be finite{when}")


def _check_choices(rule: Rule) -> None:
    if not callable(rule.norm) and rule.norm not in ("spectral", "rms"):
        raise UsageError(f"{rule}: norm={rule.norm!r} is not known; choose 'spectral', 'rms', or a function (out, in)")
    if rule.method not in ("clip", "scale"):
        raise UsageError(f"{rule}: method={rule.method!r} is not known; choose 'clip' or 'scale'")
    if rule.penalty not in ("hinge", "norm", "orthogonality"):
        raise UsageError(f"{rule}: kind={rule.penalty!r} is not known; choose 'hinge', 'norm' or 'orthogonality'")
    if not (_is_number(rule.weight) and rule.weight >= 0 and math.isfinite(rule.weight)):
        raise UsageError(f"{rule}: weight={rule.weight!r} is not possible; give a number from 0")
    if type(rule.top) is not int or rule.top < 1:
        raise UsageError(f"{rule}: top={rule.top!r} is not possible; give a whole number, at least 1")
    parts = rule.split if isinstance(rule.split, Sequence) else () if rule.split is None else (rule.split,)
    if not all(type(p) is int and p >= 1 for p in parts):
        raise UsageError(f"{rule}: split={rule.split!r} is not possible; give a number of parts, or their sizes")


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and not math.isnan(value)


def _given(value: Any) -> str:
    """What was given: of an object that may be long, its type."""
    short = value is None or isinstance(value, str | Real | list | tuple | dict)
    return repr(value)[:80] if short else f"<{type(value).__name__}>"


def _shown(level: Level) -> str:
    if callable(level):
        return getattr(level, "__name__", "f(step)")
    return f"{float(level):g}" if isinstance(level, Real) else _given(level)
