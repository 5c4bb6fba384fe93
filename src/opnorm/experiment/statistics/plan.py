"""Before the run: whether so many seeds can decide anything at all.

The sign-flip test of n differences gives no p-value below 1/2ⁿ on a side, 2/2ⁿ on two. Holm's first step holds the
least p-value of K comparisons against level/K. A design in which even unanimous seeds could not pass is refused.
"""

from __future__ import annotations

import math

from opnorm.errors import UsageError
from opnorm.experiment.statistics.subsets import EXACT


def least_p(seeds: int) -> float:
    """The least two-sided p-value that so many seeds can give."""
    return min(1.0, 2.0 ** (1 - min(seeds, EXACT)))


def least_seeds(comparisons: int, level: float) -> int:
    """The fewest seeds that can decide one of so many comparisons; `UsageError` where none can."""
    _require_design(comparisons, level)
    for seeds in range(2, EXACT + 1):
        if least_p(seeds) <= level / comparisons:
            return seeds
    raise UsageError(
        f"no number of seeds decides {_counted(comparisons, 'comparison')} at level {level:g}: "
        f"ask at most {_most(EXACT, level)} (fewer arms, measures or claims), or raise the level"
    )


def require_decidable(seeds: int, comparisons: int, level: float) -> None:
    """`UsageError` where no outcome whatever of so many seeds could be a verdict."""
    enough = least_seeds(comparisons, level)
    if seeds >= enough:
        return
    most = _most(seeds, level)
    fewer = f", or ask at most {_counted(most, 'comparison')} (fewer arms, measures or claims)" if most else ""
    raise UsageError(
        f"{_counted(seeds, 'seed')} cannot decide: the least p-value that {seeds} can give is {least_p(seeds):.3g}, "
        f"above the {level / comparisons:.3g} that level {level:g} leaves "
        f"for {_counted(comparisons, 'comparison')}; use at least {enough} seeds{fewer}"
    )


def _most(seeds: int, level: float) -> int:
    return math.floor(level / least_p(seeds))


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _require_design(comparisons: int, level: float) -> None:
    if comparisons < 1:
        raise UsageError(f"a claim of {comparisons} comparisons has nothing to decide: ask at least one")
    if not 0 < level < 1:
        raise UsageError(f"level {level!r} is no probability of error: give a number between 0 and 1, such as 0.05")
