"""The trial for a terminal: the answer, a sentence a claim, the primary claim's table, cost, and what to be careful of.

Nothing is cut from a number: where the terminal is narrow, columns go, in the order of `_DISPENSABLE`. Every name is
made harmless; no text of the report is read as markup.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from opnorm.experiment.document import Answer, Comparison, TrialReport
from opnorm.report.html.figures import size
from opnorm.report.trial import answer, arms, words
from opnorm.report.trial.points import in_points

STYLE = {Answer.HELPS: "green", Answer.HURTS: "red", Answer.SAME: "cyan", Answer.OPEN: "yellow"}
_GRAVITY = {"calm": "bold green", "serious": "bold red", "note": "bold cyan", "warning": "bold yellow"}
_LONG = 2000
_ANSWER = max(map(len, Answer)) + 2
_INDENT = " " * (_ANSWER + 1)


@dataclass(frozen=True, slots=True)
class _Column:
    """room: width of the terminal from which it is shown."""

    header: str
    cell: Callable[[Comparison], str]
    room: int = 0
    right: bool = True


_CHANCES = 92
"""Width from which probabilities are shown."""

_COLUMNS = (
    _Column("arm", lambda c: words.name(c.arm, 28), right=False),
    _Column("difference", lambda c: words.signed(c, c.difference)),
    _Column("interval", words.interval, 60),
    _Column("better", lambda c: words.chance(c.better), _CHANCES),
    _Column("same", lambda c: words.chance(c.same), _CHANCES),
    _Column("worse", lambda c: words.chance(c.worse), _CHANCES),
    _Column("p differs", lambda c: words.p_value(c.p_differs), 124),
    _Column("p same", lambda c: words.p_value(c.p_same), 124),
    _Column("seeds", lambda c: str(len(c.pairs)), 76),
)


def show(report: TrialReport, console: Console) -> None:
    """Print `report`; on a terminal the answer comes again at the end, as its first lines have scrolled away."""
    report = in_points(report)
    told = answer.headline(report)
    opening = Text(f"{told.opening} ", style=_GRAVITY[told.gravity])
    _say(console, opening, told.rest)
    _show_primary(report, console)
    for verdict in report.verdicts:
        shown = _overall([c for c in answer.leading(verdict) if answer.is_spectral(report, c.arm)])
        first, *rest = words.parts(verdict.sentence)
        _say(console, _badge(shown) if shown else Text(_INDENT), first)
        for part in rest:
            _say(console, f"{_INDENT}  {part}")
        for note in _told_once(verdict.notes, report.untested):
            _say(console, f"{_INDENT}{words.name(note, _LONG)}")
    for line in (*_costs(report), *cautions(report)):
        _say(console, line)
    _show_apply(report, console)
    if console.is_terminal:
        _say(console, "\nAgain in short: ", opening, told.rest)


def _told_once(notes: Sequence[str], untested: Sequence[str]) -> list[str]:
    """Notes that are not told at the end as well, among what was not tested."""
    return [n for n in notes if not any(line.endswith(n.removeprefix("not taken: ")) for line in untested)]


def _say(console: Console, *parts: str | Text) -> None:
    console.print(Text.assemble(*parts), soft_wrap=True)


def _badge(found: Answer) -> Text:
    return Text(f"{words.SYMBOL[found]} {found}".ljust(_ANSWER + 1), style=STYLE[found])


def _overall(comparisons: Sequence[Comparison]) -> Answer | None:
    """One answer for a line: help if any arm helps, else what the most have, the openest of equals."""
    counts = Counter(c.answer for c in comparisons)
    if counts[Answer.HELPS]:
        return Answer.HELPS
    order = (Answer.OPEN, Answer.HURTS, Answer.SAME)
    return max(order, key=lambda a: counts[a]) if counts else None


def _show_primary(report: TrialReport, console: Console) -> None:
    found = answer.leading(answer.primary(report))
    if not found:
        return
    first = found[0]
    console.print()
    head = f"{words.capital(words.name(first.title, 60))}, arm − {words.name(first.baseline)}"
    edge = f"margin {words.margin(first)}{words.unit(first)}"
    around = f"{words.confidence(first)} intervals, {edge}, {words.counted(len(report.design.seeds), 'seed')}"
    _say(console, Text(head, style="bold"), f"; {around}")
    console.print(_table(found, console.width))
    meanings = arms.glossary((first.baseline, *(c.arm for c in found)))
    if meanings:
        _say(console, f"{'; '.join(f'{name}: {meaning}' for name, meaning in meanings)}.")
    if console.width >= _CHANCES:
        _say(
            console,
            "better, same, worse: probability that the arm's true difference lies above, within, below the margin.",
        )
    console.print()


def _table(found: Sequence[Comparison], room: int) -> Table:
    columns = [c for c in _COLUMNS if room >= c.room]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(
            column.header, justify="right" if column.right else "left", no_wrap=column.right, overflow="fold"
        )
    table.add_column("answer", overflow="fold")
    for comparison in found:
        cells = [Text(column.cell(comparison)) for column in columns]
        table.add_row(*cells, _badge(comparison.answer))
    return table


def _costs(report: TrialReport) -> list[str]:
    """'Cost of a training step: cap 1.22× (1.15 to 1.31), +82 kB; …'."""
    found = [_cost(c.arm, c.step_ratio, c.spread, c.memory_bytes, c.note) for c in report.costs]
    return [f"Cost of a training step, {words.name(report.design.baseline)} = 1: {'; '.join(found)}."] if found else []


def _cost(arm: str, ratio: float | None, spread: tuple[float, float] | None, memory: int | None, note: str) -> str:
    if ratio is None:
        return f"{words.name(arm)} not measured" + (f" ({words.name(note, 200)})" if note else "")
    around = f" ({spread[0]:.2f} to {spread[1]:.2f})" if spread else ""
    return f"{words.name(arm)} {ratio:.2f}×{around}" + (f", +{size(memory)}" if memory else "")


def cautions(report: TrialReport) -> list[str]:
    """What a reader must know beside the verdicts: failures, controls, what is missing, what was not tested."""
    return [*_failures(report), *_controls(report), *_notes(report), *_untested(report)]


def _failures(report: TrialReport) -> list[str]:
    failed = Counter(r.arm for r in report.records if r.failure)
    total = Counter(r.arm for r in report.records)
    told = [f"{words.name(arm)} {n} of {total[arm]}" for arm, n in failed.most_common(8)]
    return [f"Failed trainings, counted and left out of the pairs: {', '.join(told)}."] if told else []


def _controls(report: TrialReport) -> list[str]:
    if not report.controls:
        return ["Control: none ran, so nothing says what this trial finds where nothing changed."]
    moved = [c for c in report.controls if c.answer in (Answer.HELPS, Answer.HURTS)]
    told = f"Control, the baseline against itself: {len(moved)} of {len(report.controls)} measures came out different"
    listed = words.listed(f"{words.name(c.title, 60)} {c.answer}" for c in moved)
    return [f"{told}: {listed}. Treat those measures with suspicion." if moved else f"{told}."]


def _notes(report: TrialReport) -> list[str]:
    told = [words.name(note, _LONG) for note in report.notes]
    return (
        [*told, "This trial is INCOMPLETE: cells are missing; run the same command to go on."]
        if not report.complete
        else told
    )


def _untested(report: TrialReport) -> list[str]:
    told = [f"  · {words.name(line, _LONG)}" for line in report.untested]
    return ["Not tested:", *told] if told else []


def _show_apply(report: TrialReport, console: Console) -> None:
    if not report.apply:
        return
    console.print()
    _say(console, Text(f"To use {words.name(report.winner)}:", style="bold"))
    for line in report.apply.rstrip("\n").split("\n"):
        console.print(Text(f"    {words.line(line)}"), soft_wrap=True)
