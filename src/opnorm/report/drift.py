"""The gate of a comparison: is every layer's relative drift at most a ceiling? Only yes passes."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console

from opnorm.report.display import display_name
from opnorm.spectrum.comparison.document import Change, Comparison


@dataclass(frozen=True, slots=True)
class Verdict:
    """One layer against the ceiling: `holds` is True, False or None (cannot tell), `reason` a sentence."""

    holds: bool | None
    reason: str


def judge(found: Comparison, ceiling: float) -> list[Verdict]:
    """Is every layer's ‖ΔW‖/‖W‖ at most `ceiling`? What has no partner or no bracket cannot be told."""
    lone = [(n, "BASE") for n in found.only_base] + [(n, "TUNED") for n in found.only_tuned]
    return [
        *(_judge(change, ceiling) for change in found.changes),
        *(Verdict(None, f"{name}: only in {side}: leave it out with --skip to judge the rest") for name, side in lone),
    ]


def _judge(change: Change, ceiling: float) -> Verdict:
    name, drift = change.tuned_name, change.relative
    if change.status not in ("changed", "equal") or drift is None:
        return Verdict(None, f"{name}: {change.status}: {change.reason}")
    if drift.upper is not None and drift.upper <= ceiling:
        return Verdict(True, f"{name}: ‖ΔW‖/‖W‖ ≤ {drift.upper:.6g} ({drift.evidence})")
    if drift.lower is not None and drift.lower > ceiling:
        return Verdict(False, f"{name}: ‖ΔW‖/‖W‖ ≥ {drift.lower:.6g} exceeds {ceiling:g} ({drift.evidence})")
    if drift.lower is None or drift.upper is None:
        return Verdict(None, f"{name}: cannot tell: {drift.note or 'the drift has no bracket'}")
    straddles = f"{drift.lower:.9g} ≤ ‖ΔW‖/‖W‖ ≤ {drift.upper:.9g} straddles {ceiling:g}"
    return Verdict(None, f"{name}: cannot tell: {straddles}; a narrower --width, such as 1e-6, decides")


def show_verdicts(verdicts: list[Verdict], ceiling: float, console: Console) -> None:
    """Print every verdict that does not hold, and one line that says pass or fail."""
    for verdict in verdicts:
        if verdict.holds is not True:
            word = "FAIL     " if verdict.holds is False else "UNKNOWN  "
            console.out(word + display_name(verdict.reason, 2000), highlight=False)
    held = sum(v.holds is True for v in verdicts)
    word = "PASS     " if held == len(verdicts) else "FAIL     "
    console.out(f"{word}{held} of {len(verdicts)} layers have ‖ΔW‖/‖W‖ ≤ {ceiling:g}", highlight=False)
