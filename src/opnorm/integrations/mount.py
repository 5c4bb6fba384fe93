"""What every trainer's callback does with a gate: its making, its penalty's gradients, its end.

Trainers own the loss, so that a penalty is not added to it but its gradient to the parameters', just before the
optimizer's step: the same sum, as gradients are linear. It is not seen by gradient clipping.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from opnorm.constraint.finalize.certificate import Certificate
from opnorm.constraint.gate import Gate, control
from opnorm.constraint.rules import Rule
from opnorm.errors import MissingExtra, UsageError


@dataclass
class Mount:
    """A gate to be: what `opnorm.control` is to be given once there is a model and an optimizer.

    finalize: prove (and cast to `dtype`) when training ends; certificate: the file for what was proved.
    """

    rules: Rule | Sequence[Rule]
    options: dict[str, Any] = field(default_factory=dict)
    finalize: bool = False
    dtype: torch.dtype | None = None
    certificate: str | Path | None = None
    gate: Gate | None = None
    proved: Certificate | None = None

    def begin(self, model: torch.nn.Module, optimizers: Sequence[Any], state: dict[str, Any] | None) -> Gate:
        """A new gate on the real optimizers; state: of a gate that is resumed."""
        self.release()
        self.gate = control(model, self.rules, **self.options)
        if state:
            self.gate.load_state_dict(state)
        return self.gate.attach(*(innermost(o) for o in optimizers))

    def release(self) -> None:
        """Take the gate off its optimizers; it stays readable."""
        if self.gate is not None:
            self.gate.detach()

    def end(self, *, writes: bool) -> None:
        """Release, prove if asked to, and save the certificate in the one process that writes."""
        self.release()
        if self.gate is None or not (self.finalize or self.certificate):
            return
        self.proved = self.gate.finalize(self.dtype)
        if self.certificate and writes:
            self.proved.save(self.certificate)

    @property
    def penalizes(self) -> bool:
        """Whether a penalty is to be mounted."""
        return self.gate is not None and any(h.site.rule.technique == "penalty" for h in self.gate.held)


def innermost(optimizer: Any) -> torch.optim.Optimizer:
    """The torch optimizer inside a library's wrappers, whose steps are the real ones."""
    while not isinstance(optimizer, torch.optim.Optimizer) or _wraps(optimizer):
        inner = getattr(optimizer, "optimizer", None)
        if inner is None:
            raise UsageError(
                f"a {type(optimizer).__name__} wraps no torch optimizer that a gate could follow: attach one by hand"
            )
        optimizer = inner
    return optimizer


def _wraps(optimizer: Any) -> bool:
    """Whether it hands its steps on, as accelerate's does, which is a torch optimizer too."""
    return isinstance(getattr(optimizer, "optimizer", None), torch.optim.Optimizer)


def add_penalty_gradients(gate: Gate) -> None:
    """Add the gradients of `gate.penalty()` to those of the parameters; outside of any hook that reduces gradients.

    Every process adds the same, which is what an average over processes would give.
    """
    sites = [h.site for h in gate.held if h.site.rule.technique == "penalty" and not h.site.frozen]
    parameters = list({id(p): p for site in sites for p in site.parameters if p.requires_grad}.values())
    if not parameters:
        return
    with torch.enable_grad():
        gradients = torch.autograd.grad(gate.penalty(), parameters, allow_unused=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if gradient is None:
            continue
        gradient = gradient.to(parameter.dtype)
        parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient


def required(module: str, extra: str, purpose: str) -> Any:
    """A module of an optional dependency; `MissingExtra` with the line that installs it."""
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtra(extra, purpose) from error
