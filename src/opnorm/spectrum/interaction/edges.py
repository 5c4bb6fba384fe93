"""Which rows feed which: an edge from a row that writes to one that reads, with what lies between."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from opnorm.layers.folding import folded_name
from opnorm.layers.plan import Entry, Layer
from opnorm.spectrum.directions.places import is_turned
from opnorm.spectrum.interaction.operators import Acting

_FOLDED = (" with layer norm", " with RMS norm")


@dataclass(frozen=True, slots=True)
class Edge:
    """first writes what second reads. Names are those of the plain rows, whatever is folded into them."""

    first: Acting
    second: Acting
    first_name: str
    second_name: str
    through: str = ""


@dataclass(frozen=True, slots=True)
class Reader:
    """A row with the normalization before it folded in. entry: the row. folded: its entry. scale: γ's tensor."""

    entry: Entry
    folded: Entry
    scale: str

    @property
    def centered(self) -> bool:
        """LayerNorm, which subtracts the mean; else RMSNorm."""
        return self.folded.kind.endswith(_FOLDED[0])

    @property
    def plus_one(self) -> bool:
        """Whether it multiplies by 1 + γ."""
        return "1 + γ" in self.folded.operator

    @property
    def words(self) -> str:
        """What it reads through."""
        return "LayerNorm" if self.centered else "RMSNorm"


@dataclass(frozen=True, slots=True)
class Rows:
    """A plan's rows by name, and those that read a normalization."""

    by_name: Mapping[str, Entry]
    readers: Mapping[str, Reader] = field(default_factory=dict)

    def weight(self, name: str) -> Entry | None:
        """A row that is measured and stands for stored bytes."""
        entry = self.by_name.get(name)
        return entry if entry is not None and entry.status == "weight" and not entry.derived else None


def rows_of(plan: Iterable[Layer]) -> Rows:
    """The rows of a plan."""
    entries = [e for layer in plan for e in layer.entries]
    plains = [e for e in entries if e.status == "weight" and not e.derived]
    by_tensor: dict[str, list[Entry]] = {}
    for entry in plains:
        by_tensor.setdefault(entry.tensors[0], []).append(entry)
    readers = {}
    for folded in entries:
        if not (folded.derived and folded.kind.endswith(_FOLDED)):
            continue
        label = folded.tensors[-1].rpartition(".")[0].rpartition(".")[2]
        for entry in by_tensor.get(folded.tensors[0], ()):
            if folded_name(entry.name, label) == folded.name:
                readers[entry.name] = Reader(entry, folded, folded.tensors[-1])
    return Rows({e.name: e for e in entries}, readers)


def acting(entry: Entry) -> Acting:
    """A plain row as it acts."""
    return Acting(entry, is_turned(entry))


def edge(first: Entry, second: Entry, through: str = "") -> Edge:
    """Between two plain rows."""
    return Edge(acting(first), acting(second), first.name, second.name, through)


def read_edge(first: Entry, reader: Reader, through: str) -> Edge:
    """To a row that reads a normalization, which is folded in (and is then upright)."""
    return Edge(acting(first), Acting(reader.folded), first.name, reader.entry.name, through)
