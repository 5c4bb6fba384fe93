"""A claim about a technique, and the measures that can contradict it, as plain data.

A `Measure` takes numbers from the records of one arm, one for each seed, the higher the better; `rows` pairs them with
the baseline's. What a measure needs (a condition that was run, a kind of task or of inputs) is asked of `Facts`, before
any training: what does not apply is named with its reason and never counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from opnorm.experiment.document import Design, Record
from opnorm.experiment.subject import Subject, Task

BySeed: TypeAlias = Mapping[int, Record]
Values: TypeAlias = Callable[[BySeed, Sequence[int]], Mapping[int, float | None]]
"""Records of one arm, and all seeds of the design in order → one value a seed; None where there is none."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What decides whether a measure applies. tokens: inputs are whole numbers. movable: noise can move some input.

    unit, ordinary: of the metric: its unit and the margin that its table gives. margin: the one declared.
    """

    task: Task
    tokens: bool
    movable: bool
    title: str
    unit: str
    ordinary: float
    margin: float

    @property
    def strictness(self) -> float:
        """How much wider than ordinary the margin was declared: other measures' margins are widened alike."""
        return self.margin / self.ordinary


def of_the_metric(facts: Facts) -> float:
    """The margin as declared, for differences of the metric itself."""
    return facts.margin


def always(_facts: Facts) -> str:
    """For measures that need nothing."""
    return ""


def classes_only(facts: Facts) -> str:
    """The reason why not, or ''."""
    return "" if facts.task.classifies else "a regression gives no probabilities"


def numbers_only(facts: Facts) -> str:
    """The reason why not, or ''."""
    return "" if not facts.task.classifies else "asked of regressions; classes are judged by the Brier score"


def movable_only(facts: Facts) -> str:
    """The reason why not, or ''."""
    if facts.tokens:
        return "inputs are tokens, which no small step moves"
    return "" if facts.movable else "the data have no numeric column that may be moved"


def features_only(facts: Facts) -> str:
    """The reason why not, or ''."""
    if facts.tokens:
        return "inputs are tokens: the coordinates of an embedding are drawn anew by each seed"
    return "" if facts.movable else "no numeric column that all splits have in common"


@dataclass(frozen=True, slots=True)
class Measure:
    """name: unique in its claim. title: of the value itself, after its sign. unit: '' for the metric's own.

    how: how it is computed, for reports. against: 'baseline', or 'looser': the arm itself with its ceiling doubled.
    needs: the reason why it does not apply to such data, or ''. seeds_each: how many seeds make one value. caution:
    what may change it without the claim being true, to be said beside it.
    """

    name: str
    title: str
    how: str
    values: Values
    margin: Callable[[Facts], float]
    unit: str = ""
    condition: str = "full"
    against: Literal["baseline", "looser"] = "baseline"
    needs: Callable[[Facts], str] = always
    seeds_each: int = 1
    caution: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """measures: the first that applies leads."""

    name: str
    title: str
    question: str
    measures: tuple[Measure, ...]


def facts_of(subject: Subject, design: Design) -> Facts:
    """Looks at the first seed's data; nothing of the test part but its kind."""
    from opnorm.experiment.metrics import METRICS

    split, metric = subject.split(design.seeds[0], "full"), METRICS[design.metric]
    tokens = np.issubdtype(split.train.inputs.dtype, np.integer)
    return Facts(
        subject.task, tokens, split.movable != (), metric.title, metric.unit, metric.margin, design.margin
    )  # fmt: skip


def applicable(claim: Claim, design: Design, facts: Facts) -> tuple[tuple[Measure, ...], tuple[str, ...]]:
    """The measures that can be taken in this design, and why each of the others cannot."""
    taken, reasons = [], []
    for measure in claim.measures:
        if measure.condition not in design.conditions:
            reasons.append(f"{measure.title}: the condition '{measure.condition}' was not run")
        elif reason := measure.needs(facts):
            reasons.append(f"{measure.title}: {reason}")
        else:
            taken.append(measure)
    return tuple(taken), tuple(reasons)
