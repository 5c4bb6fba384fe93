"""Mixtures of experts stored as one tensor of three dimensions: one operator an expert, never one flattened matrix.

A token passes through few experts, each a linear map of its own, and the router chooses by a rule that is not
continuous: no norm of the mixture follows from those of its experts. Fused gates ([gate; up], stacked or interleaved)
are measured apart where the layout is known. Guarantee and cost are those of each matrix.
"""

from __future__ import annotations

from typing import Literal

from opnorm.layers.linear import dense, dense_words
from opnorm.layers.plan import Entry, Part

Fused = Literal["", "stacked", "interleaved"]
"""How gate and up share a tensor: not, one after the other, or alternating."""

_PARTS = ("gate", "up")


def experts(
    name: str,
    shape: tuple[int, ...],
    dtype: str,
    *,
    fused: Fused = "",
    transposed: bool = False,
    reason: str = "",
) -> tuple[Entry, ...]:
    """Rows `name[3]`, or `name[3 gate]` and `name[3 up]`, of a stack (experts, …, …).

    `transposed`: each expert is stored as inputs by outputs; the fused side is then the last.
    """
    axis, entries = 1 if transposed else 0, []
    for number in range(shape[0]):
        if not fused:
            part = Part(name, (number,), transposed)
            entries.append(_entry(part, str(number), shape[1:], dtype, reason))
            continue
        side = shape[1 + axis] // 2
        sides = (side, shape[2]) if axis == 0 else (shape[1], side)
        for position, word in enumerate(_PARTS):
            cut = slice(position, None, 2) if fused == "interleaved" else slice(position * side, (position + 1) * side)
            part = Part(name, (number, *(slice(None),) * axis, cut), transposed)
            entries.append(_entry(part, f"{number} {word}", sides, dtype, reason))
    return tuple(entries)


def fused_layout(gate_up: tuple[int, ...], down: tuple[int, ...]) -> bool | None:
    """Whether a fused stack is stored transposed, told by the shape of its down projection; None: both fit or none."""
    _, first, second = gate_up
    plain = first == 2 * down[2] and second == down[1]
    transposed = second == 2 * down[1] and first == down[2]
    return transposed if plain != transposed else None


def _entry(part: Part, suffix: str, shape: tuple[int, ...], dtype: str, reason: str) -> Entry:
    words = dense_words(shape, transposed=part.transposed)
    return dense(f"{part.tensor}[{suffix}]", part, "expert", words, shape, dtype, reason=reason)
