"""Training curves as small multiples: above, an arm's validation score by epoch; below, the norm of each layer.

Thin lines are seeds, a thick one their median; a cross ends a training that failed. All arms share their axes. Of many
epochs at most forty are drawn, fewer where there are very many seeds; of many layers the eight whose norms end largest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from markupsafe import Markup

from opnorm.experiment.document import Record, TrialReport
from opnorm.report.trial import words
from opnorm.report.trial.html.svg import Scale, covering, covering_logs, node, tick_texts, ticks, title

LAYERS = 8
_POINTS, _FEWEST, _MOST = 40, 8, 12_000
_WIDE, _LEFT, _RIGHT, _TOP = 240, 36, 8, 10
_SCORES, _NORMS = 140, 124
_BELOW = 20

Series = list[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Panel:
    """One arm: two charts, and what they show in words."""

    arm: str
    scores: Markup
    norms: Markup | None
    told: str


@dataclass(frozen=True, slots=True)
class Curves:
    """All arms; layers: names in the order of their colors; hidden: how many layers are not drawn."""

    panels: tuple[Panel, ...]
    layers: tuple[str, ...]
    hidden: int


@dataclass(frozen=True, slots=True)
class _Frame:
    x: Scale
    scores: Scale
    norms: Scale
    layers: tuple[str, ...]
    points: int


def curves(report: TrialReport) -> Curves:
    """The curves of the tuned trainings on all data."""
    by_arm = {arm: _of_arm(report.records, arm) for arm in report.design.arms}
    shown = [r for found in by_arm.values() for r in found]
    if not shown:
        return Curves((), (), 0)
    layers = _layers(shown)
    points = [p for r in shown for p in r.curve]
    last = max(p.epoch for p in points)
    frame = _Frame(
        Scale(min(p.epoch for p in points) - 0.01, last + 0.01, _LEFT, _WIDE - _RIGHT),
        _upright(covering([p.validation for p in points if p.validation is not None]), _SCORES),
        _upright(covering_logs(v for p in points for v in p.norms.values()), _NORMS),
        layers[:LAYERS],
        max(_FEWEST, min(_POINTS, _MOST // (len(shown) * (1 + len(layers[:LAYERS]))))),
    )
    panels = tuple(_panel(arm, found, frame) for arm, found in by_arm.items() if found)
    return Curves(panels, tuple(words.name(n, 60) for n in frame.layers), max(0, len(layers) - LAYERS))


def _upright(scale: Scale, tall: int) -> Scale:
    return Scale(scale.low, scale.high, tall - _BELOW, _TOP, scale.logs)


def _of_arm(records: Iterable[Record], arm: str) -> list[Record]:
    return [r for r in records if (r.arm, r.condition) == (arm, "full") and r.curve]


def _layers(records: Sequence[Record]) -> tuple[str, ...]:
    """All layers, those drawn first: the eight with the largest last norms, in the model's order."""
    ends: dict[str, list[float]] = {}
    for record in records:
        for layer, norm in record.curve[-1].norms.items():
            ends.setdefault(layer, []).append(norm)
    largest = sorted(ends, key=lambda n: -median(ends[n]))[:LAYERS]
    return (*(n for n in ends if n in largest), *(n for n in ends if n not in largest))


def _panel(arm: str, records: Sequence[Record], frame: _Frame) -> Panel:
    told = _told(arm, records)
    drawn = [_scores(records, frame)] if any(p.validation is not None for r in records for p in r.curve) else []
    scores = _framed(f"{told[0]}", drawn, frame.x, frame.scores, _SCORES)
    having = any(p.norms for r in records for p in r.curve)
    norms = _framed(told[1], _norms(records, frame), frame.x, frame.norms, _NORMS) if having else None
    return Panel(words.name(arm), scores, norms, words.counted(len(records), "seed"))


