"""The winner of a trial, ready to be used: its usual setting, and the lines that apply it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import median_low

from opnorm.experiment.document import Design, Record
from opnorm.experiment.run.cells import FULL
from opnorm.experiment.subject import Subject


def setting_of(arm: str, records: Iterable[Record]) -> dict[str, float]:
    """What most seeds chose; of equally frequent settings the one nearest to the medians in ratio."""
    chosen = [dict(r.setting) for r in records if r.arm == arm and r.condition == FULL and not r.failure]
    if not chosen:
        return {}
    middle = {name: median_low(setting[name] for setting in chosen) for name in chosen[0]}
    return max(chosen, key=lambda setting: (chosen.count(setting), -_distance(setting, middle)))


def _distance(setting: dict[str, float], middle: dict[str, float]) -> float:
    """Sum of |ln ratios|; numbers that are 0 count by whether both are."""
    pairs = [(setting[name], middle[name]) for name in middle]
    return sum(abs(math.log(a / b)) if a > 0 and b > 0 else float(a != b) for a, b in pairs)


def lines(arm: str, records: Iterable[Record], subject: Subject, design: Design) -> str:
    """Python that applies `arm` to this model."""
    from opnorm.experiment.apply import apply_lines
    from opnorm.experiment.data.subject import BuiltInSubject
    from opnorm.experiment.user import UserSubject

    setting, seed = setting_of(arm, records), design.seeds[0]
    if isinstance(subject, BuiltInSubject) and subject.architecture == "mlp" and subject.examples.columns is not None:
        return apply_lines(
            arm, setting, builtin=True, task=subject.task, epochs=design.epochs, batch=design.batch,
            columns=subject.examples.columns,
        )  # fmt: skip
    model = subject.model(seed, FULL, subject.split(seed, FULL))
    own = isinstance(subject, UserSubject) and subject.origin.functions().fit is not None
    return apply_lines(
        arm, setting, builtin=False, task=subject.task, model=model, own_fit=own, epochs=design.epochs,
        batch=design.batch,
    )  # fmt: skip


def notes_of(subject: Subject) -> tuple[str, ...]:
    """What a user's experiment was found to have, and should not."""
    from opnorm.experiment.user import UserSubject

    return subject.notes if isinstance(subject, UserSubject) else ()
