"""Ceilings from a free run: train a copy, watch every layer, propose what it would hardly notice.

The way: model → a deep copy → the user's `run(copy)` trains it with whatever optimizers it makes; a gate that only
watches attaches itself to each optimizer that moves the copy, at its first step → σ by step → the median over the
second half, times `headroom` → rules. Guarantee: none: levels are estimates, of one run. Cost: the run, and looks that
take below 1 % of it at `every` ≥ 50, more below. The model given is not touched.
"""

from __future__ import annotations

import copy
import glob
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from opnorm.constraint.diagnosis.history import summaries
from opnorm.constraint.diagnosis.summary import Summary
from opnorm.constraint.gate import Gate, control
from opnorm.constraint.rules import Rule, Where, cap, watch
from opnorm.errors import UsageError

GROWING = 1.1
"""The last quarter's median over that of the quarter before, from which σ has not settled."""


@dataclass(frozen=True, slots=True)
class Level:
    """A site: σ at first, where it settled (`level`), and the ceiling proposed. growing: it had not settled."""

    name: str
    start: float
    level: float
    ceiling: float
    growing: bool

    def __str__(self) -> str:
        note = "  still growing when the run ended: run longer, or expect to raise it" if self.growing else ""
        return f"{self.name}: cap {self.ceiling:g}  (σ {self.start:.3g} → {self.level:.3g}){note}"


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Ceilings from a free run of `steps` optimizer steps; `rules` go into `opnorm.control`. All are estimates."""

    sites: tuple[Level, ...]
    headroom: float
    steps: int

    @property
    def rules(self) -> tuple[Rule, ...]:
        """One cap a site."""
        return tuple(cap(glob.escape(site.name), site.ceiling) for site in self.sites)

    @property
    def levels(self) -> dict[str, float]:
        """Where σ settled, by site; for `report(gate, free=...)`."""
        return {site.name: site.level for site in self.sites}

    def to_dict(self) -> dict[str, Any]:
        """As JSON may hold it."""
        keys = ("name", "start", "level", "ceiling", "growing")
        sites = [{key: getattr(site, key) for key in keys} for site in self.sites]
        return {"steps": self.steps, "headroom": self.headroom, "sites": sites}

    def __str__(self) -> str:
        head = f"{self.headroom:g} × the median σ over the second half of {self.steps} free steps (estimates)"
        return "\n".join([head, *map(str, self.sites)])


def suggest(
    model: torch.nn.Module,
    run: Callable[[Any], object],
    *,
    where: Where = "*",
    headroom: float = 1.2,
    exclude: str | type | Sequence[str | type] = (),
    input_shape: Any = None,
    every: int = 1,
    seed: int = 0,
) -> Suggestion:
    """Ceilings that a free run would hardly notice.

    run: trains the model it is given, a copy of `model`, for as long as matters, making its own optimizers over that
    copy's parameters. headroom: on the median σ of the second half. every: steps from one look to the next. The rest
    as in `opnorm.control`. `UsageError` where `run` makes no step of a torch optimizer over the copy's parameters.
    """
    if not (math.isfinite(headroom) and headroom > 0):
        raise UsageError(f"headroom={headroom!r} is not possible: give a factor above 0, such as 1.2")
    trained = copy.deepcopy(model)
    gate = control(trained, watch(where, every=every), exclude=exclude, input_shape=input_shape, seed=seed)
    with _following(gate):
        run(trained)
    if not gate.steps:
        raise UsageError(
            "run made no step of a torch optimizer over the model it was given: train that copy, with an optimizer "
            "made inside run over its parameters, before it is sharded"
        )
    found = summaries([held.history for held in gate.held])
    return Suggestion(tuple(_level(s, headroom) for s in found if s.series), headroom, gate.steps)


@contextmanager
def _following(gate: Gate) -> Iterator[None]:
    """While it lasts, `gate` attaches itself to every optimizer that moves one of its sites."""
    sites = {id(p) for held in gate.held for p in held.site.parameters}
    seen: dict[int, torch.optim.Optimizer] = {}

    def attach(optimizer: torch.optim.Optimizer, _args: Any, _kwargs: Any) -> None:
        if id(optimizer) not in seen:
            seen[id(optimizer)] = optimizer
            if any(id(p) in sites for group in optimizer.param_groups for p in group["params"]):
                gate.attach(optimizer)

    handle = register_optimizer_step_pre_hook(attach)
    try:
        yield
    finally:
        handle.remove()
        gate.detach()


def _level(s: Summary, headroom: float) -> Level:
    return Level(s.name, s.series[0][1], s.level, _rounded_up(headroom * s.level), s.growth > GROWING)


def _rounded_up(value: float) -> float:
    """To three digits."""
    if value <= 0:
        return value
    unit = 10.0 ** (math.floor(math.log10(value)) - 2)
    return float(f"{math.ceil(value / unit) * unit:.3g}")
