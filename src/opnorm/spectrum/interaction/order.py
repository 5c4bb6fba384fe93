"""Rows from input to output, as far as edges tell: writers before what reads them, else as the plan has them."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence

from opnorm.spectrum.directions.places import natural
from opnorm.spectrum.interaction.blocks import Block


def order_of(pairs: Iterable[tuple[str, str]], blocks: Sequence[Block] = ()) -> tuple[str, ...]:
    """The rows of the edges (first, second) and of blocks, first ones first; () where there are no edges.

    Where edges leave it open, natural order of names decides. Edges of a cycle (a weight that is used twice) are left.
    """
    edges = dict.fromkeys((a, b) for a, b in [*pairs, *_inside(blocks)] if a != b)
    names = sorted({name for pair in edges for name in pair}, key=natural)
    ranks = {name: rank for rank, name in enumerate(names)}
    after: dict[str, list[str]] = {name: [] for name in names}
    waiting = dict.fromkeys(names, 0)
    for first, second in edges:
        after[first].append(second)
        waiting[second] += 1
    ready = [ranks[name] for name in names if not waiting[name]]
    heapq.heapify(ready)
    found: list[str] = []
    while ready:
        name = names[heapq.heappop(ready)]
        found.append(name)
        for follower in after[name]:
            waiting[follower] -= 1
            if not waiting[follower]:
                heapq.heappush(ready, ranks[follower])
    placed = set(found)
    return (*found, *(name for name in names if name not in placed))


def _inside(blocks: Sequence[Block]) -> Iterable[tuple[str, str]]:
    """q, k and v before the output, whose scores they make; that before the feed-forward layer of its block."""
    for block in blocks:
        if block.o is not None:
            yield from ((e.name, block.o.name) for e in (block.q, block.k, block.v) if e is not None)
            if not block.parallel:
                yield from ((block.o.name, up.name) for up in block.ups)
        if block.down is not None:
            yield from ((up.name, block.down.name) for up in block.ups)
