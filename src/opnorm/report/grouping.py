"""Heads, experts and their like are many: in a table each run of them is one line, that of the largest."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from itertools import groupby

from opnorm.report.document import Row

FEWEST = 4
"""Rows that differ only in a number before they are shown as one."""

_COUNTED = re.compile(r"^(?P<what>.*\[[^\[\]]*?)(?P<number>\d+)\]$", re.DOTALL)


def collapsed(rows: Iterable[Row]) -> list[Row]:
    """Rows in their order; those that differ only in the number before the closing bracket become the largest."""
    runs: dict[tuple[int, str], list[Row]] = {}
    for index, row in enumerate(rows):
        match = _COUNTED.match(row.name)
        key = (row.input, match["what"] if match else f"{index}\0{row.name}")
        runs.setdefault(key, []).append(row)
    return [shown for run in runs.values() for shown in _one(run)]


def _one(run: list[Row]) -> list[Row]:
    if len(run) < FEWEST:
        return run
    worst = max(run, key=lambda r: r.upper if r.upper is not None else -1.0)
    return [replace(worst, name=f"{worst.name}, largest of {len(run)}", seconds=sum(r.seconds for r in run))]


def repeated(rows: Iterable[Row]) -> list[str]:
    """`NAME: REASON` for every row that has a reason; a reason that many rows share is said once."""
    ordered = sorted(rows, key=lambda r: (r.status, r.reason))
    lines = []
    for (status, reason), group in groupby(ordered, key=lambda r: (r.status, r.reason)):
        names = [r.name for r in group]
        said = reason if status == "measured" else f"{status}: {reason}"
        more = f" and {len(names) - 1} more" if len(names) >= FEWEST else ""
        lines += [f"{name}{more}: {said}" for name in (names[:1] if more else names)]
    return lines
