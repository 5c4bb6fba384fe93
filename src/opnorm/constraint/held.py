"""One site under a gate: its kernel, its schedule, what happened to it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, TypeAlias

import torch
from torch.utils._pytree import tree_map

from opnorm.constraint.cadence import due
from opnorm.constraint.choice import kernel_for
from opnorm.constraint.diagnosis.history import History
from opnorm.constraint.kernels import Kernel
from opnorm.constraint.kernels.thin import working
from opnorm.constraint.losses.penalties import penalty_of, warm_for
from opnorm.constraint.losses.warm import WarmTop
from opnorm.constraint.outcome import read
from opnorm.constraint.schedule import Warmup
from opnorm.constraint.settle import settle
from opnorm.constraint.sharded import opened
from opnorm.constraint.sites import Site

Home: TypeAlias = tuple[torch.device, torch.dtype]
"""Where a weight lies, and what is computed in for it."""

_FIRST_LOOKS = 4
"""Looks at a weight before its first norm is taken for known: a warm block starts at random."""


class Held:
    """A site and its state; number: its place in the gate, by which sites are staggered."""

    def __init__(self, site: Site, number: int, every: int, warmup: Warmup | None, seed: int) -> None:
        self.site, self.number, self.warmup = site, number, warmup
        self.every = site.rule.every or every
        own = int.from_bytes(hashlib.sha256(f"{seed}:{site.name}".encode()).digest()[:7], "little")
        self.kernel: Kernel = kernel_for(site, own)
        self.history = History(site.name, ranked=site.kind == "dense")
        self.first: float | None = None
        self._warm: WarmTop | None = None
        self._seed = own
        self._home: Home | None = None

    def due(self, step: int, stretch: int) -> bool:
        """Whether it acts at a step, its interval multiplied by `stretch`."""
        capped = self.site.rule.technique == "cap"
        return due(step, self.every * stretch, self.number, self.history.moves, capped=capped)

    def act(self, step: int) -> None:
        """Move the weight towards its band, or only look at it."""
        self._follow()
        moves = self.site.rule.moves and not self.site.frozen
        if moves and self.first is None:
            self._begin(step)
        with opened(self.site) as weight:
            if not moves:
                seen = self.kernel.look(weight)
                self.history.record(step, seen, *self.site.band(step), None, None, self._matrix(weight))
                return
            lo, hi = self.site.band(step, self.warmup, self.first or 0.0)
            result = self.kernel.hold(weight, lo, hi)
            sampled = self.history.sampling
            gradient, normal = (self.site.gradient(), self.kernel.normal()) if sampled else (None, None)
            self.history.record(step, result, lo, hi, gradient, normal, self._matrix(weight))

    def _matrix(self, weight: torch.Tensor) -> torch.Tensor | None:
        """What the history may look at: an adapted layer's weight is never formed."""
        return None if self.site.kind == "adapted" else weight

    def _begin(self, step: int) -> None:
        """See how large the weight is; without a warmup, bring it into its band at once."""
        with opened(self.site) as weight:
            self.first = self._norm_at_first(weight)
            if self.warmup is None and self.first is not None:
                settle(self.site.kind, weight, self.kernel, *self.site.band(step))

    def _norm_at_first(self, weight: torch.Tensor) -> float | None:
        """An estimate of σ₁ before anything moved, None where it is not finite; waits for the device, once."""
        for _ in range(_FIRST_LOOKS - 1):
            self.kernel.look(weight)
        seen = read(self.kernel.look(weight))
        return None if seen["skipped"] else seen["top"]

    def _follow(self) -> None:
        """Where the model was moved to another device or precision, what is kept of the weight goes there too."""
        parameter = self.site.parameters[0]
        here = parameter.device, working(parameter.dtype)
        if self._home not in (None, here):
            state, warm = self.kernel.state_dict(), None if self._warm is None else self._warm.state_dict()
            self.kernel, self._warm = kernel_for(self.site, self._seed), None
            self.kernel.load_state_dict(_at_home(state, here))
            if warm is not None:
                self._penalized().load_state_dict(_at_home(warm, here))
        self._home = here

    def penalty(self, step: int) -> torch.Tensor:
        """The site's term of the loss, tracked by autograd."""
        self._follow()
        above = self.site.band(step)[1]
        return penalty_of(self.site.tracked(), self.site.rule, above, self._penalized(), factor=self.site.factor)

    def _penalized(self) -> WarmTop:
        if self._warm is None:
            self._warm = warm_for(self.site, self._seed)
        return self._warm

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs; copies, which the run does not move."""
        penalty = None if self._warm is None else self._warm.state_dict()
        return _copied({
            "shape": list(self.site.shape), "technique": self._technique, "first": self.first,
            "kernel": self.kernel.state_dict(), "penalty": penalty, "history": self.history.state_dict(),
        })  # fmt: skip

    @property
    def _technique(self) -> str:
        return f"{self.site.rule.technique} by {self.site.rule.method}"

    def fits(self, state: Any) -> bool:
        """Whether a state is of a site of this shape and technique, and whole."""
        parts = ("shape", "technique", "first", "kernel", "penalty", "history")
        whole = isinstance(state, Mapping) and all(part in state for part in parts)
        return whole and list(state["shape"]) == list(self.site.shape) and state["technique"] == self._technique

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what `state_dict` gave, which `fits`."""
        parameter = self.site.parameters[0]
        self._home = parameter.device, working(parameter.dtype)
        own = _copied(dict(state))
        self.first = own["first"]
        self.kernel.load_state_dict(_at_home(own["kernel"], self._home))
        self.history.load_state_dict(own["history"])
        if own["penalty"] is not None:
            self._penalized().load_state_dict(_at_home(own["penalty"], self._home))


def _at_home(state: Any, home: Home) -> Any:
    """Its tensors on a device, floating ones in a precision; complex ones in that of their parts."""
    device, dtype = home

    def moved(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        kind = dtype.to_complex() if value.is_complex() else dtype if value.is_floating_point() else value.dtype
        return value.to(device, kind)

    return tree_map(moved, state)


def _copied(state: dict[str, Any]) -> dict[str, Any]:
    """With tensors of its own."""
    copied: dict[str, Any] = tree_map(lambda v: v.clone() if isinstance(v, torch.Tensor) else v, state)
    return copied
