"""ON108: a normalization that uses the statistics of the batch: in training mode, or for want of its own.

What was measured is the layer in evaluation mode, a fixed linear map. In training mode the module divides by the
statistics of whatever batch comes, which is no linear map and has no norm.
"""

from __future__ import annotations

from collections.abc import Iterator

from opnorm.layers.normalization import BATCH_STATISTICS
from opnorm.report.display import display_name
from opnorm.report.document import Report, Row
from opnorm.report.findings.found import Found, found
from opnorm.report.findings.thresholds import Thresholds

TRAINING = "in training mode"
"""What the reason of a normalization's row says where its live module is so."""

EVALUATE = "call model.eval() before measuring and before use; what training=True computes depends on the batch"
TRACK = "give it running statistics (track_running_stats=True), or expect outputs that depend on the batch"


def in_training(report: Report, thresholds: Thresholds) -> Iterator[Found]:  # noqa: ARG001
    """One finding for all such normalizations of a report."""
    rows = [r for r in report.rows if TRAINING in r.reason]
    if rows:
        message = f"{_counted(rows)} in training mode: the numbers are those of evaluation mode, which it is not in"
        yield found("ON108", "warning", _row(rows), message, EVALUATE, excess=0.0)
    rows = [r for r in report.rows if BATCH_STATISTICS in r.reason]
    if rows:
        message = f"{_counted(rows)} without running statistics: outputs depend on the batch, also in evaluation mode"
        yield found("ON108", "note", _row(rows), message, TRACK, excess=0.0)


def _row(rows: list[Row]) -> str:
    return rows[0].name if len(rows) == 1 else ""


def _counted(rows: list[Row]) -> str:
    if len(rows) == 1:
        return "a normalization is"
    return f"{len(rows)} normalizations (the first is {display_name(rows[0].name)}) are"
