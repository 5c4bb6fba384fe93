"""What a gate did to one site, collected on the weight's device without waiting for it, and read all at once.

The way: `record` keeps a kernel's outcome (five numbers in one tensor) as it is; every 256 of them are folded into
running totals, on the device; of all, at most 512 are kept as a series. Of every 32nd (and the 1st, 2nd, 4th, 8th and
16th) it also keeps a sample of what over-penalization is told by: the weight's Frobenius norm, the gradient's, and the
cosine of −gradient with the outward normal Σu_jv_jᵀ of the singular directions at the ceiling, a thin product.
`summaries` then takes everything from a device in one transfer.

Guarantee: none; `top` and `after` are Ritz values, which approach σ₁ from below. Totals are float32 sums: counts are
exact up to 2²⁴ moves. Cost: an append a move; a sample reads the weight and the gradient once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from opnorm.constraint.cadence import Clock
from opnorm.constraint.diagnosis.summary import Rows, Summary, Totals, summarize
from opnorm.constraint.outcome import FIELDS

FOLDED = 256
"""Outcomes that wait before they are folded: what folding launches is paid once for so many."""

KEPT = 512
"""Of the series and of the samples; beyond, every second is dropped and half as many are taken from then on."""

SAMPLED = 32
"""Moves from one sample to the next: its two reads of full matrices then cost below 1 % of a move."""

WIDTH = len(FIELDS)
"""Numbers in an outcome, and in a sample."""

Pair = tuple[torch.Tensor, torch.Tensor]


class History:
    """Of one site, by its name. moves: outcomes recorded. first, last: the optimizer steps of the first and last.

    ranked: whether ‖weight‖_F/σ says anything: not for a kernel, whose operator repeats it.
    """

    def __init__(self, name: str, *, ranked: bool = True) -> None:
        self.name, self.ranked = name, ranked
        self.moves = 0
        self.first, self.last = 0, 0
        self.band = (0.0, math.inf)
        self._waiting: list[tuple[torch.Tensor, float]] = []
        self._folded: torch.Tensor | None = None
        self._series = _Thinned()
        self._samples = _Thinned()

    @property
    def sampling(self) -> bool:
        """Whether the next `record` makes use of gradient, normal and weight; else they may be None."""
        n = self.moves
        return n % SAMPLED == 0 or (n < SAMPLED and n & (n - 1) == 0)

    @torch.no_grad()
    def record(
        self,
        step: int,
        outcome: torch.Tensor,
        lo: float,
        hi: float,
        gradient: torch.Tensor | None,
        normal: Pair | None,
        weight: torch.Tensor | None,
    ) -> None:
        """One move of the weight, or one look at it, at an optimizer step; the weight as it is after."""
        if self._waiting and self._waiting[-1][0].device != outcome.device:
            self._fold()
        if self.sampling and weight is not None:
            self._samples.add(step, _sample(outcome, gradient, normal, weight))
        self.first = self.first if self.moves else step
        self.last, self.band = step, (lo, hi)
        self.moves += 1
        self._series.add(step, outcome)
        self._waiting.append((outcome, hi))
        if len(self._waiting) >= FOLDED:
            self._fold()

    def _fold(self) -> None:
        if self._waiting:
            block = torch.stack([values for values, _ in self._waiting])
            ceilings = torch.tensor([hi for _, hi in self._waiting], dtype=block.dtype).to(block.device)
            new = _totals(block, ceilings)
            old = None if self._folded is None else self._folded.to(new.device)
            self._folded = new if old is None else torch.cat([old[:4] + new[:4], torch.maximum(old[4:], new[4:])])
            self._waiting.clear()

    @torch.no_grad()
    def cells(self) -> torch.Tensor:
        """Everything on the device, as one row of numbers: totals, series, samples."""
        self._fold()
        assert self._folded is not None
        device = self._folded.device
        parts = [values.to(device) for _, values in (*self._series.entries, *self._samples.entries)]
        return torch.cat([self._folded, *parts])

    def summary(self, cells: Sequence[float]) -> Summary:
        """What `cells` says, once it is on the host."""
        count = len(Totals._fields)
        split = count + WIDTH * len(self._series.entries)
        series = _rows(self._series.entries, cells[count:split])
        samples = _rows(self._samples.entries, cells[split:])
        totals = Totals(*cells[:count])
        found = summarize(self.name, self.moves, self.first, self.last, self.band, totals, series, samples)
        return found if self.ranked else replace(found, ranks=())

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to report the whole of it; waits for the device."""
        if not self.moves:
            return {"moves": 0}
        own = {"moves": self.moves, "first": self.first, "last": self.last, "band": list(self.band)}
        return {
            **own, "cells": self.cells().cpu(),
            "series": self._series.steps(), "samples": self._samples.steps(),
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        self.__init__(self.name)  # type: ignore[misc]
        if not state["moves"]:
            return
        self.moves, self.first, self.last = int(state["moves"]), int(state["first"]), int(state["last"])
        self.band = (float(state["band"][0]), float(state["band"][1]))
        cells, count = state["cells"], len(Totals._fields)
        split = count + WIDTH * len(state["series"]["steps"])
        self._folded = cells[:count].clone()
        self._series.load(state["series"], cells[count:split])
        self._samples.load(state["samples"], cells[split:])


class _Thinned:
    """At most `KEPT` tensors with their steps, evenly spread over all that were added."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, torch.Tensor]] = []
        self.stride = 1
        self.added = 0

    def add(self, step: int, values: torch.Tensor) -> None:
        if self.added % self.stride == 0:
            self.entries.append((step, values))
        self.added += 1
        if len(self.entries) > KEPT:
            self.entries = self.entries[::2]
            self.stride *= 2

    def steps(self) -> dict[str, Any]:
        return {"steps": [step for step, _ in self.entries], "stride": self.stride, "added": self.added}

    def load(self, state: Mapping[str, Any], cells: torch.Tensor) -> None:
        rows = cells.clone().reshape(-1, WIDTH)
        self.entries = list(zip(map(int, state["steps"]), rows.unbind(), strict=True))
        self.stride, self.added = int(state["stride"]), int(state["added"])


def _totals(block: torch.Tensor, ceilings: torch.Tensor) -> torch.Tensor:
    """acted, skipped, removed, moved, hold, peak: see `Totals`. No number is infinite: a missing ceiling counts 0."""
    top, after, removed, active, skipped = block.unbind(1)
    good = (skipped == 0).to(block.dtype)
    sums = torch.stack([((active > 0) * good).sum(), skipped.sum(), (removed * good).sum(), (active * good).sum()])
    held = torch.where(ceilings > 0, after * good / ceilings, torch.zeros_like(after))
    return torch.cat([sums, torch.stack([held.amax(), (top * good).amax()])])


def _sample(
    outcome: torch.Tensor, gradient: torch.Tensor | None, normal: Pair | None, weight: torch.Tensor
) -> torch.Tensor:
    """after, removed, push, ‖gradient‖, ‖weight‖; NaN where not known."""
    unknown = torch.full((), math.nan, device=outcome.device)
    push = slope = unknown
    size = unknown if _sharded(weight) else _norm(weight)
    if gradient is not None and not _sharded(gradient):
        slope = _norm(gradient)
        if normal is not None and gradient.shape == (len(normal[0]), len(normal[1])):
            push = _push(gradient, *normal) / slope
    parts = (outcome[FIELDS.index("after")], outcome[FIELDS.index("removed")], push, slope, size)
    return torch.stack([p.detach().reshape(()).to(outcome) for p in parts])


def _push(gradient: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """−⟨G, N⟩/‖N‖_F, N = Σu_jv_jᵀ; NaN (0/0) where no direction is at the ceiling."""
    product = (left.to(gradient.dtype).T @ gradient).to(right.dtype)
    inner = (product * right.T).sum(dtype=torch.float32)
    return -inner / ((left * left).sum(0) * (right * right).sum(0)).sum(dtype=torch.float32).sqrt()


def _norm(values: torch.Tensor) -> torch.Tensor:
    wide = torch.float64 if values.dtype is torch.float64 else torch.float32
    return torch.linalg.vector_norm(values, dtype=wide)


def _sharded(values: torch.Tensor) -> bool:
    return hasattr(values, "to_local")


def _rows(entries: Sequence[tuple[int, torch.Tensor]], cells: Sequence[float]) -> Rows:
    return tuple((step, tuple(cells[i * WIDTH : (i + 1) * WIDTH])) for i, (step, _) in enumerate(entries))


def summaries(histories: Sequence[History]) -> list[Summary]:
    """Of those that recorded anything, in order; one transfer a device."""
    known = [h for h in histories if h.moves]
    cells = [h.cells() for h in known]
    host: dict[int, list[float]] = {}
    for device in {c.device for c in cells}:
        here = [i for i, c in enumerate(cells) if c.device == device]
        together = torch.cat([cells[i] for i in here]).tolist()
        for i in here:
            host[i], together = together[: len(cells[i])], together[len(cells[i]) :]
    return [h.summary(host[i]) for i, h in enumerate(known)]


def metrics(histories: Sequence[History], clock: Clock | None = None) -> dict[str, float]:
    """Numbers for a tracker: `opnorm/<site>/` sigma (after the last move), ceiling, active (singular values that it
    moved), acted (share of moves so far that changed the weight), removed (‖ΔW‖_F of the last), hold (the most that
    σ/ceiling was after a move), skipped, and where sampled push and stable_rank; `opnorm/seconds`, `opnorm/share`.
    """  # fmt: skip
    found: dict[str, float] = {}
    for summary in summaries(histories):
        found |= {f"opnorm/{summary.name}/{key}": value for key, value in summary.metrics().items()}
    if clock is not None:
        found |= {"opnorm/seconds": clock.moving, "opnorm/share": clock.share}
    return found
