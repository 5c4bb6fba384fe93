"""The report for a terminal: one table worth reading, then what was not measured and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Literal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from opnorm.errors import UsageError
from opnorm.report.display import display_name
from opnorm.report.document import Beside, Finding, Report, Row
from opnorm.report.grouping import collapsed, repeated

SORTS = ("file", "name", "lower", "upper", "width", "stable_rank", "seconds")

_STYLE = {"proved": "green", "probable": "cyan", "estimate": "yellow"}
_DIGITS = 5

_DISPENSABLE = {"beside": 120, "dtype": 100, "method": 100, "shape": 72, "stable\nrank": 72}
"""Column → the width of the terminal from which it is shown. Bounds and evidence always are."""


def show(report: Report, console: Console, *, sort: str = "file", top: int | None = None) -> None:
    """Print `report`; largest first for numeric sorts, at most `top` rows."""
    measured = collapsed(row for row in report.rows if row.status == "measured")
    ordered = sort_rows(measured, sort)
    shown = ordered if top is None else ordered[:top]
    if shown:
        console.print(_table(shown, several=len(report.inputs) > 1, room=console.width))
    if len(shown) < len(measured):
        things = "rows" if any(row.derived for row in measured) else "weights"
        console.print(Text(f"{len(measured) - len(shown)} more {things} are not shown: raise --top, or use --json"))
    for line in summary(report):
        console.print(Text(line), soft_wrap=True)
    show_findings(report, console)


def show_findings(report: Report, console: Console) -> None:
    """Print what to look at first: serious findings and warnings, each with its code and next step."""
    for line in _findings(report):
        console.print(Text(line), soft_wrap=True)


def _findings(report: Report, most: int = 5) -> list[str]:
    found = [f for f in report.findings if f.severity in ("serious", "warning")]
    lines = [
        f"{f.code} {f.severity}: {_about(f)}{display_name(f.message, 2000)}" + (f". {f.advice}" if f.advice else "")
        for f in found[:most]
    ]
    if len(found) > most:
        lines.append(f"{len(found) - most} more findings are in --json and --html")
    return [*lines, f"opnorm explain {found[0].code} says how that is judged"] if found else []


def _about(finding: Finding) -> str:
    return f"{display_name(finding.row)}: " if finding.row else ""


def sort_rows(rows: list[Row], sort: str) -> list[Row]:
    """Rows in the order asked for; `UsageError` for an unknown column."""
    if sort not in SORTS:
        raise UsageError(f"cannot sort by {sort!r}; choose one of: {', '.join(SORTS)}")
    if sort == "file":
        return rows
    if sort == "name":
        return sorted(rows, key=lambda r: r.name)
    return sorted(rows, key=lambda r: _number(r, sort), reverse=True)


def _number(row: Row, column: str) -> float:
    value = row.stable_rank[0] if column == "stable_rank" and row.stable_rank else getattr(row, column)
    return float(value) if isinstance(value, int | float) else -1.0


def _table(rows: list[Row], several: bool, room: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    beside = any(row.also for row in rows)
    columns = [c for c in _columns(several) if room >= _DISPENSABLE.get(c[0], 0) and (beside or c[0] != "beside")]
    for header, justify, _ in columns:
        first = header == "weight"
        table.add_column(header, justify=justify, overflow="fold", no_wrap=not first, min_width=14 if first else None)
    for row in rows:
        table.add_row(*(cell(row) for _, _, cell in columns))
    return table


def _columns(several: bool) -> list[tuple[str, Literal["left", "right"], Callable[[Row], Text]]]:
    def name(row: Row) -> Text:
        return Text(_named(row, several))

    return [
        ("weight", "left", name),
        ("shape", "left", lambda r: Text("×".join(map(str, r.shape)))),
        ("dtype", "left", lambda r: Text(display_name(r.dtype, 16))),
        ("σ₁ ≥", "right", lambda r: Text(number(r.lower, down=True))),
        ("σ₁ ≤", "right", lambda r: Text(number(r.upper, down=False))),
        ("stable\nrank", "right", lambda r: Text(_rank(r.stable_rank))),
        ("evidence", "left", lambda r: Text(r.evidence or "", style=_STYLE.get(r.evidence or "", ""))),
        ("method", "left", lambda r: Text(r.method)),
        ("beside", "left", lambda r: Text("\n".join(f"{b.name} {interval(b)}" for b in r.also))),
    ]


def _named(row: Row, several: bool) -> str:
    return display_name(f"{row.input}: {row.name}" if several else row.name)


def interval(beside: Beside) -> str:
    """A further number in a few digits: one where both ends agree in them, else what is known of it."""
    lower, upper = number(beside.lower, down=True), number(beside.upper, down=False)
    if beside.lower is None:
        return f"≤ {upper}" if beside.upper is not None else "not found"
    close = beside.upper is not None and beside.upper <= beside.lower * (1 + 2e-4)
    return upper if close else f"{lower} … {upper}"


def number(value: float | None, *, down: bool) -> str:
    """Five significant digits, rounded outward so that what is printed is still a bound."""
    if value is None:
        return "–"
    text = f"{value:.{_DIGITS - 1}e}"
    rounded, exponent = float(text), int(f"{value:.16e}".split("e")[1])
    if (rounded > value) if down else (rounded < value):
        step = 10.0 ** (exponent - _DIGITS + 1)
        text = f"{rounded - step if down else rounded + step:.{_DIGITS - 1}e}"
    return f"{float(text):.{_DIGITS}g}"


def _rank(interval: tuple[float, float] | None) -> str:
    if interval is None:
        return "–"
    middle = (interval[0] + interval[1]) / 2
    return f"{middle:.1f}" if middle < 1000 else f"{middle:.0f}"


def summary(report: Report) -> list[str]:
    """What the numbers are, what was left out, and what to know, in sentences."""
    lines = [_verdict(report), _files(report), *_left_out(report)]
    lines += repeated(r for r in report.rows if r.status in ("undefined", "refused"))
    lines += repeated(r for r in report.rows if r.status == "measured" and r.reason)
    lines += [f"{f.code}: {f.message}" for f in report.findings if not f.row]
    if not report.complete:
        lines.append("This report is INCOMPLETE: not everything given was measured.")
    return [display_name(line, 2000) for line in lines if line]


def _verdict(report: Report) -> str:
    measured = [row for row in report.rows if row.status == "measured"]
    if not measured:
        return "No weight was measured."
    kinds = Counter(row.evidence for row in measured)
    evidence = ", ".join(f"{n} {kind}" for kind, n in kinds.most_common())
    odds = report.failure_probability
    risk = f"; all hold together but with probability ≤ {odds:.0e}" if odds else ""
    seconds = sum(row.seconds for row in measured)
    worst = max(measured, key=lambda r: r.upper if r.upper is not None else -1.0)
    largest = _named(worst, several=len(report.inputs) > 1)
    derived = sum(row.derived for row in measured)
    count = _counted(len(measured) - derived, "weight")
    count += f" and {_counted(derived, 'operator')} made of them" if derived else ""
    return (
        f"{count} measured in {seconds:.2f} s ({evidence}{risk}). σ₁ is the spectral norm, the largest "
        f"singular value, of the real linear operator that a row names; largest: {largest}, "
        f"σ₁ ≤ {number(worst.upper, down=False)}."
    )


def _files(report: Report) -> str:
    """Which files the numbers before the names mean, where there are several."""
    return "; ".join(f"{i}: {given.path}" for i, given in enumerate(report.inputs)) if len(report.inputs) > 1 else ""


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}" + "s" * (number != 1)


def _left_out(report: Report) -> list[str]:
    kinds = Counter(row.kind for row in report.rows if row.status == "not_a_map")
    if not kinds:
        return []
    listed = ", ".join(f"{n} {kind}" for kind, n in kinds.most_common())
    coverage = report.coverage
    share = coverage["measured"] / coverage["bytes"] if coverage["bytes"] else 0.0
    total = sum(kinds.values())
    are = "tensor is no linear map" if total == 1 else "tensors are no linear maps"
    return [f"{total} {are} ({listed}). Measured: {share:.1%} of all bytes."]
