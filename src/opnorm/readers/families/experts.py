"""Mixtures of experts whose matrices are stacked in three dimensions (Mixtral, Qwen, Llama 4, gpt-oss as saved now).

Which side holds the gates is told by the shape of the down projection beside them. gpt-oss interleaves gate and up;
another family that stores experts transposed is split only where the configuration names it.
"""

from __future__ import annotations

from opnorm.layers.experts import Fused, experts, fused_layout
from opnorm.layers.plan import Entry, Layer
from opnorm.layers.vectors import not_a_map, refused
from opnorm.readers.checkpoint import Tensor
from opnorm.readers.config import model_type
from opnorm.readers.families.book import Book, is_weight

MOST_EXPERTS = 4096
_INTERLEAVED = ("gpt_oss",)
_STACKED = ("llama4", "llama4_text")
_TOGETHER = "stands for all experts together, perhaps stacked: measured as the one matrix that is stored"
_UNDECIDED = "how gate and up share it is not known: each expert's whole matrix is measured"


def stacked_experts(book: Book) -> list[Layer]:
    """One layer a stack."""
    stacks = [t for t in book.rest() if "experts" in t.name.split(".") and is_weight(t) and len(t.shape) in (2, 3)]
    return [layer for tensor in stacks if (layer := _layer(book, tensor)) is not None]


def _layer(book: Book, tensor: Tensor) -> Layer | None:
    if tensor.name.endswith(("_bias", ".bias")):
        words = "a vector for each expert: bias"
        rows: tuple[Entry, ...] = (not_a_map(tensor.name, tensor.shape, tensor.dtype, "bias", words),)
    elif len(tensor.shape) != 3:
        parts = tensor.name.split(".")
        if not parts[min(parts.index("experts") + 1, len(parts) - 1)].isdigit() and parts[-1] != "weight":
            book.notes[tensor.name] = _TOGETHER
        return None
    elif tensor.shape[0] > MOST_EXPERTS or not book.afford(2 * tensor.shape[0]):
        reason = f"a stack of {tensor.shape[0]} experts; {MOST_EXPERTS} are measured: split the tensor"
        rows = (refused(tensor.name, tensor.shape, tensor.dtype, "expert", reason),)
    else:
        rows = _rows(book, tensor) or rows_of_none(tensor)
    return book.layer(tensor.name, {tensor.name: rows}, (), [tensor])


def _rows(book: Book, tensor: Tensor) -> tuple[Entry, ...]:
    name, shape, dtype = tensor.name, tensor.shape, tensor.dtype
    if "gate_up_proj" not in name:
        return experts(name, shape, dtype, transposed=model_type(book.config) in (*_INTERLEAVED, *_STACKED))
    down = book.tensors.get(name.replace("gate_up_proj", "down_proj"))
    fits = down is not None and len(down.shape) == 3
    transposed = fused_layout(shape, down.shape) if down is not None and fits else None
    fused = _fused(model_type(book.config), transposed)
    if transposed is None or not fused:
        return experts(name, shape, dtype, reason=_UNDECIDED)
    return experts(name, shape, dtype, fused=fused, transposed=transposed)


def _fused(kind: str, transposed: bool | None) -> Fused:
    if kind in _INTERLEAVED:
        return "interleaved"
    return "stacked" if not transposed or kind in _STACKED else ""


def rows_of_none(tensor: Tensor) -> tuple[Entry, ...]:
    """The row of a stack of no experts."""
    return (not_a_map(tensor.name, tensor.shape, tensor.dtype, "expert", "a stack of no experts"),)
