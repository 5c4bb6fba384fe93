"""What each arm costs: the time of a whole training step against the baseline's, and memory above it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from opnorm.experiment.document import Cost
from opnorm.report.html.figures import size
from opnorm.report.trial import words
from opnorm.report.trial.html.svg import Scale, node, tick_texts, ticks

TALL = 30


@dataclass(frozen=True, slots=True)
class Line:
    """One arm: its bar, its ratio with the spread, its memory and a note."""

    arm: str
    bar: Markup
    ratio: str
    spread: str
    memory: str
    note: str


@dataclass(frozen=True, slots=True)
class Table:
    """All arms on one scale from nothing; `axis` below."""

    lines: tuple[Line, ...]
    axis: Markup


def table(costs: Sequence[Cost]) -> Table:
    """A row an arm, in the order given."""
    ends = [v for c in costs for v in (c.step_ratio or 0.0, *(c.spread or ()))]
    scale = Scale(0.0, max([1.1, *(1.06 * v for v in ends)]))
    return Table(tuple(_line(c, scale) for c in costs), _axis(scale))


def _line(cost: Cost, scale: Scale) -> Line:
    spread = f"{cost.spread[0]:.2f} to {cost.spread[1]:.2f}" if cost.spread else ""
    return Line(
        words.name(cost.arm),
        _bar(cost, scale),
        "not measured" if cost.step_ratio is None else f"{cost.step_ratio:.2f}×",
        spread,
        _memory(cost.memory_bytes),
        words.line(cost.note, 300),
    )


def _memory(count: int | None) -> str:
    if count is None:
        return "–"
    return "none" if count == 0 else f"{'−' if count < 0 else '+'}{size(abs(count))}"


def _bar(cost: Cost, scale: Scale) -> Markup:
    middle = TALL / 2
    marks = []
    if cost.step_ratio is not None:
        marks.append(node("rect", class_="value", x=0, y=middle - 6, width=scale.percent(cost.step_ratio), height=12))
    if cost.spread:
        low, high = map(scale.percent, cost.spread)
        marks.append(node("line", class_="whisker", x1=low, x2=high, y1=middle, y2=middle))
        marks += [node("line", class_="whisker", x1=x, x2=x, y1=middle - 4, y2=middle + 4) for x in (low, high)]
    one = scale.percent(1.0)
    marks.append(node("line", class_="zero", x1=one, x2=one, y1=0, y2="100%"))
    return node("svg", *marks, class_="plot", width="100%", height=TALL, aria_hidden="true")


def _axis(scale: Scale) -> Markup:
    places = ticks(scale, 5)
    marks = [
        node("g", node("line", x1=x, x2=x, y1=0, y2=5), node("text", f"{text}×", x=x, y=19, text_anchor="middle"))
        for place, text in zip(places, tick_texts(places), strict=True)
        for x in [scale.percent(place)]
    ]
    rule = node("line", x1=0, x2="100%", y1=0.5, y2=0.5)
    return node("svg", rule, *marks, class_="axis", width="100%", height=26, aria_hidden="true")
