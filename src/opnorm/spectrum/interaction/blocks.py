"""The blocks of a transformer, as its plan gives them away: which rows are its q, k, v, output, and feed-forward.

Attention is known where the rules gave it circuits (a configuration or a live module said so), or where the names
alone leave no doubt (`Split.sure`). Only then do the names beside it count: a feed-forward layer is taken for one
where it has the family's own names. What a block reads from the residual stream is what the rules folded a
normalization into; a row that none is folded into reads what is not known, and has no link.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from opnorm.layers.modules import qualified
from opnorm.layers.plan import Entry
from opnorm.readers.config import Config, flag, model_type, word
from opnorm.readers.families.attention import FAMILIES, Split
from opnorm.spectrum.directions.places import natural
from opnorm.spectrum.interaction.edges import Reader, Rows

CIRCUIT = re.compile(r"(?P<path>.*)\[(?P<kind>qk|ov) head (?P<head>\d{1,6})\]", re.DOTALL)
TORCH = "torch.nn.modules.transformer."

_FORWARD = (
    (("intermediate.dense.weight",), "output.dense.weight"),
    (("ffn.lin1.weight",), "ffn.lin2.weight"),
    (("mlp.gate_proj.weight", "mlp.up_proj.weight"), "mlp.down_proj.weight"),
    (("mlp.gate_up_proj.weight[gate]", "mlp.gate_up_proj.weight[up]"), "mlp.down_proj.weight"),
    (("mlp.c_fc.weight",), "mlp.c_proj.weight"),
    (("mlp.fc1.weight",), "mlp.fc2.weight"),
    (("mlp.dense_h_to_4h.weight",), "mlp.dense_4h_to_h.weight"),
)
"""What reads and what writes in the feed-forward layer of the families, below a block."""

_TORCH_FORWARD = (("linear1.weight",), "linear2.weight")
_ACTIVATIONS = {"gelu": "GELU", "gelu_new": "GELU", "gelu_pytorch_tanh": "GELU", "relu": "ReLU", "silu": "SiLU"}


@dataclass(frozen=True, slots=True)
class Block:
    """One block. template: its path with * for its number, equal in all blocks of one stack.

    attention: the path of its circuits. o, v: rows, None where not known. heads: 0 where not known. ups: the rows that
    begin its feed-forward layer, down the one that ends it. reads_attention, reads_forward: the same rows with their
    normalization. parallel: both read the stream before either writes; None where that is not known.
    """

    path: str
    template: str
    number: int
    attention: str
    q: Entry | None = None
    k: Entry | None = None
    v: Entry | None = None
    o: Entry | None = None
    heads: int = 0
    ups: tuple[Entry, ...] = ()
    down: Entry | None = None
    activation: str = ""
    reads_attention: tuple[Reader, ...] = ()
    reads_forward: tuple[Reader, ...] = ()
    parallel: bool | None = False
    circuits: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)


def blocks_of(rows: Rows, config: Config | None, modules: Mapping[str, Any]) -> list[Block]:
    """In natural order of their paths. modules: of a live model, by path; empty for a file."""
    named = () if modules else _by_name(rows, config)  # a live model's code may differ from what names promise
    found = [_block(rows, config, modules, *parts) for parts in (*_with_circuits(rows), *named)]
    first: dict[str, Block] = {}
    for block in found:
        first.setdefault(f"{block.path}\0{block.o.name if block.o else block.attention}", block)
    return sorted(first.values(), key=lambda b: natural(b.attention))


Parts = tuple[str, dict[str, Entry | None], Mapping[str, tuple[Entry, ...]]]


def _with_circuits(rows: Rows) -> Iterator[Parts]:
    circuits: dict[str, dict[str, list[Entry]]] = {}
    for name, entry in rows.by_name.items():
        match = CIRCUIT.fullmatch(name) if entry.kind.endswith("circuit") and entry.status == "weight" else None
        if match is not None:
            circuits.setdefault(match["path"], {}).setdefault(match["kind"], []).append(entry)
    for path, kinds in circuits.items():
        moves, scores = kinds.get("ov", []), kinds.get("qk", [])
        named: dict[str, Entry | None] = dict.fromkeys("qkvo")
        if moves:
            named["o"], named["v"] = _part(rows, moves[0], 0, "o"), _part(rows, moves[0], -1, "v")
        if scores:
            named["q"], named["k"] = _part(rows, scores[0], 0, "q"), _part(rows, scores[0], -1, "k")
        elif moves:
            named["q"], named["k"] = (_beside(rows, moves[0], part) for part in "qk")
        yield path, named, {kind: tuple(entries) for kind, entries in kinds.items()}


def _part(rows: Rows, circuit: Entry, position: int, letter: str) -> Entry | None:
    tensor = circuit.tensors[position]
    return rows.weight(f"{tensor}[{letter}]") or rows.weight(tensor)


def _beside(rows: Rows, circuit: Entry, letter: str) -> Entry | None:
    """The query or key of a fused tensor, or beside `v_proj`, where there is no score circuit."""
    value = circuit.tensors[-1]
    return rows.weight(f"{value}[{letter}]") or rows.weight(value.replace(".v_proj.", f".{letter}_proj."))


def _by_name(rows: Rows, config: Config | None) -> Iterator[Parts]:
    for family in FAMILIES:
        if family.sure and (not model_type(config) or model_type(config) in family.types):
            yield from _of_family(rows, family)


def _of_family(rows: Rows, family: Split) -> Iterator[Parts]:
    ending = f".{family.attention}.{family.v}.weight"
    for name in [n for n in rows.by_name if n.endswith(ending)]:
        path = f"{name.removesuffix(ending)}.{family.attention}"
        parts = zip("qkvo", (family.q, family.k, family.v, family.o), strict=True)
        yield path, {letter: rows.weight(f"{path}.{part}.weight") for letter, part in parts}, {}


def _block(
    rows: Rows,
    config: Config | None,
    modules: Mapping[str, Any],
    attention: str,
    named: Mapping[str, Entry | None],
    circuits: Mapping[str, tuple[Entry, ...]],
) -> Block:
    path, template, number = _numbered(attention)
    q, k, v, o = (named[letter] for letter in "qkvo")
    ups, down = _forward(rows, path, v, modules)
    reads_attention = tuple(rows.readers[e.name] for e in (q, k, v) if e is not None and e.name in rows.readers)
    reads_forward = tuple(rows.readers[e.name] for e in ups if e.name in rows.readers)
    shared = {r.scale for r in reads_attention} & {r.scale for r in reads_forward}
    parallel = True if shared else _parallel(config, ups)
    return Block(
        path, template, number, attention, q, k, v, o, len(circuits.get("ov", ())), ups, down, activation(config),
        reads_attention, reads_forward, parallel, circuits,
    )  # fmt: skip


def _numbered(attention: str) -> tuple[str, str, int]:
    """Block, template and number of `encoder.layer.3.attention`; the whole path is a block where there is no number."""
    parts = attention.split(".")
    places = [i for i, part in enumerate(parts) if part.isascii() and part.isdigit() and len(part) < 7]
    if not places:
        return attention.rpartition(".")[0], attention, 0
    last = places[-1]
    template = ".".join("*" if i == last else part for i, part in enumerate(parts))
    return ".".join(parts[: last + 1]), template, int(parts[last])


def _forward(
    rows: Rows, block: str, v: Entry | None, modules: Mapping[str, Any]
) -> tuple[tuple[Entry, ...], Entry | None]:
    """The feed-forward layer, where the block is of a family or of torch's own class."""
    own = v is not None and v.tensors[0].endswith(("in_proj_weight", "v_proj_weight"))
    if own and not qualified(type(modules.get(block))).startswith(TORCH):
        return (), None
    for names, last in (_TORCH_FORWARD,) if own else _FORWARD:
        ups = [e for name in names if (e := rows.weight(f"{block}.{name}")) is not None]
        down = rows.weight(f"{block}.{last}")
        if len(ups) == len(names) and down is not None:
            return tuple(ups), down
    return (), None


def _parallel(config: Config | None, ups: tuple[Entry, ...]) -> bool | None:
    """GPT-NeoX decides it by its configuration; the other families are sequential, or show it by a shared norm."""
    if not any("dense_h_to_4h" in e.name for e in ups):
        return False
    return flag(config, "use_parallel_residual", default=True) if model_type(config) == "gpt_neox" else None


def activation(config: Config | None) -> str:
    """The activation that a configuration names."""
    keys = ("hidden_act", "activation_function", "hidden_activation", "activation")
    name = next((w for key in keys if (w := word(config, key))), "")
    return _ACTIVATIONS.get(name.lower(), name[:40]) or "activation"
