"""ON109 and ON110: units whose weights are all zero, and units that are parallel to another."""

from __future__ import annotations

import math
from collections.abc import Iterator

from opnorm.report.document import Report, Row
from opnorm.report.findings.found import Found, found, percent
from opnorm.report.findings.peers import TABLES, judged
from opnorm.report.findings.shape import has_collapsed
from opnorm.report.findings.thresholds import Thresholds

PRUNE = (
    "if they were pruned, remove them and their readers: the layer gets smaller; if not, look for what holds them at 0 "
    "(a mask, a frozen slice, decay without gradient)"
)
MERGE = (
    "break the symmetry: initialize at random (units that start equal, by a constant or a copy without noise, stay "
    "equal for ever); or merge them and add their outgoing weights"
)
_SHOWN = 6
_FEWEST = 16
"""Weights of a unit of a matrix, below which it may be 0 by chance (2⁻¹⁶ where half of all weights were pruned)."""


def dead(report: Report, thresholds: Thresholds) -> Iterator[Found]:
    """Rows with a share of outputs or inputs that are exactly zero."""
    for row in judged(report):
        units = row.spectrum.units if row.spectrum else None
        if units is None or row.upper == 0:
            continue
        counts = [(units.dead_outputs_count, units.dead_outputs), (units.dead_inputs_count, units.dead_inputs)]
        sides = _sides(row)
        for (count, which), (name, side), (_, width) in zip(counts, sides, sides[::-1], strict=True):
            if count and not _small(row, width) and count / side >= thresholds.dead_share:
                message = f"{count} of {side} {name} ({percent(count / side)}) are exactly 0: {_listed(which, count)}"
                excess = math.log(count / side / thresholds.dead_share) if thresholds.dead_share else math.inf
                severity = "note" if row.kind in TABLES else "warning"
                yield found("ON109", severity, row.name, message, PRUNE, excess=excess, evidence="proved")


def duplicate(report: Report, thresholds: Thresholds) -> Iterator[Found]:
    """Rows with a share of outputs that say what another says."""
    for row in judged(report):
        units = row.spectrum.units if row.spectrum else None
        if units is None:
            continue
        (name, side), (_, width) = _sides(row)
        count = units.duplicate_outputs_count
        small = side < thresholds.smallest_side or _small(row, width)
        if not count or small or count / side < thresholds.duplicate_share or has_collapsed(row, thresholds):
            continue
        pairs = ", ".join(f"{one} = {other}" for one, other in units.duplicate_outputs[:_SHOWN])
        message = f"{count} of {side} {name} ({percent(count / side)}) are parallel to another: {pairs}" + (
            " …" if count > _SHOWN else ""
        )
        excess = math.log(count / side / thresholds.duplicate_share) if thresholds.duplicate_share else math.inf
        severity = "note" if row.kind in TABLES else "warning"
        yield found("ON110", severity, row.name, message, MERGE, excess=excess, evidence="estimate")


def _small(row: Row, width: int) -> bool:
    """Whether a unit has too few weights to be judged by; those of a kernel are one filter."""
    return len(row.shape) == 2 and width < _FEWEST


def _sides(row: Row) -> tuple[tuple[str, int], tuple[str, int]]:
    """What the units of a row are called, outputs and inputs, and how many there are."""
    if len(row.shape) > 2:
        return ("filters", row.shape[0]), ("input channels", row.shape[1])
    rows, columns = (row.spectrum.rows, row.spectrum.columns) if row.spectrum else (0, 0)
    if row.kind in TABLES:
        return ("entries of the table", rows), ("features", columns)
    if row.operator.endswith("(stored transposed)"):
        return ("outputs", columns), ("inputs", rows)
    return ("outputs", rows), ("inputs", columns)


def _listed(which: tuple[int, ...], count: int) -> str:
    return ", ".join(map(str, which[:_SHOWN])) + (" …" if count > _SHOWN else "")
