"""Differences of known mean under many kinds of noise, and the verdict rules applied to thousands of trials at once.

`judged` calls the very functions that `compare` and `decide` are made of, on arrays with a leading axis of trials.
"""

from dataclasses import dataclass

import numpy as np

from opnorm.experiment.statistics.holm import levels
from opnorm.experiment.statistics.sample import Sample
from opnorm.experiment.statistics.sides import interval, p_values
from opnorm.experiment.statistics.subsets import subset_means

CHUNK = 4_000_000
"""Subset means in memory at once."""


def standard(rng, shape, size):
    """Noise of mean 0 and variance 1; size: (trials, seeds)."""
    if shape == "normal":
        return rng.standard_normal(size)
    if shape == "t3":
        return rng.standard_t(3, size) / np.sqrt(3)
    if shape in ("exponential", "-exponential"):
        return (rng.exponential(size=size) - 1) * sign(shape)
    if shape in ("lognormal", "-lognormal"):  # skewness 1.75
        v = np.exp(0.25)
        return (np.exp(0.5 * rng.standard_normal(size)) - np.sqrt(v)) / np.sqrt(v * (v - 1)) * sign(shape)
    if shape in ("heavy", "-heavy"):  # lognormal of skewness 6.2
        v = np.e
        return (np.exp(rng.standard_normal(size)) - np.sqrt(v)) / np.sqrt(v * (v - 1)) * sign(shape)
    if shape == "uneven":  # every seed its own spread, as where some runs are hard
        scale = np.exp(rng.standard_normal(size))
        return rng.standard_normal(size) * scale / np.exp(1)
    if shape == "outlier":  # one seed of each trial is thrown far, up or down
        noise = rng.standard_normal(size)
        noise[:, 0] += 8 * rng.choice((-1, 1), size[0])
        return noise
    if shape in ("rare", "-rare"):  # one seed in ten falls by five standard deviations
        return (rng.standard_normal(size) + 0.5 - 5 * (rng.random(size) < 0.1)) / np.sqrt(1 + 25 * 0.09) * -sign(shape)
    raise KeyError(shape)


def sign(shape):
    return -1 if shape.startswith("-") else 1


SYMMETRIC = ("normal", "t3", "uneven", "outlier")
SKEWED = ("exponential", "-exponential", "lognormal", "-lognormal")
LIMITS = ("heavy", "-heavy", "rare", "-rare")
TICKS = {"ticks": (40, 0.6), "ceiling": (40, 0.9)}
"""Test examples and the baseline's accuracy: scores are multiples of 1/40."""


def ticks(rng, shape, delta, size):
    """Accuracies' differences, of mean `delta` standard deviations; None where an accuracy would leave [0, 1]."""
    examples, accuracy = TICKS[shape]
    spread = np.sqrt(2 * accuracy * (1 - accuracy) / examples)
    if not 0 <= accuracy + delta * spread <= 1:
        return None
    arm, base = (rng.binomial(examples, p, size) / examples for p in (accuracy + delta * spread, accuracy))
    return (arm - base) / spread


def correlated(rng, shape, size, overlap):
    """Differences of splits redrawn from the same examples: any two correlate by n_test/(n_test + n_train)."""
    rho = overlap / (1 + overlap)
    shared = standard(rng, shape, (size[0], 1))
    return np.sqrt(rho) * shared + np.sqrt(1 - rho) * standard(rng, shape, size)


@dataclass
class Judged:
    """Of one margin and true effect: mean, differs, same (p-values), low, high (or None), each (trials,)."""

    margin: float
    delta: float
    mean: np.ndarray
    differs: np.ndarray
    same: np.ndarray
    low: np.ndarray | None
    high: np.ndarray | None

    def rates(self, level=0.05):
        """Shares of 'helps', 'hurts' and 'same' where each comparison is a claim of its own."""
        reject = self.differs <= level
        return (
            float((reject & (self.mean > self.margin)).mean()),
            float((reject & (self.mean < -self.margin)).mean()),
            float((self.same <= level).mean()),
        )

    def false(self, level=0.05):
        """The same three, 0 where the answer would be true."""
        helps, hurts, same = self.rates(level)
        edge = abs(self.delta) >= self.margin
        return helps * (self.delta <= self.margin), hurts * (self.delta >= -self.margin), same * edge

    def covers(self):
        return float(((self.low <= self.delta) & (self.delta <= self.high)).mean())


