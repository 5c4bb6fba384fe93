"""What the page says before any script runs: the verdict, three numbers, findings, and what was left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from opnorm.report.display import display_name
from opnorm.report.document import Finding, Report, Row
from opnorm.report.html.figures import figure, quantity, row_bracket
from opnorm.spectrum.comparison.document import Change, Comparison

SEVERITIES = ("serious", "warning", "note")
_SAID = {"estimate": "estimated"}
_ALWAYS_SERIOUS = ("contradiction", "file-refused")


@dataclass(frozen=True, slots=True)
class Number:
    """One of the three numbers: its value, what it is, and a line below it."""

    value: str
    title: str
    below: str
    row: int | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """A finding with its severity and the index of the row that it is about, None for the whole model."""

    finding: Finding
    severity: str
    row: int | None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Rows that have no number, for one reason."""

    status: str
    reason: str
    names: tuple[str, ...]


def measured(report: Report) -> list[Row]:
    """Rows that have a number."""
    return [row for row in report.rows if row.status == "measured"]


def largest(rows: Iterable[Row]) -> Row | None:
    """The row with the largest upper end; of estimates and lower ends where there is no other."""
    return max(rows, key=height, default=None)


def height(row: Row) -> float:
    """Of a row among others: its upper end, else its lower."""
    return next((v for v in (row.upper, row.lower) if v is not None), -1.0)


def shown_findings(report: Report) -> list[Shown]:
    """Findings in their order, the gravest first; each with a place to go."""
    places = {row.name: index for index, row in reversed(list(enumerate(report.rows)))}
    found = [Shown(f, _severity(f), places.get(f.row) if f.row else None) for f in report.findings]
    return sorted(found, key=lambda s: SEVERITIES.index(s.severity))


def _severity(finding: Finding) -> str:
    if finding.code in _ALWAYS_SERIOUS:
        return "serious"
    return finding.severity if finding.severity in SEVERITIES else "note"


def verdict(report: Report, ceiling: float | None) -> tuple[str, str]:
    """A sentence on the norms, and one on what to look at."""
    return _norms(report, ceiling), _concerns(report)


def held(report: Report, ceiling: float) -> list[bool | None]:
    """For every weight that should have a norm: is it at most `ceiling`? None where its own numbers cannot tell."""
    rows = [
        row for row in report.rows if row.status != "not_a_map" and (not row.derived or row.kind.startswith("adapted"))
    ]
    return [_at_most(row, ceiling) for row in rows]


def _at_most(row: Row, ceiling: float) -> bool | None:
    if row.status == "measured" and row.upper is not None and row.upper <= ceiling:
        return True
    return False if row.status == "measured" and row.lower is not None and row.lower > ceiling else None


def _norms(report: Report, ceiling: float | None) -> str:
    rows = measured(report)
    top = largest(r for r in rows if not r.derived) or largest(rows)
    if top is None:
        return _moved(report.comparison) if report.comparison else "Nothing could be measured."
    weights = sum(not r.derived for r in rows)
    what = _count(weights, "weight") if weights else _count(len(rows), "operator")
    if ceiling is None:
        return f"{what} measured; the largest norm is {row_bracket(top)}, {_told(top)}."
    found = held(report, ceiling)
    over, unsure = found.count(False), found.count(None)
    if not over and not unsure:
        within = f"All {what} lie within" if len(found) > 1 else "The one weight lies within"
        return f"{within} the ceiling of {ceiling:g}; the largest norm is {row_bracket(top)}, {_told(top)}."
    open_ = f"; {unsure} cannot be decided" if unsure else ""
    return f"{over} of {_count(len(found), 'weight')} exceed the ceiling of {ceiling:g}{open_}."


def _moved(comparison: Comparison) -> str:
    changed = [c for c in comparison.changes if c.status == "changed"]
    if not changed:
        return f"None of {_count(len(comparison.changes), 'layer')} changed."
    most = _most_moved(comparison)
    moved = f", at most by {quantity(most.relative)} of its norm" if most else ""
    return f"{len(changed):,} of {_count(len(comparison.changes), 'layer')} changed{moved}."


def _most_moved(comparison: Comparison) -> Change | None:
    moved = [(drift, c) for c in comparison.changes if (drift := _drift(c)) is not None]
    return max(moved, key=lambda pair: pair[0])[1] if moved else None


def _drift(change: Change) -> float | None:
    found = change.relative
    return None if found is None else next((v for v in (found.value, found.upper) if v is not None), None)


def _told(row: Row) -> str:
    return {"proved": "proved", "probable": "probable"}.get(row.evidence or "", "an estimate")


