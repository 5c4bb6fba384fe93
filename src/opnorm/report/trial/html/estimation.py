"""Estimation plots: for each measure a row an arm, its seeds as dots, the interval, and the band of equivalence.

A dot is one seed's difference between the arm and the baseline; the slim panel beside it shows the same seeds as lines
from the baseline's value to the arm's. All rows of a measure share one scale, so they can be read downwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from opnorm.experiment.document import Comparison
from opnorm.report.trial import words
from opnorm.report.trial.html.svg import Scale, beeswarm, covering, node, tick_texts, ticks, title

TALL = 62
_DOTS, _INTERVAL, _LANE = 22, 48, 7
_SLOPE = (92, 10, 82)
_APART = 1.7
"""Per cent of the plot's width that a dot takes."""


@dataclass(frozen=True, slots=True)
class Line:
    """One arm: its plots and its numbers in words."""

    comparison: Comparison
    slope: Markup
    plot: Markup
    difference: str
    interval: str
    chances: str
    against: str


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure under one condition: a row for each arm. baseline: '' where each row has another."""

    title: str
    unit: str
    margin: str
    confidence: str
    baseline: str
    lines: tuple[Line, ...]
    axis: Markup
    notes: tuple[str, ...]


def measures(comparisons: Sequence[Comparison], telling: bool = True) -> list[Measure]:
    """The comparisons by measure, unit and condition, in their order. telling: whether each dot says what it is."""
    groups: dict[tuple[str, str, str, str], list[Comparison]] = {}
    for comparison in comparisons:
        key = (comparison.measure, comparison.condition, comparison.title, comparison.unit)
        groups.setdefault(key, []).append(comparison)
    return [_measure(group, telling) for group in groups.values()]


def _measure(group: Sequence[Comparison], telling: bool) -> Measure:
    first, scale, values = group[0], _differences(group), _values(group)
    one_baseline = len({c.baseline for c in group}) == 1
    return Measure(
        title=words.capital(words.name(first.title, 120)),
        unit=words.unit_alone(first),
        margin=words.margin(first),
        confidence=words.confidence(first),
        baseline=words.name(first.baseline) if one_baseline else "",
        lines=tuple(_line(c, scale, values, telling, one_baseline) for c in group),
        axis=_axis(scale),
        notes=tuple(dict.fromkeys(words.name(c.note, 600) for c in group if c.note)),
    )


def _differences(group: Sequence[Comparison]) -> Scale:
    moves = [p.arm - p.baseline for c in group for p in c.pairs]
    ends = [e for c in group for e in (c.interval or ())]
    return covering([0.0, *moves, *ends, *(s * c.margin for c in group for s in (-1.3, 1.3))], 0.04)


def _values(group: Sequence[Comparison]) -> Scale:
    return covering((v for c in group for p in c.pairs for v in (p.baseline, p.arm)), 0.04, TALL - 8, 8)


def _line(comparison: Comparison, scale: Scale, values: Scale, telling: bool, one_baseline: bool) -> Line:
    chances = ""
    if comparison.better is not None:
        parts = (("better", comparison.better), ("same", comparison.same), ("worse", comparison.worse))
        chances = ", ".join(f"{word} {words.chance(p)}".replace(" ", "\u00a0") for word, p in parts)
    return Line(
        comparison,
        _slopes(comparison, values),
        _plot(comparison, scale, telling),
        words.signed(comparison, comparison.difference),
        words.interval(comparison) if comparison.interval else "no interval",
        chances,
        "" if one_baseline else words.name(comparison.baseline),
    )


def _slopes(comparison: Comparison, scale: Scale) -> Markup:
    wide, left, right = _SLOPE
    path = "".join(f"M{left} {scale(p.baseline):.1f}L{right} {scale(p.arm):.1f}" for p in comparison.pairs)
    posts = (node("line", x1=x, x2=x, y1=6, y2=TALL - 6) for x in (left, right))
    marks = [node("path", class_="seeds", d=path)] if path else []
    if count := len(comparison.pairs):
        before, after = (scale(sum(v / count for v in column)) for column in _columns(comparison))
        marks.append(node("path", class_="mean", d=f"M{left} {before:.1f}L{right} {after:.1f}"))
    return node("svg", *posts, *marks, class_="slopes", width=wide, height=TALL, aria_hidden="true")


def _columns(comparison: Comparison) -> tuple[list[float], list[float]]:
    return [p.baseline for p in comparison.pairs], [p.arm for p in comparison.pairs]


def _plot(comparison: Comparison, scale: Scale, telling: bool) -> Markup:
    kind = f"a-{comparison.answer.name.lower()}"
    marks = [*_background(comparison.margin, scale), *_dots(comparison, scale, telling)]
    if comparison.interval:
        marks.append(_reach(comparison, comparison.interval, scale, kind))
    if comparison.difference is not None:
        diamond = node("path", d="M0 -5.5L5.5 0L0 5.5L-5.5 0Z", class_=kind)
        x = scale.percent(comparison.difference)
        marks.append(node("svg", diamond, class_="middle", x=x, y=_INTERVAL, overflow="visible"))
    return node("svg", *marks, class_="plot", width="100%", height=TALL, aria_hidden="true")


def _reach(comparison: Comparison, interval: tuple[float, float], scale: Scale, kind: str) -> Markup:
    """The interval as a line, with a broad unseen one that the pointer finds."""
    told = f"{words.confidence(comparison)} interval {words.interval(comparison)}{words.unit(comparison)}"
    low, high = map(scale.percent, interval)
    lines = (node("line", class_=c, x1=low, x2=high, y1=_INTERVAL, y2=_INTERVAL) for c in ("reach", None))
    return node("g", title(told), *lines, class_=kind)


def _background(margin: float, scale: Scale) -> list[Markup]:
    low, high = scale(-margin), scale(margin)
    band = node("rect", class_="equal", x=f"{low:.2f}%", y=0, width=f"{high - low:.2f}%", height="100%")
    zero = node("line", class_="zero", x1=scale.percent(0), x2=scale.percent(0), y1=0, y2="100%")
    return [band, zero]


def _dots(comparison: Comparison, scale: Scale, telling: bool) -> list[Markup]:
    moves = [p.arm - p.baseline for p in comparison.pairs]
    lanes = beeswarm([scale(m) for m in moves], _APART)
    found = []
    for pair, move, lane in zip(comparison.pairs, moves, lanes, strict=True):
        said = [title(_told(comparison, pair.seed, pair.baseline, pair.arm, move))] if telling else []
        found.append(node("circle", *said, cx=scale.percent(move), cy=_DOTS + _LANE * lane, r=3.2))
    return found


def _told(comparison: Comparison, seed: int, before: float, after: float, move: float) -> str:
    return f"seed {seed}: {words.value(before)} → {words.value(after)}, {words.signed(comparison, move)}"


def _axis(scale: Scale) -> Markup:
    places = ticks(scale, 5)
    texts = tick_texts(places, sign=True)
    marks = [
        node("g", node("line", x1=x, x2=x, y1=0, y2=5), node("text", text, x=x, y=19, text_anchor="middle"))
        for place, text in zip(places, texts, strict=True)
        for x in [scale.percent(place)]
    ]
    ends = (
        node("text", "← worse", class_="end", x=0, y=36),
        node("text", "better →", class_="end", x="100%", y=36, text_anchor="end"),
    )
    rule = node("line", x1=0, x2="100%", y1=0.5, y2=0.5)
    return node("svg", rule, *marks, *ends, class_="axis", width="100%", height=42, aria_hidden="true")
