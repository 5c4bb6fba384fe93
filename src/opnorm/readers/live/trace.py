"""From the shape of a model's input to the sizes its layers see; where that fails, to the words that say so.

`open_model` is given shapes without the batch: (3, 224, 224), a tuple of such, or a mapping from argument names.
The run itself is `opnorm.frameworks.torch_trace`'s, on a copy without weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeAlias

from opnorm.errors import UsageError
from opnorm.frameworks.calls import Call, Calls

InputShape: TypeAlias = tuple[int, ...] | Sequence[tuple[int, ...]] | Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Size:
    """What one module saw: shapes with the batch; in words, why there are none, or what they leave out."""

    input: tuple[int, ...] | None = None
    output: tuple[int, ...] | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What all modules saw for the input `words`."""

    calls: Calls
    words: str = ""

    def of(self, path: str) -> Size:
        """The size that a module saw, if it was one and the same at every call."""
        if not self.words:
            return Size()
        if self.calls.problem:
            return Size(why=f"the model could not be traced at {self.words}: any input size ({self.calls.problem})")
        calls = self.calls.calls.get(path, ())
        if not calls:
            return Size(why=f"not reached at {self.words}: any input size")
        if len({(c.input[1:], c.output[1:]) for c in calls}) > 1:
            return Size(why=f"called at several sizes, {_several(calls)}: any input size")
        hooks = f"the size without the hooks of {self.calls.hooked[0] or 'the model'}" if self.calls.hooked else ""
        return Size(calls[0].input, calls[0].output, hooks)

    def reader(self, name: str) -> str:
        """Why a parameter may be applied otherwise than by its module; empty where nothing is known of that."""
        outside = self.calls.outside.get(name, "")
        return outside and (
            f"read by the code of {outside} itself, which may apply it in another way: measured as its own module does"
        )


def sizes_of(model: Any, input_shape: InputShape | None) -> Sizes:
    """Trace `model` at `input_shape`; nothing is traced where there is none."""
    if input_shape is None:
        return Sizes(Calls())
    shapes = checked(input_shape)
    trace = import_module("opnorm.frameworks.torch_trace").trace
    hooks = import_module("opnorm.frameworks.torch_modules").unknown_hooks
    return Sizes(trace(model, shapes, hooks), f"input shape {_words(shapes)}")


def checked(input_shape: Any) -> Any:
    """The shape, or shapes, as tuples of whole numbers above 0; `UsageError` for anything else."""
    if isinstance(input_shape, Mapping):
        if input_shape and all(isinstance(name, str) and _is_shape(s) for name, s in input_shape.items()):
            return {name: tuple(s) for name, s in input_shape.items()}
    elif _is_shape(input_shape):
        return tuple(input_shape)
    elif isinstance(input_shape, list | tuple) and input_shape and all(_is_shape(s) for s in input_shape):
        return tuple(tuple(s) for s in input_shape)
    raise UsageError(
        f"input_shape {input_shape!r} is not possible: give the shape of one example without the batch, such as "
        "(3, 224, 224); for several inputs a tuple of shapes, or a dictionary from argument names to shapes"
    )


def _is_shape(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(type(n) is int and n > 0 for n in value)


def _words(shapes: Any) -> str:
    if isinstance(shapes, Mapping):
        return ", ".join(f"{name} {shape}" for name, shape in shapes.items())
    return str(shapes)


def _several(calls: Sequence[Call]) -> str:
    shown = list(dict.fromkeys("x".join(map(str, call.input[1:])) for call in calls))
    return ", ".join(shown[:4]) + (", …" if len(shown) > 4 else "")
