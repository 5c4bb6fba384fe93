"""A cap on W + s·B·A while only the thin factors move (LoRA: Hu et al., 2021); nothing of W's size is formed.

Each move changes B and A by the least amount that clips what is above the ceiling (`adapter_algebra`), so that the
factors keep their gauge and what an optimizer remembers of them stays meaningful; replacing them by a truncated
decomposition would not do that.

What a seed cannot hide: a unit v that A sends to 0 has ‖(W + sBA)v‖ = ‖Wv‖ ≤ ‖W‖, so that whatever is above ‖W‖ shows
itself in the rows of A. They are always part of the basis, beside a warm block and one step of block Krylov.

W is not the adapter's to change: where ‖W‖ is above the ceiling, the ceiling while training is ‖W‖ (an estimate, made
once), so that the adapter is not driven to cancel its base; `finalize.adapted.finish_adapter` then names the layer.

Guarantee: none while training, but that finite factors stay finite; all figures are estimates. Cost a move: products of
W with r + 3k rows (k = 8 warm vectors) and decompositions of matrices with r + 2k columns. A base of 16 bits is copied
to float32 for the time of a move.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from opnorm.constraint.kernels.adapter_algebra import Adapted, Ritz, change, clipped, norm_of, span
from opnorm.constraint.outcome import outcome
from opnorm.constraint.sharded import gathered, store
from opnorm.constraint.sites import Site

WARM = 8
"""Vectors kept from move to move."""

ROUNDS = 4
"""Newton steps of one move."""

BASE_ROUNDS = 12
"""Steps of block power iteration from which ‖W‖ is estimated."""


class AdapterClip:
    """Holds W + s·B·A of one site under a cap; see above."""

    def __init__(self, site: Site, seed: int = 0, *, warm: int = WARM) -> None:
        self.site, self.seed, self.warm = site, seed, warm
        self._block: torch.Tensor | None = None
        self._base: torch.Tensor | None = None
        self._base_seen: tuple[int, int] | None = None
        self._normal: tuple[torch.Tensor, torch.Tensor] | None = None

    @torch.no_grad()
    def hold(self, weight: torch.Tensor, lo: float, hi: float) -> torch.Tensor:  # noqa: ARG002
        """See `Kernel.hold`; `weight` is W, which stays; a floor is not held."""
        before = adapted(self.site, weight)
        ceiling = self._ceiling(before, hi)
        after, first, last = clipped(before, self._warm(before), ceiling, ROUNDS)
        sound = _finite(before.b, before.a, after.b, after.a, first.left, last.left)
        moves = sound & (first.values[0] > ceiling)
        removed = change(before, after) * moves
        if after is not before:
            _write(self.site, _where(moves, after.b, before.b), _where(moves, after.a, before.a))
        self._keep(last, sound, ceiling)
        top, end = first.values[0], torch.where(moves, last.values[0], first.values[0])
        return outcome(top, end, removed, (first.values > ceiling).sum() * moves, ~sound)

    @torch.no_grad()
    def look(self, weight: torch.Tensor) -> torch.Tensor:
        """See `Kernel.look`."""
        operator = adapted(self.site, weight)
        found = span(operator, self._warm(operator)).ritz()
        sound = _finite(operator.b, operator.a, found.left)
        none = torch.zeros((), device=found.values.device)
        self._keep(found, sound, found.values[0] + 1)
        return outcome(found.values[0], found.values[0], none, none, ~sound)

    def normal(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        """See `Kernel.normal`."""
        return self._normal

    def state_dict(self) -> dict[str, Any]:
        """See `Kernel.state_dict`."""
        return {"block": self._block, "base": self._base}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Kernel.load_state_dict`."""
        self._block, self._base, self._base_seen = state["block"], state["base"], None

    def _warm(self, operator: Adapted) -> torch.Tensor:
        if self._block is None:
            self._block = self._random(operator)
        self._block = self._block.to(operator.base.device, operator.base.dtype)
        return self._block

    def _random(self, operator: Adapted) -> torch.Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        rows = torch.randn(min(self.warm, *operator.base.shape), operator.base.shape[1], generator=generator)
        return rows.to(operator.base.device, operator.base.dtype)

    def _ceiling(self, operator: Adapted, hi: float) -> torch.Tensor:
        """The cap, or ‖W‖ where that is above it. A base that was written since is looked at again."""
        own = self.site.parameters[0]
        seen = id(own), own._version
        if self._base is None or self._base_seen not in (None, seen):
            self._base = norm_of(operator.base, self._random(operator), BASE_ROUNDS)
        self._base_seen = seen
        self._base = self._base.to(operator.base.device)
        return self._base.clamp_min(hi)

    def _keep(self, found: Ritz, sound: torch.Tensor, ceiling: torch.Tensor) -> None:
        """The warm block and the directions at the ceiling, where all is finite."""
        assert self._block is not None
        rows = found.right[: len(self._block)].to(self._block.dtype)
        self._block = _where(sound, rows, self._block)
        hot = ((found.values >= ceiling * (1 - 1e-3)) & sound).to(found.left.dtype)[:, None]
        left, right = torch.nan_to_num(found.left * hot), torch.nan_to_num(found.right * hot)
        self._normal = left.T.to(self._block.dtype), right.T.to(self._block.dtype)


def adapted(site: Site, base: torch.Tensor, dtype: torch.dtype = torch.float32) -> Adapted:
    """The operator of an adapted site as it is now, in `dtype` or wider; base: its W as stored, all of it."""
    b, a = (gathered(p) for p in site.parameters[1:])
    for tensor in (base, b, a):
        dtype = torch.promote_types(dtype, tensor.dtype)
    return Adapted((base.T if site.transposed else base).to(dtype), b.to(dtype), a.to(dtype), site.scale)


def _write(site: Site, b: torch.Tensor, a: torch.Tensor) -> None:
    for parameter, value in zip(site.parameters[1:], (b, a), strict=True):
        store(parameter, value)


def _finite(*tensors: torch.Tensor) -> torch.Tensor:
    return torch.stack([torch.isfinite(t).all() for t in tensors]).all()


def _where(condition: torch.Tensor, yes: torch.Tensor, no: torch.Tensor) -> torch.Tensor:
    return torch.where(condition, yes, no)
