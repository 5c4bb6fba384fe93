"""From p-values to answers: Holm's step-down procedure within one claim.

Holm (1979, Scandinavian Journal of Statistics 6): the least p-value of K is held against level/K, the next against
level/(K − 1), and so on to the first that is not rejected; that one and all above it are not. The chance of any false
rejection is at most the level, whatever the dependence between the comparisons. scipy has Benjamini and Hochberg's
procedure alone, which bounds another error. Two families, each at the level: "differs" and "same".
"""

from __future__ import annotations

from collections.abc import Sequence

from opnorm.errors import UsageError
from opnorm.experiment.document import Answer
from opnorm.experiment.statistics.paired import Paired


def levels(p_values: Sequence[float], level: float) -> list[float]:
    """What each p-value is held against: it is rejected exactly where it is at most that."""
    count, held, stopped = len(p_values), [0.0] * len(p_values), None
    for rank, index in enumerate(sorted(range(count), key=lambda index: (p_values[index], index))):
        held[index] = stopped or level / (count - rank)
        if p_values[index] > held[index]:
            stopped = held[index]
    return held


def decide(paired: Sequence[Paired], level: float) -> list[tuple[Answer, float]]:
    """The answer to each comparison of one claim, and the level that its deciding p-value was held against.

    A comparison without p-values counts in K, as one that rejects nothing: what was planned is what is corrected for.
    """
    if not 0 < level < 1:
        raise UsageError(f"level {level!r} is no probability of error: give a number between 0 and 1, such as 0.05")
    differs = [_p(one.p_differs) for one in paired]
    same = [_p(one.p_same) for one in paired]
    held = zip(paired, differs, levels(differs, level), same, levels(same, level), strict=True)
    return [_answer(*one) for one in held]


def _answer(one: Paired, differs: float, differs_level: float, same: float, same_level: float) -> tuple[Answer, float]:
    if one.difference is not None and differs <= differs_level:
        if one.difference > one.margin:
            return Answer.HELPS, differs_level
        if one.difference < -one.margin:
            return Answer.HURTS, differs_level
    if same <= same_level:
        return Answer.SAME, same_level
    return Answer.OPEN, differs_level


def _p(value: float | None) -> float:
    return 1.0 if value is None else value
