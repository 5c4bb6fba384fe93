"""Every model of the trial, and which of them are missing from the comparisons: nothing is dropped silently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from opnorm.experiment.document import CONDITIONS, Comparison, Record, TrialReport
from opnorm.report.trial import words

MOST = 300
"""Records shown; all of them are in the JSON."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Trainings of an arm that failed for one reason."""

    arm: str
    condition: str
    seeds: str
    why: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Seeds that some comparisons lack."""

    what: str
    measures: str


@dataclass(frozen=True, slots=True)
class Table:
    """columns: measures that any model was scored by. lines: cells as text. more: records not shown."""

    columns: tuple[str, ...]
    lines: tuple[tuple[Record, tuple[str, ...], str, int], ...]
    more: int


def failures(report: TrialReport) -> list[Failure]:
    """By arm, condition and reason, in the order of the records."""
    groups: dict[tuple[str, str, str], list[int]] = {}
    for record in report.records:
        if record.failure:
            groups.setdefault((record.arm, record.condition, record.failure), []).append(record.seed)
    return [
        Failure(words.name(arm), condition_of(condition), words.listed(map(str, seeds), 12), words.name(why, 400))
        for (arm, condition, why), seeds in groups.items()
    ]


def left_out(report: TrialReport) -> list[LeftOut]:
    """What comparisons say they lack, each with the measures concerned."""
    groups: dict[str, list[str]] = {}
    for comparison in _comparisons(report):
        for what in comparison.left_out:
            groups.setdefault(what, []).append(words.name(comparison.title, 60))
    return [LeftOut(words.name(what, 200), words.listed(dict.fromkeys(names), 5)) for what, names in groups.items()]


def _comparisons(report: TrialReport) -> list[Comparison]:
    return [*(c for v in report.verdicts for c in v.comparisons), *report.controls]


def missing(report: TrialReport) -> int:
    """How many models the design asks for that have no record."""
    design = report.design
    there = {(r.arm, r.seed, r.condition) for r in report.records}
    asked = ((a, s, c) for a in design.arms for s in design.seeds for c in design.conditions)
    return sum(cell not in there for cell in asked)


def condition_of(name: str) -> str:
    """'all training examples' for 'full'."""
    return CONDITIONS.get(name, words.name(name, 60))


def table(report: TrialReport) -> Table:
    """All records, at most `MOST`."""
    columns = tuple(dict.fromkeys(n for r in report.records for n in r.scores))
    lines = tuple(
        (r, tuple(_score(r, c) for c in columns), _setting(r.setting), _epochs(r)) for r in report.records[:MOST]
    )
    return Table(tuple(words.name(c, 30) for c in columns), lines, max(0, len(report.records) - MOST))


def _score(record: Record, column: str) -> str:
    return words.value(record.scores.get(column))


def _setting(setting: Mapping[str, float]) -> str:
    return ", ".join(f"{words.name(n, 24)} {words.plain_setting(v)}" for n, v in setting.items())


def _epochs(record: Record) -> int:
    return max((p.epoch for p in record.curve), default=0)


def tally(report: TrialReport) -> list[tuple[str, int, int]]:
    """Arm, models, failures among them."""
    total, failed = Counter(r.arm for r in report.records), Counter(r.arm for r in report.records if r.failure)
    return [(words.name(arm), n, failed[arm]) for arm, n in total.items()]
