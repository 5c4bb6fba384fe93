"""Reports for other programs: JSON and CSV, each written whole or not at all."""

from __future__ import annotations

import csv
import io
import os
import tempfile
from pathlib import Path

from opnorm.errors import FileAccessError
from opnorm.report.display import spreadsheet_cell
from opnorm.report.document import Report

COLUMNS = (
    "input",
    "name",
    "kind",
    "operator",
    "shape",
    "dtype",
    "status",
    "lower",
    "upper",
    "evidence",
    "failure_probability",
    "method",
    "passes",
    "seconds",
    "frobenius",
    "stable_rank_lower",
    "stable_rank_upper",
    "derived",
    "also",
    "reason",
)


def to_csv(report: Report) -> str:
    """One line a row; cells that a spreadsheet would run as formulas are quoted."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in report.rows:
        ranks = row.stable_rank or (None, None)
        special = {
            "shape": "x".join(map(str, row.shape)),
            "input": report.inputs[row.input].path,
            "stable_rank_lower": ranks[0],
            "stable_rank_upper": ranks[1],
            "also": "; ".join(f"{b.name}: {b.lower} to {b.upper} ({b.evidence})" for b in row.also),
        }
        cells = (special[c] if c in special else getattr(row, c) for c in COLUMNS)
        writer.writerow([spreadsheet_cell(c) for c in cells])
    return out.getvalue()


def write_whole(path: str | Path, text: str) -> None:
    """Write `text` to `path` atomically: a temporary file beside it, flushed, then renamed over it."""
    path = Path(path)
    temporary = ""
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name[:80]}.", dir=path.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)
        reason = error.strerror or str(error)
        raise FileAccessError(f"{path}: cannot be written: {reason}; nothing was left half-written") from error


def _umask() -> int:
    current = os.umask(0o077)
    os.umask(current)
    return current
