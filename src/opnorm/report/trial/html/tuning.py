"""What was tuned: for each arm and setting the range that was tried, and where the choices of the seeds fell.

Choices at an end of the range hint that better ones lie outside of it: they are counted, where more than the two ends
were tried.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from markupsafe import Markup

from opnorm.experiment.document import Record, TrialReport
from opnorm.report.trial import words
from opnorm.report.trial.html.svg import Scale, covering, covering_logs, node, title

TALL = 34


@dataclass(frozen=True, slots=True)
class Line:
    """One setting of one arm; `first` of its arm."""

    arm: str
    first: bool
    setting: str
    low: str
    high: str
    strip: Markup
    middle: str
    edges: str


def lines(report: TrialReport) -> list[Line]:
    """A row an arm and setting, of the trainings that were tuned."""
    found = []
    for arm in report.design.arms:
        records = [r for r in report.records if (r.arm, r.condition) == (arm, "full")]
        names = dict.fromkeys(n for r in records for s in _settings(r) for n in s)
        found += [_line(arm, i == 0, n, records) for i, n in enumerate(names)]
    return found


def _settings(record: Record) -> Iterable[Iterable[str]]:
    return (record.setting, *(t.setting for t in record.tried))


def trainings(report: TrialReport) -> tuple[int, int]:
    """How many trainings tuning took, and how many of them failed."""
    tried = [t for r in report.records for t in r.tried]
    return len(tried), sum(bool(t.failure) for t in tried)


def _line(arm: str, first: bool, name: str, records: Sequence[Record]) -> Line:
    chosen = [r.setting[name] for r in records if name in r.setting and not r.failure]
    tried = sorted({t.setting[name] for r in records for t in r.tried if name in t.setting} | set(chosen))
    low, high = (tried[0], tried[-1]) if tried else (0.0, 0.0)
    told = f"{sum(c in (low, high) for c in chosen)} of {len(chosen)}" if chosen and len(tried) > 2 else "–"
    return Line(
        words.name(arm),
        first,
        words.name(name),
        words.plain_setting(low),
        words.plain_setting(high),
        _strip(tried, chosen),
        words.plain_setting(median(chosen)) if chosen else "–",
        told,
    )


def _strip(tried: Sequence[float], chosen: Sequence[float]) -> Markup:
    """Ticks for what was tried; a dot for each value chosen, its area by how often."""
    scale = _scale(tried)
    counts = Counter(chosen)
    most = max(counts.values(), default=1)
    middle = TALL / 2
    marks = [node("line", class_="track", x1="0", x2="100%", y1=middle, y2=middle)]
    marks += [node("line", class_="tried", x1=x, x2=x, y1=middle - 5, y2=middle + 5) for x in map(scale.percent, tried)]
    for value, count in sorted(counts.items()):
        said = title(f"{words.plain_setting(value)}: chosen in {words.counted(count, 'seed')}")
        radius = 3 + 7 * math.sqrt(count / most) if most > 1 else 4
        marks.append(node("circle", said, cx=scale.percent(value), cy=middle, r=radius))
    return node("svg", *marks, class_="strip", width="100%", height=TALL, aria_hidden="true")


def _scale(tried: Sequence[float]) -> Scale:
    if tried and tried[0] > 0 and tried[-1] / tried[0] > 5:
        return covering_logs(tried, 4, 96)
    return covering(tried, 0.02, 4, 96)
