"""Convolutions under a cap: top singular triplets of the operator, then a projection within the kernel's support.

A convolution's singular values cannot be clipped one by one: the clipped operator is no convolution with as few taps.
But for unit vectors u, v every kernel X with σ₁(A(X)) ≤ c satisfies Re u*A(X)v ≤ c, a half-space of kernels whose
normal G is the weight gradient of the pair. A move projects the kernel onto one such half-space, the sum of those of
many triplets weighted by how far each is above the cap.

Guarantee: none on the norm between moves (Ritz values approach σ₁ from below), but each move is a projection onto a
half-space that holds all kernels under the cap, however inexact the triplets: in exact arithmetic it never leads away
from any kernel under the cap, the nearest one included (Fejér monotonicity; Bauschke and Borwein, SIAM Review 38,
1996). Scaling the kernel instead would shrink what does not offend.

Triplets come from the symbol at a grid of frequencies (`convolution_symbol`: cheap, whatever the input's size) where it
describes the operator, else from the operator at its own size (`convolution_krylov`: other paddings than zeros and
circular, inputs hardly larger than the kernel). The symbol's cap is that of every input size: of 3 taps on 8×8
positions that is 4 % below the one at the size given for random kernels, 8 % for a box, and less on larger inputs.
Cost: as of some 10 samples of a batch by the symbol, 5·rank samples of the working size by Krylov.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch

from opnorm.constraint.kernels.convolution_algebra import Face, scaled
from opnorm.constraint.kernels.convolution_krylov import KrylovExplorer
from opnorm.constraint.kernels.convolution_products import Products, working_geometry
from opnorm.constraint.kernels.convolution_rest import Rest
from opnorm.constraint.kernels.convolution_symbol import SymbolExplorer
from opnorm.constraint.outcome import outcome
from opnorm.errors import UsageError
from opnorm.linalg.convolution.geometry import Geometry, Settings

Method = Literal["auto", "symbol", "krylov"]

RANKS = {"symbol": 4, "krylov": 8}
"""Triplets a frequency and group, or a group."""

LARGEST_SIZE = 16
"""Axes are cut to this by Krylov: a zero-padded 3-tap operator loses about 2 % of its norm at most."""

POSITIONS = 64
"""Of the output, from which the symbol costs no more than products at the input's own size, by measurement. It sees
every frequency, where a block of Krylov misses what rises in a crowd of singular values."""

ROOMY = 8 / 3
"""Times the kernel's span: axes from which the symbol describes the operator; 8 positions for 3 taps."""

PEAK, LEAST, FORGET, STEADY = 1.2, 0.6, 0.9, 0.97
"""The top is to stay under PEAK caps between two moves: a move leaves room for the growth last seen between two (where
calls may be passed over: between two calls), the largest kept and forgotten by FORGET a move, but descends no lower
than LEAST of the cap. A top below STEADY times the one before has not grown."""

FAR = 16.0
"""Beyond this many times the cap the kernel is first scaled to it, or thousands of small moves would be needed."""


class Explorer(Protocol):
    """Where triplets come from."""

    def start(self, dtype: torch.dtype) -> torch.Tensor:
        """A random block."""

    def explore(self, kernel: torch.Tensor, block: torch.Tensor, unit: torch.Tensor) -> tuple[Face, torch.Tensor]:
        """Triplets of unit·kernel, found from the block; and the block to start from the next time."""


