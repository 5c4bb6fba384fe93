"""Weights that a module computes from other tensors: entries are planned over them and built from their sources."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from opnorm.layers.plan import Also, Arrays, Build, Entry


@dataclass(frozen=True, slots=True)
class Computed:
    """A computed weight: the names of what it is made of, and the making, which touches no module."""

    sources: tuple[str, ...]
    make: Callable[[], Any]


def resolved(entry: Entry, computed: Mapping[str, Computed]) -> Entry:
    """The entry over stored tensors, where it was over computed ones; these are made each time it is built."""
    made = {name: computed[name].make for name in entry.tensors if name in computed}
    if not made:
        return entry
    names = [s for name in entry.tensors for s in (computed[name].sources if name in made else (name,))]
    build = entry.build and _built(entry.build, made)
    further = tuple(_further(also, made) for also in entry.also)
    return replace(entry, tensors=tuple(dict.fromkeys(names)), build=build, part=None, also=further)


def _built(build: Build, made: Mapping[str, Callable[[], Any]]) -> Build:
    return lambda arrays: build(_whole(arrays, made))


def _further(also: Also, made: Mapping[str, Callable[[], Any]]) -> Also:
    return replace(also, find=lambda arrays, request: also.find(_whole(arrays, made), request))


def _whole(arrays: Arrays, made: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
    return {**arrays, **{name: make() for name, make in made.items()}}
