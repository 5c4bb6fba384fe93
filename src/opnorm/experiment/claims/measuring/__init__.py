"""A finished model measured once: scores by name, and the spectrum that stability is judged by.

The way: `outputs` (the model in evaluation mode) → scores of the training and test parts; in the condition 'full' also
`probabilities` (Brier, calibration), `attack` and `corruption`, and `spectrum`. The test part is touched here only.
Guarantee: the same model, split and seed give the same numbers, whatever the arm: draws come from generators of their
own, keyed by the seed alone. Where outputs are not finite a score is None, and the training counts as failed.
Cost: about 30 passes forward and backward over at most 500 test examples, and a few forward ones over all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from opnorm.experiment.claims.measuring import probabilities, spectrum
from opnorm.experiment.claims.measuring.attack import attacked
from opnorm.experiment.claims.measuring.corruption import corrupted
from opnorm.experiment.claims.measuring.outputs import evaluating, outputs_of
from opnorm.experiment.claims.measuring.reach import reach_of
from opnorm.experiment.claims.robustness import NOISE, RADIUS
from opnorm.experiment.data.seeds import generator
from opnorm.experiment.metrics import score
from opnorm.experiment.subject import Part, Split, Subject

if TYPE_CHECKING:
    import torch

Scores = dict[str, float | None]
WORST = 0.1
DRAWS = 5
ATTACKED = 500


def measures(
    model: torch.nn.Module, split: Split, subject: Subject, seed: int, condition: str = "full"
) -> tuple[Scores, dict[str, tuple[float, ...]]]:
    """Scores and spectrum of a finished model. condition: all but 'full' need the training and test scores alone."""
    with evaluating(model):
        outputs = outputs_of(model, split.test.inputs)
        scores: Scores = {
            "test": scored(subject, split.test.targets, outputs),
            "train": scored(subject, split.train.targets, outputs_of(model, split.train.inputs)),
        }
        if condition != "full":
            return scores, {}
        scores |= _reliability(subject, split, outputs)
        scores |= _robustness(model, split, subject, seed)
        return scores, spectrum.of(model, split)


def scored(subject: Subject, targets: np.ndarray, outputs: np.ndarray) -> float | None:
    """The metric, None where outputs are not finite."""
    value = float(score(subject.metric, targets, outputs))
    return value if math.isfinite(value) else None


def _reliability(subject: Subject, split: Split, outputs: np.ndarray) -> Mapping[str, float | None]:
    if not np.isfinite(outputs).all():
        return {"brier": None, "calibration": None, "tail": None}
    if not subject.task.classifies:
        return {"brier": None, "calibration": None, "tail": _tail(split, outputs)}
    likely, targets = probabilities.of(outputs), split.test.targets.reshape(-1)
    found = probabilities.brier(likely, targets), probabilities.calibration_error(likely, targets)
    return {"brier": found[0], "calibration": found[1], "tail": None}


def _tail(split: Split, outputs: np.ndarray) -> float | None:
    """Mean absolute error of the worst tenth, in standard deviations of the training targets."""
    errors = np.sort(np.abs(outputs.reshape(-1).astype(np.float64) - split.test.targets.reshape(-1)))
    spread = float(np.std(split.train.targets.astype(np.float64)))
    worst = errors[-max(1, round(WORST * len(errors))) :]
    return float(worst.mean()) / spread if spread > 0 else None


def _robustness(model: torch.nn.Module, split: Split, subject: Subject, seed: int) -> Mapping[str, float | None]:
    reach = reach_of(split)
    if reach is None:
        return {"attacked": None, "corrupted": None}
    part = _some(split.test, seed)
    moved = attacked(model, part, subject.task, reach.mask, RADIUS * reach.distance)
    draws = [
        scored(subject, split.test.targets, outputs_of(model, inputs))
        for inputs in corrupted(split.test.inputs, reach, NOISE, seed, DRAWS)
    ]
    there = [d for d in draws if d is not None]
    return {
        "attacked": scored(subject, part.targets, outputs_of(model, moved)),
        "corrupted": math.fsum(there) / len(draws) if len(there) == len(draws) else None,
    }


def _some(part: Part, seed: int) -> Part:
    """At most so many of the test examples, evenly over the targets, the same for every arm of a seed."""
    if len(part) <= ATTACKED:
        return part
    order = generator("attacked examples", seed).permutation(len(part))
    by_target = order[np.argsort(part.targets.reshape(len(part), -1)[order, 0], kind="stable")]
    chosen = np.sort(by_target[np.linspace(0, len(part) - 1, ATTACKED).round().astype(int)])
    return Part(part.inputs[chosen], part.targets[chosen])
