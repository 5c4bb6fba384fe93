"""What a layer gives: rows to be, from which tensors, by which operators.

The way of the data: names, shapes and settings → `Layer` (here, nothing read yet) → the tensors it needs are
read together → each `Entry` builds its operator from them → it is measured → a row of the report.

A rule, one small file a family in this room, is a function from names, shapes and settings to entries. Live
modules and checkpoints alike end in these functions, so that both give the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from opnorm.bound import Bracket
from opnorm.linalg.request import Request

Arrays: TypeAlias = Mapping[str, Any]
"""Tensor name → its entries: a NumPy array, or a tensor of a framework where it lives."""

Build: TypeAlias = Callable[[Arrays], Any]
"""From the tensors of an entry to its operator: anything that `opnorm.frameworks.aslinearoperator` takes."""


@dataclass(frozen=True, slots=True)
class Also:
    """A further number beside a row: its name, what it means in a sentence, and how it is found."""

    name: str
    meaning: str
    find: Callable[[Arrays, Request], Bracket]


@dataclass(frozen=True, slots=True)
class Part:
    """Where a row's matrix lies inside its one tensor, so that what is read can be written: `arrays[tensor][index]`.

    transposed: it is stored as inputs by outputs; what is read is not turned, as the norm is the same.
    """

    tensor: str
    index: tuple[int | slice, ...] = field(default=(), hash=False)
    transposed: bool = False

    def matrix(self, arrays: Arrays) -> Any:
        """A view of the tensor where its framework gives views."""
        tensor = arrays[self.tensor]
        return tensor[self.index] if self.index else tensor


@dataclass(frozen=True, slots=True)
class ConvolutionPart:
    """The whole of a tensor as the kernel of a convolution.

    settings: keyword arguments of `opnorm.frameworks.convolution.convolution`, None where nothing gives them.
    input_shape: (channels, *sizes), or None for any size.
    """

    tensor: str
    settings: dict[str, Any] | None = field(default=None, hash=False)
    input_shape: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One row to be.

    name: of the row; a tensor's own name, with a suffix such as `[q]` where it holds several operators, or
    that of a module where several tensors make one. tensors: the names that `build` needs. status: 'weight'
    (to be measured), 'not_a_map', 'refused' or 'optimizer', with `reason` in words. derived: spans several
    tensors, or repeats one that has a row of its own, and adds no bytes. same_as: the name of the tied tensor
    whose row this one repeats. operator: in words, with sizes, such as 'dense 384x384'. part: where the operator
    lies inside one stored tensor; None where it spans several, is computed from them, or is held by codes.
    """

    name: str
    tensors: tuple[str, ...]
    kind: str
    operator: str = ""
    shape: tuple[int, ...] = ()
    dtype: str = ""
    status: str = "weight"
    reason: str = ""
    derived: bool = False
    same_as: str = ""
    build: Build | None = None
    part: Part | ConvolutionPart | None = None
    also: tuple[Also, ...] = ()


@dataclass(frozen=True, slots=True)
class Layer:
    """Entries whose tensors are read together, once. path: the module they belong to."""

    path: str
    entries: tuple[Entry, ...]

    @property
    def needs(self) -> tuple[str, ...]:
        """The tensors to read, each once."""
        return tuple(dict.fromkeys(t for e in self.entries if e.build is not None for t in e.tensors))
