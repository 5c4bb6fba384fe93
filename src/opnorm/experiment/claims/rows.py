"""Who is compared with whom in what, and the pairs of values for it.

An arm's value under a seed is paired with the baseline's under the same seed. Where one of the two is missing the seed
is left out and named with the reason; it never vanishes. The splits' overlap is that of the condition 'full', the pool
that every condition draws from: after Nadeau and Bengio (2003), where test parts are drawn anew, variances grow by
examples of test over all others: what is judged is tuning and training together, and both use the validation part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from opnorm.experiment.claims.claim import BySeed, Measure
from opnorm.experiment.claims.interpretability import seed_pairs
from opnorm.experiment.claims.values import usable
from opnorm.experiment.document import AGAIN, Design, Pair, Record

FULL, LOOSER = "full", "looser"


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison to be made. against: name of the other side, the baseline or the arm itself with more room.

    failed: seeds in which the arm gave no usable model in 'full'.
    """

    measure: Measure
    arm: str
    against: str
    pairs: tuple[Pair, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Filed:
    """Records by arm and condition, then by seed."""

    seeds: tuple[int, ...]
    records: Mapping[tuple[str, str], BySeed]

    def of(self, arm: str, condition: str) -> BySeed:
        """By seed; empty where none ran."""
        return self.records.get((arm, condition), {})

    def failed(self, arm: str) -> tuple[int, ...]:
        """Seeds in which the arm ran and gave no usable model."""
        return tuple(s for s, r in self.of(arm, FULL).items() if not usable(r))


def filed(design: Design, records: Iterable[Record]) -> Filed:
    """Only seeds of the design, in its order, whatever the order of the records."""
    place = {seed: i for i, seed in enumerate(design.seeds)}
    found: dict[tuple[str, str], dict[int, Record]] = {}
    for record in sorted((r for r in records if r.seed in place), key=lambda r: place[r.seed]):
        found.setdefault((record.arm, record.condition), {})[record.seed] = record
    return Filed(design.seeds, found)


def arms_of(design: Design) -> tuple[str, ...]:
    """Those that are compared with the baseline."""
    return tuple(a for a in design.arms if a != design.baseline and not a.endswith(f"@{AGAIN}"))


def compared(measure: Measure, arms: Sequence[str]) -> tuple[str, ...]:
    """The arms that a measure speaks of: only those with a ceiling can have a looser one."""
    if measure.against != LOOSER:
        return tuple(arms)
    from opnorm.experiment.arms import arm_of

    return tuple(a for a in arms if arm_of(a).ceiling)


def row_of(measure: Measure, arm: str, design: Design, found: Filed) -> Row:
    """Both sides' values, paired seed by seed."""
    loosened = measure.against == LOOSER
    other, name = (arm, f"{arm}@{LOOSER}") if loosened else (design.baseline, design.baseline)
    ours = measure.values(found.of(arm, FULL if loosened else measure.condition), found.seeds)
    theirs = measure.values(found.of(other, measure.condition), found.seeds)
    own = found.of(arm, FULL if loosened else measure.condition), found.of(other, measure.condition)
    pairs, left_out = [], []
    for unit in _units(measure, found.seeds):
        value, base = ours.get(unit[0]), theirs.get(unit[0])
        if value is not None and base is not None:
            pairs.append(Pair(unit[0], base, value))
            continue
        causes = [
            f"{who}: {_cause(records, unit)}"
            for who, records, got in ((name, own[1], base), (arm, own[0], value))
            if got is None
        ]
        left_out.append(f"{_named(unit)}: {'; '.join(causes)}")
    return Row(measure, arm, name, tuple(pairs), tuple(left_out))


def _units(measure: Measure, seeds: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    return seed_pairs(seeds) if measure.seeds_each == 2 else tuple((s,) for s in seeds)


def _named(unit: tuple[int, ...]) -> str:
    return f"seed {unit[0]}" if len(unit) == 1 else f"seeds {unit[0]} and {unit[1]}"


def _cause(records: BySeed, unit: tuple[int, ...]) -> str:
    missing = [s for s in unit if s not in records]
    if missing:
        return "not run"
    for seed in unit:
        if records[seed].failure:
            return records[seed].failure
        if not usable(records[seed]):
            return "its outputs are not finite"
    return "no value" if len(unit) == 1 else "the two models have no coordinates in common"


def overlap_of(found: Filed, design: Design) -> float:
    """Test examples over all others where splits are drawn anew by the seed, 0.0 for one fixed split."""
    whole = [r for r in found.of(design.baseline, FULL).values() if r.test]
    if len({r.test for r in whole}) < 2:
        return 0.0
    learned, tested = sum(r.examples[0] + r.held for r in whole), sum(r.examples[1] for r in whole)
    return tested / learned if learned else 0.0
