"""A row's peers, and how their σ₁ spread: the reference that says whether a layer is too large or too small.

Peers are, in this order, as soon as there are enough: rows of the same role (names that differ in numbers only, such as
`layer.3.mlp.up` and `layer.7.mlp.up`) and shape; rows of the same kind and shape; rows of the same kind whatever
their shape, each in units of its own Marchenko–Pastur edge at initialization. The row itself is left out, so that one
broken layer among four does not hide itself. Location and scale are robust: the median, and the quartiles' distance
over 1.349, of log σ₁ (log-normal peers would be given their standard deviation).

Where there are none, the edge at initialization itself is the reference.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from opnorm.report.document import Report, Row
from opnorm.report.findings.found import weakest
from opnorm.report.findings.reference import initial_edge
from opnorm.report.findings.thresholds import Thresholds

Value = Callable[[Row], float | None]
Key = tuple[object, ...]

DIAGONAL = ("batch norm", "scale")
TABLES = ("embedding",)
LAYERS = ("linear", "convolution", "transposed convolution")
"""Kinds that are initialized by their number of inputs, so that one without peers has a reference all the same."""

_NUMBER = re.compile(r"\d+")
_GROUPS = re.compile(r"\bgroups (\d+)")
_QUARTILES = 1.349


@dataclass(frozen=True, slots=True)
class Others:
    """What a row is compared with. words: whom; count: how many; median, spread: of the log of their values; ratio:
    the threshold that belongs to this kind of peers; evidence: the weakest among them and the row.
    """  # fmt: skip

    words: str
    count: int
    median: float
    spread: float
    ratio: float
    evidence: str


def judged(report: Report) -> list[Row]:
    """Measured weights that are matrices or convolutions of their own: neither derived nor diagonal."""
    return [r for r in report.rows if r.status == "measured" and not r.derived and r.kind not in DIAGONAL]


class Peers:
    """Over some rows, by a positive value each (None or 0: left out)."""

    def __init__(self, rows: Iterable[Row], value: Value, thresholds: Thresholds, *, alone: bool = False) -> None:
        self._value, self._thresholds, self._alone = value, thresholds, alone
        gathered: dict[Key, list[tuple[float, str | None]]] = defaultdict(list)
        for row in rows:
            if (number := value(row)) is not None and number > 0:
                for key, unit in _keys(row):
                    gathered[key].append((math.log(number / unit), row.evidence))
        self._logs = {key: sorted(log for log, _ in group) for key, group in gathered.items()}
        self._evidence = {key: weakest(e for _, e in group) for key, group in gathered.items()}

    def of(self, row: Row) -> Others | None:
        """The row's peers, of which it is none itself; the median is in the row's own units."""
        own = self._value(row)
        for (key, unit), words, ratio in zip(_keys(row), _WORDS, self._ratios, strict=False):
            logs = self._logs.get(key, [])
            at = None if own is None or own <= 0 else bisect_left(logs, math.log(own / unit))
            count = len(logs) - (at is not None)
            if count >= self._fewest(words):
                spread = (_quantile(logs, at, 0.75) - _quantile(logs, at, 0.25)) / _QUARTILES
                evidence = weakest((self._evidence[key], row.evidence))
                median = _quantile(logs, at, 0.5) + math.log(unit)
                return Others(words.format(count), count, median, spread, ratio, evidence)
        if self._alone and row.kind in LAYERS and (edge := _edge(row)):
            words = "what He's initialization gives a layer of its shape"
            return Others(words, 0, math.log(edge), 0.0, self._thresholds.alone_ratio, weakest((row.evidence,)))
        return None

    @property
    def _ratios(self) -> tuple[float, float, float]:
        t = self._thresholds
        return t.peer_ratio, t.peer_ratio, t.alike_ratio

    def _fewest(self, words: str) -> int:
        return self._thresholds.fewest_peers if words != _WORDS[2] else max(2, self._thresholds.fewest_peers - 1)


_WORDS = (
    "the median of the {} other rows of its role",
    "the median of the {} other rows of its kind and shape",
    "the median of the {} other rows of its kind, each in units of its own initialization",
)


def limit(others: Others, thresholds: Thresholds) -> float:
    """log of the ratio from which a row stands apart: the threshold's, or the peers' own spread."""
    return max(math.log(others.ratio), thresholds.spread * others.spread)


def _keys(row: Row) -> list[tuple[Key, float]]:
    """The groups that a row belongs to, the narrowest first, and the unit that its value is taken in there."""
    keys: list[tuple[Key, float]] = [
        (("role", row.input, row.kind, row.shape, _NUMBER.sub("#", row.name)), 1.0),
        (("shape", row.input, row.kind, row.shape), 1.0),
    ]
    edge = 0.0 if row.kind in TABLES else _edge(row)
    return [*keys, (("kind", row.input, row.kind), edge)] if edge else keys


def _edge(row: Row) -> float:
    """The edge at initialization of a row's shape; 0 where it has none."""
    if len(row.shape) < 2 or 0 in row.shape:
        return 0.0
    outputs, inputs = row.shape[:2]
    if row.kind == "transposed convolution" or row.operator.endswith("(stored transposed)"):
        outputs, inputs = inputs, outputs
    groups = _GROUPS.search(row.operator)
    share = int(groups[1]) if groups else 1
    if row.kind == "transposed convolution":
        inputs = max(inputs // share, 1)
    else:
        outputs = max(outputs // share, 1)
    return initial_edge(outputs, inputs)


def _quantile(values: list[float], without: int | None, share: float) -> float:
    """Of sorted values, one left out by its index, interpolated."""
    count = len(values) - (without is not None)
    place = share * (count - 1)
    low = math.floor(place)

    def at(index: int) -> float:
        index = min(index, count - 1)
        return values[index + (without is not None and index >= without)]

    return at(low) + (place - low) * (at(low + 1) - at(low))
