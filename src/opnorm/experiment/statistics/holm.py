"""From p-values to answers: Holm's step-down procedure within one claim.

Holm (1979, Scandinavian Journal of Statistics 6): the least p-value of K is held against level/K, the next against
level/(K − 1), and so on to the first that is not rejected; that one and all above it are not. With weights (his section
4) the comparison of the least p/w is held against level·w/Σw, the sum over those not yet rejected, and so on. Whatever
the dependence between the comparisons, and whatever weights were declared beforehand, the chance of any false rejection
is at most the level. scipy has Benjamini and Hochberg's procedure alone, which bounds another error. Two families, each
at the level: "differs" and "same".
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from opnorm.errors import UsageError
from opnorm.experiment.document import Answer
from opnorm.experiment.statistics.paired import Paired


def levels(p_values: Sequence[float], level: float, weights: Sequence[float] | None = None) -> list[float]:
    """What each p-value is held against: it is rejected exactly where it is at most that. weights: above 0."""
    given = [1.0] * len(p_values) if weights is None else list(weights)
    order = sorted(range(len(p_values)), key=lambda i: (p_values[i] / given[i], i))
    held, ratio, stopped = [0.0] * len(p_values), 0.0, False
    for rank, index in enumerate(order):
        if not stopped:
            ratio = level / math.fsum(given[i] for i in order[rank:])
        held[index] = ratio * given[index]
        stopped = stopped or p_values[index] > held[index]
    return held


def decide(
    paired: Sequence[Paired], level: float, weights: Sequence[float] | None = None
) -> list[tuple[Answer, float]]:
    """The answer to each comparison of one claim, and the level that its deciding p-value was held against.

    weights: declared before the run, above 0, one a comparison; all alike by default. A comparison without p-values
    counts, as one that rejects nothing: what was planned is what is corrected for.
    """
    if not 0 < level < 1:
        raise UsageError(f"level {level!r} is no probability of error: give a number between 0 and 1, such as 0.05")
    differs = [_p(one.p_differs) for one in paired]
    same = [_p(one.p_same) for one in paired]
    held = zip(paired, differs, levels(differs, level, weights), same, levels(same, level, weights), strict=True)
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
