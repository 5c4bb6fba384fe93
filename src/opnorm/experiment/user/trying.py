"""A user's experiment, tried out before any training: one seed is loaded and built twice, and its model run once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch

from opnorm.errors import UsageError
from opnorm.experiment.metrics import metric_for, require_metric
from opnorm.experiment.subject import Split, Task
from opnorm.experiment.training.seeds import isolated, one_thread
from opnorm.experiment.user.calling import called
from opnorm.experiment.user.parts import NAMES
from opnorm.experiment.user.source import Script, Source
from opnorm.experiment.user.subject import UserSubject, built, read
from opnorm.experiment.user.usable import require_scored, require_usable, shared

FEW = 2
"""Examples that the model is run on."""

MANY_CLASSES = 1000
"""Classes of a single target from which on they are taken for numbers, unless the task is named."""

WIDE = 3.0
"""Times the usual spread of targets."""


def tried_out(origin: Source, task: Task | str | None, metric: str | None, seed: int) -> UserSubject:
    """The subject, or `UsageError` with what is wrong. task and metric go before the file's own."""
    with one_thread():
        return _tried_out(origin, task, metric, seed)


def _tried_out(origin: Source, task: Task | str | None, metric: str | None, seed: int) -> UserSubject:
    settings = origin.functions().settings
    given, model = read(origin, seed), built(origin, seed)
    split = given.split
    require_usable(model, f"build_model({seed}) of {origin.name}", origin.functions().fit is not None)
    data, state = _digest(_arrays(split)), _digest(_tensors(model))
    _require_repeatable(origin, seed, data, state)
    kind = _task(task or settings.get("task"), split)
    classes = _classes(origin, kind, split, model, seed)
    wanted = metric or settings.get("metric")
    name = metric_for(kind, split.train.targets) if wanted is None else require_metric(str(wanted), kind).name
    require_scored(name, split.validation, split.test)
    numbers = {key: _whole(settings[key], key, origin) for key in ("epochs", "batch") if key in settings}
    return UserSubject(
        origin, kind, classes, name,
        hashlib.sha256("\0".join((origin.digest, data, state, kind, name)).encode()).hexdigest(),
        given.tensors, _facts(origin, kind, classes, split, model), numbers,
        tuple(_notes(origin, seed, split, kind, state)),
    )  # fmt: skip


def _require_repeatable(origin: Source, seed: int, data: str, state: str) -> None:
    """Once is enough: what draws from a clock or the system gives another answer at once."""
    again, twin = _digest(_arrays(read(origin, seed).split)), _digest(_tensors(built(origin, seed)))
    for name, same in (("load_data", data == again), ("build_model", state == twin)):
        if not same:
            raise UsageError(
                f"{name}({seed}) of {origin.name} gave two different results: no arm could be compared with another. "
                "Draw all random numbers from generators made from the seed"
            )


def _task(given: Any, split: Split) -> Task:
    if given is not None:
        try:
            task = Task(given)
        except ValueError as error:
            raise UsageError(f"task {given!r} is not known; there are {', '.join(Task)}") from error
    elif split.train.targets.dtype.kind == "f":
        task = Task.REGRESSION
    else:
        task = Task.BINARY if _largest(split) < 2 and split.train.targets.ndim == 1 else Task.MULTICLASS
    if task is Task.REGRESSION and split.train.targets.dtype.kind != "f":
        raise UsageError("the task is regression, but y holds whole numbers; give y as floats")
    if task.classifies:
        _require_classes(split, named=given is not None)
    return task


