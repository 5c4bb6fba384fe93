"""Which rows of a checkpoint are meant: patterns of row names, tensor names and the paths above them."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterable, Iterator

from opnorm.errors import UsageError
from opnorm.layers.plan import Entry, Layer

_SHOWN = 4


def chosen(layers: Iterable[Layer], only: tuple[str, ...], skip: tuple[str, ...]) -> list[Layer]:
    """The layers with the rows to be held: weights, or what was refused, that are not made of other rows.

    A stack of gates is held gate by gate. `UsageError` for a pattern that matches no row, with the nearest names.
    """
    layers = list(layers)
    rows = [entry for layer in layers for entry in layer.entries if _may_be_meant(entry)]
    for pattern in (*only, *skip):
        if not any(_matches(entry, pattern) for entry in rows):
            others = [e for layer in layers for e in layer.entries if not e.derived and _matches(e, pattern)]
            raise UsageError(f"no weight matches {pattern!r}; {_no_maps(others) or _nearest(pattern, rows)}")
    found = []
    for layer in layers:
        entries = tuple(e for e in layer.entries if _may_be_meant(e) and _wanted(e, only, skip))
        if entries:
            found.append(Layer(layer.path, entries))
    if not found:
        raise UsageError("there is no weight to hold in what was given, but for those left out by --skip")
    return found


def _may_be_meant(entry: Entry) -> bool:
    return not entry.derived and entry.status in ("weight", "refused")


def _wanted(entry: Entry, only: tuple[str, ...], skip: tuple[str, ...]) -> bool:
    return (not only or any(_matches(entry, p) for p in only)) and not any(_matches(entry, p) for p in skip)


def _matches(entry: Entry, pattern: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for name in _names(entry))


def _names(entry: Entry) -> Iterator[str]:
    for name in (entry.name, *entry.tensors):
        yield name
        while "." in name:
            name = name.rpartition(".")[0]
            yield name


def _no_maps(others: list[Entry]) -> str:
    if not others:
        return ""
    shown = ", ".join(f"{e.name} ({e.reason or e.kind})" for e in others[:_SHOWN])
    return f"it matches only what is no linear map: {shown}{' …' if len(others) > _SHOWN else ''}"


def _nearest(pattern: str, rows: list[Entry]) -> str:
    names = dict.fromkeys(name for entry in rows for name in _names(entry))
    parts = dict.fromkeys(part for name in names for part in name.split("."))
    near = difflib.get_close_matches(pattern.strip("*"), [*names, *parts], _SHOWN, 0.5)
    if near:
        return f"the nearest names: {', '.join(near)}"
    return f"there are {len(rows)}, such as {', '.join(e.name for e in rows[:_SHOWN])}" if rows else "there is none"
