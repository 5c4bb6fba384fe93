"""What is no map has no norm of its own: biases, scales and counts are only told to be the same or not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from opnorm.errors import UnsupportedInput
from opnorm.layers.vectors import numbers
from opnorm.spectrum.comparison.contents import Contents

_SHOWN = 3


@dataclass(slots=True)
class Vectors:
    """Names by what became of them."""

    equal: int = 0
    changed: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    def add(self, name: str, contents: Contents) -> None:
        """Count one pair."""
        if contents.error is not None:
            self.unread.append(name)
        elif all(_same(a, b) for a, b in zip(contents.base.values(), contents.tuned.values(), strict=False)):
            self.equal += 1
        else:
            self.changed.append(name)

    def notes(self) -> list[str]:
        """In a sentence; nothing where there are none."""
        total = self.equal + len(self.changed) + len(self.unread)
        if not total:
            return []
        said = [f"{total} vectors and constants (biases, scales, counts): {self.equal} equal"]
        said += [f"{len(names)} {word} ({_listed(names)})" for word, names in self._rest() if names]
        return [", ".join(said)]

    def _rest(self) -> tuple[tuple[str, list[str]], ...]:
        return ("changed", self.changed), ("not read", self.unread)


def _listed(names: list[str]) -> str:
    return ", ".join(name[:80] for name in names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")


def _same(first: Any, second: Any) -> bool:
    """Whether the numbers agree, a NaN with a NaN, whatever their dtypes."""
    if tuple(first.shape) != tuple(second.shape):
        return False
    try:
        return bool(np.array_equal(numbers(first), numbers(second), equal_nan=True))
    except UnsupportedInput:  # complex or packed numbers: their bytes
        return bool(np.array_equal(np.asarray(first), np.asarray(second)))
