"""Robustness: the test score when inputs are moved a little, at worst and at random.

Attack: projected gradient ascent in L2 (Madry et al., 2018) with the arm's own gradients, `attack`. Corruption:
Gaussian noise, `corruption`. Sizes are multiples of the training part's own spread, so that they mean the same in all
data; only numeric columns are moved. Both are of this attack and this noise: neither is a certificate.
"""

from __future__ import annotations

from opnorm.experiment.claims.claim import Claim, Measure, movable_only, of_the_metric
from opnorm.experiment.claims.values import score

RADIUS = 0.1
"""Of the attack: of the root-mean-square distance of training examples from their mean."""

NOISE = 0.5
"""Of the corruption: standard deviation, in root-mean-square standard deviations of the training features."""

CLAIM = Claim(
    "robustness",
    "Robustness",
    "Does it hold up when inputs are disturbed?",
    (
        Measure(
            "attacked",
            "test score under attack",
            f"the metric on at most 500 test examples, each moved by L2 gradient ascent within {RADIUS:g} of the "
            "root-mean-square distance of training examples from their mean",
            score("attacked"),
            of_the_metric,
            needs=movable_only,
        ),
        Measure(
            "corrupted",
            "test score under noise",
            f"the metric on the test part with Gaussian noise of {NOISE:g} standard deviations of the training "
            "features, mean of 5 draws, the same draws in every arm",
            score("corrupted"),
            of_the_metric,
            needs=movable_only,
        ),
    ),
)