def judged(noise, cases, overlap=0.0, rule=p_values, ends=False):
    """noise: (trials, seeds), of mean 0; cases: (margin, delta), delta to be added to it. → one `Judged` a case."""
    rows = max(1, CHUNK // min(2 ** noise.shape[1], 2**16))
    parts = [list(_judged(noise[i : i + rows], cases, overlap, rule, ends)) for i in range(0, len(noise), rows)]
    columns = [[part[i] for part in parts] for i in range(len(cases))]
    return [
        Judged(*case, *(_joined(column) for column in zip(*found, strict=True)))
        for case, found in zip(cases, columns, strict=True)
    ]


def _judged(noise, cases, overlap, rule, ends):
    means = subset_means(Sample(noise))
    for margin, delta in cases:
        values = noise + delta
        sample = Sample(values, overlap, 2.0**-40 * max(1.0, float(np.abs(values).max())))
        low, high = (interval(sample, means + delta, 0.95, margin) if ends else None) or (None, None)
        yield sample.mean, *rule(sample, means + delta, margin), low, high


def _joined(column):
    return None if column[0] is None else np.concatenate(column)


def family(judgements, level=0.05, correction=levels):
    """Of claims with several comparisons (a list of `Judged`): helps, hurts, same as (trials, comparisons) booleans."""
    differs = np.stack([one.differs for one in judgements], axis=-1)
    same = np.stack([one.same for one in judgements], axis=-1)
    mean = np.stack([one.mean for one in judgements], axis=-1)
    rejected = np.array([row <= np.array(correction(list(row), level)) for row in differs])
    margin = judgements[0].margin
    alike = np.array([row <= np.array(correction(list(row), level)) for row in same])
    return rejected & (mean > margin), rejected & (mean < -margin), alike & ~rejected


def arms(rng, shape, count, size):
    """Noise of several arms against one baseline that they share, so that any two correlate by a half."""
    base = standard(rng, shape, size)
    return [(standard(rng, shape, size) - base) / np.sqrt(2) for _ in range(count)]


def resampled(rng, kind, trials, seeds):
    """Splits truly redrawn: ridge regression against least squares on one drawn data set a trial. → (trials, seeds).

    kind: 'ridge' (error of least squares − error of ridge), 'halves' (two models that see different halves of the
    features: alike on average, not on any one data set), 'classes' (the same two, judged by accuracy), 'tuned' (the
    same two, each with the best of three ridges on a validation part, in shares of 70, 20 and 10 of a hundred).
    Returns the differences and the overlap, n_test/n_rest.
    """
    examples, features = 60, 8
    test, held = (6, 12) if kind == "tuned" else (12, 0)
    x = rng.standard_normal((trials, examples, features))
    truth = 0.35 * rng.standard_normal((trials, features, 1)) if kind == "ridge" else np.full((features, 1), 0.35)
    y = (x @ truth)[..., 0] + rng.standard_normal((trials, examples))
    columns = [np.arange(features)] * 2 if kind == "ridge" else [np.arange(4), np.arange(4, 8)]
    tried = {"ridge": ((0.0,), (8.0,)), "tuned": ((0.1, 3.0, 30.0),) * 2}.get(kind, ((1.0,), (1.0,)))
    found = np.empty((trials, seeds))
    for seed in range(seeds):
        order = rng.permuted(np.broadcast_to(np.arange(examples), (trials, examples)), axis=1)
        target = np.sign(y) if kind == "classes" else y
        known = np.take_along_axis(target, order, 1)
        drawn = [np.take_along_axis(x, order[..., None], 1)[..., chosen] for chosen in columns]
        scores = [_score(*side, known, test, held, kind) for side in zip(drawn, tried, strict=True)]
        found[:, seed] = scores[1] - scores[0]
    return found, test / (examples - test)


def _score(x, ridges, target, test, held, kind):
    """Of the ridge that does best on the `held` rows after the `test` rows; all others train."""
    first = test + held
    seen, known = x[:, first:], target[:, first:, None]
    fits = []
    for ridge in ridges:
        gram = seen.transpose(0, 2, 1) @ seen + ridge * np.eye(x.shape[-1])
        fits.append((x @ np.linalg.solve(gram, seen.transpose(0, 2, 1) @ known))[..., 0])
    guess = np.stack(fits)
    if held:
        best = ((guess - target)[..., test:first] ** 2).mean(axis=-1).argmin(axis=0)
        guess = np.take_along_axis(guess, best[None, :, None], 0)
    guess, target = guess[0, :, :test], target[:, :test]
    return (np.sign(guess) == target).mean(axis=1) if kind == "classes" else -((guess - target) ** 2).mean(axis=1)
