"""ON104 and ON105: a spectrum that has collapsed to a few directions; one direction that carries the norm.

Both are told apart by the bulk: a spike leaves it as it was, a collapse has lost it. Tables of embeddings are left out
of spikes: a direction that all tokens share is common there (Gao et al., 2019), as are layers with few rows or columns.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from opnorm.report.document import Report, Row
from opnorm.report.findings import reference
from opnorm.report.findings.found import Found, at_least, found, percent, sigma
from opnorm.report.findings.peers import TABLES, Peers, judged
from opnorm.report.findings.thresholds import Thresholds

WIDEN = (
    "look at what the layer reads (dead or duplicate inputs), at the weight decay and at the learning rate early in "
    "training; if the rank is meant, a factored layer of that rank is cheaper"
)
SPIKE = (
    "opnorm measure --spectrum shows the direction's tokens or features; it spoils the scales of quantization and the "
    "bound of a product: opnorm.cap at σ₂, or penalize, takes it away where the loss allows"
)


def collapsed(report: Report, thresholds: Thresholds) -> Iterator[Found]:
    """Rows whose effective rank is far below that of iid entries, and of their peers."""
    rows = [r for r in judged(report) if _sides(r)]
    peers = Peers(rows, _effective, thresholds)
    for row in rows:
        share, evidence = _share(row, thresholds), _evidence(row)
        if share is None or share > thresholds.collapse:
            continue
        others, rank = peers.of(row), _effective(row) or 0.0
        theirs = 0.0 if others is None or others.ratio == thresholds.alike_ratio else math.exp(others.median)
        if theirs and rank > thresholds.collapse_of_peers * theirs:
            continue
        beside = f"; the median of its {others.count} peers is {theirs:.3g}" if theirs and others else ""
        message = (
            f"its effective rank is {rank:.3g}, {percent(share)} of what {_words(row)} of independent entries "
            f"has{beside}: few directions are left"
        )
        excess = math.log(thresholds.collapse / share) if share > 0 else math.inf
        severity = "serious" if rank < 2 or excess > math.log(4) else "warning"
        yield found("ON104", severity, row.name, message, WIDEN, excess=excess, evidence=evidence)


def spiked(report: Report, thresholds: Thresholds) -> Iterator[Found]:
    """Rows whose σ₁ is many times σ₂, and whose bulk is there."""
    for row in judged(report):
        sides = _sides(row)
        if row.kind in TABLES or sides is None or min(sides) < thresholds.smallest_side:
            continue
        if has_collapsed(row, thresholds):
            continue
        gap, evidence = _gap(row)
        if gap >= thresholds.spike_gap:
            held = row.stable_rank and percent(min(1.0, 1 / row.stable_rank[1]))
            energy = f" and at least {held} of ‖W‖_F²" if held else ""
            times = "infinitely many" if math.isinf(gap) else at_least(gap)
            message = f"one direction carries its norm: {sigma(row)} is at least {times} times σ₂{energy}"
            excess = math.log(gap / thresholds.spike_gap)
            yield found("ON105", "warning", row.name, message, SPIKE, excess=excess, evidence=evidence)


def has_collapsed(row: Row, thresholds: Thresholds) -> bool:
    """Whether a row's effective rank is below the threshold, whatever its peers do."""
    share = _share(row, thresholds)
    return share is not None and share <= thresholds.collapse


def _sides(row: Row) -> tuple[int, int] | None:
    """Of the operator where its spectrum says; else of a stored matrix, None for a kernel."""
    if row.spectrum is not None:
        return row.spectrum.rows, row.spectrum.columns
    return (row.shape[0], row.shape[1]) if len(row.shape) == 2 else None


def _words(row: Row) -> str:
    sides = _sides(row)
    return f"a {sides[0]}×{sides[1]} matrix" if sides else "a matrix"


def _effective(row: Row) -> float | None:
    quantity = row.spectrum.quantities.get("effective_rank") if row.spectrum else None
    return None if quantity is None else quantity.value


def _evidence(row: Row) -> str:
    quantity = row.spectrum.quantities.get("effective_rank") if row.spectrum else None
    return "" if quantity is None else quantity.evidence


def _share(row: Row, thresholds: Thresholds) -> float | None:
    """Effective rank over that of an iid matrix; None where it is not known, or the matrix too small or zero."""
    rank, sides = _effective(row), _sides(row)
    if rank is None or sides is None or min(sides) < thresholds.smallest_side or not row.upper:
        return None
    return rank / reference.effective_rank(*sides)


def _gap(row: Row) -> tuple[float, str]:
    """σ₁/σ₂ from the spectrum; without one at least 1/√(r − 1) for a stable rank r, as σ₂² ≤ ‖W‖_F² − σ₁²."""
    spectrum = row.spectrum
    if spectrum is not None and spectrum.ranks[:2] == (0, 1):
        first, second = spectrum.profile[:2]
        return (first / second if second > 0 else math.inf if first > 0 else 1.0), "estimate"
    if row.stable_rank is None or not row.lower:
        return 1.0, ""
    above = row.stable_rank[1] - 1
    return (max(1.0, 1 / math.sqrt(above)) if above > 0 else math.inf), row.evidence or "estimate"
