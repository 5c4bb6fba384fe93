"""Recurrent layers: input and hidden weights apart, each gate's map alone, and the whole stack beside.

A gate computes φ(W_i x + W_h h + b). PyTorch stacks the gates' matrices on the output side, in the order input,
forget, cell, output (LSTM) and reset, update, new (GRU); an RNN has none. The stack's norm bounds all gates at once
and lies between the largest of theirs and √gates times it. No constant of the cell as a whole is given: an LSTM's
output depends on its state without bound. A projected LSTM has h = W_hr(o·tanh c), a dense row of its own.

Bidirectional layers have a second set with the suffix `_reverse`; layers are numbered `_l0`, `_l1`, ….
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from opnorm.layers.linear import linear, slices
from opnorm.layers.plan import Entry
from opnorm.layers.vectors import not_a_map, refused

GATES: dict[str, tuple[str, ...]] = {
    "rnn": (),
    "lstm": ("input", "forget", "cell", "output"),
    "gru": ("reset", "update", "new"),
}

_CELLS = {"lstm": "an LSTM", "gru": "a GRU", "rnn": "an RNN"}


def recurrent(
    path: str, cell: str, names: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]], dtype: str
) -> tuple[Entry, ...]:
    """Rows of a cell ('rnn', 'lstm', 'gru'). names: PyTorch's own parameter name, such as `weight_hh_l0_reverse`
    or `weight_ih`, to the tensor's name; shapes: the same to its shape.
    """  # fmt: skip
    return tuple(e for role, name in names.items() for e in _rows(path, cell, role, name, shapes[role], dtype))


def _rows(path: str, cell: str, role: str, name: str, shape: tuple[int, ...], dtype: str) -> tuple[Entry, ...]:
    if role.startswith("bias") or len(shape) < 2:
        return (not_a_map(name, shape, dtype, "bias" if role.startswith("bias") else "vector"),)
    if role.startswith("weight_hr"):
        return (linear(name, shape, dtype, kind="recurrent projection"),)
    kind = "recurrent hidden" if role.startswith("weight_hh") else "recurrent input"
    gates = GATES[cell]
    if not gates:
        return (linear(name, shape, dtype, kind=kind),)
    if len(shape) != 2 or shape[0] % len(gates):
        reason = (
            f"a shape of {shape} at {path[:80]!r} does not hold the {len(gates)} gates of {_CELLS[cell]}: rows must "
            f"be a multiple of {len(gates)}; check which cell these weights belong to"
        )
        return (refused(name, shape, dtype, kind, reason),)
    size = shape[0] // len(gates)
    stacked = replace(linear(name, shape, dtype, kind=kind), derived=True, reason="all gates stacked")
    return (*slices(name, shape, dtype, [(gate, size) for gate in gates], kind=kind), stacked)
