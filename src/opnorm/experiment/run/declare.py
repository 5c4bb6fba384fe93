"""The design of a trial, complete before the first training: what is not said has a default, what cannot be meant or
could decide nothing is refused. Needs torch only to look at the subject.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeGuard

from opnorm.errors import UsageError
from opnorm.experiment.data.words import nearest, shown
from opnorm.experiment.document import AGAIN, CONDITIONS, Design
from opnorm.experiment.run.cells import FULL
from opnorm.experiment.run.pace import MOST
from opnorm.experiment.subject import Subject

if TYPE_CHECKING:
    from opnorm.experiment.claims import Family

ARMS = ("none", "l2", "dropout", "cap", "cap+l2")
BASELINE = "none"
DEFAULT_CONDITIONS = ("full", "small", "noise")
SEEDS, EPOCHS, BATCH = 20, 30, 64
TUNERS = ("grid", "optuna")
LARGEST_SEED = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a user said of a design; None where nothing was said. claims: the first is the primary one.

    seeds: how many, or which. timed: they are planned to fit a time.
    """

    arms: Sequence[str] | None = None
    seeds: int | Iterable[int] | None = None
    conditions: Sequence[str] | None = None
    claims: Sequence[str] | None = None
    margin: float | None = None
    level: float = 0.05
    budget: int = 4
    tuner: str = "grid"
    epochs: int | None = None
    batch: int | None = None
    timed: bool = False


@dataclass(frozen=True, slots=True)
class Declared:
    """design: complete. family: of its primary claim. notes: what was added or left out without being asked."""

    design: Design
    family: Family
    notes: tuple[str, ...]

    @property
    def least(self) -> int:
        """Seeds without which the leading measure of the primary claim could not be decided."""
        from opnorm.experiment.statistics import least_seeds

        return self.family.each * least_seeds(self.family.leading, self.design.level, self.family.others)


