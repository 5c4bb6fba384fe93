"""The end of a capped adapter: B and A as they are saved, and the proof that ‖W + s·B·A‖ ≤ c.

The way: what is proved as it is stays, bit for bit. Else the factors are clipped in float64
(`kernels.adapter_algebra`), rounded to the format they are stored in, and proved. What rounding and a last remainder
leave above the cap is taken off by B ← tB: f(t) = ‖W + t·sBA‖ is convex with f(0) = ‖W‖, so from proved
f(0) ≤ w ≤ c and f(t₁) ≤ f₁ every t ≤ t₁(c − w)/(f₁ − w) is under the cap; a few such chords end near the largest t.

Guarantee: PROVED, of the stored W and the returned B and A, with s the float64 that the layer multiplies by; the sum
and the products are meant as they stand, not as a forward pass in few bits rounds them. `BoundMissed` where ‖W‖ alone
is above the cap: an adapter of rank r could cancel at most r directions of its base, and is not made to.
Cost: the clip is thin; each proof is one PROVED measurement of W + s·B·A (`opnorm.linalg.measure`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from opnorm.bound import Evidence, Measurement
from opnorm.constraint.finalize.matrix import require_finite
from opnorm.constraint.kernels.adapter_algebra import Adapted, clipped
from opnorm.errors import BoundMissed
from opnorm.frameworks import aslinearoperator
from opnorm.frameworks.torch import to_host
from opnorm.linalg.algebra import low_rank_update
from opnorm.linalg.measure import measure_operator
from opnorm.linalg.request import Request

CLIPS, CALM, ROUNDS, WARM = 24, 3, 3, 16
AIMS, ATTEMPTS = 4, 60
GAIN = 1.02
"""Shares are sought while each proved one is so many times the last."""

MARGIN = 1e-6
"""By which the clip aims below the cap at first, relatively."""


@dataclass(frozen=True, slots=True)
class FinishedAdapter:
    """b, a: in the format asked for. measurement: of W + s·B·A. share: the t by which B was scaled at last."""

    b: torch.Tensor
    a: torch.Tensor
    measurement: Measurement
    share: float = 1.0
    changed: bool = False

    @property
    def upper(self) -> float:
        """What is PROVED."""
        return _upper(self.measurement)


@dataclass(frozen=True, slots=True)
class AdaptedLayer:
    """What stays while B and A are finished: W, s and the cap.

    base: W as it is stored in the end (its own rounding is not made here), inputs by outputs where `transposed`.
    width, seed: of the proofs.
    """

    base: torch.Tensor
    scale: float
    hi: float
    transposed: bool = False
    width: float = 1e-6
    seed: int = 0
    name: str = "the adapted layer"

    @property
    def weight(self) -> torch.Tensor:
        """W, outputs by inputs."""
        return self.base.T if self.transposed else self.base

    def measured(self, b: torch.Tensor, a: torch.Tensor) -> Measurement:
        """PROVED of W + s·B·A."""
        operator = low_rank_update(aslinearoperator(self.weight), aslinearoperator(b), aslinearoperator(a), self.scale)
        return measure_operator(operator, Request(Evidence.PROVED, self.width, self.seed))


def finish_adapter(
    layer: AdaptedLayer, b: torch.Tensor, a: torch.Tensor, dtype: torch.dtype | None = None
) -> FinishedAdapter:
    """B and A with ‖W + s·B·A‖ ≤ hi PROVED, nothing given being changed.

    dtype: of the B and A to be saved, None for their own.
    Raises `BoundMissed` where W alone is above the cap, and `NotFinite`.
    """
    kind_b, kind_a = dtype or b.dtype, dtype or a.dtype
    given = b.detach().to(kind_b), a.detach().to(kind_a)
    for tensor, which in ((layer.base, "W"), (given[0], "B"), (given[1], "A")):
        require_finite(to_host(tensor), f"{layer.name} ({which})")
    found = layer.measured(*given)
    if _upper(found) <= layer.hi:
        return FinishedAdapter(*given, found)
    alone = _upper(layer.measured(torch.zeros_like(given[0]), given[1]))
    if alone > layer.hi:
        raise BoundMissed(
            f"{layer.name}: the norm of its base weight alone is {alone:.6g}, above the cap of {layer.hi:.6g}, and "
            f"only its adapter of rank {a.shape[0]} may move; give a cap of at least {alone:.6g}, cap the base first "
            "(opnorm.cap_file), or merge the adapter and cap the sum"
        )
    found_at = _drawn_in(layer, b, a, (kind_b, kind_a), alone)
    return found_at if _upper(found_at.measurement) <= layer.hi else _scaled(layer, found_at, alone)


def _drawn_in(
    layer: AdaptedLayer, b: torch.Tensor, a: torch.Tensor, kinds: tuple[torch.dtype, torch.dtype], alone: float
) -> FinishedAdapter:
    """Clipped, rounded and measured, at ceilings drawn in by what rounding puts back, never to ‖W‖."""
    exact = Adapted(layer.weight.double(), b.detach().double(), a.detach().double(), layer.scale)
    generator = torch.Generator().manual_seed(layer.seed)
    block = torch.randn(min(WARM, *exact.base.shape), exact.base.shape[1], generator=generator, dtype=torch.float64)
    aim, block = layer.hi * (1 - MARGIN), block.to(exact.base.device)
    for _ in range(AIMS):
        exact, block = _clipped(exact, block, aim, MARGIN / 2 * layer.hi)
        rounded = exact.b.to(kinds[0]), exact.a.to(kinds[1])
        found = FinishedAdapter(*rounded, layer.measured(*rounded), changed=True)
        if found.upper <= layer.hi:
            break
        aim = max(aim - 1.25 * (found.upper - layer.hi) - MARGIN * layer.hi, (aim + alone) / 2)
    return found


def _clipped(operator: Adapted, block: torch.Tensor, aim: float, near: float) -> tuple[Adapted, torch.Tensor]:
    """Clipped until what is seen is under the aim for a while, each time from a warmer block, which is handed on."""
    ceiling = torch.tensor(aim, dtype=torch.float64, device=block.device)
    calm = 0
    for _ in range(CLIPS):
        operator, first, last = clipped(operator, block, ceiling, ROUNDS)
        block = last.right[: len(block)]
        calm = calm + 1 if bool(first.values[0] <= aim + near) else 0
        if calm == CALM:
            break
    return operator, block


def _scaled(layer: AdaptedLayer, found: FinishedAdapter, alone: float) -> FinishedAdapter:
    """B scaled down: chords between a share that is proved and one that is not end below the largest that can be."""
    above, below, best, margin = (1.0, found.upper), (0.0, alone), None, MARGIN
    for _ in range(ATTEMPTS):
        now = _at(layer, found, _chord(below, above, layer.hi) * (1 - margin))
        if now.upper > layer.hi:
            above, margin = (now.share, now.upper), min(0.5, 2 * margin)
            continue
        gained = best is None or now.share > best.share * GAIN
        best, below = now, (now.share, now.upper)
        if not gained:
            break
    if best is not None:
        return best
    raise BoundMissed(
        f"{layer.name}: no share of its adapter could be proved to stay under {layer.hi:.6g}, as the base weight alone "
        f"has {alone:.6g}; give a wider cap"
    )


def _at(layer: AdaptedLayer, found: FinishedAdapter, share: float) -> FinishedAdapter:
    b = (share * found.b.double()).to(found.b.dtype)
    return FinishedAdapter(b, found.a, layer.measured(b, found.a), share, changed=True)


def _chord(below: tuple[float, float], above: tuple[float, float], hi: float) -> float:
    """Where the chord of a convex function meets `hi`: the function is at most `hi` there."""
    (start, low), (end, high) = below, above
    return start + (end - start) * max(hi - low, 0.0) / (high - low)


def _upper(measurement: Measurement) -> float:
    upper = measurement.bracket(Evidence.PROVED).upper
    return math.inf if upper is None else upper
