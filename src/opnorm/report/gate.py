"""The gate: is every weight's spectral norm at most a ceiling? Yes, no, or cannot tell; only yes passes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from rich.console import Console

from opnorm.report.display import display_name
from opnorm.report.document import Report, Row


@dataclass(frozen=True, slots=True)
class Verdict:
    """One row against the ceiling: `holds` is True, False or None (cannot tell), `reason` a sentence."""

    row: Row
    holds: bool | None
    reason: str


def judge(report: Report, ceiling: float) -> list[Verdict]:
    """A verdict for every weight that should have a norm: measured, undefined or refused.

    Rows made of several tensors (circuits, folded layers) are no weights and not judged, but for a weight with its
    adapter, W + s·B·A: that is the weight which acts. Without its base it is refused, and fails the check.
    """
    return [_judge(row, ceiling) for row in report.rows if row.status != "not_a_map" and _is_weight(row)]


def _is_weight(row: Row) -> bool:
    return not row.derived or row.kind.startswith("adapted")


def _judge(row: Row, ceiling: float) -> Verdict:
    name = display_name(row.name)
    if row.status != "measured":
        return Verdict(row, None, f"{name}: {row.status}: {display_name(row.reason, 2000)}")
    bracket = row.bracket()
    holds = bracket.at_most(ceiling)
    if holds is True:
        return Verdict(row, True, f"{name}: σ₁ ≤ {bracket.upper:.6g} ({row.evidence})")
    if holds is False:
        return Verdict(row, False, f"{name}: σ₁ ≥ {bracket.lower:.6g} exceeds {ceiling:g} ({row.evidence})")
    if bracket.lower is None or bracket.upper is None:
        known = "nothing is known" if bracket.upper is None else f"only σ₁ ≤ {bracket.upper:.9g} is known"
        return Verdict(row, None, f"{name}: cannot tell: {known}: {row.reason}")
    return Verdict(
        row,
        None,
        f"{name}: cannot tell: {bracket.lower:.9g} ≤ σ₁ ≤ {bracket.upper:.9g} straddles {ceiling:g}; "
        "a narrower --width, such as 1e-6, decides",
    )


def show(verdicts: list[Verdict], passed: bool, ceiling: float, console: Console) -> None:
    """Print every verdict that does not hold, and one line that says pass or fail."""
    held = [v for v in verdicts if v.holds is True]
    for verdict in verdicts:
        if verdict.holds is not True:
            console.out(("FAIL     " if verdict.holds is False else "UNKNOWN  ") + verdict.reason, highlight=False)
    kinds = Counter(str(v.row.evidence) for v in held)
    evidence = f" ({', '.join(f'{n} {kind}' for kind, n in kinds.most_common())})" if held else ""
    outcome = f"{len(held)} of {len(verdicts)} weights have σ₁ ≤ {ceiling:g}{evidence}"
    if kinds["estimate"]:
        outcome += "; an estimate is no bound: --evidence probable gives one"
    console.out(("PASS     " if passed else "FAIL     ") + outcome, highlight=False)
