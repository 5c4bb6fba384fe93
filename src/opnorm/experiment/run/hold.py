"""A declared trial, run and judged: journal, workers, costs, verdicts, report.

Guarantee: everything in the report but times, costs and environment follows from subject and design; engine, workers,
interruptions and resumptions leave it the same, byte for byte.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opnorm.errors import UsageError
from opnorm.experiment.document import Answer, Cost, Design, Record, TrialReport, Verdict
from opnorm.experiment.run import ceilings, run
from opnorm.experiment.run.announce import announced, introduced
from opnorm.experiment.run.cells import Chain, chains
from opnorm.experiment.run.declare import Declared
from opnorm.experiment.run.engine import require_engine
from opnorm.experiment.run.environment import environment, versions
from opnorm.experiment.run.journal import Journal, journal_at
from opnorm.experiment.run.lines import plain
from opnorm.experiment.run.pace import Deadline, seconds_a_training
from opnorm.experiment.run.progress import Progress, quiet
from opnorm.experiment.run.winner import lines, notes_of

if TYPE_CHECKING:
    from opnorm.experiment.subject import Subject

COST_SECONDS = 3.0
"""An arm, at most, that measuring the cost takes."""


@dataclass(frozen=True, slots=True)
class Running:
    """How a trial is run; nothing of this changes its verdict. jobs: None for all cores. journal: None for no file.

    say: told in lines what is about to be done.
    """

    engine: str = "joblib"
    jobs: int | None = None
    journal: str | Path | None = None
    restart: bool = False
    minutes: float | None = None
    control: bool = True
    cost: bool = True
    command: str = "opnorm.trial(…)"
    progress: Progress = quiet
    say: Callable[[str], None] = lambda _: None

    @property
    def workers(self) -> int:
        """At a time."""
        if self.jobs is not None:
            return self.jobs
        from joblib import cpu_count

        return int(cpu_count())


def held(subject: Subject, asked: Declared, running: Running) -> TrialReport:
    """Run what was declared, or the rest of it, and judge it."""
    require_engine(running.engine, running.workers)
    if running.minutes is not None and not 0 < running.minutes < math.inf:
        raise UsageError(f"minutes {running.minutes!r}: give a positive number")

    minutes = _deadline(asked, running)
    for line in introduced(subject.describe()):
        running.say(line)
    rehearsed = _rehearsed(subject, asked, running)
    with journal_at(running.journal, header(subject, asked, running), restart=running.restart) as journal:
        _announce(asked, running, journal, rehearsed)
        design, records = run(
            subject, asked.design, journal=journal, engine=running.engine, jobs=running.workers,
            minutes=minutes, progress=running.progress, control=running.control,
        )  # fmt: skip
        costs = _costs(subject, design, running, journal)
    return _report(subject, replace(asked, design=design), records, costs, running)


def header(subject: Subject, asked: Declared, running: Running) -> dict[str, Any]:
    """What a journal must have been begun with to be resumed."""

    return {
        "design": plain(asked.design),
        "control": running.control,
        "timed": running.minutes is not None,
        "data and model": subject.source,
        "versions": versions(),
    }


def _deadline(asked: Declared, running: Running) -> Deadline | None:

    if running.minutes is None:
        return None
    reserve = COST_SECONDS * (len(asked.design.arms) - 1) if running.cost else 0.0
    return Deadline(running.minutes, asked.least, reserve)


def _rehearsed(subject: Subject, asked: Declared, running: Running) -> float | None:
    """Seconds of a training; None where a journal may know."""

    place = running.journal
    if place is not None and os.path.exists(place) and os.path.getsize(place) and not running.restart:
        return None
    return seconds_a_training(subject, asked.design)


def _announce(asked: Declared, running: Running, journal: Journal, rehearsed: float | None) -> None:
    """What is asked, what it will take, and where it is kept."""

    for line in announced(asked, _work(asked, running, journal), journal, running.workers, running.minutes, rehearsed):
        running.say(line)
    if running.journal is not None:
        running.say(f"kept in {running.journal}: the same command goes on from there")


def _work(asked: Declared, running: Running, journal: Journal) -> tuple[Chain, ...]:
    """All of it, of one seed while it is not known how many there will be."""

    seeds = asked.design.seeds
    if running.minutes is not None:
        seeds = journal.plan or seeds[:1]
    design = replace(asked.design, seeds=seeds)
    return chains(design, ceilings(design.arms), running.control)


def _costs(subject: Subject, design: Design, running: Running, journal: Journal) -> tuple[Cost, ...]:
    """Timed once; a journal keeps them, so that a finished trial is shown at once."""
    from opnorm.experiment.claims.cost import costs

    if not running.cost:
        return ()
    if journal.costs is None:
        journal.keep_costs(costs(subject, design))
    return journal.costs or ()


def _report(
    subject: Subject, asked: Declared, records: tuple[Record, ...], costs: tuple[Cost, ...], running: Running
) -> TrialReport:
    import opnorm
    from opnorm.experiment.arms import arm_of
    from opnorm.experiment.claims import judge, untested

    design = asked.design
    verdicts, controls = judge(design, records, subject)
    best = winner(verdicts, design)
    return TrialReport(
        opnorm.__version__, running.command, subject.describe(), design, verdicts, controls, costs, records,
        winner=best,
        apply=lines(best, records, subject, design) if best else "",
        untested=untested(design, subject),
        notes=(*asked.notes, *notes_of(subject)),
        environment=environment(running.engine, running.workers),
        spectral=tuple(arm for arm in design.arms if arm_of(arm).spectral),
    )  # fmt: skip


def winner(verdicts: Sequence[Verdict], design: Design) -> str:
    """The arm that helps in the leading measure of the primary claim, the one with the largest difference; else ''."""
    helping = [
        comparison
        for verdict in verdicts
        if verdict.claim == design.primary
        for comparison in verdict.comparisons
        if comparison.measure == verdict.lead and comparison.answer is Answer.HELPS
    ]
    best = max(helping, key=lambda c: c.difference or 0.0, default=None)
    return "" if best is None else best.arm
