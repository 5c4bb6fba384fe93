"""From names, shapes, dtypes and a configuration to layers: a pure function, nothing of the tensors read.

Families that leave no doubt come first and take their tensors (`opnorm.readers.families`); every tensor that none
takes has a plain row. Then each normalization that a rule paired with a weight is folded into one more, derived row.
Every tensor ends in at least one row that is not derived, so that every byte is accounted for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from opnorm.layers.folding import folded_scale
from opnorm.layers.plan import Entry, Layer
from opnorm.readers.checkpoint import Tensor
from opnorm.readers.families.adapters import adapters
from opnorm.readers.families.attention import split_attention
from opnorm.readers.families.book import Book, Rule
from opnorm.readers.families.experts import stacked_experts
from opnorm.readers.families.fused import fused_attention
from opnorm.readers.families.mobilenet import mobilenet
from opnorm.readers.families.patches import patches
from opnorm.readers.families.quantized import quantized_weights
from opnorm.readers.families.recurrent import recurrent_cells
from opnorm.readers.families.resnet import resnet
from opnorm.readers.families.tied import note_tied
from opnorm.readers.identity import FLOATS, Identity, identify

__all__ = ["FLOATS", "Identity", "identify", "plan"]

RULES: tuple[Rule, ...] = (
    adapters,
    quantized_weights,
    stacked_experts,
    recurrent_cells,
    resnet,
    mobilenet,
    patches,
    fused_attention,
    split_attention,
)
"""In the order in which they take tensors."""


def plan(
    tensors: Sequence[Tensor], config: Mapping[str, Any] | None = None, input_shape: tuple[int, ...] | None = None
) -> list[Layer]:
    """The layers of a checkpoint, in file order.

    config: a parsed `config.json`, believed only where the shapes agree. input_shape: of the model's input, without
    batch; the sizes that convolutions meet follow from it where the architecture is known.
    """
    book = Book({t.name: t for t in tensors}, config, input_shape)
    note_tied(book)
    layers = [layer for rule in RULES for layer in rule(book)]
    modules = groupby(list(book.rest()), key=lambda t: _module(t.name))
    layers += [book.layer(path, {}, (), list(members)) for path, members in modules]
    layers = [replace(layer, entries=tuple(_with_folds(layer, book))) for layer in layers]
    return sorted(layers, key=book.position)


def _with_folds(layer: Layer, book: Book) -> Iterator[Entry]:
    yield from layer.entries
    for entry in layer.entries:
        fold = book.folds.get(entry.tensors[0]) if entry.tensors else None
        if fold is not None and not entry.derived and entry.status == "weight":
            yield folded_scale(
                entry,
                fold.scale,
                centered=fold.centered,
                label=_module(fold.scale).rpartition(".")[2],
                transposed=fold.transposed,
                plus_one=fold.plus_one,
            )


def _module(name: str) -> str:
    return name.rpartition(".")[0] or name