def declared(subject: Subject, wishes: Wishes) -> Declared:
    """The design that `wishes` and `subject` make. Raises `UsageError` for one that could never decide anything."""
    from opnorm.experiment.claims import family_of
    from opnorm.experiment.metrics import METRICS
    from opnorm.experiment.statistics import require_decidable

    notes: list[str] = []
    claims = _claims(wishes.claims)
    design = Design(
        _arms(wishes.arms, notes),
        _seeds(wishes.seeds, wishes.timed),
        subject.metric,
        _margin(wishes.margin, METRICS[subject.metric].margin),
        BASELINE,
        _conditions(wishes.conditions, subject, notes),
        claims,
        claims[0],
        _level(wishes.level),
        _count(wishes.budget, "budget"),
        _tuner(wishes.tuner),
        _count(EPOCHS if wishes.epochs is None else wishes.epochs, "epochs"),
        _count(BATCH if wishes.batch is None else wishes.batch, "batch"),
    )
    family = family_of(design.primary, design, subject)
    if not family.leading:
        raise UsageError(f"the primary claim {design.primary} has no measure here; put another first in --claims")
    found = Declared(design, family, tuple(notes))
    if family.each == 1 or len(design.seeds) >= found.least:
        require_decidable(len(design.seeds) // family.each, family.leading, design.level, family.others)
        return found
    raise UsageError(
        f"{len(design.seeds)} seeds are {len(design.seeds) // family.each} pairs, and the claim {design.primary} takes "
        f"a pair for a value: {family.leading} comparisons need {found.least} seeds at least; give "
        f"--seeds {found.least}, or fewer arms"
    )


def _arms(given: Sequence[str] | None, notes: list[str]) -> tuple[str, ...]:
    from opnorm.experiment.arms import arm_of

    names = [name.strip() for name in _names(ARMS if given is None else given, "arms", "none, cap")]
    for name in names:
        if name.endswith(f"@{AGAIN}"):
            raise UsageError(f"arm {shown(name)}: the control is added by itself; --no-control leaves it away")
        arm_of(name)
    parts = [frozenset(name.split("+")) for name in names]
    twice = next((name for name, part in zip(names, parts, strict=True) if parts.count(part) > 1), None)
    if twice is not None:
        raise UsageError(f"arm {shown(twice)} is there twice; name each once")
    if BASELINE not in names:
        names = [BASELINE, *names]
        notes.append(f"the arm '{BASELINE}' was added: it is what the others are compared with")
    if len(names) < 2:
        raise UsageError(f"there is nothing to compare with {BASELINE!r}; give an arm more, such as --arms none,cap")
    return tuple(names)


def _seeds(given: int | Iterable[int] | None, timed: bool) -> tuple[int, ...]:
    if given is None:
        given = MOST if timed else SEEDS
    if isinstance(given, str) or not isinstance(given, Iterable):
        return tuple(range(_count(given, "seeds")))
    seeds = tuple(given)
    wrong = [seed for seed in seeds if not is_whole(seed) or not 0 <= seed <= LARGEST_SEED]
    if wrong or not seeds or len(set(seeds)) < len(seeds):
        what = f"{wrong[0]!r} is none" if wrong else "one is there twice" if seeds else "there are none"
        raise UsageError(f"seeds: {what}; give different whole numbers from 0 to {LARGEST_SEED}, or how many")
    return seeds


def _conditions(given: Sequence[str] | None, subject: Subject, notes: list[str]) -> tuple[str, ...]:
    possible = subject.conditions()
    for name in _names(given or (), "conditions", "full, small"):
        if name not in CONDITIONS:
            raise UsageError(
                f"there is no condition {shown(name)}; there are {', '.join(CONDITIONS)}."
                + nearest(name, list(CONDITIONS))
            )
        if name not in possible:
            raise UsageError(f"the condition {name} does not exist here; possible are {', '.join(possible)}")
    wanted = [FULL, *(c for c in (given or DEFAULT_CONDITIONS) if c != FULL)]
    missing = [c for c in wanted if c not in possible]
    notes += [f"the condition '{c}' does not exist for this model and data, and was not run" for c in missing]
    return tuple(dict.fromkeys(c for c in wanted if c in possible))


def _claims(given: Sequence[str] | None) -> tuple[str, ...]:
    from opnorm.experiment.claims import CLAIMS

    if given is None:
        return tuple(CLAIMS)
    for name in _names(given, "claims", "generalization, robustness"):
        if name not in CLAIMS:
            raise UsageError(
                f"there is no claim {shown(name)}; there are {', '.join(CLAIMS)}.{nearest(name, list(CLAIMS))}"
            )
    if not given:
        raise UsageError(f"there is no claim to judge; there are {', '.join(CLAIMS)}")
    return tuple(dict.fromkeys(given))


def _margin(given: float | None, ordinary: float) -> float:
    margin = ordinary if given is None else given
    if not (isinstance(margin, (int, float)) and math.isfinite(margin) and margin > 0):
        raise UsageError(f"margin {given!r}: give a positive number in units of the metric, such as {ordinary:g}")
    return float(margin)


def _level(given: float) -> float:
    if not (isinstance(given, (int, float)) and 0 < given < 1):
        raise UsageError(f"level {given!r} is no probability of error: give a number between 0 and 1, such as 0.05")
    return float(given)


def _count(given: object, name: str) -> int:
    if not is_whole(given) or given < 1:
        raise UsageError(f"{name} {given!r}: give a whole number from 1")
    return int(given)


def is_whole(given: object) -> TypeGuard[int]:
    """NumPy's whole numbers are such, too; True is not."""
    return hasattr(given, "__index__") and not isinstance(given, bool)


def _names(given: Sequence[str], what: str, such_as: str) -> Sequence[str]:
    if isinstance(given, str) or not all(isinstance(name, str) for name in given):
        raise UsageError(f"{what}={given!r}: give a list of names, such as {such_as.split(', ')}")
    return given


def _tuner(given: str) -> str:
    if given not in TUNERS:
        raise UsageError(f"there is no tuner {shown(given)}; there are {', '.join(TUNERS)}")
    if given == "optuna":
        from importlib.util import find_spec

        from opnorm.errors import MissingExtra

        if find_spec("optuna") is None:
            raise MissingExtra("optuna", "--tuner optuna")
    return given
