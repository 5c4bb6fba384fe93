"""How verdicts are reached, in a few sentences with the numbers of this trial."""

from __future__ import annotations

from opnorm.experiment.document import Design
from opnorm.report.trial import words


def rules(design: Design) -> list[tuple[str, str]]:
    """A lead and its sentences."""
    level, margin = f"{100 * design.level:g} %", words.fixed(design.margin, words.decimals(design.margin))
    base, tuner = words.name(design.baseline), words.name(design.tuner, 24)
    return [
        (
            "Declared before the run.",
            f"Arms, seeds, measures, the primary claim, the margin of ±{margin} in {words.name(design.metric)} and the "
            "tuning budget. Nothing that the run found changed them.",
        ),
        (
            "Fair to every arm.",
            "Under one seed all arms get the same split, order and start. Each arm may try "
            f"{words.counted(design.budget, 'setting')} a seed ({tuner}), judged on validation data. The test part is "
            "used once, for the model chosen.",
        ),
        (
            "Paired.",
            f"Each seed gives one difference, arm minus {base}, signed so that higher is better. A side is rejected "
            "only where three tests agree: exact sign permutations of the differences, a t-test corrected for the "
            "overlap of splits that are drawn anew, and the same corrected for skewness. The largest p counts; the "
            "interval holds what no test rejects.",
        ),
        (
            "Four answers.",
            "Helps or hurts: a difference of no more than the margin is rejected. Practically the same: a difference "
            "of more than the margin is rejected, on both sides. Otherwise there is not enough evidence, which is no "
            "proof that there is no effect.",
        ),
        (
            "Many comparisons.",
            f"Within a claim Holm's procedure keeps the chance of any false answer at {level}, half of it for the "
            "measure that leads. Across claims nothing is corrected: the primary claim answers the question, others "
            "describe.",
        ),
        (
            "Failures count.",
            "A training that gave no usable model is listed, and its seed is left out of the pairs by name, never "
            "silently. An arm that failed in more than half of its seeds gets no answer but in its failures.",
        ),
    ]
