"""After the run: how many seeds would have decided, had they the mean and the spread that were seen.

By the power of the t test (noncentral t): the fewest seeds at which the corrected t test at `level` would reject with
chance `POWER`, "differs" where the mean seen lies beyond the margin, "same" where within. The truth is not the
mean seen: read it as an order of magnitude. Where splits overlap, the error has a floor that no number of seeds goes
under: then there may be no answer.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import stats

from opnorm.experiment.statistics.plan import least_p
from opnorm.experiment.statistics.sample import Floats

POWER = 0.85
"""Of the t test alone; all three tests together then decide with a chance of about 0.8 (measured)."""
MOST = 1000


def seeds_needed(difference: float, spread: float, margin: float, overlap: float, level: float) -> int | None:
    """spread: standard deviation of single differences. None: more than `MOST`, or no number at all."""
    gap = abs(difference) - margin
    seeds = np.arange(2, MOST + 1)
    able = np.array([least_p(int(n)) <= level for n in seeds])
    if spread == 0:
        enough = able & (gap != 0)
    else:
        error = spread * np.sqrt(1 / seeds + overlap)
        enough = able & (_power(abs(difference), margin, error, seeds, level) >= POWER)
    return int(seeds[enough.argmax()]) if enough.any() else None


def _power(difference: float, margin: float, error: Floats, seeds: npt.NDArray[np.int64], level: float) -> Floats:
    """Of "differs" beyond the margin; of "same" within it, at least: one side's chance and the other's, less 1."""
    if difference > margin:
        return _exceeds((difference - margin) / error, seeds, level)
    sides = [_exceeds((margin - side * difference) / error, seeds, level) for side in (1, -1)]
    return sides[0] + sides[1] - 1


def _exceeds(shift: Floats, seeds: npt.NDArray[np.int64], level: float) -> Floats:
    """P(T > the quantile at level/2), T noncentral t with this shift; certain where it is far beyond."""
    quantile = stats.t.isf(level / 2, seeds - 1)
    clear = shift > quantile + 30
    return np.where(clear, 1.0, stats.nct.sf(quantile, seeds - 1, np.where(clear, 0.0, shift)))
