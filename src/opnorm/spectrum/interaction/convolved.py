"""The edges inside the blocks of convolutional families read from files: ResNets and MobileNetV2.

In a file, a convolution has a row with its BatchNorm folded in only where the rules knew the whole architecture
(`opnorm.readers.families.resnet`, `mobilenet`); inside one block, such rows follow one another, an activation between.
What enters a block has passed an addition or a pooling, and is not linked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from opnorm.layers.plan import Entry
from opnorm.readers.config import Config, model_type
from opnorm.spectrum.directions.places import natural
from opnorm.spectrum.interaction.blocks import activation
from opnorm.spectrum.interaction.edges import Edge, Rows, acting
from opnorm.spectrum.interaction.operators import Acting

FOLDED = "convolution with batch norm"
_BLOCKS = (
    (re.compile(r"(?P<block>.*(^|\.)layer[1-4]\.\d+)\.conv[123]\.weight"), "ReLU"),
    (re.compile(r"(?P<block>.*(^|\.)encoder\.stages\.\d+\.layers\.\d+)\.layer\.\d\.convolution\.weight"), ""),
    (re.compile(r"(?P<block>.*(^|\.)features\.\d+\.conv)\.\d(\.0)?\.weight"), "ReLU6"),
)
"""Names of a block's convolutions, and the activation between; of Hugging Face's, the configuration names it."""


def convolved_edges(rows: Rows, config: Config | None) -> Iterator[Edge]:
    """Between the convolutions of each block, in their order."""
    blocks: dict[tuple[str, str], list[tuple[Entry, Entry]]] = {}
    for folded in rows.by_name.values():
        plain = rows.weight(folded.tensors[0]) if folded.derived and folded.kind == FOLDED else None
        for pattern, between in _BLOCKS if plain is not None else ():
            if (match := pattern.fullmatch(folded.tensors[0])) is not None and plain is not None:
                blocks.setdefault((match["block"], between), []).append((plain, folded))
    for (_, between), members in blocks.items():
        said = between or (activation(config) if model_type(config) == "resnet" else "activation")
        ordered = sorted(members, key=lambda pair: natural(pair[0].name))
        for (first, folded), (second, _) in pairwise(ordered):
            yield Edge(Acting(folded), acting(second), first.name, second.name, f"BatchNorm, {said}")
