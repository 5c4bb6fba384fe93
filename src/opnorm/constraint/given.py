"""What a user gives to a gate, checked before anything is built: each mistake one message that says what to do.

Data: arguments → the same, checked, or `UsageError`. Nothing of the model is read but names and types.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from opnorm.constraint.rules import Rule
from opnorm.constraint.schedule import Warmup
from opnorm.constraint.sharded import is_sharded
from opnorm.errors import UsageError

if TYPE_CHECKING:
    from opnorm.constraint.sites import Site

_MADE_BY = "give what opnorm.cap, band, orthogonalize, penalize or watch make"


def rules_given(rules: Any) -> list[Rule]:
    """A list of rules, from one or several."""
    chosen = [rules] if isinstance(rules, Rule) else list(rules) if isinstance(rules, Iterable) else []
    if not chosen or not all(isinstance(r, Rule) for r in chosen):
        raise UsageError(f"rules={named(rules)} are none: {_MADE_BY}")
    return chosen


def excluded_given(exclude: Any) -> tuple[str | type, ...]:
    """Patterns and module types."""
    places = (exclude,) if not isinstance(exclude, list | tuple | set | frozenset) else tuple(exclude)
    if not all(isinstance(p, str | type) for p in places):
        raise UsageError(f"exclude={named(exclude)} is not possible: give patterns of names, or module types")
    return tuple(p for p in places if p)


def require_model(model: Any) -> None:
    """A live module, not its state dict or its parameters."""
    if not isinstance(model, torch.nn.Module):
        raise UsageError(f"model={named(model)} is no torch.nn.Module: a gate moves the weights of a live model")


def require_numbers(every: Any, budget: Any, seed: Any, warmup: Any) -> None:
    """Of `opnorm.control`."""
    if type(every) is not int or every < 1:
        raise UsageError(f"every={every!r} is not possible; give a whole number of steps, at least 1")
    number = isinstance(budget, int | float) and not isinstance(budget, bool)
    if budget is not None and not (number and 0 < budget <= 1):
        raise UsageError(f"budget={budget!r} is not possible; give a share of a step's time in (0, 1], such as 0.08")
    if type(seed) is not int:
        raise UsageError(f"seed={seed!r} is not possible; give a whole number")
    if warmup is not None and not isinstance(warmup, Warmup):
        raise UsageError(f"warmup={named(warmup)} is not possible; give opnorm.anneal(steps=...), or None")


def optimizers_given(optimizers: Sequence[Any]) -> tuple[torch.optim.Optimizer, ...]:
    """torch's own, out of wrappers that hold one as `.optimizer` (Accelerate, Lightning)."""
    if not optimizers:
        raise UsageError("attach() got no optimizer: give the one that trains the model, such as attach(optimizer)")
    return tuple(_plain(optimizer) for optimizer in optimizers)


def _plain(optimizer: Any) -> torch.optim.Optimizer:
    inner = getattr(optimizer, "optimizer", None)
    if isinstance(inner, torch.optim.Optimizer) and (
        isinstance(optimizer, torch.optim.Optimizer) or not hasattr(optimizer, "get_last_lr")
    ):
        return _plain(inner)
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise UsageError(
            f"{named(optimizer)} is no torch.optim.Optimizer: give the optimizer itself, several as "
            "attach(one, other); in a loop without any, call gate.step() after each update"
        )
    return optimizer


def require_present(model: torch.nn.Module, sites: Iterable[Site]) -> None:
    """The sites' parameters are still those of the model, which may have been replaced since the gate was made."""
    own = dict(model.named_parameters(remove_duplicate=False))
    pairs = [(s.name, zip(s.tensors, s.parameters, strict=True)) for s in sites]
    lost = [name for name, pair in pairs if not all(own.get(n) is p or is_sharded(p) for n, p in pair)]
    if lost and not any(is_sharded(p) for p in model.parameters()):
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        raise UsageError(
            f"{lost[0]}{more}: the model has another parameter there than when the gate was made (a layer was "
            "replaced or parametrized, or load_state_dict(assign=True)): make the optimizer and the gate after that"
        )


def require_finish(dtype: Any, model: Any, width: Any) -> None:
    """Of `Gate.finalize`."""
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise UsageError(f"dtype={dtype!r} is not possible: give a floating type, such as torch.bfloat16, or None")
    if isinstance(width, bool) or not isinstance(width, int | float) or not 0 < width < 1:
        raise UsageError(f"width={width!r} is not possible: give a relative width between 0 and 1, such as 1e-3")
    if model is not None:
        require_model(model)


def require_state(state: Any, number: int) -> None:
    """Of `Gate.load_state_dict`: one that `Gate.state_dict` made."""
    parts = ("steps", "clock", "sites")
    if not isinstance(state, Mapping) or state.get("format") != number or not all(part in state for part in parts):
        raise UsageError(f"this is no state of a gate: give what Gate.state_dict() returned, of format {number}")


def named(value: Any) -> str:
    """What was given, in a few words: a number or a short text as it is, of anything else its type."""
    short = isinstance(value, str | int | float | None) or (isinstance(value, list | tuple | dict) and not value)
    return repr(value)[:80] if short else f"<{type(value).__name__}>"
