"""ON102 and ON103: a layer whose norm is far above, or below, that of its peers; a layer that is zero.

A lower bound on σ₁ is compared with the peers' median upper bound, and the other way round, so that a wide bracket
makes no finding. Far: by the ratio of the thresholds and by several standard deviations of the peers' log σ₁, both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from opnorm.report.document import Report, Row
from opnorm.report.findings.found import Found, at_least, at_most, found, sigma
from opnorm.report.findings.peers import Others, Peers, judged, limit
from opnorm.report.findings.thresholds import Thresholds

SHRINK = (
    "compare it with an earlier checkpoint (opnorm compare); a factor of 2ⁿ points to a wrong scale in a conversion or "
    "merge, growth while training to the learning rate: opnorm.cap holds σ₁ there"
)
REVIVE = (
    "compare it with an earlier checkpoint (opnorm compare); a factor of 2ⁿ points to a wrong scale in a conversion, a "
    "slow fall to weight decay without gradient: take the layer out of the decay, or initialize it anew"
)
ZERO = (
    "meant at the start of training (LoRA's B, zero-initialized branches); after it, the layer got no gradient or was "
    "lost: compare it with an earlier checkpoint (opnorm compare)"
)


def exploding(report: Report, thresholds: Thresholds) -> Iterator[Found]:
    """Rows whose σ₁ is far above that of their peers."""
    rows = judged(report)
    peers = Peers(rows, lambda r: r.upper, thresholds, alone=True)
    sizes = Peers(rows, lambda r: r.frobenius, thresholds)
    for row in rows:
        others = peers.of(row)
        if others is None or not row.lower:
            continue
        beyond = math.log(row.lower) - others.median
        if beyond >= limit(others, thresholds):
            excess = beyond - math.log(others.ratio)
            message = f"{sigma(row)}, at least {at_least(math.exp(beyond))} times {others.words}" + _how(
                row, sizes.of(row)
            )
            severity = _severity(excess, others)
            yield found("ON102", severity, row.name, message, SHRINK, excess=excess, evidence=others.evidence)


def vanishing(report: Report, thresholds: Thresholds) -> Iterator[Found]:
    """Rows that are zero, and those whose σ₁ is far below that of their peers."""
    rows = judged(report)
    peers = Peers(rows, lambda r: r.lower, thresholds, alone=True)
    for row in rows:
        if row.upper == 0:
            yield _zero(row, peers)
            continue
        others = peers.of(row)
        if others is None or not row.upper:
            continue
        below = others.median - math.log(row.upper)
        if below >= limit(others, thresholds):
            excess = below - math.log(others.ratio)
            share = at_most(math.exp(-below))
            message = f"{sigma(row)}, at most {share} of {others.words}"
            severity = _severity(excess, others)
            yield found("ON103", severity, row.name, message, REVIVE, excess=excess, evidence=others.evidence)


def _severity(excess: float, others: Others) -> str:
    """Graver by one beyond the square of the ratio; without peers, initialization alone says less."""
    grave = excess >= math.log(others.ratio)
    return ("serious" if grave else "warning") if others.count else ("warning" if grave else "note")


def _zero(row: Row, peers: Peers) -> Found:
    others = peers.of(row)
    alone = others is None or not others.count
    severity = "note" if row.kind == "adapter" or alone else "serious"
    beside = (
        ""
        if alone or others is None
        else f", where the median of {others.count} peers is {math.exp(others.median):.3g}"
    )
    message = f"every entry is 0{beside}: whatever goes in, its bias alone comes out"
    return found("ON103", severity, row.name, message, ZERO, excess=math.inf, evidence=row.evidence or "")


def _how(row: Row, others: Others | None) -> str:
    """Whether the matrix grew as a whole, or in few directions."""
    if others is None or not row.frobenius or not others.count:
        return ""
    grown = row.frobenius / math.exp(others.median)
    return f"; ‖W‖_F is {grown:.3g} times theirs" + (
        ": the whole matrix" if grown > others.ratio else ": few directions"
    )
