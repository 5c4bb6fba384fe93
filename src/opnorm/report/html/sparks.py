"""Profiles as small as they go: sixteen characters a row, from which the page's table draws its sparklines."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import cache

import numpy as np

from opnorm.report.document import Row

POINTS = 16
HEIGHTS = 40
_FLOOR = 1e-3


def sparks(rows: Sequence[Row]) -> list[str]:
    """For each row log σ/σ₁ from 10⁻³ to 1 as '0' to 'W', at even ranks; '' where there is no profile."""
    profiles = {index: points for index, row in enumerate(rows) if (points := _points(row))}
    drawn = [""] * len(rows)
    if not profiles:
        return drawn
    values = np.array(list(profiles.values()))
    shares = np.maximum(values / values[:, :1], _FLOOR)
    heights = np.rint((HEIGHTS - 1) * (1 - np.log10(shares) / np.log10(_FLOOR))).astype(np.uint8) + ord("0")
    for index, line in zip(profiles, heights, strict=True):
        drawn[index] = line.tobytes().decode("ascii")
    return drawn


def _points(row: Row) -> list[float]:
    spectrum = row.spectrum
    if spectrum is None or len(spectrum.profile) < 2 or spectrum.profile[0] <= 0:
        return []
    return [spectrum.profile[i] for i in _grid(spectrum.ranks)]


@cache
def _grid(ranks: tuple[int, ...]) -> list[int]:
    """Where the first rank at or beyond each of sixteen even steps stands."""
    return [bisect_left(ranks, ranks[-1] * i / (POINTS - 1)) for i in range(POINTS)]
