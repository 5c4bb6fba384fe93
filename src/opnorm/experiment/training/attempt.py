"""One training: a start, the loop (built in or the user's), the finish, and the validation score of what came out.

The test part is not there while training: the split that models and loops see has an empty one.
What numbers do wrong is a failure with its reason: a loss or outputs that are not finite, a weight without a norm, a
decomposition that does not converge. What cannot be meant, such as an arm that does not fit the model, is an error.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch

from opnorm.errors import MissingExtra, OpnormError, UndefinedNorm, UnsupportedInput, UsageError
from opnorm.experiment.arms.arm import Arm
from opnorm.experiment.arms.weights import Weight, norms, weights_of
from opnorm.experiment.document import Design, Point, Tried
from opnorm.experiment.subject import Part, Split, Subject
from opnorm.experiment.training.loop import Course, train, validated
from opnorm.experiment.training.seeds import isolated

_LONGEST = 300


@dataclass(frozen=True, slots=True)
class Attempt:
    """tried: for the record. model: finished, None where it failed."""

    tried: Tried
    model: torch.nn.Module | None = None
    curve: tuple[Point, ...] = ()
    steps: int = 0
    seconds: float = 0.0


class _Failed(Exception):
    """Carries the reason of a failure."""


def attempt(
    subject: Subject, design: Design, condition: str, split: Split, arm: Arm, setting: Mapping[str, float], seed: int
) -> Attempt:
    """Train once from the start of `seed`. split: without its test part."""
    began = time.perf_counter()
    with isolated(seed):
        try:
            model, course = _trained(subject, design, condition, split, arm, setting, seed)
            model.eval()
            validation = _score(model, split.validation, design.metric)
            training = _score(model, split.train, design.metric)
        except _Failed as failed:
            return Attempt(Tried(dict(setting), None, None, str(failed)), seconds=time.perf_counter() - began)
    seconds = time.perf_counter() - began
    return Attempt(Tried(dict(setting), validation, training), model, tuple(course.curve), course.steps, seconds)


def without_test(split: Split) -> Split:
    """The split as training sees it."""
    return replace(split, test=Part(split.test.inputs[:0], split.test.targets[:0]))


def _trained(
    subject: Subject, design: Design, condition: str, split: Split, arm: Arm, setting: Mapping[str, float], seed: int
) -> tuple[torch.nn.Module, Course]:
    model = subject.model(seed, condition, split)
    weights = _weights(model)
    applied = arm.start(setting, seed)
    with failing():
        own = subject.fit(model, split, applied, seed)
        if own is not None:
            own = applied.finish(own)  # changes nothing where the loop did it
            return own, Course([_last(own, split.validation, design)])
        model = applied.prepare(model)
        course = train(model, split, applied, design, subject.task, weights, seed)
        model = applied.finish(model)
    return model, course


def _last(model: torch.nn.Module, part: Part, design: Design) -> Point:
    """Of a user's loop only the end is seen."""
    return Point(design.epochs, None, validated(model, part, design.metric), norms(model, _weights(model)))


def _weights(model: torch.nn.Module) -> tuple[Weight, ...]:
    """Those whose norms a curve shows: none is no error for arms that hold none."""
    try:
        return weights_of(model)
    except (UsageError, UnsupportedInput):
        return ()


def _score(model: torch.nn.Module, part: Part, metric: str) -> float:
    with failing():
        return validated(model, part, metric)


@contextmanager
def failing() -> Iterator[None]:
    """Turns what numbers do wrong into `_Failed`; mistakes pass."""
    try:
        yield
    except UndefinedNorm as error:
        raise _Failed(_told(error)) from error
    except (UsageError, UnsupportedInput, MissingExtra):
        raise
    except (OpnormError, ArithmeticError, torch.linalg.LinAlgError, np.linalg.LinAlgError) as error:
        raise _Failed(_told(error)) from error


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:_LONGEST]
