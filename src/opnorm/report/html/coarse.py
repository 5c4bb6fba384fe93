"""Spectra and directions with fewer digits and points, for pages of many rows. Ends of brackets are rounded outward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from opnorm.report.html.columns import Shortening


@dataclass(frozen=True, slots=True)
class Level:
    """What is kept. digits: significant ones, None for all. points: of a profile. terms: of a direction's either side.

    curves: whether profile and density are kept; saying: what the page tells of it.
    """

    digits: int | None
    points: int
    terms: int
    curves: bool
    saying: str


LEVELS = (
    Level(None, 64, 1 << 30, True, ""),
    Level(6, 64, 1 << 30, True, "To keep this page small, spectra and directions are stored to 6 digits."),
    Level(
        4, 40, 8, True, "To keep this page small, spectra are stored to 4 digits and 40 points, directions to 8 terms."
    ),
    Level(
        3, 24, 4, True, "To keep this page small, spectra are stored to 3 digits and 24 points, directions to 4 terms."
    ),
    Level(
        4, 0, 3, False, "To keep this page small, the curves of spectra are left out, and directions cut to 3 terms."
    ),
    Level(None, 0, 0, False, "To keep this page small, spectra and directions are left out."),
)
_TERMS = frozenset(("positive", "negative", "pictures"))
_FEWER = {"errors": 2, "values": 2, "weight": 3}
_DIRECTION = {"lower": -1, "upper": 1, "error": 1}


@dataclass(frozen=True, slots=True)
class Coarse(Shortening):
    """The shortening of a level, for lists of `Spectrum` and `Direction`. Counts of outliers are kept exactly."""

    level: Level

    def below(self, key: str) -> Shortening:  # noqa: D102
        return Shortening() if key == "outliers" else self

    def column(self, key: str, items: list[Any]) -> list[Any]:  # noqa: D102
        if key in ("profile", "ranks"):
            return [_thinned(i, self.level.points) for i in items]
        if key == "density" and not self.level.curves:
            return [None] * len(items)
        return [i[: self.level.terms] for i in items] if key in _TERMS else items

    def numerals(self, key: str, values: list[float]) -> list[str] | None:  # noqa: D102
        if self.level.digits is None:
            return None
        digits = min(self.level.digits, _FEWER.get(key, 9)) + (key == "edges")
        direction = _DIRECTION.get(key, 0)
        return outward(values, digits, direction) if direction else nearest(values, digits)


def nearest(values: Sequence[float], digits: int) -> list[str]:
    """`values` as numerals of `digits` significant digits."""
    return (f"%.{digits}g " * len(values) % tuple(values)).split()


def outward(values: Sequence[float], digits: int, direction: int) -> list[str]:
    """`values` as numerals that lie below (−1) or above (1) them, by at most a unit in the last digit."""
    given = np.array(values)
    size = np.abs(given)
    unit = np.where(size > 0, 10.0 ** (np.floor(np.log10(np.where(size > 0, size, 1))) - digits + 1), 0)
    texts = nearest((given + direction * unit / 2).tolist(), digits)
    wrong = (np.array(list(map(float, texts))) - given) * direction < 0
    for index in np.flatnonzero(wrong).tolist():
        texts[index] = repr(values[index])
    return texts


def _thinned(items: Sequence[Any], points: int) -> list[Any]:
    return [items[i] for i in _spread(len(items), points)] if len(items) > points else list(items)


@cache
def _spread(count: int, points: int) -> tuple[int, ...]:
    """Indices of `points` of `count`, the first eight and the last among them."""
    if points < 10:
        return ()
    rest = points - 8
    return (*range(8), *(8 + round(i * (count - 9) / (rest - 1)) for i in range(rest)))
