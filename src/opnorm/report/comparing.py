"""Two checkpoints as a report, and for a terminal: one table, largest drift first, then what has no partner and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from opnorm.errors import Contradiction, OpnormError, UsageError
from opnorm.linalg.request import Request
from opnorm.readers.checkpoint import Checkpoint
from opnorm.report.display import display_name
from opnorm.report.document import Finding, Report
from opnorm.report.findings import DEFAULT, Thresholds
from opnorm.report.survey import Progress, Selection, Survey, with_findings
from opnorm.report.text import number
from opnorm.spectrum.comparison import compare
from opnorm.spectrum.comparison.document import Change, Comparison
from opnorm.spectrum.document import Quantity

SORTS = ("drift", "file", "name", "delta", "rank", "shift", "intruders")

_STYLE = {"proved": "green", "probable": "cyan", "estimate": "yellow"}
_MOST_NAMES = 12

_DISPENSABLE = {
    "turned": 150,
    "largest\nΔσᵢ": 130,
    "stable\nrank": 120,
    "new\ndirections": 100,
    "shape": 90,
    "rank": 72,
}
"""Column → the width of the terminal from which it is shown."""

_KEYS: dict[str, Callable[[Change], float]] = {
    "drift": lambda c: _drift(c),
    "delta": lambda c: _value(c.delta),
    "rank": lambda c: _value(c.quantities.get("delta_rank")),
    "shift": lambda c: _value(c.quantities.get("largest_shift")),
    "intruders": lambda c: _value(c.quantities.get("intruders")),
}


def comparison_report(
    base: Checkpoint,
    tuned: Checkpoint,
    request: Request,
    selection: Selection,
    version: str,
    progress: Progress = lambda *_: None,
    jobs: int = 1,
    thresholds: Thresholds = DEFAULT,
) -> Report:
    """The report of two open checkpoints: both listed as inputs, no rows, and `comparison`.

    Files that were refused, tensors that could not be read and bounds that contradict each other are findings, as in
    any report.
    """
    survey = Survey(request, Selection(skip=("*",)))
    for checkpoint in (base, tuned):
        survey.add(checkpoint)  # hashes the files, measures nothing
    if survey.interrupted:
        raise KeyboardInterrupt

    def told(name: str, error: OpnormError) -> None:
        code = "contradiction" if isinstance(error, Contradiction) else "file-refused"
        survey.findings.append(Finding(code, str(error), name))

    found = compare(base, tuned, request, selection, progress, jobs, told)
    return with_findings(replace(survey.report(version), comparison=found), thresholds)


def sort_changes(changes: tuple[Change, ...], sort: str) -> list[Change]:
    """Changes in the order asked for, largest first; `UsageError` for an unknown column."""
    if sort not in SORTS:
        raise UsageError(f"cannot sort a comparison by {sort!r}; choose one of: {', '.join(SORTS)}")
    if sort == "file":
        return list(changes)
    if sort == "name":
        return sorted(changes, key=lambda c: c.tuned_name)
    return sorted(changes, key=_KEYS[sort], reverse=True)


def _value(quantity: Quantity | None) -> float:
    if quantity is None:
        return -1.0
    known = (quantity.value, quantity.upper, quantity.lower)
    return next((v for v in known if v is not None), -1.0)


def _drift(change: Change) -> float:
    """By ‖ΔW‖/‖W‖, or by Frobenius norms where only those are known."""
    spectral = _value(change.relative)
    return spectral if spectral >= 0 else _value(change.quantities.get("relative_frobenius"))


def show(report: Report, console: Console, *, sort: str = "drift", top: int | None = None) -> None:
    """Print what changed; largest relative drift first, at most `top` layers."""
    found = report.comparison
    assert found is not None
    changed = sort_changes(tuple(c for c in found.changes if c.status == "changed"), sort)
    shown = changed if top is None else changed[:top]
    if shown:
        console.print(_table(shown, console.width))
    if len(shown) < len(changed):
        rest = len(changed) - len(shown)
        are = "layer is" if rest == 1 else "layers are"
        console.print(Text(f"{rest} more {are} not shown: raise --top, or use --json"))
    for line in summary(report, found):
        console.print(Text(display_name(line, 2000)), soft_wrap=True)


def _table(changes: list[Change], room: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    columns = [c for c in _columns() if room >= _DISPENSABLE.get(c[0], 0)]
    for header, justify, _ in columns:
        first = header == "layer"
        table.add_column(header, justify=justify, overflow="fold", no_wrap=not first, min_width=14 if first else None)
    for change in changes:
        table.add_row(*(cell(change) for _, _, cell in columns))
    return table


def _columns() -> list[tuple[str, Literal["left", "right"], Callable[[Change], Text]]]:
    def quantity(name: str, form: Callable[[Quantity], str]) -> Callable[[Change], Text]:
        return lambda c: Text("–" if (q := c.quantities.get(name)) is None else form(q))

    return [
        ("layer", "left", lambda c: Text(display_name(c.tuned_name))),
        ("shape", "left", lambda c: Text("×".join(map(str, c.shape)))),
        ("‖ΔW‖ ≤", "right", lambda c: Text(number(c.delta.upper if c.delta else None, down=False))),
        ("‖ΔW‖/‖W‖", "right", lambda c: Text(_short(c.relative))),
        ("rank", "right", quantity("delta_rank", _count)),
        ("stable\nrank", "right", quantity("delta_stable_rank", _short)),
        ("largest\nΔσᵢ", "right", quantity("largest_shift", _short)),
        ("new\ndirections", "right", quantity("intruders", _count)),
        ("turned", "right", quantity("rotation", lambda q: "–" if q.value is None else f"{q.value:.1f}°")),
        ("evidence", "left", lambda c: _evidence(c.relative)),
    ]


def _evidence(quantity: Quantity | None) -> Text:
    label = "" if quantity is None else quantity.evidence
    return Text(label, style=_STYLE.get(label, ""))


def _short(quantity: Quantity | None) -> str:
    """One number where both ends agree in three digits, else both, rounded outward."""
    if quantity is None:
        return "–"
    lower, upper = quantity.lower, quantity.upper
    if lower is None and upper is None:
        return "–" if quantity.value is None else f"{quantity.value:.3g}"
    if lower is None or upper is None:
        return f"≤ {number(upper, down=False)}" if upper is not None else f"≥ {number(lower, down=True)}"
    if quantity.value is not None and upper <= lower * 1.02:
        return f"{quantity.value:.3g}"
    return f"{number(lower, down=True)} … {number(upper, down=False)}"


def _count(quantity: Quantity) -> str:
    if quantity.value is not None:
        return f"{quantity.value:.0f}"
    if quantity.lower is None:
        return "–"
    return f"≥ {quantity.lower:.0f}" if quantity.upper is None else f"{quantity.lower:.0f} … {quantity.upper:.0f}"


def summary(report: Report, found: Comparison) -> list[str]:
    """What changed most, what has no partner, what could not be compared, and how names were matched."""
    lines = [_verdict(found)]
    for side, names in (("BASE", found.only_base), ("TUNED", found.only_tuned)):
        if names:
            lines.append(f"Only in {side} ({len(names)}): {_listed(names)}")
    for change in found.changes:
        named = change.tuned_name if change.name == change.tuned_name else f"{change.tuned_name} (BASE: {change.name})"
        if change.status not in ("changed", "equal"):
            lines.append(f"{named}: {change.status}: {change.reason}")
    lines += _reasons(found)
    lines += list(found.notes)
    lines += [f"{f.code}: {f.message}" for f in report.findings if not f.row]
    if not report.complete:
        lines.append("This report is INCOMPLETE: not everything given was compared.")
    return lines


def _reasons(found: Comparison) -> list[str]:
    """What is said of changed layers, once for all that share it."""
    changed = [c for c in found.changes if c.status == "changed"]
    reasons: dict[str, list[str]] = {}
    for change in changed:
        if change.reason:
            reasons.setdefault(change.reason, []).append(change.tuned_name)
    return [
        f"{'all that changed' if len(names) == len(changed) > 1 else _listed(tuple(names))}: {reason}"
        for reason, names in reasons.items()
    ]


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more (--json has all)" if len(names) > _MOST_NAMES else ""
    return ", ".join(display_name(n) for n in names[:_MOST_NAMES]) + more


def _verdict(found: Comparison) -> str:
    changed = [c for c in found.changes if c.status == "changed"]
    equal = sum(c.status == "equal" for c in found.changes)
    layers = f"{len(found.changes)} layer" + "s" * (len(found.changes) != 1)
    if not found.changes:
        return "No layer was compared: what is selected in both is no linear map."
    if not changed:
        all_equal = equal == len(found.changes)
        return f"{layers} compared: " + ("nothing changed, all are equal." if all_equal else f"{equal} equal.")
    worst = max(changed, key=_drift)
    odds = f" All brackets hold together but with probability ≤ {p:.0e}." if (p := found.failure_probability) else ""
    return (
        f"{layers} compared: {equal} equal, {len(changed)} changed. Largest relative drift: "
        f"{display_name(worst.tuned_name)}, ‖ΔW‖/‖W‖ {_drift_words(worst)}. No singular value of a layer moved by more "
        f"than its ‖ΔW‖ (Weyl).{odds}"
    )


def _drift_words(change: Change) -> str:
    if change.relative is not None and change.relative.upper is not None:
        return f"≤ {number(change.relative.upper, down=False)}"
    frobenius = change.quantities.get("relative_frobenius")
    return "not known" if frobenius is None else f"not known; in the Frobenius norm {_short(frobenius)}"
