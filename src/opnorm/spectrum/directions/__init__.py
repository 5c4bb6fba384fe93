"""The top singular directions of a layer, in the user's own terms.

What excites a layer most (its input side) and what it then writes (its output side), for the k largest singular
values: as tokens, features, pictures or numbered units, whichever is known. The way: `Labels` (what the user gave)
→ `places` (which rows it belongs to) → `triplets` (the singular vectors, estimates) → `terms` and `filters`.

A direction has no sign of its own: v and −v are the same. Both sides of one singular value are turned together, so
that the heavier half is positive on the side with names, or where none has, on the side that fewer coordinates carry.
Cost: `triplets`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from opnorm.errors import UndefinedNorm
from opnorm.frameworks import aslinearoperator
from opnorm.layers.plan import Arrays, ConvolutionPart, Entry
from opnorm.linalg.operator import LinearOperator
from opnorm.linalg.rounding import Float64
from opnorm.spectrum.directions import examples, filters
from opnorm.spectrum.directions.labels import Labels
from opnorm.spectrum.directions.places import CONVOLVED, Place, is_turned
from opnorm.spectrum.directions.terms import (
    LABELED,
    PLAIN,
    Namer,
    concentrations,
    heavier_signs,
    numbered,
    shortened,
    terms,
)
from opnorm.spectrum.directions.triplets import Triplets, top_triplets
from opnorm.spectrum.document import Direction

__all__ = ["Labels", "directions_of"]

UNSETTLED = "not settled: its singular value lies too close to another for one direction to be told"
_NOT_DIRECTED = ("batch norm", "scale")


def directions_of(entry: Entry, arrays: Arrays, labels: Labels, k: int = 3) -> tuple[Direction, ...]:
    """The k top directions of a row, each on both sides; none for what is derived, no map, undefined or a diagonal.

    arrays: the entry's tensors. labels: `Labels.placed` for a whole model. Raises `UsageError` for labels that do not
    fit. Evidence: estimates.
    """
    if entry.status != "weight" or entry.build is None or entry.derived or entry.kind in _NOT_DIRECTED:
        return ()
    place = labels.place(entry)
    try:
        if entry.kind in CONVOLVED and isinstance(entry.part, ConvolutionPart):
            return _of_kernel(entry.part, arrays, labels, place, k)
        operator = aslinearoperator(entry.build(arrays))
        return _of_matrix(entry, operator, labels, place, k)
    except UndefinedNorm:
        return ()


def _of_matrix(entry: Entry, operator: LinearOperator, labels: Labels, place: Place, k: int) -> tuple[Direction, ...]:
    stored = top_triplets(operator, k)
    turned = is_turned(entry)
    found = stored.T if turned else stored  # left: what is written, right: what excites
    found = found.flipped(_signs(found, place, turned=turned))
    directions: list[Direction] = []
    for rank in range(len(found.values)):
        directions += [_side(found, rank, side, labels, place, turned=turned) for side in ("input", "output")]
    if place.batch:
        by_tokens = entry.kind == "embedding" and examples.is_whole(labels.batch)
        excited = (examples.of_tokens if by_tokens else examples.of_rows)(labels.batch, found.right)
        directions += _excited(excited, found)
    return tuple(directions)


def _signs(found: Triplets, place: Place, *, turned: bool) -> Float64:
    """By the side with names, else for each singular value by the side that fewer coordinates carry."""
    left, right = heavier_signs(found.left), heavier_signs(found.right)
    if place.tokens:
        return right if turned else left
    inward = concentrations(found.right) >= concentrations(found.left)
    return right if place.features else np.where(inward, right, left)


def _side(found: Triplets, rank: int, side: str, labels: Labels, place: Place, *, turned: bool) -> Direction:
    vector = (found.right if side == "input" else found.left)[:, rank]
    kind, namer, note = "units", numbered(side), ""
    if place.tokens and labels.tokens is not None and side == ("input" if turned else "output"):
        kind, namer, note = "tokens", labels.tokens.label, labels.tokens.padding(len(vector))
    elif place.features and side == "input" and labels.features is not None:
        kind, namer = "features", labels.features.__getitem__
    return _direction(found, rank, side, kind, vector, namer, note)


def _direction(
    found: Triplets, rank: int, side: str, kind: str, vector: Float64, namer: Namer, note: str = ""
) -> Direction:
    positive, negative = terms(vector, namer, PLAIN if kind == "units" else LABELED)
    notes = [note, "" if found.settled[rank] else UNSETTLED]
    return Direction(
        rank,
        float(found.values[rank]),
        side,
        kind,
        positive,
        negative,
        concentration=shortened(float(concentrations(vector[:, None])[0])),
        note="; ".join(n for n in notes if n),
    )


def _excited(excitations: Float64, found: Triplets) -> list[Direction]:
    weights = examples.unit(excitations)
    return [
        _direction(found, rank, "input", "examples", weights[:, rank], numbered("example"))
        for rank in range(len(found.values))
    ]


def _of_kernel(part: ConvolutionPart, arrays: Arrays, labels: Labels, place: Place, k: int) -> tuple[Direction, ...]:
    kernel = filters.kernel_of(part, arrays)
    found = top_triplets(aslinearoperator(kernel.reshape(len(kernel), -1)), k)
    found = found.flipped(_signs(found, Place(), turned=False))
    window = kernel.shape[1:]
    directions: list[Direction] = []
    for rank in range(len(found.values)):
        directions += _pair_of_kernel(kernel, found, rank, pictured=place.pictures)
    if place.pictures and len(found.values):
        directions.append(filters.frequency_direction(kernel, (part.settings or {}).get("stride")))
    if place.batch:
        directions += _excited(examples.of_patches(labels.batch, found.right, window), found)
    return tuple(directions)


def _pair_of_kernel(kernel: Float64, found: Triplets, rank: int, *, pictured: bool) -> list[Direction]:
    """Patch and filters of one singular value."""
    window, kind = kernel.shape[1:], "filter" if pictured else "units"
    patch, answer = found.right[:, rank], found.left[:, rank]
    inward = _direction(found, rank, "input", kind, patch, filters.patch_namer(window), filters.OF_KERNEL)
    outward = _direction(found, rank, "output", kind, answer, numbered("filter"), filters.OF_KERNEL)
    if not pictured:
        return [inward, outward]
    loudest = [term.index for term in (*outward.positive[:3], *outward.negative[:3])]
    return [
        replace(inward, pictures=filters.patch_pictures(patch, window, rank)),
        replace(outward, pictures=filters.filter_pictures(kernel, loudest)),
    ]
