"""Before the run: whether so many seeds can decide anything at all.

The sign-flip test of n differences gives no p-value below 1/2ⁿ on a side, 2/2ⁿ on two. Holm's first step holds the
least p-value of K comparisons of a claim's leading measure against level/K, or half of that where there are others
(`weights.LEAD`). A design in which even unanimous seeds could not pass is refused.
"""

from __future__ import annotations

import math

from opnorm.errors import UsageError
from opnorm.experiment.statistics.subsets import EXACT
from opnorm.experiment.statistics.weights import LEAD


def least_p(seeds: int) -> float:
    """The least two-sided p-value that so many seeds can give."""
    return min(1.0, 2.0 ** (1 - min(seeds, EXACT)))


def least_seeds(comparisons: int, level: float, others: int = 0) -> int:
    """The fewest seeds that can decide one of so many comparisons; `UsageError` where none can.

    others: comparisons of the same claim in measures that do not lead, which share the rest of the level.
    """
    _require_design(comparisons, level)
    own = _own(level, others)
    for seeds in range(2, EXACT + 1):
        if least_p(seeds) <= own / comparisons:
            return seeds
    most = _most(EXACT, own)
    fewer = f"ask at most {most} (fewer arms), or " if most else ""
    raise UsageError(
        f"no number of seeds decides {_counted(comparisons, 'comparison')} at {_said(level, others)}: "
        f"{fewer}raise the level"
    )


def require_decidable(seeds: int, comparisons: int, level: float, others: int = 0) -> None:
    """`UsageError` where no outcome whatever of so many seeds could decide the leading measure."""
    enough, own = least_seeds(comparisons, level, others), _own(level, others)
    if seeds >= enough:
        return
    most = _most(seeds, own)
    fewer = f", or ask at most {_counted(most, 'comparison')} (fewer arms)" if most else ""
    raise UsageError(
        f"{_counted(seeds, 'seed')} cannot decide: the least p-value that {seeds} can give is {least_p(seeds):.3g}, "
        f"above the {own / comparisons:.3g} that {_said(level, others)} leaves "
        f"for {_counted(comparisons, 'comparison')}; use at least {enough} seeds{fewer}"
    )


def _own(level: float, others: int) -> float:
    return level * LEAD if others else level


def _said(level: float, others: int) -> str:
    return f"level {level:g}" if not others else f"the leading measure's share of level {level:g}"


def _most(seeds: int, level: float) -> int:
    return math.floor(level / least_p(seeds))


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _require_design(comparisons: int, level: float) -> None:
    if comparisons < 1:
        raise UsageError(f"a claim of {comparisons} comparisons has nothing to decide: ask at least one")
    if not 0 < level < 1:
        raise UsageError(f"level {level!r} is no probability of error: give a number between 0 and 1, such as 0.05")
