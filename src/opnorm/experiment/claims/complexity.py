"""Complexity: whether the answer depends on the model's depth: the same comparison on a linear and a deeper one."""

from __future__ import annotations

from opnorm.experiment.claims.claim import Claim, Measure, of_the_metric
from opnorm.experiment.claims.values import score

CLAIM = Claim(
    "complexity",
    "Complexity",
    "Does it also work on a simpler and on a deeper model?",
    (
        Measure(
            "test_deep",
            "test score, twice as deep",
            "the metric on the test part of a model of twice as many hidden layers, its setting the one already chosen",
            score("test"),
            of_the_metric,
            condition="deep",
        ),
        Measure(
            "test_linear",
            "test score, linear model",
            "the metric on the test part of a linear model, its setting the one already chosen",
            score("test"),
            of_the_metric,
            condition="linear",
        ),
    ),
)
