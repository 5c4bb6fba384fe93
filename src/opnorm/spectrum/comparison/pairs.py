"""Two rows side by side: what to read of either, when they are equal, and which operators to measure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from opnorm.errors import OpnormError, UnsupportedInput
from opnorm.frameworks import aslinearoperator
from opnorm.layers.plan import ConvolutionPart, Entry, Part
from opnorm.linalg.operator import LinearOperator
from opnorm.linalg.request import Request
from opnorm.readers.checkpoint import Tensor
from opnorm.readers.identity import FLOATS
from opnorm.spectrum.comparison.adapters import Update, operators, singular_values
from opnorm.spectrum.comparison.change import examined
from opnorm.spectrum.comparison.contents import Arrays, Contents, Source, is_rounded, not_finite, same_bytes
from opnorm.spectrum.comparison.difference import difference
from opnorm.spectrum.comparison.document import Change
from opnorm.spectrum.comparison.subject import UNITS, Subject
from opnorm.spectrum.document import Quantity

NOTHING = Quantity(0.0, 0.0, 0.0, "proved")


class Pair(ABC):
    """One layer in both checkpoints."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Of the base's row."""

    @property
    @abstractmethod
    def tuned_name(self) -> str:
        """Of the tuned one's."""

    @property
    @abstractmethod
    def is_map(self) -> bool:
        """Whether it is an operator, with a norm, in at least one of the two."""

    @property
    @abstractmethod
    def needs(self) -> tuple[Sequence[str], Sequence[str]]:
        """The tensors to read of base and tuned."""

    @property
    @abstractmethod
    def blank(self) -> Change:
        """The change before anything is measured."""

    @abstractmethod
    def change(self, contents: Contents, request: Request) -> Change:
        """What became of the layer; errors but a `Contradiction` become statuses."""

    def read(self, base: Source, tuned: Source) -> Contents:
        """What it needs of either."""
        before, after = self.needs
        try:
            return Contents(base.read(before), tuned.read(after))
        except OpnormError as error:
            return Contents({}, {}, error)


@dataclass(frozen=True, slots=True)
class EntryPair(Pair):
    """A row of the base and the row of the same name."""

    base: Entry
    tuned: Entry

    @property
    def name(self) -> str:
        """See `Pair`."""
        return self.base.name

    @property
    def tuned_name(self) -> str:
        """See `Pair`."""
        return self.tuned.name

    @property
    def is_map(self) -> bool:
        """See `Pair`."""
        return not (self.base.status == "not_a_map" and self.tuned.status == "not_a_map")

    @property
    def needs(self) -> tuple[Sequence[str], Sequence[str]]:
        """See `Pair`; refused rows are read too, as equal bytes are equal whatever they mean."""
        return self.base.tensors, self.tuned.tensors

    def change(self, contents: Contents, request: Request) -> Change:
        """See `Pair`."""
        blank = self.blank
        if contents.error is not None:
            return replace(blank, status="refused", reason=str(contents.error))
        before, after = self._arrays(contents.base, self.base), self._arrays(contents.tuned, self.tuned)
        if self._alike() and same_bytes(before, after):
            return self._equal(blank, contents)
        refused = [f"{side}: {e.reason}" for side, e in self._sides() if e.status != "weight" or e.build is None]
        if refused:
            return replace(blank, status="refused", reason="; ".join(refused))
        try:
            subject = self._subject(contents)
        except _Shapes as error:
            return replace(blank, status="shape", reason=str(error))
        except OpnormError as error:
            return replace(blank, status="refused", reason=str(error))
        return examined(replace(blank, reason=self._dtypes(contents)), subject, request)

    def _sides(self) -> tuple[tuple[str, Entry], tuple[str, Entry]]:
        return ("BASE", self.base), ("TUNED", self.tuned)

    @property
    def blank(self) -> Change:
        """See `Pair`."""
        e = self.tuned
        return Change(self.name, self.tuned_name, e.kind, e.operator, e.shape, "changed")

    def _dtypes(self, contents: Contents) -> str:
        """What is to be said of dtypes that differ, and whether rounding to one is all that happened."""
        if self.base.dtype == self.tuned.dtype:
            return ""
        before, after = self._arrays(contents.base, self.base), self._arrays(contents.tuned, self.tuned)
        said = f"stored as {self.base.dtype} and {self.tuned.dtype}"
        if len(before) != 1 or len(after) != 1:
            return said
        if is_rounded(before[0], after[0]):
            return f"{said}: TUNED is BASE rounded, entry by entry"
        return f"{said}: BASE is TUNED rounded, entry by entry" if is_rounded(after[0], before[0]) else said

    def _alike(self) -> bool:
        """Whether both say the same of how their bytes act."""
        same = [(e.shape, e.dtype, e.kind, _settings(e)) for e in (self.base, self.tuned)]
        return same[0] == same[1] and len(self.base.tensors) == len(self.tuned.tensors)

    def _equal(self, blank: Change, contents: Contents) -> Change:
        counts = [not_finite(a) for a in self._arrays(contents.tuned, self.tuned)]
        bad = sum(counts)
        if bad:
            return replace(blank, status="undefined", reason=f"equal bit for bit, with {bad} NaN or Inf in both")
        return replace(blank, status="equal", reason="equal bit for bit", delta=NOTHING, relative=NOTHING)

    def _arrays(self, arrays: Arrays, entry: Entry) -> list[Any]:
        if isinstance(entry.part, Part):
            return [entry.part.matrix(arrays)]
        return [arrays[name] for name in entry.tensors]

    def _subject(self, contents: Contents) -> Subject:
        base, tuned = _built(self.base, contents.base), _built(self.tuned, contents.tuned)
        if _turned(self.base) != _turned(self.tuned):
            base = base.T
        kernels = any(isinstance(e.part, ConvolutionPart) for _, e in self._sides())
        if self.base.shape != self.tuned.shape if kernels else base.shape != tuned.shape:
            raise _Shapes(f"shape {self.base.shape} in BASE, {self.tuned.shape} in TUNED: there is no difference")
        unit, turned = UNITS.get(self.tuned.dtype, 0.0), _turned(self.tuned)
        return Subject(base, tuned, difference(tuned, base), unit, turned=turned, key=contents.key)


