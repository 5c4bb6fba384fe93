"""How layers feed one another: alignment, gains of pairs, attention circuits, composition of heads.

The way: a checkpoint's plan → its blocks (`blocks`), or a live model's sequences (`sequence`) → edges between rows
(`stream`, `edges`) → each edge's operators, read once more (`operators`) → links (`links`); circuits of heads →
`circuits`, `composition`. Only what is known to feed what is linked: sizes that fit are no proof. Layers are read one
pair at a time; what stays in memory are `TOP` directions of each, and thin factors of attention.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from opnorm.errors import OpnormError, UndefinedNorm
from opnorm.layers.modules import qualified
from opnorm.layers.vectors import numbers
from opnorm.linalg.rounding import Float64
from opnorm.readers.checkpoint import Checkpoint
from opnorm.readers.config import Config
from opnorm.spectrum.directions.places import is_turned
from opnorm.spectrum.interaction.blocks import Block, blocks_of
from opnorm.spectrum.interaction.circuits import Circuits, circuits_of, heads_of
from opnorm.spectrum.interaction.composition import Compositions, Fold, window_for
from opnorm.spectrum.interaction.convolved import convolved_edges
from opnorm.spectrum.interaction.document import Composition, Head, Interaction, Link
from opnorm.spectrum.interaction.edges import Edge, Rows, rows_of
from opnorm.spectrum.interaction.links import Norms, link_of
from opnorm.spectrum.interaction.operators import Operators
from opnorm.spectrum.interaction.order import order_of
from opnorm.spectrum.interaction.sequence import sequence_edges
from opnorm.spectrum.interaction.stream import stream_edges

__all__ = ["Interaction", "interaction_of"]

UNKNOWN = (
    "which layers feed one another is not known: names and sizes are no proof of it; give the config.json of a known "
    "family beside the weights, or measure the live model"
)
UNKNOWN_LIVE = (
    "which layers feed one another is not known: of a live model that is told inside an nn.Sequential, inside "
    "attention, and with an input shape where the output of one module is all that another reads"
)
MOST_LINKS = 2000
TRANSFORMERS = "transformers.models."


def interaction_of(checkpoint: Checkpoint, norms: Norms, select: Callable[[str], bool]) -> Interaction:
    """Links, heads and compositions of a checkpoint. norms: of its measured rows. select: rows that are wanted.

    A live model's sequences are known where the checkpoint holds the model. What cannot be read, or is undefined, is
    left out with a note. Evidence: see `links`, `circuits` and `composition`.
    """
    rows = rows_of(checkpoint.plan)
    modules = _modules(checkpoint)
    config = _config(checkpoint)
    blocks = blocks_of(rows, config, modules)
    tensors = {t.name: t for t in checkpoint.tensors}
    edges = [*stream_edges(rows, blocks, tensors)]
    if modules:
        feeds = getattr(getattr(checkpoint, "calls", None), "feeds", {})
        edges += sequence_edges(rows, checkpoint.plan, modules, feeds)
    else:
        edges += convolved_edges(rows, config)
    edges = list({(e.first_name, e.second_name): e for e in edges}.values())
    wanted = [e for e in edges if select(e.first_name) and select(e.second_name)]
    operators = Operators(checkpoint)
    links, notes = _links(wanted, operators, norms)
    heads, compositions, more = _attention(blocks, operators, norms, select)
    pairs = [(e.first_name, e.second_name) for e in edges if not _returns(rows, e)]
    order = tuple(name for name in order_of(pairs, blocks) if select(name))
    nothing = () if edges or blocks else (UNKNOWN_LIVE if modules else UNKNOWN,)
    return Interaction(order, links, heads, compositions, (*nothing, *notes, *more))


def _returns(rows: Rows, edge: Edge) -> bool:
    """Whether an edge ends in a table that is the output head too: it stands first in the order."""
    return is_turned(rows.by_name[edge.second_name]) and rows.by_name[edge.second_name].kind == "embedding"


def _modules(checkpoint: Checkpoint) -> Mapping[str, Any]:
    model = getattr(checkpoint, "model", None)
    return {} if model is None else dict(model.named_modules(remove_duplicate=False))


def _config(checkpoint: Checkpoint) -> Config | None:
    """A file's, or that of a live model of `transformers`' own classes."""
    model = getattr(checkpoint, "model", None)
    if model is None or not qualified(type(model)).startswith(TRANSFORMERS):
        return checkpoint.config
    found = model.config.to_dict()
    return found if isinstance(found, dict) else None


def _links(edges: list[Edge], operators: Operators, norms: Norms) -> tuple[tuple[Link, ...], list[str]]:
    found: list[Link] = []
    problems: Counter[str] = Counter()
    for edge in edges[:MOST_LINKS]:
        link = link_of(edge, operators, norms)
        if isinstance(link, Link):
            found.append(link)
        else:
            problems[link] += 1
    notes = [f"{count} of {len(edges)} pairs were left out: {why}" for why, count in problems.items()]
    if len(edges) > MOST_LINKS:
        notes.append(f"{len(edges) - MOST_LINKS} of {len(edges)} pairs were left out: {MOST_LINKS} are measured")
    return tuple(found), notes


def _attention(
    blocks: list[Block], operators: Operators, norms: Norms, select: Callable[[str], bool]
) -> tuple[tuple[Head, ...], tuple[Composition, ...], list[str]]:
    """Heads of all blocks, numbered within their stack, and the compositions of each stack."""
    heads: list[Head] = []
    compositions: list[Composition] = []
    notes: list[str] = []
    stacks: dict[str, list[Block]] = {}
    for block in blocks:
        if block.circuits:
            stacks.setdefault(block.template, []).append(block)
    for stack in stacks.values():
        pairs = _window(stack)
        found = Compositions(_width(stack[0]), pairs)
        for number, block in enumerate(stack):
            try:
                circuits, fold = _read(block, operators, select)
            except OpnormError as error:
                notes.append(f"the heads of {block.path} were left out: {str(error)[:200]}")
                continue
            heads += heads_of(number, circuits, block, norms)
            found.add(circuits, fold)
        compositions += found.strongest()
        if pairs < len(stack) - 1:
            notes.append(
                f"heads of blocks more than {pairs} apart were not compared: {len(stack)} blocks of this size would "
                "take too long"
            )
    return tuple(heads), tuple(sorted(compositions, key=lambda c: -c.score)[:200]), notes


def _width(block: Block) -> int:
    entry = next(e for entries in block.circuits.values() for e in entries)
    return entry.shape[0] if entry.shape else 1


def _window(stack: list[Block]) -> int:
    block = stack[0]
    if not block.heads or block.o is None or _width(block) < 2:
        return 0
    inner = block.o.shape[0] * block.o.shape[1] // _width(block)
    return window_for(len(stack), block.heads, inner // block.heads, _width(block))


def _read(block: Block, operators: Operators, select: Callable[[str], bool]) -> tuple[Circuits, Fold]:
    entries = [e for found in block.circuits.values() for e in found if select(e.name)]
    arrays = operators.arrays(tuple(t for e in entries for t in e.tensors))
    return circuits_of(block, arrays, (e.name for e in entries)), _fold(block, operators)


def _fold(block: Block, operators: Operators) -> Fold:
    """Times γ, and centered, as the rules fold the normalization before a block's attention; else as it is."""
    if not block.reads_attention:
        return lambda matrix: matrix
    reader = block.reads_attention[0]
    scale = numbers(operators.arrays((reader.scale,))[reader.scale]) + (1.0 if reader.plus_one else 0.0)
    if not np.isfinite(scale).all():
        raise UndefinedNorm(int(np.isnan(scale).sum()), int(np.isinf(scale).sum()))

    def fold(matrix: Float64) -> Float64:
        scaled = matrix * scale
        return scaled - scaled.mean(axis=1, keepdims=True) if reader.centered else np.asarray(scaled)

    return fold
