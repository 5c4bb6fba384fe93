"""RNN, LSTM and GRU by PyTorch's parameter names; which of them, by how many hidden sides are stacked."""

from __future__ import annotations

import re

from opnorm.layers.plan import Entry, Layer
from opnorm.layers.recurrent import recurrent
from opnorm.readers.checkpoint import Tensor
from opnorm.readers.families.book import Book, is_weight

_ROLE = re.compile(r"^(?:(?P<path>.*)\.)?(?P<role>(?:weight|bias)_(?:ih|hh|hr)(?:_l\d{1,4}(?:_reverse)?)?)$")
_CELLS = {1: "rnn", 3: "gru", 4: "lstm"}


def recurrent_cells(book: Book) -> list[Layer]:
    """A layer for each recurrent module."""
    modules: dict[str, dict[str, Tensor]] = {}
    for tensor in book.rest():
        match = _ROLE.match(tensor.name)
        if match is not None and is_weight(tensor):
            modules.setdefault(match["path"] or "", {})[match["role"]] = tensor
    return [layer for path, roles in modules.items() if (layer := _layer(book, path, roles)) is not None]


def _layer(book: Book, path: str, roles: dict[str, Tensor]) -> Layer | None:
    cell = cell_of({role: t.shape for role, t in roles.items()})
    if not cell:
        return None
    known: dict[str, list[Entry]] = {t.name: [] for t in roles.values()}
    derived: list[Entry] = []
    for role, tensor in roles.items():
        for entry in recurrent(path, cell, {role: tensor.name}, {role: tensor.shape}, tensor.dtype):
            (derived if entry.derived else known[tensor.name]).append(entry)
    return book.layer(path, known, derived, list(roles.values()))


def cell_of(shapes: dict[str, tuple[int, ...]]) -> str:
    """'rnn', 'lstm' or 'gru'; '' where the shapes are not those of one such cell throughout."""
    gates: set[int] = set()
    for role, shape in shapes.items():
        if not role.startswith("weight_hh"):
            continue
        projection = shapes.get(role.replace("_hh", "_hr"))
        inputs = shapes.get(role.replace("_hh", "_ih"))
        hidden = projection[1] if projection is not None and len(projection) == 2 else shape[-1]
        if len(shape) != 2 or inputs is None or len(inputs) != 2 or inputs[0] != shape[0] or not hidden:
            return ""
        gates.add(0 if shape[0] % hidden else shape[0] // hidden)
    return _CELLS.get(gates.pop(), "") if len(gates) == 1 else ""