class ConvolutionDescent:
    """Holds σ₁ of one convolution under a cap; see the module's docstring.

    settings: as `geometry` takes them. input_size: the spatial axes only; None: any size, where Krylov works with a
    small one. rank: triplets a group (and frequency). method: where the triplets come from. aim: the share of the cap
    to descend to; None: as much below the cap as the top grew between moves (`PEAK`), the cap itself while it does not
    grow. largest: axes of the input are cut to this by Krylov; None: never. restful: whether calls are passed over
    while the top, growing as it did, stays under PEAK caps (`convolution_rest`); with a fixed aim none is.
    """

    def __init__(
        self,
        settings: Settings,
        input_size: Sequence[int] | None = None,
        *,
        rank: int | None = None,
        method: Method = "auto",
        aim: float | None = None,
        largest: int | None = LARGEST_SIZE,
        restful: bool = False,
        seed: int = 0,
    ) -> None:
        if rank is not None and rank < 1:
            raise UsageError(f"rank={rank!r} is not possible; give a whole number, at least 1")
        if aim is not None and not 0 < aim <= 1:
            raise UsageError(f"aim={aim!r} is not possible; give a share of the cap above 0, at most 1")
        if method not in ("auto", *RANKS):
            raise UsageError(f"method={method!r} is not known; choose 'auto', 'symbol' or 'krylov'")
        self.settings = settings
        self.input_size = None if input_size is None else tuple(input_size)
        self.rank, self.method, self.aim, self.largest, self.seed = rank, method, aim, largest, seed
        self._rest = Rest() if restful and aim is None else None
        self._explorer: Explorer | None = None
        self._block: torch.Tensor | None = None
        self._growth: torch.Tensor | None = None

    def hold(self, weight: torch.Tensor, lo: float, hi: float) -> torch.Tensor:
        """See `Kernel.hold`: `weight` has the layout of PyTorch's module; `UsageError` for lo > 0."""
        if lo > 0:
            raise UsageError(f"lo = {lo:g} on a convolution: its lower singular values cannot be held; use lo = 0")
        if self._rest is not None and self._rest.passes(hi, PEAK, self._growth):
            return self._told(hi)
        with torch.no_grad():
            return self._moved(weight, hi)

    def _told(self, hi: float) -> torch.Tensor:
        assert self._growth is not None
        level = self._growth[1] * hi
        return outcome(level, level, *torch.zeros_like(self._growth))

    def look(self, weight: torch.Tensor) -> torch.Tensor:
        """See `Kernel.look`."""
        with torch.no_grad():
            return self._moved(weight, float("inf"))

    def normal(self) -> None:
        """None: the outward directions of a convolution are kernels, not matrices of two sides."""

    def state_dict(self) -> dict[str, Any]:
        """See `Kernel.state_dict`."""
        kept = {"block": self._block, "growth": self._growth}
        state: dict[str, Any] = {name: value.clone() for name, value in kept.items() if value is not None}
        return state if self._rest is None else state | {"rest": self._rest.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Kernel.load_state_dict`."""
        block = state.get("block")
        self._block = None if block is None else block.clone()
        growth = state.get("growth")
        self._growth = None if growth is None else growth.clone()
        if self._rest is not None:
            self._rest.load_state_dict(state["rest"])

    def _moved(self, weight: torch.Tensor, hi: float) -> torch.Tensor:
        kernel = weight.to(working_dtype(weight.dtype))
        explorer = self._ready(weight)
        assert self._block is not None
        size = kernel.abs().amax()
        finite = torch.isfinite(size)
        exponent = torch.frexp(torch.where(finite, size, 1))[1]
        face, block = explorer.explore(kernel, self._block, scaled(torch.ones_like(size), -exponent))
        top = face.values.amax()
        found = finite & torch.isfinite(top)
        self._block.copy_(torch.where(found & (top > 0), block, self._block))
        seen, zero = scaled(top, exponent), torch.zeros_like(top)
        if hi == float("inf"):
            return outcome(seen, seen, zero, zero, (~found).to(top.dtype))
        cap = scaled(torch.full_like(top, hi), -exponent)
        move = descent(face, cap * self._share(seen / hi), cap)
        change = scaled(move.change, exponent)
        good = found & torch.isfinite(move.removed) & (size + change.abs().amax() <= torch.finfo(weight.dtype).max)
        kernel.mul_(torch.where(good, move.factor, 1)).sub_(torch.where(good, change, 0))
        if kernel is not weight:
            weight.copy_(kernel)
        removed = scaled(move.removed, exponent) + (1 - move.factor) * torch.linalg.vector_norm(kernel) / move.factor
        after = torch.where(good, scaled(move.after, exponent), seen)
        self._left(after / hi)
        if self._rest is not None:
            self._rest.moved(hi)
        return outcome(seen, after, removed * good, move.active * good, (~good).to(top.dtype))

    def _share(self, top: torch.Tensor) -> torch.Tensor | float:
        """Of the cap, that is aimed at; `top` in caps.

        `_growth` holds the last top, what the last move left of it at most, and the growth to leave room for. Tops that
        fall from move to move are the moves' own work, and no growth.
        """
        if self.aim is not None:
            return self.aim
        if self._growth is None:
            self._growth = torch.stack((top, top, torch.zeros_like(top)))
        last, left, room = self._growth
        grown = torch.where(torch.isfinite(top) & (top > STEADY * last), top - left, 0)
        grown = grown / (1 if self._rest is None else max(self._rest.calls, 1))
        room = torch.maximum(grown, FORGET * room)
        self._growth = torch.stack((torch.where(torch.isfinite(top), top, last), left, room))
        return (PEAK - room).clamp(LEAST, 1.0)

    def _left(self, after: torch.Tensor) -> None:
        if self._growth is not None:
            self._growth[1] = torch.where(torch.isfinite(after), after, self._growth[1])

    def _ready(self, weight: torch.Tensor) -> Explorer:
        if self._explorer is None:
            self._explorer = self._chosen(weight)
        if self._block is None:
            self._block = self._explorer.start(working_dtype(weight.dtype))
        return self._explorer

    def _chosen(self, weight: torch.Tensor) -> Explorer:
        known = working_geometry(weight.shape, self.settings, self.input_size, self.largest)
        method = self.method
        if method == "auto":
            method = "symbol" if described_by_symbol(known, self.input_size) else "krylov"
        rank = RANKS[method] if self.rank is None else self.rank
        if method == "symbol":
            return SymbolExplorer(known, weight.shape, rank, weight.device, self.seed)
        products = Products(known, weight.device)
        return KrylovExplorer(products, weight.shape[1] * known.groups, rank, weight.device, self.seed)


def described_by_symbol(known: Geometry, input_size: Sequence[int] | None) -> bool:
    """Whether the symbol is close to the operator, as axes are `ROOMY`, and costs no more."""
    if known.mode not in ("zeros", "circular"):
        return False
    if input_size is None:
        return True
    spans = [(k - 1) * d + 1 for k, d in zip(known.kernel, known.dilation, strict=True)]
    assert known.size is not None
    roomy = all(n >= ROOMY * span or span == 1 for n, span in zip(known.size, spans, strict=True))
    return roomy and math.prod(known.output) >= POSITIONS


@dataclass(frozen=True, slots=True)
class Move:
    """kernel ← factor·kernel − change; one of the two does nothing. See `outcome` for the rest."""

    factor: torch.Tensor
    change: torch.Tensor
    removed: torch.Tensor
    after: torch.Tensor
    active: torch.Tensor


def descent(face: Face, aim: torch.Tensor, cap: torch.Tensor) -> Move:
    """The projection onto the half-space, group by group; far beyond the cap only the scaling to `FAR` times it.

    With excesses e = s − aim where s > cap, the half-space is Σe_iRe u_i*A(X)v_i ≤ aim·Σe_i, the normal D = Σe_iG_i
    and the way to it Σe²/‖D‖². `after`: the largest of what is left to the top triplet of a group, of the value that
    follows, and of the aim: the mean of the hot ones, weighted by e, is the aim, so at least one is no lower.
    """
    values = face.values
    top, groups = values.amax(), len(values)
    hot = values > cap
    near = top <= FAR * cap
    excess = torch.where(hot & near, values - aim, 0)
    direction = face.combine(excess)
    length = torch.linalg.vector_norm(direction.reshape(groups, -1), dim=1)
    way = torch.where(length > 0, excess.square().sum(dim=1) / torch.where(length > 0, length, 1).square(), 0)
    change = (direction.reshape(groups, -1) * way.unsqueeze(1)).reshape(direction.shape)
    seen = (face.first() * change).reshape(groups, -1).sum(dim=1)
    factor = torch.where(near, 1, FAR * cap / torch.where(top > 0, top, 1))
    after = torch.maximum(values.amax(dim=1) * factor - seen, face.next * factor)
    after = torch.where(length > 0, torch.maximum(after, aim), after)
    removed = torch.linalg.vector_norm(way * length)
    return Move(factor, change, removed, after.amax(), hot.sum().to(values.dtype))


def working_dtype(dtype: torch.dtype) -> torch.dtype:
    """What products run in: float64 for float64, else float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32
