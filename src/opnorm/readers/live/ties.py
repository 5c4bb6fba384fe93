"""Tensors that several modules share: the first has the row, the others point to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from opnorm.layers.plan import Entry, Layer


def tied(layers: list[Layer], first: Mapping[str, str], makers: Mapping[str, object]) -> list[Layer]:
    """Layers whose entries over tied tensors repeat an earlier row, where that is of the same operator.

    first: the name of a tied tensor → the name of the one before it with the same memory. makers: the name of a row →
    what computes its weight from that memory, None where it is as stored. A tied tensor that acts otherwise (a
    convolution with another stride, a parametrization of its own) keeps a row of its own.
    """
    seen: dict[object, str] = {}
    return [
        replace(layer, entries=tuple(_entry(e, first, makers.get(e.name), seen) for e in layer.entries))
        for layer in layers
    ]


def _entry(entry: Entry, first: Mapping[str, str], maker: object, seen: dict[object, str]) -> Entry:
    original = seen.setdefault((_acts(entry, first), maker), entry.name)
    shared = [name for name in entry.tensors if name in first]
    if not shared or entry.status == "refused":
        return entry
    if original == entry.name:
        reason = f"the memory of {first[shared[0]]}, used by another operator"
        return replace(entry, reason="; ".join(p for p in (entry.reason, reason) if p))
    reason = f"tied: the same tensor as {original}, counted once"
    return replace(entry, status="not_a_map", reason=reason, same_as=original, build=None, also=())


def _acts(entry: Entry, first: Mapping[str, str]) -> object:
    """Equal for entries of the same operator over the same memory; a table of embeddings is a matrix too."""
    tensors = tuple(first.get(name, name) for name in entry.tensors)
    suffix = entry.name[entry.name.find("[") :] if "[" in entry.name else ""
    return tensors, entry.operator.replace("embedding", "dense"), suffix, entry.status