def _told(arm: str, records: Sequence[Record]) -> tuple[str, str]:
    last = [p.validation for r in records for p in r.curve[-1:] if p.validation is not None]
    end = f", ending at a median of {words.value(median(last))}" if last else ""
    name = words.name(arm)
    return f"{name}: validation score by epoch{end}", f"{name}: estimated norms of layers by epoch"


def _scores(records: Sequence[Record], frame: _Frame) -> Markup:
    series = [[(p.epoch, p.validation) for p in r.curve if p.validation is not None] for r in records]
    thin = "".join(_trace(_thin(s, frame.points), frame.x, frame.scores) for s in series)
    crosses = [_cross(s[-1], frame) for r, s in zip(records, series, strict=True) if r.failure and s]
    middle = _trace(_thin(_median(series), _POINTS), frame.x, frame.scores)
    return node("g", node("path", class_="seeds", d=thin), node("path", class_="mean", d=middle), *crosses)


def _cross(place: tuple[int, float], frame: _Frame) -> Markup:
    x, y = frame.x(place[0]), frame.scores(place[1])
    lines = f"M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8"
    return node("g", title(f"failed after epoch {place[0]}"), node("path", class_="failed", d=lines))


def _norms(records: Sequence[Record], frame: _Frame) -> list[Markup]:
    found = []
    for index, layer in enumerate(frame.layers):
        series = [[(p.epoch, p.norms[layer]) for p in r.curve if p.norms.get(layer, 0) > 0] for r in records]
        thin = "".join(_trace(_thin(s, frame.points), frame.x, frame.norms) for s in series)
        middle = _median(series)
        said = title(f"{words.name(layer, 60)}: median {words.value(middle[-1][1])} at the end") if middle else ""
        paths = (
            node("path", class_="seeds", d=thin),
            node("path", class_="mean", d=_trace(_thin(middle, _POINTS), frame.x, frame.norms)),
        )
        found.append(node("g", said, *paths, class_=f"layer k{index}"))
    return found


def _median(series: Sequence[Series]) -> Series:
    """By epoch, while more than half of the seeds still train."""
    at: dict[int, list[float]] = {}
    for line in series:
        for epoch, value in line:
            at.setdefault(epoch, []).append(value)
    most = max(map(len, at.values()), default=0)
    return [(epoch, median(values)) for epoch, values in sorted(at.items()) if 2 * len(values) > most]


def _thin(series: Series, points: int) -> Series:
    if len(series) <= points:
        return series
    return [series[round(i * (len(series) - 1) / (points - 1))] for i in range(points)]


def _trace(series: Series, x: Callable[[float], float], y: Callable[[float], float]) -> str:
    points = [(x(epoch), y(value)) for epoch, value in series]
    if len(points) == 1:
        points.append((points[0][0] + 0.01, points[0][1]))
    return "".join(f"{'L' if i else 'M'}{a:.1f} {b:.1f}" for i, (a, b) in enumerate(points))


def _framed(label: str, marks: Sequence[Markup], x: Scale, y: Scale, tall: int) -> Markup:
    base = tall - _BELOW
    rules = [
        node("g", node("line", x1=_LEFT, x2=_WIDE - _RIGHT, y1=at, y2=at),
             node("text", text, x=_LEFT - 6, y=at + 4, text_anchor="end"), class_="grid")
        for at, text in _labels(y, 4)
    ]  # fmt: skip
    below = [
        node("text", text, x=at, y=base + 15, text_anchor="middle")
        for at, text in _labels(Scale(x.low, x.high, x.start, x.end), 5)
        if "." not in text
    ]
    axis = node("line", class_="axis", x1=_LEFT, x2=_WIDE - _RIGHT, y1=base, y2=base)
    return node(
        "svg",
        *rules,
        axis,
        *below,
        *marks,
        class_="curves",
        viewBox=f"0 0 {_WIDE} {tall}",
        role="img",
        aria_label=label,
    )


def _labels(scale: Scale, most: int) -> list[tuple[float, str]]:
    places = ticks(scale, most)
    return [(scale(p), text) for p, text in zip(places, tick_texts(places), strict=True)]
