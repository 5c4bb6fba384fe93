"""Every byte of the inputs is accounted for once: the six kinds add up to the whole."""

from __future__ import annotations

from collections.abc import Iterable

KINDS = ("measured", "not_a_map", "undefined", "refused", "optimizer", "unselected")

_GRAVEST = ("refused", "undefined", "measured", "not_a_map", "optimizer", "unselected")
"""A tensor that holds several operators counts as the first of these that one of its rows is."""


class Coverage:
    """Bytes by what became of them."""

    def __init__(self) -> None:
        self._bytes = dict.fromkeys(("bytes", *KINDS), 0)

    def add(self, size: int, statuses: Iterable[str]) -> None:
        """Count `size` bytes of a tensor whose rows ended as `statuses`."""
        found = set(statuses)
        self._bytes["bytes"] += size
        self._bytes[next(s for s in _GRAVEST if s in found)] += size

    def __getitem__(self, kind: str) -> int:
        return self._bytes[kind]

    def to_dict(self) -> dict[str, int]:
        """As the report has it."""
        return dict(self._bytes)
