"""Interpretability: whether two trainings find the same, so far as spectra and top directions tell.

A direction that another seed does not find again explains the seed, not the data. The seeds are taken in disjoint pairs
(first and second, third and fourth, …), so that values stay independent: half as many values as seeds. It is stability
that is measured; whether a person understands a direction is not.
Directions: overlap ‖V₁ᵀV₂‖²_F / k of the top k right singular subspaces of the first layer, 1 for equal ones,
k / inputs by chance. Spectra: root mean square of differences of ln σ, the mean over layers; values below a thousandth
of a layer's largest count as that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from opnorm.experiment.claims.claim import BySeed, Claim, Facts, Measure, Values, features_only
from opnorm.experiment.claims.values import usable
from opnorm.experiment.document import Record

DIRECTION = "direction."
"""Prefix of the names of unit vectors in `Record.spectrum`, strongest first."""

VALUES = "values."
"""Prefix of the names of a layer's singular values there, largest first."""

FLOOR = 1e-3


def seed_pairs(seeds: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Disjoint, in the order of the design; an odd one is left over."""
    return tuple(zip(seeds[0::2], seeds[1::2], strict=False))


def overlap(one: Record, other: Record) -> float | None:
    """Of the two first layers' top subspaces; None where they have no common coordinates."""
    left, right = _directions(one), _directions(other)
    if not left or len(left) != len(right) or any(len(v) != len(left[0]) for v in (*left, *right)):
        return None
    product = np.asarray(left) @ np.asarray(right).T
    return min(1.0, float(np.square(product).sum()) / len(left))


def distance(one: Record, other: Record) -> float | None:
    """Minus the mean over layers of the root-mean-square difference of ln σ; None where layers differ."""
    left, right = _values(one), _values(other)
    if not left or {n: len(v) for n, v in left.items()} != {n: len(v) for n, v in right.items()}:
        return None
    apart = [math.sqrt(float(np.mean(np.square(_logs(left[n]) - _logs(right[n]))))) for n in sorted(left)]
    return -math.fsum(apart) / len(apart)


def _directions(record: Record) -> list[tuple[float, ...]]:
    return [v for n, v in sorted(record.spectrum.items()) if n.startswith(DIRECTION)]


def _values(record: Record) -> dict[str, tuple[float, ...]]:
    return {n: v for n, v in record.spectrum.items() if n.startswith(VALUES) and v and v[0] > 0}


def _logs(values: tuple[float, ...]) -> np.ndarray:
    return np.log(np.maximum(np.asarray(values, np.float64), FLOOR * values[0]))


def of_pairs(compare: Callable[[Record, Record], float | None]) -> Values:
    """A value for each pair of seeds, under the first one's number."""

    def by_seed(records: BySeed, seeds: Sequence[int]) -> Mapping[int, float | None]:
        found: dict[int, float | None] = {}
        for first, second in seed_pairs(seeds):
            one, other = records.get(first), records.get(second)
            if one is not None and other is not None:
                found[first] = compare(one, other) if usable(one) and usable(other) else None
        return found

    return by_seed


def _twentieth(facts: Facts) -> float:
    return 0.05 * facts.strictness


CLAIM = Claim(
    "interpretability",
    "Interpretability",
    "Do two trainings find the same directions and the same spectrum?",
    (
        Measure(
            "directions",
            "overlap of top input directions",
            "‖V₁ᵀV₂‖²_F / k of the top k right singular vectors (at most 3) of the first layer, of a table over its "
            "numeric columns, between two seeds",
            of_pairs(overlap),
            _twentieth,
            "overlap",
            needs=features_only,
            seeds_each=2,
        ),
        Measure(
            "spectra",
            "nearness of spectra",
            "minus the root-mean-square difference of ln σ between two seeds, the mean over layers",
            of_pairs(distance),
            _twentieth,
            "ln σ",
            seeds_each=2,
            caution="a cap or a band fixes part of the spectrum by itself",
        ),
    ),
)
