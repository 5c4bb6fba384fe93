"""One comparison: pairs of values → `Paired`, everything that can be said of it before Holm's correction.

Values may have any finite size: they are moved by a power of two, which is exact, so that no square of them overflows.
A value that is NaN or infinite has no difference: then nothing is tested, and the note names the seeds. Such runs are
to be left out by the caller, openly, or judged by a measure that counts them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from opnorm.errors import UsageError
from opnorm.experiment.document import Pair
from opnorm.experiment.statistics.bootstrap import bca
from opnorm.experiment.statistics.posterior import probabilities
from opnorm.experiment.statistics.power import seeds_needed
from opnorm.experiment.statistics.sample import RESOLUTION, Sample
from opnorm.experiment.statistics.sides import interval, p_values
from opnorm.experiment.statistics.subsets import subset_means


@dataclass(frozen=True, slots=True)
class Paired:
    """Of one comparison; None where so few seeds, or such values, say nothing: `note` tells why.

    difference: mean of arm − baseline. interval: of its true value at `confidence`, in accordance with the p-values.
    bootstrap: BCa. p_differs: of "the true difference lies within the margin", p_same: of "it lies outside", both
    two-sided, not corrected. better, same, worse: posterior probabilities. needed: seeds that would decide at this mean
    and spread, at the level 1 − confidence; `seeds_needed` for another level. spread: standard deviation of the
    differences.
    """

    differences: tuple[float, ...]
    margin: float
    overlap: float
    confidence: float
    difference: float | None = None
    spread: float | None = None
    interval: tuple[float, float] | None = None
    bootstrap: tuple[float, float] | None = None
    p_differs: float | None = None
    p_same: float | None = None
    better: float | None = None
    same: float | None = None
    worse: float | None = None
    needed: int | None = None
    note: str = ""
    resolution: float = field(default=0.0, repr=False)


def compare(pairs: Sequence[Pair], margin: float, overlap: float, *, confidence: float = 0.95) -> Paired:
    """Judge the differences arm − baseline, of distinct seeds in any order.

    margin: half-width of practical equivalence, ≥ 0. overlap: test examples over all others where each seed draws its
    own split of the same ones, 0.0 for one fixed split.
    """
    _require(pairs, margin, overlap, confidence)
    ordered = sorted(pairs, key=lambda pair: pair.seed)
    differences = tuple(_difference(pair) for pair in ordered)
    broken = [pair.seed for pair, one in zip(ordered, differences, strict=True) if not math.isfinite(one)]
    if broken:
        note = f"no finite difference under {_seeds(broken)}: nothing is tested"
        return Paired(differences, margin, overlap, confidence, note=note)
    if len(differences) < 2:
        note = "one seed has no spread: nothing is tested" if differences else "no seed: nothing is tested"
        return Paired(differences, margin, overlap, confidence, difference=next(iter(differences), None), note=note)
    largest = max(margin, *(abs(value) for pair in ordered for value in (pair.arm, pair.baseline)))
    return _judged(differences, margin, overlap, confidence, largest * RESOLUTION)


def interval_of(paired: Paired, confidence: float) -> tuple[float, float] | None:
    """The interval at another confidence, such as 1 − the level that Holm's procedure held the comparison against."""
    if paired.p_differs is None:
        return None
    unit, sample, margin = _scaled(paired.differences, paired.margin, paired.overlap, paired.resolution)
    found = interval(sample, subset_means(sample), confidence, margin)
    return None if found is None else (float(found[0]) * unit, float(found[1]) * unit)


def _judged(
    differences: tuple[float, ...], margin: float, overlap: float, confidence: float, resolution: float
) -> Paired:
    unit, sample, scaled = _scaled(differences, margin, overlap, resolution)
    means = subset_means(sample)
    p_differs, p_same = p_values(sample, means, scaled)
    ends = interval(sample, means, confidence, scaled)
    better, same, worse = probabilities(sample, scaled)
    mean, spread = float(sample.mean), float(sample.error) / math.sqrt(1 / sample.size + overlap)
    low, high = bca(sample, confidence)
    return Paired(
        differences,
        margin,
        overlap,
        confidence,
        difference=mean * unit,
        spread=spread * unit,
        interval=None if ends is None else (float(ends[0]) * unit, float(ends[1]) * unit),
        bootstrap=(low * unit, high * unit),
        p_differs=float(p_differs),
        p_same=float(p_same),
        better=better,
        same=same,
        worse=worse,
        needed=seeds_needed(mean, spread, scaled, overlap, 1 - confidence),
        note=_note(sample, ends is not None, confidence),
        resolution=resolution,
    )


def _note(sample: Sample, bounded: bool, level: float) -> str:
    few = "" if bounded else f"{sample.size} seeds are too few for an interval at {level:.4g}"
    flat = "all differences are one value: their spread is unknown, not nothing" if sample.flat else ""
    return "; ".join(filter(None, (few, flat)))


def _scaled(
    differences: tuple[float, ...], margin: float, overlap: float, resolution: float
) -> tuple[float, Sample, float]:
    """(unit, the sample in units of it, the margin in units of it); the unit is a power of two."""
    unit = math.ldexp(0.5, math.frexp(max(margin, *map(abs, differences)))[1])
    return unit, Sample(np.array(differences) / unit, overlap, resolution / unit), margin / unit


def _difference(pair: Pair) -> float:
    return float(pair.arm) - float(pair.baseline)


def _seeds(seeds: list[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def _require(pairs: Sequence[Pair], margin: float, overlap: float, confidence: float) -> None:
    if not (math.isfinite(margin) and margin >= 0):
        raise UsageError(f"margin {margin!r} is no half-width: give a finite number, 0 or above")
    if not (math.isfinite(overlap) and overlap >= 0):
        raise UsageError(f"overlap {overlap!r} is no ratio: give test examples over all others, 0 if fixed")
    if not 0 < confidence < 1:
        raise UsageError(f"confidence {confidence!r} is no probability: give a number between 0 and 1, such as 0.95")
    seeds = [pair.seed for pair in pairs]
    if len(set(seeds)) < len(seeds):
        raise UsageError(f"seeds {sorted(seeds)} repeat: a pair is one seed, and seeds are counted as independent")
