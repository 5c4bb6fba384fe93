"""The tensors of a checkpoint while rules take what they know, and the rest.

A rule never guesses: it takes a tensor only where its name and shape, and where needed the configuration, leave one
meaning. Looking up costs a binary search, so that a rule is linear in the number of names.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from opnorm.layers.normalization import layer_norm
from opnorm.layers.plan import Entry, Layer
from opnorm.readers.checkpoint import Tensor
from opnorm.readers.config import Config
from opnorm.readers.families.plain import rows_of
from opnorm.readers.identity import FLOATS

MOST_ROWS = 1 << 17
"""Rows of heads and experts in one plan: a file of a few bytes may not ask for memory without end."""


@dataclass(frozen=True, slots=True)
class Fold:
    """A linear layer reads what a normalization scales: the tensor of its scale, and what it does besides.

    centered: LayerNorm, which subtracts the mean first. transposed: the weight is stored as inputs by outputs.
    plus_one: the layer multiplies by 1 + the scale.
    """

    scale: str
    centered: bool
    transposed: bool = False
    plus_one: bool = False


@dataclass(slots=True)
class Book:
    """Names → tensors, those taken, and the neighbours that rules noticed on the way.

    folds: name of a weight → the normalization before it. notes: name → a sentence for its rows.
    scales: name of a normalization's scale → its ε, and whether it is an RMSNorm.
    """

    tensors: Mapping[str, Tensor]
    config: Config | None
    input_shape: tuple[int, ...] | None = None
    folds: dict[str, Fold] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    scales: dict[str, tuple[float, bool]] = field(default_factory=dict)
    _left: int = MOST_ROWS
    _taken: set[str] = field(default_factory=set)
    _sorted: list[str] = field(default_factory=list)
    _position: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._sorted = sorted(self.tensors)
        self._position = {name: i for i, name in enumerate(self.tensors)}

    def get(self, name: str, rank: int = 0) -> Tensor | None:
        """A tensor that no rule has taken, of `rank` dimensions if that is given."""
        tensor = None if name in self._taken else self.tensors.get(name)
        return tensor if tensor is None or rank in (0, len(tensor.shape)) else None

    def matrices(self, *names: str) -> list[Tensor]:
        """All of the matrices named; empty where one is missing, taken, or no matrix of floating point."""
        found = [t for name in names if (t := self.get(name, 2)) is not None and is_weight(t)]
        return found if len(found) == len(names) else []

    def paths(self, ending: str) -> Iterator[str]:
        """What stands before `ending` in the names that have it and are not taken, in file order."""
        for name in [n for n in self.tensors if n.endswith(ending) and n not in self._taken]:
            yield name[: len(name) - len(ending)]

    def below(self, path: str) -> list[Tensor]:
        """The tensors not taken whose names begin with `path` and a dot, in file order."""
        prefix = f"{path}."
        start, found = bisect_left(self._sorted, prefix), []
        for position in range(start, len(self._sorted)):
            if not self._sorted[position].startswith(prefix):
                break
            found.append(self._sorted[position])
        return [self.tensors[n] for n in sorted(found, key=self._position.__getitem__) if n not in self._taken]

    def layer(
        self,
        path: str,
        known: Mapping[str, Sequence[Entry]],
        derived: Sequence[Entry] = (),
        members: Sequence[Tensor] | None = None,
    ) -> Layer:
        """Take the tensors below `path` (or `members`): the entries of those `known`, plain rows for the others."""
        entries: list[Entry] = []
        for tensor in self.below(path) if members is None else members:
            self._taken.add(tensor.name)
            entries.extend(known.get(tensor.name) or self._plain(tensor))
        return Layer(path, (*entries, *derived))

    def _plain(self, tensor: Tensor) -> tuple[Entry, ...]:
        if tensor.name in self.scales and is_weight(tensor):
            eps, rms = self.scales[tensor.name]
            return layer_norm(tensor.name, tensor.name, "", tensor.shape, tensor.dtype, eps=eps, rms=rms)
        return rows_of(tensor, self.notes.get(tensor.name, ""))

    def afford(self, rows: int) -> bool:
        """Whether the plan may have this many more rows that names and settings alone ask for; if so, they count."""
        granted = rows <= self._left
        self._left -= rows if granted else 0
        return granted

    def take(self, tensors: Iterable[Tensor]) -> None:
        """Take tensors whose entries stand in a layer under another's name."""
        self._taken.update(t.name for t in tensors)

    def rest(self) -> Iterator[Tensor]:
        """What no rule took, in file order."""
        return (t for name, t in self.tensors.items() if name not in self._taken)

    def position(self, layer: Layer) -> int:
        """Where in the file a layer begins."""
        names = (n for e in layer.entries if not e.derived for n in e.tensors)
        return min((self._position[n] for n in names), default=len(self._position))


def is_weight(tensor: Tensor) -> bool:
    """Whether the entries of a tensor are numbers of a floating-point format."""
    return tensor.dtype in FLOATS


Rule = Callable[[Book], list[Layer]]
"""What every family gives."""
