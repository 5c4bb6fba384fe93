"""ON106: an attention head that is off: its score circuit or what it moves is nearly 0 beside all other heads'.

Heads are read from the rows of their circuits, or, where a report has none, from its interaction.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace

from opnorm.report.document import Report, Row
from opnorm.report.findings.found import Found, at_most, found
from opnorm.report.findings.peers import Peers, limit
from opnorm.report.findings.thresholds import Thresholds
from opnorm.spectrum.document import Quantity

KINDS = ("OV circuit", "QK circuit")
_MEANING = {
    "OV circuit": "whatever it attends to, it moves next to nothing",
    "QK circuit": "its scores hardly depend on its input, so that it averages over positions",
}
_CIRCUIT = re.compile(r"\[(ov|qk) head ")

ADVICE = (
    "if it was pruned, remove it and save its products (opnorm measure lists every head); if not, compare with an "
    "earlier checkpoint, and look whether weight decay alone moves it"
)


def heads_off(report: Report, thresholds: Thresholds) -> Iterator[Found]:
    """Heads whose circuit is far below the median of the model's heads; one finding a head."""
    rows = list(_circuits(report))
    same = replace(thresholds, peer_ratio=thresholds.head_ratio)
    said: set[str] = set()
    for kind in KINDS:
        own = [r for r in rows if r.kind == kind]
        peers = Peers(own, lambda r: r.lower, same)
        for row in own:
            others, head = peers.of(row), f"{row.input} {_CIRCUIT.sub('[', row.name)}"
            if others is None or row.upper is None or head in said:
                continue
            below = others.median - math.log(row.upper) if row.upper > 0 else math.inf
            if below >= limit(others, same):
                said.add(head)
                norm = "‖W_O·W_V‖" if kind == "OV circuit" else "‖W_QᵀW_K‖/√d"
                message = (
                    f"{norm} ≤ {at_most(row.upper)}, at most {at_most(math.exp(-below))} of the median of the other "
                    f"{others.count} heads: {_MEANING[kind]}"
                )
                excess = below - math.log(thresholds.head_ratio)
                yield found("ON106", "warning", row.name, message, ADVICE, excess=excess, evidence=others.evidence)


def _circuits(report: Report) -> Iterator[Row]:
    """Rows of circuits, without shapes, so that all heads of a model are peers."""
    rows = [r for r in report.rows if r.kind in KINDS and r.status == "measured"]
    yield from (replace(r, shape=()) for r in rows)
    if rows or report.interaction is None:
        return
    for head in report.interaction.heads:
        yield _of_head(head.name, "OV circuit", head.ov)
        yield _of_head(head.name, "QK circuit", head.qk)


def _of_head(name: str, kind: str, q: Quantity) -> Row:
    lower = q.value if q.lower is None else q.lower
    upper = q.value if q.upper is None else q.upper
    return Row(0, name, (), True, kind, "", (), "", "measured", lower=lower, upper=upper, evidence=q.evidence)
