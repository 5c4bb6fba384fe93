"""What a site's history comes to, in plain numbers: how often it was moved, how far, and against what.

Data: `Totals`, a series and samples as `constraint.diagnosis.history` reads them from the device → `Summary`. All σ are
Ritz values of the moves, estimates from below. Nothing here needs a framework.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

Rows: TypeAlias = tuple[tuple[int, tuple[float, ...]], ...]
"""(optimizer step, numbers)."""


class Totals(NamedTuple):
    """Over all moves. acted, skipped: how many changed the weight, or could not for entries that are not finite;
    removed: Σ‖ΔW‖_F; moved: singular values, summed; hold: the most that σ/ceiling was after a move; peak: σ before.
    """  # fmt: skip

    acted: float
    skipped: float
    removed: float
    moved: float
    hold: float
    peak: float


@dataclass(frozen=True, slots=True)
class Summary:
    """moves: how often the site was visited, in `steps` optimizer steps. sigma: σ₁ (an estimate) after the last.
    series: (step, σ before, σ after). ranks: (step, stable rank ‖W‖_F²/σ₁²). pushes: (step, cosine of −gradient with
    the outward normal at the ceiling: above 0 the loss pushes outward). jumps: (step, what a move added to the
    loss, to first order). size: ‖W‖_F when last sampled, None before.
    """  # fmt: skip

    name: str
    moves: int
    steps: int
    lo: float
    hi: float
    totals: Totals
    sigma: float
    active: float
    removed: float
    series: tuple[tuple[int, float, float], ...]
    ranks: tuple[tuple[int, float], ...]
    pushes: tuple[tuple[int, float], ...]
    jumps: tuple[tuple[int, float], ...]
    size: float | None

    @property
    def acted(self) -> float:
        """The share of moves that changed the weight."""
        return self.totals.acted / self.moves

    @property
    def acted_steps(self) -> float:
        """The share of optimizer steps on which the weight was changed."""
        return self.totals.acted / self.steps

    @property
    def share_removed(self) -> float | None:
        """Σ‖ΔW‖_F in units of the weight's own ‖W‖_F: 1 where as much was taken away as there is."""
        return self.totals.removed / self.size if self.size else None

    @property
    def push(self) -> float | None:
        """The mean over the second half of the samples; None without any."""
        return _late_mean(self.pushes)

    @property
    def jump(self) -> float | None:
        """Of the loss at one move, to first order: the mean over the second half of the samples."""
        return _late_mean(self.jumps)

    @property
    def level(self) -> float:
        """Where σ before moves settled: its median over the second half of the run."""
        tops = [top for _, top, _ in self.series]
        return statistics.median(tops[len(tops) // 2 :]) if tops else self.sigma

    @property
    def growth(self) -> float:
        """The median of σ in the last quarter over that in the quarter before: 1 where it settled."""
        tops = [top for _, top, _ in self.series]
        quarter = len(tops) // 4
        before = statistics.median(tops[-2 * quarter : -quarter]) if quarter else 0.0
        return statistics.median(tops[-quarter:]) / before if before > 0 else 1.0

    def metrics(self) -> dict[str, float]:
        """Finite numbers by name; see `opnorm.constraint.diagnosis.history.metrics`."""
        found = {
            "sigma": self.sigma, "ceiling": self.hi, "active": self.active, "acted": self.acted,
            "removed": self.removed, "hold": self.totals.hold if math.isfinite(self.hi) else None,
            "skipped": self.totals.skipped, "push": self.pushes[-1][1] if self.pushes else None,
            "stable_rank": self.ranks[-1][1] if self.ranks else None,
        }  # fmt: skip
        return {key: value for key, value in found.items() if value is not None and math.isfinite(value)}

    def to_dict(self) -> Mapping[str, object]:
        """As JSON may hold it: the figures, without the series."""
        rank = (self.ranks[0][1], self.ranks[-1][1]) if self.ranks else None
        return {
            "name": self.name, "moves": self.moves, "steps": self.steps, "lo": self.lo,
            "hi": self.hi if math.isfinite(self.hi) else None, "sigma": self.sigma, "hold": self.totals.hold,
            "acted": self.acted, "acted_steps": self.acted_steps, "skipped": int(self.totals.skipped),
            "removed": self.totals.removed, "share_removed": self.share_removed, "moved": self.totals.moved,
            "stable_rank": rank, "push": self.push, "jump": self.jump,
        }  # fmt: skip


def _late_mean(values: tuple[tuple[int, float], ...]) -> float | None:
    return statistics.fmean(v for _, v in values[len(values) // 2 :]) if values else None


def summarize(
    name: str, moves: int, first: int, last: int, band: tuple[float, float], totals: Totals, series: Rows, samples: Rows
) -> Summary:
    """series: rows of `outcome.FIELDS`; samples: rows of after, removed, push, ‖gradient‖, ‖weight‖, NaN: unknown."""
    good = [(step, row) for step, row in series if not row[4]]
    latest = good[-1][1] if good else (0.0,) * 5
    sizes = [row[4] for _, row in samples if math.isfinite(row[4])]
    ranks = [(step, (row[4] / row[0]) ** 2) for step, row in samples if row[0] > 0 and row[4] < 1e150 * row[0]]
    jumps = [(step, row[1] * row[2] * row[3]) for step, row in samples]
    return Summary(
        name, moves, last - first + 1, *band, totals, latest[1], latest[3], latest[2],
        series=tuple((step, row[0], row[1]) for step, row in good),
        ranks=_finite(ranks),
        pushes=_finite([(step, row[2]) for step, row in samples]),
        jumps=_finite(jumps),
        size=sizes[-1] if sizes else None,
    )  # fmt: skip


def _finite(values: list[tuple[int, float]]) -> tuple[tuple[int, float], ...]:
    return tuple((step, value) for step, value in values if math.isfinite(value))
