"""What load_data returned, as a `Split`: checked, and in NumPy's types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from opnorm.errors import UsageError
from opnorm.experiment.data.words import counted, shown
from opnorm.experiment.subject import Part, Split

NAMES = ("train", "validation", "test")
SHAPE = "load_data(seed) must return (train, validation, test), each a pair (X, y) of arrays or tensors"


@dataclass(frozen=True, slots=True)
class Loaded:
    """tensors: whether inputs came as tensors, so that a loop of the user's gets them as such."""

    split: Split
    tensors: bool


def loaded(given: Any) -> Loaded:
    """Raises `UsageError` that says which part is wrong and how."""
    if not isinstance(given, tuple | list) or len(given) != 3:
        got = f"{counted(len(given), 'thing')} in a {type(given).__name__}" if isinstance(given, tuple | list) else (
            shown(type(given).__name__))  # fmt: skip
        raise UsageError(f"{SHAPE}; it returned {got}")
    parts = [_part(pair, name) for pair, name in zip(given, NAMES, strict=True)]
    _require_alike(parts)
    train, validation, test = parts
    return Loaded(Split(train, validation, test), isinstance(given[0][0], torch.Tensor))


def handed(part: Part, tensors: bool) -> tuple[Any, Any]:
    """A part as the user's own functions gave it."""
    if not tensors:
        return part.inputs, part.targets
    return torch.from_numpy(np.ascontiguousarray(part.inputs)), torch.from_numpy(np.ascontiguousarray(part.targets))


def copied(split: Split) -> Split:
    """So that no training changes what another one sees."""
    train, validation, test = (
        Part(p.inputs.copy(), p.targets.copy()) for p in (split.train, split.validation, split.test)
    )
    return Split(train, validation, test, split.movable)


def _part(pair: Any, name: str) -> Part:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise UsageError(f"{SHAPE}; {name} is {shown(type(pair).__name__)} and no such pair")
    inputs, targets = _array(pair[0], f"X of {name}"), _array(pair[1], f"y of {name}")
    if inputs.ndim < 1 or targets.ndim < 1 or len(inputs) != len(targets):
        raise UsageError(f"{name}: X has shape {inputs.shape} and y {targets.shape}; they need one row an example each")
    if not len(inputs):
        raise UsageError(f"{name} is empty; every part needs examples")
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets[:, 0]
    return Part(inputs, targets)


def _array(given: Any, name: str) -> np.ndarray:
    if isinstance(given, torch.Tensor):
        given = given.detach().cpu()
        half = given.is_floating_point() and given.dtype.itemsize < 4  # NumPy has no bfloat16
        given = (given.float() if half else given).numpy()
    try:
        array = np.array(given)
    except ValueError as error:
        raise UsageError(f"{name} is no array: {error}; give an array or a tensor of numbers") from error
    if array.dtype.kind == "f":
        return _single(array, name)
    if array.dtype.kind in "iu":
        return array.astype(np.int64)
    if array.dtype.kind == "b":
        return array.astype(np.int64 if name.startswith("y") else np.float32)
    raise UsageError(
        f"{name} is {shown(type(given).__name__)} of type {array.dtype}; give numbers: floats, or whole numbers for "
        "classes and tokens"
    )


def _single(array: np.ndarray, name: str) -> np.ndarray:
    """In float32, where all of it is a number there."""
    _require_none(~np.isfinite(array), name, "NaN or infinite; repair or drop them")
    with np.errstate(over="ignore"):
        single = array.astype(np.float32)
    _require_none(~np.isfinite(single), name, f"beyond float32 (±{np.finfo(np.float32).max:.2g}); scale them down")
    return single


def _require_none(wrong: np.ndarray, name: str, what: str) -> None:
    count = int(np.count_nonzero(wrong))
    if count:
        raise UsageError(f"{name} holds {counted(count, 'entry', 'entries')} that are {what}")


def _require_alike(parts: list[Part]) -> None:
    first = parts[0]
    for part, name in zip(parts[1:], NAMES[1:], strict=True):
        for one, other, what in ((first.inputs, part.inputs, "X"), (first.targets, part.targets, "y")):
            if one.shape[1:] != other.shape[1:] or one.dtype != other.dtype:
                raise UsageError(
                    f"{what} of train has examples of shape {one.shape[1:]}, {one.dtype}, and of {name} "
                    f"{other.shape[1:]}, {other.dtype}; all parts need the same"
                )
