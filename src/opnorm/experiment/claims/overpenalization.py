"""Over-penalization: whether the technique holds the model back. 'hurts' is the finding here.

Two signs of it: the model fits its own training data worse than the baseline's does; and it does worse on the test part
than the same arm with its ceiling doubled. Better training scores are no aim: 'practically the same' is the good end.
"""

from __future__ import annotations

from opnorm.experiment.claims.claim import Claim, Measure, of_the_metric
from opnorm.experiment.claims.values import score

CLAIM = Claim(
    "overpenalization",
    "Over-penalization",
    "Does it hold the model back?",
    (
        Measure(
            "train",
            "training score",
            "the metric on the training part: 'hurts' is underfitting",
            score("train"),
            of_the_metric,
            caution="a lower training score with an equal or better test score is what regularization is for",
        ),
        Measure(
            "test_looser",
            "test score against the ceiling doubled",
            "the metric on the test part with the chosen ceiling minus the same with twice that ceiling: "
            "'hurts' says that the looser one is better",
            score("test"),
            of_the_metric,
            condition="looser",
            against="looser",
        ),
    ),
)
