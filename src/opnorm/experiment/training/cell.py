"""One cell to its record: tune on validation data, keep the best model, measure it once.

Guarantee: everything in the record but the seconds follows from (subject, design, cell, chosen), whatever ran before in
the process. Under 'full' an arm gets `design.budget` trainings, all from one start and one order; the best by
validation score is kept, of equal ones the first, and that very model is measured. Other conditions train once with the
setting given. A cell whose trainings all fail is a record with its failure.
Cost: `design.budget` trainings; of the control 'same norm' see `matching`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from opnorm.experiment.arms import ARMS, arm_of
from opnorm.experiment.arms.arm import Arm
from opnorm.experiment.arms.l2 import DECAY
from opnorm.experiment.arms.technique import RATE
from opnorm.experiment.arms.weights import mean_log_norm
from opnorm.experiment.claims import measures
from opnorm.experiment.document import Cell, Design, Record, Tried
from opnorm.experiment.subject import Part, Split, Subject
from opnorm.experiment.training.attempt import Attempt, attempt, without_test
from opnorm.experiment.training.matching import match
from opnorm.experiment.training.seeds import Seeds, isolated, one_thread, seeds_of
from opnorm.experiment.training.settings import Setting, tune

FULL, LOOSER = "full", "looser"
_TUNER = 0x7E
"""Keeps a tuner's draws apart from a training's."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The trainings of a cell, the one that is kept, and what should be known beside."""

    tried: tuple[Tried, ...]
    chosen: Attempt | None
    notes: tuple[str, ...] = ()

    @property
    def failure(self) -> str:
        """'' where a model was kept."""
        if self.chosen is not None:
            return ""
        reasons = dict.fromkeys(t.failure for t in self.tried if t.failure)
        return "; ".join(reasons) or "there is no setting: every training under 'full' failed"


def run_cell(subject: Subject, design: Design, cell: Cell, chosen: Mapping[str, float] | None) -> Record:
    """See the module. chosen: the setting that 'full' chose; empty or None where it chose none, and under 'full'."""
    arm, seeds = arm_of(cell.arm), seeds_of(cell)
    with one_thread():
        with isolated(seeds.split):
            split = subject.split(seeds.split, cell.condition)
        outcome = _Trainer(subject, design, cell, without_test(split), seeds).outcome(arm, chosen)
        return _record(subject, cell, split, outcome)


@dataclass(frozen=True, slots=True)
class _Trainer:
    subject: Subject
    design: Design
    cell: Cell
    split: Split
    seeds: Seeds

    def once(self, arm: Arm, setting: Mapping[str, float]) -> Attempt:
        return attempt(self.subject, self.design, self.cell.condition, self.split, arm, setting, self.seeds.run)

    def outcome(self, arm: Arm, chosen: Mapping[str, float] | None) -> Outcome:
        if self.cell.condition == FULL:
            found = self._matched(arm) if arm.matches else self._tuned(arm)
        elif chosen:
            only = self.once(arm, _loosened(arm, chosen) if self.cell.condition == LOOSER else chosen)
            found = Outcome((only.tried,), only if only.model is not None else None)
        else:
            found = Outcome((), None)
        return Outcome(found.tried, found.chosen, (*found.notes, *self._remarks(arm)))

    def _tuned(self, arm: Arm) -> Outcome:
        done: list[Tried] = []
        kept: list[Attempt] = []  # the best so far alone, as models take memory

        def trial(setting: Setting) -> float | None:
            last = self.once(arm, setting)
            done.append(last.tried)
            kept[:] = _best([*kept, last])
            return last.tried.validation

        tune(arm, self.design.budget, self.design.tuner, (self.seeds.run + _TUNER) % 2**32, trial)
        return Outcome(tuple(done), kept[0] if kept else None)

    def _matched(self, arm: Arm) -> Outcome:
        other = self._tuned(ARMS[arm.matches])
        if other.chosen is None or other.chosen.model is None:
            return Outcome(other.tried, None, (f"nothing to match: {arm.matches!r} failed",))
        goal, rate = mean_log_norm(other.chosen.model), other.chosen.tried.setting[RATE]
        decay = next(s for s in arm.strengths if s.name == DECAY)
        found = match(lambda setting: self.once(arm, setting), goal, rate, decay)
        note = f"{found.note}, beside {len(other.tried)} of {arm.matches!r}, whose norms and learning rate it takes"
        return Outcome(found.tried, found.chosen, (note,))

    def _remarks(self, arm: Arm) -> tuple[str, ...]:
        with isolated(self.seeds.run):
            return arm.remarks(self.subject.model(self.seeds.run, self.cell.condition, self.split))


def _best(attempts: Sequence[Attempt]) -> list[Attempt]:
    """The best by validation score, the first of equal ones; none where all failed."""
    scored = [(a.tried.validation, a) for a in attempts if a.tried.validation is not None]
    return [max(scored, key=lambda pair: pair[0])[1]] if scored else []


def _loosened(arm: Arm, setting: Mapping[str, float]) -> Setting:
    return {name: 2 * value if name == arm.ceiling else value for name, value in setting.items()}


def _record(subject: Subject, cell: Cell, split: Split, outcome: Outcome) -> Record:
    kept = outcome.chosen
    record = Record(
        cell.arm, cell.seed, cell.condition, {}, outcome.tried, outcome.failure,
        examples=(len(split.train), len(split.test)), test=digest(split.test), notes=outcome.notes,
        held=len(split.validation),
    )  # fmt: skip
    if kept is None or kept.model is None:
        return record
    with isolated(cell.seed):
        scores, spectrum = measures(kept.model, split, subject, cell.seed, cell.condition)
    own = {"validation": kept.tried.validation, "train": kept.tried.train}
    return replace(
        record, setting=kept.tried.setting, scores={**own, **scores}, spectrum=spectrum, curve=kept.curve,
        steps=kept.steps, seconds=kept.seconds,
    )  # fmt: skip


def digest(part: Part) -> str:
    """SHA-256 of a part's shapes and numbers."""
    found = hashlib.sha256()
    for array in _arrays(part):
        found.update(f"{array.dtype.str}{array.shape}".encode())
        found.update(array.data)
    return found.hexdigest()


def _arrays(part: Part) -> Sequence[np.ndarray]:
    return [np.ascontiguousarray(array) for array in (part.inputs, part.targets)]