@dataclass(frozen=True, slots=True)
class AdaptedPair(Pair):
    """A weight of the base, and what an adapter adds to it. row: the base's own row of it, if it has one."""

    update: Update
    weight: Tensor
    row: Entry | None

    @property
    def name(self) -> str:
        """See `Pair`."""
        return self.weight.name

    @property
    def tuned_name(self) -> str:
        """See `Pair`."""
        return self.update.entry.name

    @property
    def is_map(self) -> bool:
        """See `Pair`."""
        return True

    @property
    def needs(self) -> tuple[Sequence[str], Sequence[str]]:
        """See `Pair`."""
        row = self.row
        return row.tensors if row is not None else (self.weight.name,), self.update.entry.tensors

    def change(self, contents: Contents, request: Request) -> Change:
        """See `Pair`."""
        blank = self.blank
        problem = self.update.problem or (str(contents.error) if contents.error is not None else "")
        if problem:
            return replace(blank, status="refused", reason=problem)
        try:
            weight = self._weight(contents.base)
            base, tuned, delta = operators(self.update, contents.tuned, weight)
            values = partial(singular_values, self.update, contents.tuned)
            subject = Subject(base, tuned, delta, values=values, key=contents.key)
        except OpnormError as error:
            return replace(blank, status="refused", reason=str(error))
        return examined(blank, subject, request)

    @property
    def blank(self) -> Change:
        """See `Pair`."""
        e = self.update.entry
        return Change(self.name, self.tuned_name, "adapted linear", e.operator, e.shape, "changed")

    def _weight(self, arrays: Arrays) -> LinearOperator:
        row = self.row
        if row is not None and row.status == "weight":
            return _built(row, arrays)
        if self.weight.dtype not in FLOATS:
            raise UnsupportedInput(row.reason if row is not None else f"the base holds {self.weight.dtype}")
        return aslinearoperator(arrays[self.weight.name])


class _Shapes(OpnormError):
    """Two layers of one name whose shapes differ."""


def _built(entry: Entry, arrays: Arrays) -> LinearOperator:
    assert entry.build is not None
    return aslinearoperator(entry.build(arrays))


def _settings(entry: Entry) -> object:
    """How the bytes act: the part without its tensor's name, else what the row says of its operator."""
    return entry.operator if entry.part is None else replace(entry.part, tensor="")


def _turned(entry: Entry) -> bool:
    return isinstance(entry.part, Part) and entry.part.transposed
