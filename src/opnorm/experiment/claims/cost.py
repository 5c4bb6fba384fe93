"""Cost: whole training steps of each arm beside the baseline's, and the memory above it. Reported, never judged.

A step is what a training loop does: forward, loss with the arm's penalty, backward, optimizer, what the arm does after
it; moves that come every few steps are in their share. Both twins take turns of the same number of steps (a multiple
of 8, about 10 ms) on one thread, in processor time, so that other load strikes little and both; the ratio is the median
over at most 25 turns, the spread its quartiles. Not in it: what happens before the first step and after the last (the
exact projection), the trainings of tuning, and that early stopping makes fewer steps.
Memory: tensors that are held from step to step (the gate's own state among them) and those kept for the backward passes
of one step, above the baseline's; work space inside a single operation is not seen. The default setting is measured.
Times depend on the machine: no verdict uses them. At most 3 seconds an arm, unless a few steps take that.
"""

from __future__ import annotations

from opnorm.experiment.claims.claim import Claim
from opnorm.experiment.document import AGAIN, Cost, Design
from opnorm.experiment.subject import Subject

CLAIM = Claim("cost", "Cost", "What does it cost in time and memory?", ())


def costs(subject: Subject, design: Design) -> tuple[Cost, ...]:
    """One for each arm but the baseline, in the order of the design."""
    from opnorm.experiment.claims.measuring.timing import costs_of

    arms = [a for a in design.arms if a != design.baseline and not a.endswith(f"@{AGAIN}")]
    return tuple(costs_of(subject, design, arms))
