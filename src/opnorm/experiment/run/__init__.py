"""Running a trial: its cells over workers, kept in a journal as they are done.

subject, design → `cells` (chains of work) → `engine` (workers) → `journal` (one line a cell, resumed after a kill) →
records in the order of the design. The records depend on nothing but subject and design: not on engine, jobs, order or
interruptions. With minutes, the first seed is timed and the seeds that fit are planned (`pace`), once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from opnorm.errors import UsageError
from opnorm.experiment.document import Design, Record
from opnorm.experiment.run.cells import Chain, chains, in_order, remaining, trainings
from opnorm.experiment.run.engine import Alone, Pool, workers
from opnorm.experiment.run.journal import Journal
from opnorm.experiment.run.pace import MOST, Deadline, seconds_of_seed
from opnorm.experiment.run.progress import Progress, quiet
from opnorm.experiment.subject import Subject


def run(
    subject: Subject,
    design: Design,
    *,
    journal: Journal,
    engine: str = "joblib",
    jobs: int = 1,
    minutes: Deadline | None = None,
    progress: Progress = quiet,
    control: bool = True,
) -> tuple[Design, tuple[Record, ...]]:
    """The design, with the seeds that were planned, and its records in order; what the journal has is not done again.

    minutes: plan of `design.seeds` those that fit, from the first on. control: the baseline once more under another
    start, as a comparison of nothing with nothing.
    """
    with workers(engine, jobs) as pool:
        running = _Running(subject, design, journal, pool, progress, control)
        if minutes is not None:
            design = running.design = replace(design, seeds=journal.plan or running.planned(minutes))
        running.finish(running.work())
    return design, in_order(running.work(), journal.done)


def _require_same_test(record: Record, other: Record) -> None:
    """Before it is kept: arms are compared on the same examples, or not at all."""
    if record.test != other.test:
        raise UsageError(
            f"seed {record.seed}: {record.arm} ({record.condition}) and {other.arm} ({other.condition}) were tested on "
            "different examples, so that nothing can be compared: load_data must give the same data for a seed in "
            "every process; draw all random numbers from generators made from the seed"
        )


def ceilings(arms: Sequence[str]) -> list[str]:
    """Those of `arms` that have a ceiling to loosen."""
    from opnorm.experiment.arms import arm_of

    return [name for name in arms if arm_of(name).ceiling]


@dataclass(slots=True)
class _Running:
    subject: Subject
    design: Design
    journal: Journal
    pool: Pool | Alone
    progress: Progress
    control: bool

    def work(self) -> tuple[Chain, ...]:
        return chains(self.design, ceilings(self.design.arms), self.control)

    def finish(self, work: Sequence[Chain]) -> None:
        """Do what is left of `work`."""
        self._do(work, trainings(work, self.design.budget), lambda: None)

    def planned(self, deadline: Deadline) -> tuple[int, ...]:
        """The seeds that fit, known once the first is done; a line of the journal."""
        every = self.design.seeds
        first = tuple(chain for chain in self.work() if chain.seed == every[0])
        self._do(first, None, lambda: deadline.require_open(self._a_seed(first)))
        fitting = deadline.seeds(self._a_seed(first), min(len(every), MOST))
        self.journal.keep_plan(every[:fitting])
        return every[:fitting]

    def _a_seed(self, first: Sequence[Chain]) -> float:
        return seconds_of_seed(first, self.journal.took, self.pool.workers)

    def _do(self, work: Sequence[Chain], total: int | None, after: Callable[[], None]) -> None:
        """What is left of `work`; each finished cell is in the journal before anything else happens."""
        left, budget = remaining(work, self.journal.done), self.design.budget
        done = trainings(work, budget) - trainings(left, budget)
        self.progress(done, total, "")
        tested = {cell.seed: record for cell, record in self.journal.done.items()}
        with closing(self.pool.results(self.subject, self.design, left)) as results:
            for found in results:
                record = found.record
                _require_same_test(record, tested.setdefault(record.seed, record))
                self.journal.add(record, found.took)
                done += Chain(record.arm, record.seed, (record.condition,)).trainings(budget)
                self.progress(done, total, f"seed {record.seed} · {record.arm} · {record.condition}")
                after()