def _require_classes(split: Split, named: bool) -> None:
    targets = [part.targets for part in (split.train, split.validation, split.test)]
    if any(t.dtype.kind == "f" for t in targets):
        raise UsageError("y holds floats; classes are whole numbers 0, 1, …: cast y to integers, or name no such task")
    if min(int(t.min()) for t in targets) < 0:
        raise UsageError("y holds negative numbers; classes are whole numbers from 0")
    if not named and targets[0].ndim == 1 and _largest(split) >= MANY_CLASSES:
        raise UsageError(
            f"y holds whole numbers up to {_largest(split)}: for a regression give floats, "
            "for that many classes say task = 'multiclass'"
        )
    if len(np.unique(targets[0])) < 2:
        raise UsageError("all targets of train are of one class: there is nothing to learn")
    for name, part in zip(NAMES[1:], targets[1:], strict=True):
        unknown = sorted(set(np.unique(part).tolist()) - set(np.unique(targets[0]).tolist()))
        if unknown and targets[0].ndim == 1:
            raise UsageError(f"{name} has classes that train lacks ({unknown[:5]}); split so that train has them all")


def _largest(split: Split) -> int:
    return max(int(part.targets.max()) for part in (split.train, split.validation, split.test))


def _classes(origin: Source, task: Task, split: Split, model: torch.nn.Module, seed: int) -> int:
    """The number of outputs, once their shape fits the targets."""
    few = torch.from_numpy(split.train.inputs[:FEW].copy())
    model.eval()
    with torch.no_grad(), isolated(seed), origin.at_home():
        what = f"the model, given inputs of shape {tuple(few.shape)}, {few.dtype},"
        outputs = called(model, few, what=what, where=origin.path if isinstance(origin, Script) else "")
    if not isinstance(outputs, torch.Tensor):
        raise UsageError(f"the model returns {type(outputs).__name__}; wrap it so that it returns one tensor")
    shape, targets = tuple(outputs.shape), split.train.targets[:FEW].shape
    if not task.classifies:
        if shape != targets:
            raise UsageError(f"the model returns shape {shape} for targets of shape {targets}: both must be the same")
        return 1
    least = _largest(split) + 1
    if shape[:-1] != targets or shape[-1] < least:
        raise UsageError(
            f"the model returns shape {shape} for targets of shape {targets}: it must be {targets} and, last, one "
            f"logit for each of the {least} classes, also where there are two"
        )
    return int(shape[-1])


def _whole(value: Any, name: str, origin: Source) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UsageError(f"{name} = {value!r} in {origin.name}: give a whole number from 1")
    return value


def _facts(
    origin: Source, task: Task, classes: int, split: Split, model: torch.nn.Module
) -> Mapping[str, str | int | float]:
    own = origin.functions().fit is not None
    found: dict[str, str | int | float] = {
        "experiment": origin.name,
        "sha256": origin.digest,
        "task": task.value,
        "model": type(model).__name__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "training loop": "its own (fit)" if own else "built in",
        "input": "×".join(map(str, split.train.inputs.shape[1:])) or "1",
    }
    if task.classifies:
        found["classes"] = classes
    for name, part in zip(NAMES, (split.train, split.validation, split.test), strict=True):
        found[f"{name} examples"] = len(part)
    return found


def _notes(origin: Source, seed: int, split: Split, task: Task, state: str) -> Iterable[str]:
    yield from shared(split, seed)
    spread = float(split.train.targets.std())
    if not task.classifies and not 1 / WIDE < spread < WIDE:
        yield (
            f"targets have a standard deviation of {spread:.3g} and are taken as they are: standardize them in "
            "load_data for the built-in loop, and for errors in standard deviations"
        )
    if _digest(_tensors(built(origin, seed + 1))) == state:
        yield "build_model gives the same start for every seed: seeds differ by data and order alone"


def _arrays(split: Split) -> Iterable[np.ndarray]:
    for part in (split.train, split.validation, split.test):
        yield from (part.inputs, part.targets)


def _tensors(model: torch.nn.Module) -> Iterable[np.ndarray]:
    for name, value in sorted(model.state_dict().items()):
        yield np.frombuffer(name.encode(), np.uint8)
        if isinstance(value, torch.Tensor):
            yield value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()


def _digest(arrays: Iterable[np.ndarray]) -> str:
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype.str}{array.shape}".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()
