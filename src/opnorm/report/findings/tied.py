"""ON107: an output head that was its embedding's own table, and is not any more.

Two ways to know: a row's reason says that the configuration ties them while the checkpoint stores both, and their bytes
differ; or head and table, of one shape, agree in σ₁ and in ‖W‖_F to a few per cent without being equal. Independent
tables that are still at their initialization agree in both, too: those are left out by their stable rank.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from opnorm.report.display import display_name
from opnorm.report.document import Report, Row
from opnorm.report.findings import reference
from opnorm.report.findings.found import Found, found, percent, weakest
from opnorm.report.findings.thresholds import Thresholds

SAID = "config.json says that it is tied to"
"""How the reason of a head's row begins where the configuration ties it and the checkpoint stores it all the same."""

SAME = "the same bytes as"
_HEAD = re.compile(r"(^|[._/])(lm_head|embed_out|output|decoder|generator|head|proj_out|unembed)([._/]|$)")
_UNTRAINED = 0.7
"""Of the stable rank of independent entries: from here on a table is taken to be at its initialization."""

ADVICE = (
    "decide which one is right: a model that ties them uses one and drops the other on loading; store one, or set "
    "tie_word_embeddings to false"
)


def untied(report: Report, thresholds: Thresholds) -> Iterator[Found]:
    """Heads that differ from the embedding they are, or seem to have been, tied to."""
    measured = [r for r in report.rows if r.status == "measured" and not r.derived]
    tables = [r for r in measured if r.kind == "embedding"]
    repeated = {part.removeprefix(f"{SAME} ") for r in measured for part in r.reason.split("; ")}
    for row in measured:
        if SAME in row.reason or row.name in repeated:
            continue
        if SAID in row.reason:
            yield _found(
                row, "config.json ties it to the embedding, and the checkpoint stores other numbers here", "serious"
            )
            continue
        twin = next((t for t in tables if _twins(t, row, thresholds)), None) if row.kind == "linear" else None
        if twin is not None:
            gap = max(_apart(twin.frobenius, row.frobenius), _apart(_middle(twin), _middle(row)))
            message = (
                f"of the shape of the embedding {display_name(twin.name)}, with σ₁ and ‖W‖_F within "
                f"{percent(max(gap, 1e-4))} of its own, and not the same bytes: they seem to have been tied"
            )
            yield _found(row, message, "warning", twin)


def _found(row: Row, message: str, severity: str, twin: Row | None = None) -> Found:
    evidence = weakest(r.evidence for r in (row, twin) if r is not None)
    return found("ON107", severity, row.name, message, ADVICE, excess=0.0, evidence=evidence)


def _twins(table: Row, head: Row, thresholds: Thresholds) -> bool:
    if table.shape != head.shape or table.input != head.input or not _HEAD.search(head.name) or SAME in table.reason:
        return False
    if not _trained(table) or not _trained(head):
        return False
    within = thresholds.tied_within
    return _apart(table.frobenius, head.frobenius) <= within and _apart(_middle(table), _middle(head)) <= within


def _trained(row: Row) -> bool:
    if row.stable_rank is None or len(row.shape) != 2:
        return False
    return row.stable_rank[1] < _UNTRAINED * reference.stable_rank(*row.shape)


def _middle(row: Row) -> float | None:
    return None if row.lower is None or row.upper is None else (row.lower + row.upper) / 2


def _apart(one: float | None, other: float | None) -> float:
    """Relative difference; 1 where one is not known."""
    if not one or not other:
        return 1.0
    return abs(one - other) / max(one, other)
