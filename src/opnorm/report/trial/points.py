"""Shares of examples as points, hundredths, as the sentences say them; for showing only, never for the JSON."""

from __future__ import annotations

from dataclasses import replace

from opnorm.experiment.document import Comparison, Pair, TrialReport

SHARES = ("accuracy", "balanced accuracy", "trainings", "probability")
"""Units whose differences are said in points."""


def in_points(report: TrialReport) -> TrialReport:
    """`report` with every comparison of shares in points."""
    verdicts = tuple(replace(v, comparisons=tuple(map(_pointed, v.comparisons))) for v in report.verdicts)
    return replace(report, verdicts=verdicts, controls=tuple(map(_pointed, report.controls)))


def _pointed(comparison: Comparison) -> Comparison:
    if comparison.unit not in SHARES:
        return comparison
    return replace(
        comparison,
        unit="points",
        pairs=tuple(Pair(p.seed, 100 * p.baseline, 100 * p.arm) for p in comparison.pairs),
        margin=100 * comparison.margin,
        difference=None if comparison.difference is None else 100 * comparison.difference,
        interval=_hundredfold(comparison.interval),
        bootstrap=_hundredfold(comparison.bootstrap),
    )


def _hundredfold(ends: tuple[float, float] | None) -> tuple[float, float] | None:
    return None if ends is None else (100 * ends[0], 100 * ends[1])
