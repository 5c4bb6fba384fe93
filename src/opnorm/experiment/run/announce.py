"""What a trial is about to do, in a few lines, before it does it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from opnorm.experiment.data.words import counted
from opnorm.experiment.run.cells import Chain, remaining, trainings
from opnorm.experiment.run.declare import Declared
from opnorm.experiment.run.journal import Journal
from opnorm.experiment.run.pace import in_words

if TYPE_CHECKING:
    from opnorm.experiment.claims import Family

_FIRST = (
    "data", "examples", "experiment", "inputs", "input", "task", "task because", "classes", "class looked for", "model",
    "parameters",
)  # fmt: skip
"""Facts of a subject that are told in one line."""
_CAREFUL = ("columns not used", "columns read", "left out on request", "without target", "copies", "sample")
"""Facts that a line each is given: what was done to the data."""


def introduced(facts: Mapping[str, str | int | float]) -> Iterator[str]:
    """How the data were understood, while there is time to say otherwise."""
    there = [(name, facts[name]) for name in _FIRST if name in facts]
    told = [f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}" for name, value in there]
    if told:
        yield "; ".join(told)
    yield from (f"{name}: {facts[name]}" for name in _CAREFUL if name in facts)


def announced(
    asked: Declared, work: Sequence[Chain], journal: Journal, workers: int, minutes: float | None,
    rehearsed: float | None,
) -> Iterator[str]:  # fmt: skip
    """work: of all seeds, or of one where their number is not known yet. rehearsed: seconds of a training."""
    design = asked.design
    open_ended = minutes is not None and journal.plan is None
    arms = list(dict.fromkeys(chain.arm for chain in work))
    seeds = "each seed" if open_ended else counted(len({chain.seed for chain in work}), "seed")
    yield (
        f"{counted(len(arms), 'arm')} ({', '.join(arms)}), {seeds}, conditions {', '.join(design.conditions)}: at most "
        f"{counted(trainings(work, design.budget), 'training')}, {design.budget} of them an arm and seed to tune it"
    )
    yield (
        f"primary claim {design.primary}: {_family(asked.family)} at level {design.level:g}, "
        f"differences in {design.metric} within ±{design.margin:g} count as practically the same"
    )
    yield from asked.notes
    left = remaining(work, journal.done)
    if journal.done:
        yield f"{counted(len(journal.done), 'cell')} of the journal need not be done again"
    training = _seconds(journal, design.budget) if rehearsed is None else rehearsed
    takes = in_words(trainings(left, design.budget) * training / workers)
    if open_ended:
        yield f"a seed takes about {takes} with {counted(workers, 'worker')}; {minutes:g} min are given"
    elif left:
        yield f"about {takes} with {counted(workers, 'worker')}"


def _family(family: Family) -> str:
    rest = (
        f" in its leading measure, which has half of the level, and {family.others} in others" if family.others else ""
    )
    return f"{counted(family.leading, 'comparison')}{rest},"


def _seconds(journal: Journal, budget: int) -> float:
    """Of a training, from what is done."""
    done = sum(Chain(c.arm, c.seed, (c.condition,)).trainings(budget) for c in journal.took)
    return sum(journal.took.values()) / max(1, done)
