"""What the rules of convolutional networks share: a kernel of known settings, the BatchNorm after it, both folded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from opnorm.layers.convolution import convolution
from opnorm.layers.folding import folded_batch_norm
from opnorm.layers.normalization import batch_norm
from opnorm.layers.plan import Entry, Layer
from opnorm.readers.checkpoint import Tensor
from opnorm.readers.families.book import Book, is_weight

ROLES = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True, slots=True)
class Convolved:
    """A convolution of an architecture that is known: the paths of its modules, and how it is applied.

    side: of its square kernel. size: of the input that it meets, (height, width), if known.
    """

    path: str
    norm: str
    side: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    size: tuple[int, int] | None = None

    @property
    def output(self) -> tuple[int, int] | None:
        """The size of what comes out."""
        return after(self.size, self.side, self.stride, self.padding)


def after(size: tuple[int, int] | None, side: int, stride: int, padding: int) -> tuple[int, int] | None:
    """The size behind a window of `side`; None where it is not known or nothing is left."""
    if size is None:
        return None
    height, width = ((n + 2 * padding - side) // stride + 1 for n in size)
    return (height, width) if min(height, width) > 0 else None


def kernel(book: Book, path: str) -> Tensor | None:
    """The kernel of a module, of four dimensions with a square window, if no rule has taken it."""
    tensor = book.get(f"{path}.weight", 4)
    return tensor if tensor is not None and is_weight(tensor) and tensor.shape[2] == tensor.shape[3] else None


def fits(book: Book, part: Convolved) -> bool:
    """Whether the checkpoint has this kernel, with its window, and a BatchNorm as wide."""
    tensor, scale = kernel(book, part.path), book.get(f"{part.norm}.running_var", 1)
    sound = tensor is not None and tensor.shape[2] == part.side and tensor.shape[0] % part.groups == 0
    return sound and tensor is not None and scale is not None and scale.shape == tensor.shape[:1]


def convolved(book: Book, parts: Iterable[Convolved], eps: float, reason: str) -> list[Layer]:
    """A layer for each part: kernel, BatchNorm, and both as one."""
    return [_layer(book, part, eps, reason) for part in parts]


def _layer(book: Book, part: Convolved, eps: float, reason: str) -> Layer:
    tensor = kernel(book, part.path)
    assert tensor is not None
    settings: dict[str, Any] = {"stride": part.stride, "padding": part.padding, "groups": part.groups}
    input_shape = None if part.size is None else (tensor.shape[1] * part.groups, *part.size)
    said = "; ".join(p for p in (reason, _unused(book, part)) if p)
    row = convolution(tensor.name, tensor.shape, tensor.dtype, settings=settings, input_shape=input_shape, reason=said)
    found = {role: t for role in ROLES if (t := book.get(f"{part.norm}.{role}")) is not None}
    names = {role: t.name for role, t in found.items()}
    norms = batch_norm(part.norm, names, tensor.shape[:1], tensor.dtype, eps=eps)
    label = part.norm.rpartition(".")[2]
    folded = folded_batch_norm(row, names, eps=eps, label=label, padding=part.padding)
    known: dict[str, list[Entry]] = {tensor.name: [row], **{name: [] for name in names.values()}}
    for entry in norms:
        known[entry.tensors[0]].append(entry)
    bias = book.get(f"{part.path}.bias")
    members = [tensor, *([] if bias is None else [bias]), *found.values()]
    return _without_empty(book, part.path, known, folded, members)


def _unused(book: Book, part: Convolved) -> str:
    """Why an input shape that was given tells nothing about this layer; empty where it does, or none was."""
    if book.input_shape is None or part.size is not None:
        return ""
    shape = ",".join(map(str, book.input_shape))
    return f"input shape {shape} is none that this model can have: any input size"


def _without_empty(book: Book, path: str, known: dict[str, list[Entry]], folded: Entry, members: list[Tensor]) -> Layer:
    """The layer; a tensor that only shares another's row has no further one."""
    shared = {name for entries in known.values() for e in entries for name in e.tensors}
    taken = [t for t in members if known.get(t.name) or t.name not in shared]
    layer = book.layer(path, known, (folded,), taken)
    book.take(t for t in members if t not in taken)
    return layer
