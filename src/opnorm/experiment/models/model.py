"""What a built-in model is: a name, what it takes, and how it is built. No framework is needed to read this.

None has BatchNorm: at evaluation it divides each channel by a running deviation, which undoes whatever norm the layer
before was given, and its statistics depend on the order of batches, so that arms would differ in more than their
technique. Hidden activations are modules, so that dropout can follow them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class Inputs(StrEnum):
    """What one example is."""

    TABLE = "table"
    SERIES = "series"
    IMAGE = "image"
    TOKENS = "tokens"


@dataclass(frozen=True, slots=True)
class Shape:
    """inputs: of one example, without batch. outputs: classes or characters, 1 for numbers. values: of no class."""

    inputs: tuple[int, ...]
    outputs: int
    values: bool = False


@dataclass(frozen=True, slots=True)
class Model:
    """depth: hidden layers or blocks, doubled under 'deep', 0 where there is none. build: of a shape and a depth."""

    name: str
    title: str
    takes: frozenset[Inputs]
    depth: int
    build: Callable[[Shape, int], torch.nn.Module]
