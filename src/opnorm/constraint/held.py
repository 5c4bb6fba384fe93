"""One site under a gate: its kernel, its schedule, what happened to it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch.utils._pytree import tree_map

from opnorm.constraint.choice import kernel_for
from opnorm.constraint.diagnosis.history import History
from opnorm.constraint.kernels import Kernel
from opnorm.constraint.losses.penalties import penalty_of, warm_for
from opnorm.constraint.losses.warm import WarmTop
from opnorm.constraint.outcome import read
from opnorm.constraint.schedule import Warmup
from opnorm.constraint.settle import settle
from opnorm.constraint.sharded import opened
from opnorm.constraint.sites import Site

_FIRST_LOOKS = 4
"""Looks at a weight before its first norm is taken for known: a warm block starts at random."""


class Held:
    """A site and its state; number: its place in the gate, by which sites are staggered."""

    def __init__(self, site: Site, number: int, every: int, warmup: Warmup | None, seed: int) -> None:
        self.site, self.number, self.warmup = site, number, warmup
        self.every = site.rule.every or every
        own = int.from_bytes(hashlib.sha256(f"{seed}:{site.name}".encode()).digest()[:7], "little")
        self.kernel: Kernel = kernel_for(site, own)
        self.history = History(site.name)
        self.first: float | None = None
        self._warm: WarmTop | None = None
        self._seed = own

    def act(self, step: int) -> None:
        """Move the weight towards its band, or only look at it."""
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
            if self.warmup is None:
                settle(self.site.kind, weight, self.kernel, *self.site.band(step))

    def _norm_at_first(self, weight: torch.Tensor) -> float:
        """An estimate of σ₁ before anything moved; waits for the device, once."""
        for _ in range(_FIRST_LOOKS - 1):
            self.kernel.look(weight)
        return read(self.kernel.look(weight))["top"]

    def penalty(self, step: int) -> torch.Tensor:
        """The site's term of the loss, tracked by autograd."""
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
            "shape": list(self.site.shape), "first": self.first, "kernel": self.kernel.state_dict(),
            "penalty": penalty, "history": self.history.state_dict(),
        })  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        own = _copied(dict(state))
        self.first = own["first"]
        self.kernel.load_state_dict(own["kernel"])
        self.history.load_state_dict(own["history"])
        if own["penalty"] is not None:
            self._penalized().load_state_dict(own["penalty"])


def _copied(state: dict[str, Any]) -> dict[str, Any]:
    """With tensors of its own."""
    copied: dict[str, Any] = tree_map(lambda v: v.clone() if isinstance(v, torch.Tensor) else v, state)
    return copied
