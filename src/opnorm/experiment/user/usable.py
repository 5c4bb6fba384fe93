"""What a user's model must be like to be trained, and its parts to be scored; each message says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from opnorm.errors import UsageError
from opnorm.experiment.data.words import counted
from opnorm.experiment.subject import Part, Split, Task

if TYPE_CHECKING:
    import torch


def require_usable(model: torch.nn.Module, what: str, own_loop: bool) -> None:
    """Values in memory, real ones, some of them trained. own_loop: which may train something else."""
    from torch.nn.parameter import is_lazy

    for name, value in chain(model.named_parameters(), model.named_buffers()):
        if is_lazy(value):
            raise UsageError(f"{what}: {name} has no shape yet (a lazy module): run the model once in build_model")
        if value.is_meta:
            raise UsageError(f"{what}: {name} has no values (device 'meta'): build the model on the CPU")
        if value.is_complex():
            raise UsageError(f"{what}: {name} is complex: a trial takes models of real numbers")
    if not own_loop and not any(p.requires_grad for p in model.parameters()):
        raise UsageError(
            f"{what}: no parameter is trained (requires_grad): unfreeze some, or train in a fit of your own"
        )


def require_scored(metric: str, validation: Part, test: Part) -> None:
    """R² needs targets that differ: among equal ones it is 0 for every model, which would look like no difference."""
    for part, name in ((validation, "validation"), (test, "test")):
        if metric == "r2" and len(np.unique(part.targets)) < 2:
            raise UsageError(
                f"the targets of {name} ({counted(len(part), 'example')}) do not differ, so R² says nothing: give more "
                "examples, or choose --metric neg_mae"
            )


def shared(split: Split, seed: int) -> Iterator[str]:
    """A note for each part that has examples of the test part, equal in every bit of X."""
    for part, where, harm in (
        (split.train, "training", "test scores flatter every arm"),
        (split.validation, "validation", "settings are chosen on them, which flatters what was chosen"),
    ):
        copies = repeated(part, split.test)
        if copies:
            yield (
                f"{counted(copies, 'test example')} of {len(split.test)} (seed {seed}) also "
                f"{'is' if copies == 1 else 'are'} among the {where} examples, bit for bit: {harm}"
            )


def repeated(part: Part, test: Part) -> int:
    """How many test examples are, to the last bit, also in another part."""
    known = set(_rows(part.inputs))
    return sum(row in known for row in _rows(test.inputs))


def _rows(inputs: np.ndarray) -> Iterator[bytes]:
    return (row.tobytes() for row in np.ascontiguousarray(inputs))


def require_like_first(split: Split, task: Task, classes: int, seed: int) -> None:
    """That the data of a later seed have the targets that the first one's had."""
    for part, name in ((split.train, "train"), (split.validation, "validation"), (split.test, "test")):
        if (part.targets.dtype.kind == "f") == task.classifies:
            raise UsageError(f"load_data({seed}): y of {name} is {part.targets.dtype}, which is no {task.value} target")
        if task.classifies and not 0 <= int(part.targets.min()) <= int(part.targets.max()) < classes:
            raise UsageError(
                f"load_data({seed}): y of {name} holds classes {part.targets.min()} to {part.targets.max()}, and the "
                f"model of the first seed has {classes}: give every seed the same classes, from 0"
            )
