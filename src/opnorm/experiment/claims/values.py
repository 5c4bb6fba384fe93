"""Values of one arm by seed, from its records: the functions that measures are made of."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from opnorm.experiment.claims.claim import BySeed, Values
from opnorm.experiment.document import Record


def usable(record: Record) -> bool:
    """Whether a model came out that gives numbers: where it does not, the training counts as failed."""
    return not record.failure and record.scores.get("test") is not None


def score(name: str, sign: float = 1.0) -> Values:
    """A score of the record, with a sign that makes the higher the better."""

    def by_seed(records: BySeed, _seeds: Sequence[int]) -> Mapping[int, float | None]:
        return {seed: _signed(record, name, sign) for seed, record in records.items()}

    return by_seed


def _signed(record: Record, name: str, sign: float) -> float | None:
    value = record.scores.get(name)
    return None if value is None or not usable(record) else sign * value


def less(name: str, other: str) -> Values:
    """A score minus another of the same record."""

    def by_seed(records: BySeed, _seeds: Sequence[int]) -> Mapping[int, float | None]:
        found: dict[int, float | None] = {}
        for seed, record in records.items():
            value, base = _signed(record, name, 1.0), _signed(record, other, 1.0)
            found[seed] = None if value is None or base is None else value - base
        return found

    return by_seed


def steadiness(records: BySeed, _seeds: Sequence[int]) -> Mapping[int, float | None]:
    """−|score − median of the arm's scores| (Brown and Forsythe, 1974)."""
    scores = {seed: _signed(record, "test", 1.0) for seed, record in records.items()}
    there = [s for s in scores.values() if s is not None]
    middle = statistics.median(there) if there else 0.0
    return {seed: None if s is None else -abs(s - middle) for seed, s in scores.items()}


def failures(records: BySeed, _seeds: Sequence[int]) -> Mapping[int, float | None]:
    """−1 where no usable model came out, 0 where one did."""
    return {seed: 0.0 if usable(record) else -1.0 for seed, record in records.items()}
