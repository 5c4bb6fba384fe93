"""Reliability: whether probabilities can be believed, how much depends on the seed, and whether training succeeds.

Probabilities: the Brier score (1950), a proper score in 0…1, halved so that two classes give the mean of (p − y)²; and
the expected calibration error of the top class in 15 equal bins (Guo et al., 2017). A regression gives none: its lead
is the mean error of its worst tenth of predictions, in standard deviations of the training targets.
"""

from __future__ import annotations

from opnorm.experiment.claims.claim import Claim, Facts, Measure, classes_only, numbers_only
from opnorm.experiment.claims.values import failures, score, steadiness

FAILING = 0.05
"""One training in twenty."""


def _hundredth(facts: Facts) -> float:
    return 0.01 * facts.strictness


def _twentieth(facts: Facts) -> float:
    return 0.05 * facts.strictness


def _half(facts: Facts) -> float:
    return facts.margin / 2


def _failing(_facts: Facts) -> float:
    return FAILING


CLAIM = Claim(
    "reliability",
    "Reliability",
    "Can its probabilities be believed, and does every training come out alike?",
    (
        Measure(
            "brier",
            "Brier score (negated)",
            "minus half the mean of Σ(p − y)² over classes, on the test part",
            score("brier", -1.0),
            _hundredth,
            "Brier score",
            needs=classes_only,
        ),
        Measure(
            "tail",
            "error of the worst tenth (negated)",
            "minus the mean absolute error of the worst tenth of test predictions, in standard deviations of the "
            "training targets",
            score("tail", -1.0),
            _twentieth,
            "standard deviations",
            needs=numbers_only,
        ),
        Measure(
            "calibration",
            "calibration error (negated)",
            "minus the expected calibration error of the top class, 15 equal bins, on the test part",
            score("calibration", -1.0),
            _hundredth,
            "probability",
            needs=classes_only,
        ),
        Measure(
            "steadiness",
            "steadiness over seeds",
            "minus the distance of a seed's test score from the median of the arm's seeds",
            steadiness,
            _half,
            caution="the seed redraws whatever the split redraws: this is the spread over data and starts together",
        ),
        Measure(
            "failures",
            "trainings that succeed",
            "0 where a usable model came out, −1 where none did: a loss or outputs that are not finite, or an error",
            failures,
            _failing,
            "trainings",
        ),
    ),
)
