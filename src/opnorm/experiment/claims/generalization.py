"""Generalization: the score on data never seen, with all, few and partly wrong examples, and its gap to training.

The gap alone says little: underfitting closes it too. It is beside the test score, never in its place.
"""

from __future__ import annotations

from opnorm.experiment.claims.claim import Claim, Measure, of_the_metric
from opnorm.experiment.claims.values import less, score

CLAIM = Claim(
    "generalization",
    "Generalization",
    "Does the model do better on data it has never seen?",
    (
        Measure("test", "test score", "the metric on the test part, once", score("test"), of_the_metric),
        Measure(
            "gap",
            "test score minus training score",
            "the metric on the test part minus the same on the training part: 0 is no gap",
            less("test", "train"),
            of_the_metric,
            caution="underfitting closes the gap too: read it beside the test score",
        ),
        Measure(
            "test_small",
            "test score, trained on a fifth",
            "the metric on the whole test part after training on a fifth of the examples",
            score("test"),
            of_the_metric,
            condition="small",
        ),
        Measure(
            "test_noise",
            "test score, a fifth of the labels wrong",
            "the metric on the test part, its labels right, after training with a fifth of the labels replaced",
            score("test"),
            of_the_metric,
            condition="noise",
        ),
    ),
)
