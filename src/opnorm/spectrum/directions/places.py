"""Which rows of a model a tokenizer, feature names, a batch of examples and pictures belong to.

Tokens: every table of embeddings, and every dense layer named as an output head, with as many rows as the vocabulary
(padding apart). Features: the first dense layer, by the order that names give, among those that read as many numbers.
A batch: the first layer that reads such examples. Pictures: the first convolution with one or three channels. What
belongs nowhere is refused with what the model has instead: a wrong label is worse than none.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from opnorm.errors import UsageError
from opnorm.layers.plan import ConvolutionPart, Entry, Layer, Part
from opnorm.spectrum.directions.examples import batch_shape, is_whole
from opnorm.spectrum.directions.filters import is_pictured
from opnorm.spectrum.directions.tokens import Tokens

DENSE = ("linear", "quantized codes")
CONVOLVED = ("convolution", "transposed convolution")
_HEAD = re.compile(r"(^|\.)(lm_head|embed_out|output|head|decoder|proj_out|output_projection)\.weight$")


_NO_WORDS = re.compile(r"(^|[._])(pos|positions?|positional|token_type|segments?|wpe)([._]|$)")
"""Of tables of positions and segments: one may be as long as a vocabulary by chance."""


@dataclass(frozen=True, slots=True)
class Place:
    """What is known of a row's sides. tokens: its stored rows are the vocabulary. features: its inputs have names.

    pictures: its windows are shown. batch: the examples are its inputs.
    """

    tokens: bool = False
    features: bool = False
    pictures: bool = False
    batch: bool = False


NOWHERE = Place()


def is_turned(entry: Entry) -> bool:
    """Whether the stored rows are inputs: of transposed weights, and of tables, which tokens enter by their rows."""
    table = entry.kind == "embedding" and not _HEAD.search(entry.name)
    return table or (isinstance(entry.part, Part) and entry.part.transposed)


def places_of(
    plan: Sequence[Layer], tokens: Tokens | None, features: tuple[str, ...] | None, batch: Any
) -> dict[str, Place]:
    """Name of a row → its place, of those that have one. `UsageError` where something given belongs nowhere."""
    entries = [e for layer in plan for e in layer.entries if e.status == "weight" and not e.derived]
    places: dict[str, Place] = {}

    def note(entry: Entry, **known: bool) -> None:
        places[entry.name] = replace(places.get(entry.name, NOWHERE), **known)

    for entry in [e for e in entries if _is_pictured(e)][:1]:
        note(entry, pictures=True)
    for entry in [] if tokens is None else _of_tokens(entries, tokens):
        note(entry, tokens=True)
    if features is not None:
        note(_of_features(entries, len(features)), features=True)
    if batch is not None:
        note(_of_batch(entries, batch), batch=True)
    return places


def _is_pictured(entry: Entry) -> bool:
    settings = entry.part.settings or {} if isinstance(entry.part, ConvolutionPart) else {}
    return entry.kind == "convolution" and is_pictured(entry.shape, int(settings.get("groups", 1)))


def _of_tokens(entries: list[Entry], tokens: Tokens) -> list[Entry]:
    tables = [e for e in entries if e.kind == "embedding" and is_turned(e) and not _NO_WORDS.search(e.name)]
    heads = [e for e in entries if e.kind in (*DENSE, "embedding") and len(e.shape) == 2 and _HEAD.search(e.name)]
    found = [e for e in tables if tokens.fits(e.shape[0])]
    found += [e for e in heads if tokens.fits(inputs_outputs(e)[1]) and not is_turned(e)]
    if not found:
        rows = ", ".join(f"{e.name[:80]} has {e.shape[0]} rows" for e in (*tables, *heads)[:6])
        raise UsageError(
            f"{tokens.source} knows {len(tokens)} tokens, and no table of this model is that long: "
            f"{rows or 'it has no embeddings'}. Give the tokenizer.json saved with these weights"
        )
    return found


def _of_features(entries: list[Entry], count: int) -> Entry:
    dense = sorted((e for e in entries if e.kind in DENSE and len(e.shape) == 2), key=lambda e: natural(e.name))
    found = next((e for e in dense if inputs_outputs(e)[0] == count), None)
    if found is None:
        reads = f"the dense layer {dense[0].name[:80]} reads {inputs_outputs(dense[0])[0]}" if dense else "it has none"
        raise UsageError(
            f"{count} feature names were given, and no dense layer of this model reads so many numbers: {reads}. Give "
            "one name for each column that the model is fed, without the target"
        )
    return found


def _of_batch(entries: list[Entry], batch: Any) -> Entry:
    shape = batch_shape(batch)
    width = math.prod(shape[1:])
    if len(shape) < 2 or not shape[0]:
        raise UsageError(f"a batch of shape {shape} holds no examples: give (examples, …), such as rows of numbers")
    tables = [e for e in entries if e.kind == "embedding" and is_turned(e)]
    if is_whole(batch) and tables:
        return tables[0]
    dense = [e for e in entries if e.kind in DENSE and len(e.shape) == 2 and inputs_outputs(e)[0] == width]
    kernels = [e for e in entries if e.kind == "convolution" and _reads(e, shape)]
    found = [e for e in entries if e in dense or e in kernels]
    if not found:
        raise UsageError(
            f"a batch of shape {shape} fits no layer of this model: no dense layer reads {width} numbers, no "
            "convolution such images. Give the inputs of one layer, one example a row"
        )
    return found[0]


def _reads(entry: Entry, shape: tuple[int, ...]) -> bool:
    settings = entry.part.settings if isinstance(entry.part, ConvolutionPart) else None
    groups = int((settings or {}).get("groups", 1))
    return groups == 1 and len(shape) == len(entry.shape) and shape[1] == entry.shape[1]


def inputs_outputs(entry: Entry) -> tuple[int, int]:
    """How many numbers a dense layer reads and writes."""
    rows, columns = entry.shape
    return (rows, columns) if is_turned(entry) else (columns, rows)


def natural(name: str) -> tuple[tuple[int, str], ...]:
    """A key that sorts `layer.2` before `layer.10`."""
    parts = re.split(r"(\d{1,18})", name)
    return tuple((int(p), "") if i % 2 else (-1, p) for i, p in enumerate(parts))