def _concerns(report: Report) -> str:
    counts = Counter(s.severity for s in shown_findings(report))
    said = [_count(counts["serious"], "serious finding")] if counts["serious"] else []
    said += [_count(counts["warning"], "warning")] if counts["warning"] else []
    missing = sum(row.status in ("undefined", "refused") for row in report.rows)
    said += [f"{_count(missing, 'weight')} without a number"] if missing else []
    looked = " and ".join([", ".join(said[:-1]), said[-1]] if len(said) > 1 else said)
    start = "" if report.complete else "This report is incomplete. "
    calm = "Nothing calls for attention." if measured(report) or report.comparison else ""
    return start + (f"{looked}." if looked else calm)


def gravity(report: Report) -> str:
    """How grave what was found is: 'serious', 'warning', 'note' or 'calm'."""
    found = {s.severity for s in shown_findings(report)}
    missing = any(row.status in ("undefined", "refused") for row in report.rows)
    if "serious" in found or not report.complete:
        return "serious"
    return "warning" if "warning" in found or missing else "calm"


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'s' * (number != 1)}"


def numbers(report: Report, ceiling: float | None) -> list[Number]:
    """The three numbers."""
    if report.comparison is not None and not report.rows:
        return _of_changes(report.comparison)
    return [_largest(report), _evidence(report), _third(report, ceiling)]


def _of_changes(comparison: Comparison) -> list[Number]:
    counts = Counter(c.status for c in comparison.changes)
    bounded = [c.relative for c in comparison.changes if c.status == "changed" and c.relative is not None]
    proved = sum(q.evidence == "proved" for q in bounded)
    rest = ", ".join(f"{n:,} {'of another shape' if s == 'shape' else s}" for s, n in counts.items() if s != "changed")
    unmatched = len(comparison.only_base) + len(comparison.only_tuned)
    also = f"{unmatched:,} without a partner" if unmatched else ""
    return [
        _largest_change(comparison),
        Number(
            f"{counts['changed']:,} of {counts.total():,}", "layers changed", "; ".join(s for s in (rest, also) if s)
        ),
        Number(
            f"{proved:,} of {len(bounded):,}" if bounded else "–",
            "changes proved",
            _odds(comparison.failure_probability),
        ),
    ]


def _largest_change(comparison: Comparison) -> Number:
    most = _most_moved(comparison)
    if all(c.status == "equal" for c in comparison.changes):
        return Number("0", "largest relative change ‖ΔW‖/‖W‖", "no layer changed")
    if most is None:
        return Number("–", "largest relative change ‖ΔW‖/‖W‖", "no layer could be compared")
    return Number(quantity(most.relative), "largest relative change ‖ΔW‖/‖W‖", display_name(most.tuned_name, 60))


def _odds(odds: float) -> str:
    return f"all hold together but with probability ≤ {figure(odds, 1, 1)}" if odds else ""


def _largest(report: Report) -> Number:
    rows = measured(report)
    top = largest(r for r in rows if not r.derived) or largest(rows)
    if top is None:
        return Number("–", "largest norm σ₁", "nothing was measured")
    return Number(row_bracket(top), "largest norm σ₁", display_name(top.name, 60), report.rows.index(top))


def _evidence(report: Report) -> Number:
    kinds = Counter(row.evidence or "estimate" for row in measured(report))
    best = next((k for k in ("proved", "probable", "estimate") if kinds[k]), "proved")
    total = kinds.total()
    rest = ", ".join(f"{n:,} {_SAID.get(kind, kind)}" for kind, n in kinds.most_common() if kind != best)
    risk = _odds(report.failure_probability)
    below = "; ".join(s for s in (rest, risk) if s) or ("rounding errors included" if best == "proved" else "")
    if not total:
        return Number("–", "norms proved", "")
    return Number(f"{kinds[best]:,} of {total:,}", f"norms {_SAID.get(best, best)}", below)


def _third(report: Report, ceiling: float | None) -> Number:
    if report.comparison is not None:
        return _largest_change(report.comparison)
    if ceiling is not None:
        found = held(report, ceiling)
        return Number(f"{found.count(False):,}", f"over the ceiling of {ceiling:g}", f"of {len(found):,} weights")
    total = report.coverage.get("bytes", 0)
    share = report.coverage.get("measured", 0) / total if total else 0.0
    return Number(f"{100 * share:.1f} %" if total else "–", "of all bytes measured", _rest(report))


def _rest(report: Report) -> str:
    missing = sum(row.status in ("undefined", "refused") for row in report.rows)
    return f"{missing:,} weights without a number" if missing else "the rest are no linear maps" if report.rows else ""


def left_out(report: Report) -> list[LeftOut]:
    """Rows without a number, by status and reason, the gravest first."""
    order = {"refused": 0, "undefined": 1, "not_a_map": 2}
    rows = [row for row in report.rows if row.status != "measured"]
    ordered = sorted(rows, key=lambda r: (order.get(r.status, 3), _why(r)))
    return [
        LeftOut(status, display_name(why, 400), tuple(display_name(r.name, 90) for r in group))
        for (status, why), group in ((key, list(g)) for key, g in groupby(ordered, key=lambda r: (r.status, _why(r))))
    ]


def _why(row: Row) -> str:
    return row.reason or row.kind
