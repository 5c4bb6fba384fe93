"""The cap on a matrix in training: a warm block Krylov space, Rayleigh–Ritz in it, and a relaxed clip.

Data flow: orthonormal rows kept from the last move → their image, the image of that, and once more (three passes) →
Ritz triplets σ_i, u_i, v_i of the span, u_i and v_i each orthonormal → W −= Σ (σ_i − t_i) u_i v_iᵀ over those above the
ceiling c → the u_i, warm rows of the other side for the next move. Krylov spaces see differences within a cluster, and
dozens of singular values lie at a ceiling; power iteration cannot tell them apart.

Targets go beyond the ceiling, t_i = c − relax·(σ_i − c): what grows, grows again before the next move, and relaxing
puts the mean of its path at the ceiling instead of its start (`target` tapers this off for jumps; a weight far above
its ceiling is clipped by SVD once).
Guarantee: none on the norm between moves, Ritz values being lower bounds. But u_iᵀXv_i ≤ c holds for every X under the
cap, the u_i v_iᵀ are orthonormal, and so a move is a relaxed projection onto the intersection of half-spaces that hold
all such X: for relax ≤ 1 it never leads away from any of them, however inexact the triplets (Fejér monotonicity;
Bauschke and Borwein, SIAM Review 38, 1996).
One of the rows is a scout: it follows what the others miss, with some noise at each move, so that a direction exactly
orthogonal to all of them is found within a few moves.
Cost: three passes with `rank` vectors, an update of rank at most `rank`, a 2·rank eigendecomposition; the device is
waited for once a move, as that decomposition does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from opnorm.constraint.kernels.clipping import clipped_by_svd, target, told
from opnorm.constraint.kernels.pace import Pace
from opnorm.constraint.kernels.thin import (
    Passes,
    largest_exponent,
    new_directions,
    orthonormal,
    polished,
    random_rows,
    working,
)

NOISE = 0.3
"""Of the scout, relative to its length."""

FAR = 8.0
"""Times the ceiling: from there a weight has been replaced or blown up, and its rows say little of it."""

JUMP = 1.5
"""Times the ceiling: a weight so far above it has jumped, and is explored once more before it is moved."""

EARLY, EARLY_LOOKS = 4, 2
"""Moves before which the block is first warmed by looks, and how many: optimizers take their longest steps first."""

WORKABLE = 2.0**40
"""Scaled σ₁ between its inverse and this: then no square leaves float32."""

NARROWEST, WIDEST = 8, 64


def rank_for(shape: tuple[int, int]) -> int:
    """Vectors kept: few on small matrices, where products are cheap beside calls."""
    short = min(shape)
    return max(1, min(max(NARROWEST, short // 50), WIDEST, short // 4))


@dataclass(frozen=True, slots=True)
class Ritz:
    """Triplets, ascending: values on the host; rows `near` of the side started from, `far` = their scaled images, of
    which `values` are the lengths times 2^−exponent; `fresh`: images of the directions found last.
    """  # fmt: skip

    values: list[float]
    near: Tensor
    far: Tensor
    fresh: Tensor


class KrylovClip:
    """Holds σ₁ of one matrix (rows, columns) under a ceiling; see the module's docstring.

    rank: vectors kept. relax: from 0 (to the ceiling) to 1 (reflected at it). fast: bfloat16 products where they pay.
    restful: whether calls are passed over while the ceiling is not in reach.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        rank: int | None = None,
        *,
        seed: int = 0,
        relax: float = 1.0,
        fast: bool = True,
        restful: bool = True,
    ) -> None:
        self.shape, self.rank = shape, rank_for(shape) if rank is None else min(rank, max(min(shape) // 2, 1))
        self.seed, self.relax, self.fast, self.restful = seed, relax, fast, restful
        self.pace = Pace()
        self.exponent, self.count, self.holds, self.right = 0, 0, 0, True
        self.rows: Tensor | None = None
        self._seen: tuple[Ritz, float, bool, int] | None = None
        self._pair: tuple[Tensor, Tensor] | None = None

    @torch.no_grad()
    def hold(self, weight: Tensor, lo: float, hi: float) -> Tensor:  # noqa: ARG002
        """See `Kernel.hold`; `lo` is not held."""
        if self.restful and self.pace.rests(hi):
            return told(weight, self.pace.level, self.pace.level, 0.0, 0)
        for _ in range(EARLY_LOOKS if self.holds < EARLY else 0):
            self.look(weight)
        self.holds += 1
        ritz = self._explored(weight)
        if ritz is not None and JUMP * hi < ritz.values[-1] <= FAR * hi:
            self._advance(ritz)
            ritz = self._explored(weight)
        if ritz is None:
            self.pace.restart()
            return told(weight, 0.0, 0.0, 0.0, 0, skipped=True)
        if ritz.values[-1] > FAR * hi:
            return self._far(weight, hi)
        hot = sum(value > hi for value in ritz.values)
        goals = [target(value, hi, self.relax) for value in ritz.values[len(ritz.values) - hot :]]
        losses = [value - goal for value, goal in zip(ritz.values[len(ritz.values) - hot :], goals, strict=True)]
        if hot:
            self._move(weight, ritz, losses)
        self._seen = ritz, hi, self.right, self.exponent
        top, after = ritz.values[-1], max([*goals, *ritz.values[: len(ritz.values) - hot]], default=0.0)
        self._advance(ritz)
        self.pace.moved(top, after, hi)
        return told(weight, top, after, math.sqrt(sum(loss * loss for loss in losses)), hot)

    def _far(self, weight: Tensor, hi: float) -> Tensor:
        """Many values, or all, may be above: once, all of them are decomposed."""
        result, self._pair = clipped_by_svd(weight, 0.0, hi)
        self._seen, self.pace, self.exponent = None, Pace(), 0
        return result

    @torch.no_grad()
    def look(self, weight: Tensor) -> Tensor:
        """See `Kernel.look`."""
        ritz = self._explored(weight)
        if ritz is None:
            return told(weight, 0.0, 0.0, 0.0, 0, skipped=True)
        self._advance(ritz)
        return told(weight, ritz.values[-1], ritz.values[-1], 0.0, 0)

    def normal(self) -> tuple[Tensor, Tensor] | None:
        """See `Kernel.normal`."""
        if self._seen is not None:
            self._pair, self._seen = _outward(*self._seen), None
        return self._pair

    def _explored(self, weight: Tensor) -> Ritz | None:
        """None where an entry is not finite. An unusual scale is found on the second try."""
        for _ in range(2):
            ritz = self._ritz(weight)
            if 1 / WORKABLE < math.ldexp(ritz.values[-1], -self.exponent) < WORKABLE:
                return ritz
            exponent = largest_exponent(weight)
            if exponent is None:
                return None
            self.exponent = exponent
        return self._ritz(weight)

    def _ritz(self, weight: Tensor) -> Ritz:
        passes = Passes(weight, self.exponent, self.right, fast=self.fast)
        known = self._start(weight) if self.rows is None else self.rows
        image = passes.forth(known)
        new = new_directions(passes.home(image), known)
        fresh = passes.forth(new)
        near, far = torch.cat((known, new)), torch.cat((image, fresh))
        gram = far @ far.mT
        if not math.isfinite(float(gram.sum())):
            return Ritz([math.nan] * self.rank, near, far, fresh)
        squares, turn = torch.linalg.eigh(gram)
        turn = turn[:, -self.rank :].mT
        values = [math.ldexp(math.sqrt(max(e, 0.0)), self.exponent) for e in squares[-self.rank :].tolist()]
        return Ritz(values, turn @ near, turn @ far, fresh)

    def _start(self, weight: Tensor) -> Tensor:
        self.rows = orthonormal(
            random_rows(self.rank, weight.shape[1] if self.right else weight.shape[0], self.seed, weight)
        )
        return self.rows

    def _move(self, weight: Tensor, ritz: Ritz, losses: list[float]) -> None:
        hot = len(losses)
        shares = [loss / value for loss, value in zip(losses, ritz.values[-hot:], strict=True)]
        far = ritz.far[-hot:] * torch.tensor(shares, dtype=ritz.far.dtype, device=ritz.far.device)[:, None]
        left, right = (far, ritz.near[-hot:]) if self.right else (ritz.near[-hot:], far)
        wide = weight if weight.dtype == working(weight.dtype) else weight.to(ritz.far.dtype)
        wide.addmm_(left.mT, right, alpha=-math.ldexp(1.0, self.exponent))
        if wide is not weight:
            weight.copy_(wide)

    def _advance(self, ritz: Ritz) -> None:
        """The images, orthonormal, are the next block, but for the first row: the scout's."""
        self.count += 1
        kept = max(self.rank - 1, 1)
        top = self._orthonormal_images(ritz, kept)
        if self.rank > kept:
            noise = self._noise(1, top)
            scout = torch.nn.functional.normalize(ritz.fresh[-1:]) + NOISE * noise
            scout = torch.nn.functional.normalize(scout - (scout @ top.mT) @ top)
            top = torch.cat((scout, top))
        self.rows, self.right = top, not self.right

    def _orthonormal_images(self, ritz: Ritz, kept: int) -> Tensor:
        values = [math.ldexp(value, -self.exponent) for value in ritz.values[-kept:]]
        if values[0] > 1e-2 * values[-1]:
            lengths = torch.tensor(values, dtype=ritz.far.dtype, device=ritz.far.device)[:, None]
            return polished(ritz.far[-kept:] / lengths)
        images = ritz.far[-kept:] / (values[-1] or 1.0) + 1e-6 * self._noise(kept, ritz.far)
        return orthonormal(images.flip(0)).flip(0)

    def _noise(self, count: int, like: Tensor) -> Tensor:
        return random_rows(count, like.shape[1], self.seed + self.count, like)

    def state_dict(self) -> dict[str, Any]:
        """See `Kernel.state_dict`."""
        own = {
            "exponent": self.exponent,
            "count": self.count,
            "holds": self.holds,
            "right": self.right,
            "pace": self.pace.state_dict(),
        }
        own["rows"] = None if self.rows is None else self.rows.clone()
        pair = self.normal()
        own["pair"] = None if pair is None else [side.clone() for side in pair]
        return own

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Kernel.load_state_dict`."""
        self.exponent, self.count, self.right = int(state["exponent"]), int(state["count"]), bool(state["right"])
        self.holds = int(state["holds"])
        self.pace.load_state_dict(state["pace"])
        rows, pair = state["rows"], state["pair"]
        self.rows = None if rows is None else rows.clone()
        self._seen, self._pair = None, None if pair is None else (pair[0].clone(), pair[1].clone())


def _outward(ritz: Ritz, hi: float, right: bool, exponent: int) -> tuple[Tensor, Tensor]:
    """Left and right directions, zero where the value is below the ceiling."""
    there = [value >= hi * (1 - 1e-3) for value in ritz.values]
    scale = [math.ldexp(1 / v, exponent) if t else 0.0 for t, v in zip(there, ritz.values, strict=True)]
    near = ritz.near * ritz.near.new_tensor([float(t) for t in there])[:, None]
    far = ritz.far * ritz.far.new_tensor(scale)[:, None]
    return (far.mT, near.mT) if right else (near.mT, far.mT)
