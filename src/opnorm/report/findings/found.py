"""A finding on its way into the report: with how far it lies beyond its threshold, by which findings are ranked."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context

from opnorm.report.document import Finding, Row

SEVERITIES = ("serious", "warning", "note")
_LEVELS = ("estimate", "probable", "proved")
_MOST = 700.0


@dataclass(frozen=True, slots=True)
class Found:
    """excess: log(figure/threshold), at least 0 and comparable between codes."""

    finding: Finding
    excess: float


def found(code: str, severity: str, row: str, message: str, advice: str, *, excess: float, evidence: str = "") -> Found:
    """A finding; an excess without end (something is exactly 0) is as large as any."""
    beyond = min(max(excess, 0.0), _MOST) if not math.isnan(excess) else 0.0
    return Found(Finding(code, message, row, severity, advice, evidence), beyond)


def weakest(evidence: Iterable[str | None]) -> str:
    """The weakest of some evidence; 'estimate' where one is not known, '' where there is none."""
    levels = [_LEVELS.index(e) if e in _LEVELS else 0 for e in evidence]
    return _LEVELS[min(levels)] if levels else ""


def at_least(value: float) -> str:
    """Three digits, rounded down: what is printed is still a lower bound."""
    return _shown(value, ROUND_FLOOR)


def at_most(value: float) -> str:
    """Three digits, rounded up."""
    return _shown(value, ROUND_CEILING)


def percent(share: float) -> str:
    """A share in words: '0.4 %', '37 %'."""
    return f"{share * 100:.2g} %" if share < 0.1 else f"{share * 100:.0f} %"


def _shown(value: float, rounding: str) -> str:
    if not math.isfinite(value):
        return "infinity" if value > 0 else str(value)
    return f"{float(Context(prec=3, rounding=rounding).create_decimal_from_float(value)):.3g}"


def sigma(row: Row) -> str:
    """The bracket of a row's σ₁, rounded outward."""
    if row.lower is None:
        return "σ₁ unknown" if row.upper is None else f"σ₁ ≤ {at_most(row.upper)}"
    return f"σ₁ ≥ {at_least(row.lower)}" if row.upper is None else f"σ₁ {at_least(row.lower)} to {at_most(row.upper)}"
