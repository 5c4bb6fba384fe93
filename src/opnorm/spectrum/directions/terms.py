"""From a unit vector to the few of its coordinates worth reading, under names."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from opnorm.linalg.rounding import Float64
from opnorm.spectrum.document import Term

LABELED, PLAIN = 8, 4
"""Coordinates of either sign that are shown: of those with names of the user's, and of mere numbers."""

MOST_LETTERS = 48

FAINT = 1e-6
"""Coordinates below this share of the largest are not shown."""

Namer = Callable[[int], str]


def heavier_signs(vectors: Float64) -> Float64:
    """For each column the sign that makes its heavier side, by sum of squares, positive."""
    squares = vectors**2
    positive = np.where(vectors > 0, squares, 0.0).sum(axis=0)
    return np.where(2 * positive >= squares.sum(axis=0), 1.0, -1.0)


def concentrations(vectors: Float64) -> Float64:
    """Σw⁴ of each column for Σw² = 1: the inverse of how many coordinates share it."""
    squares = vectors**2
    totals = squares.sum(axis=0)
    return np.asarray((squares**2).sum(axis=0) / np.where(totals > 0, totals, 1.0) ** 2)


def shortened(value: float) -> float:
    """To four significant digits, which is what an estimate of a coordinate is worth; reports hold many."""
    return float(f"{value:.4g}")


def terms(vector: Float64, namer: Namer, most: int) -> tuple[tuple[Term, ...], tuple[Term, ...]]:
    """The coordinates of largest weight, positive ones and negative ones, each in descending size."""
    floor = FAINT * float(np.abs(vector).max(initial=0.0))
    return _largest(vector, floor, namer, most), _largest(-vector, floor, namer, most, sign=-1.0)


def _largest(vector: Float64, floor: float, namer: Namer, most: int, sign: float = 1.0) -> tuple[Term, ...]:
    order = np.argsort(-vector, kind="stable")[:most]
    return tuple(Term(namer(int(i)), int(i), sign * shortened(float(vector[i]))) for i in order if vector[i] > floor)


def clipped(label: str) -> str:
    """A label from a file, of bounded length and encodable; as harmful to a terminal as any name from a file."""
    sound = label[: 4 * MOST_LETTERS].encode("utf-8", "backslashreplace").decode("utf-8")
    return sound if len(sound) <= MOST_LETTERS else f"{sound[: MOST_LETTERS - 1]}…"


def numbered(word: str) -> Namer:
    """`unit 17`."""
    return lambda index: f"{word} {index}"
