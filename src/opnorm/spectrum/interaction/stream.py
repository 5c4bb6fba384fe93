"""The edges of a transformer: inside its blocks, and from one to the next through the residual stream.

Inside: values to output, up (and gate) to down. Through the stream: each writer to what reads next, that is attention
to the feed-forward layer of its block, that to the next block's queries, keys and values, embeddings to the first
block, the last one to the output head; where both halves of a block read at once (GPT-NeoX, Phi), both to the next
block. The stream carries the sum of all writers; a link is one term of it. A normalization on the way is folded into
the reader, but for its division by the spread of the token, which turns no direction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby, pairwise

from opnorm.layers.folding import folded_scale
from opnorm.layers.plan import Entry
from opnorm.readers.checkpoint import Tensor
from opnorm.spectrum.directions.places import inputs_outputs
from opnorm.spectrum.interaction.blocks import Block
from opnorm.spectrum.interaction.edges import Edge, Reader, Rows, acting, edge, read_edge

STREAM = "residual stream"
ATTENDED = "attention weights"

_TABLES = (
    *("embed_tokens.weight", "wte.weight", "wpe.weight", "embed_in.weight"),
    *("embeddings.word_embeddings.weight", "embeddings.position_embeddings.weight"),
)
_HEADS = ("lm_head.weight", "embed_out.weight")
_LAST = ("norm", "ln_f", "final_layer_norm", "final_layernorm")
_SCALED = "√hidden_size"
_TIED = "also the output head"


def stream_edges(rows: Rows, blocks: Sequence[Block], tensors: Mapping[str, Tensor]) -> Iterator[Edge]:
    """All edges of all stacks of blocks."""
    head = _head(rows)
    for _, stack in groupby(sorted(blocks, key=lambda b: (b.template, b.number)), key=lambda b: b.template):
        members = list(stack)
        if members[0].number == 0:
            yield from _entering(rows, members[0])
        for block, following in pairwise([*members, None]):
            assert block is not None
            yield from _inside(block)
            if following is not None and following.number == block.number + 1:
                yield from _between(block, following)
        if head is not None:
            yield from _leaving(head, members, tensors)


def _inside(block: Block) -> Iterator[Edge]:
    if block.v is not None and block.o is not None:
        values = _values(block, block.v, block.o)
        if values is not None:
            yield values
    if block.down is not None:
        gated = len(block.ups) == 2
        words = (f"{block.activation}, times up", f"times {block.activation} of gate") if gated else (block.activation,)
        for up, said in zip(block.ups, words, strict=True):
            yield edge(up, block.down, said)
    if block.parallel is False and block.o is not None:
        yield from (_through(block.o, reader) for reader in block.reads_forward)


def _between(block: Block, following: Block) -> Iterator[Edge]:
    if block.parallel is None:
        return
    writers = (block.o, block.down) if block.parallel else (block.down,)
    readers = following.reads_attention + (following.reads_forward if following.parallel else ())
    for writer in writers:
        if writer is not None:
            yield from (_through(writer, reader) for reader in readers)


def _values(block: Block, v: Entry, o: Entry) -> Edge | None:
    """One position's values to its own output, as if it attended to one position alone."""
    first, second = acting(v), acting(o)
    written, read = inputs_outputs(v)[1], inputs_outputs(o)[0]
    if written == read:
        return Edge(first, second, v.name, o.name, ATTENDED)
    if not block.heads or read % block.heads or written % (read // block.heads) or read % written:
        return None
    group = read // written
    shared = replace(first, repeats=group, head_size=read // block.heads)
    return Edge(shared, second, v.name, o.name, f"{ATTENDED}, each value shared by {group} heads")


def _through(writer: Entry, reader: Reader) -> Edge:
    return read_edge(writer, reader, f"{STREAM}, {reader.words}")


def _entering(rows: Rows, block: Block) -> Iterator[Edge]:
    """Embeddings to the first block, unless rows are scaled on the way, or something unknown stands between."""
    if _plus_one(block):  # Gemma, which multiplies what it looks up
        return
    readers = block.reads_attention + (block.reads_forward if block.parallel else ())
    plain = [r for r in readers if r.scale.startswith(f"{block.path}.") or "embeddings." in r.scale]
    for root in _roots(block.template):
        tables = [t for name in _TABLES if (t := rows.weight(f"{root}{name}")) is not None]
        for table in tables:
            if _SCALED not in table.reason and table.kind == "embedding":
                yield from (_through(table, r) for r in plain if inputs_outputs(r.entry)[0] == table.shape[-1])
        if tables:
            return


def _roots(template: str) -> Iterator[str]:
    """Where embeddings and last normalizations of a stack may stand: `model.` and `` for `model.layers.*.…`."""
    parts = template.partition("*")[0].rstrip(".").split(".")
    for end in range(len(parts) - 1, -1, -1):
        yield "".join(f"{p}." for p in parts[:end])


def _leaving(head: Entry, members: Sequence[Block], tensors: Mapping[str, Tensor]) -> Iterator[Edge]:
    last = members[-1]
    norms = (f"{root}{name}" for root in _roots(last.template) for name in _LAST)
    norm = next((n for n in norms if _is_vector(tensors, f"{n}.weight")), None)
    if norm is None or last.down is None or not last.reads_attention or _plus_one(last):
        return
    entry = folded_scale(head, f"{norm}.weight", centered=f"{norm}.bias" in tensors, label=norm.rpartition(".")[2])
    reader = Reader(head, entry, f"{norm}.weight")
    if tensors[f"{norm}.weight"].shape == head.shape[-1:]:
        for writer in (last.o, last.down) if last.parallel else (last.down,):
            if writer is not None:
                yield _through(writer, reader)


def _plus_one(block: Block) -> bool:
    return any(r.plus_one for r in block.reads_attention)


def _head(rows: Rows) -> Entry | None:
    """The output head: a matrix of its own, or the table of embeddings."""
    named = [rows.by_name[name] for name in _HEADS if name in rows.by_name]
    found = [e for entry in named if (e := rows.weight(entry.same_as or entry.name)) is not None]
    return found[0] if found else _tied(rows)


def _tied(rows: Rows) -> Entry | None:
    found = [e for e in rows.by_name.values() if e.kind == "embedding" and _TIED in e.reason]
    return found[0] if len(found) == 1 and _SCALED not in found[0].reason else None


def _is_vector(tensors: Mapping[str, Tensor], name: str) -> bool:
    return name in tensors and len(tensors[name].shape) == 1
