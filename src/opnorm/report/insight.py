"""What a report says beyond norms, where it is asked to: spectra, directions, and how layers feed one another.

The way: while a row's tensors are at hand, `Insight.of_row` adds its spectrum and directions; when all rows of a
checkpoint are known, `Insight.of_model` reads it once more for what lies between layers. What cannot be found is said
in the row's reason, and the row stands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from opnorm.bound import Bracket, Measurement
from opnorm.errors import OpnormError
from opnorm.layers.plan import Arrays, Entry, Part
from opnorm.linalg.operator import LinearOperator
from opnorm.linalg.request import Request
from opnorm.readers.checkpoint import Checkpoint
from opnorm.report.document import Row
from opnorm.spectrum.directions import directions_of
from opnorm.spectrum.directions.labels import Labels
from opnorm.spectrum.interaction import interaction_of
from opnorm.spectrum.interaction.document import Interaction
from opnorm.spectrum.magnitude import spectrum_of

_SHOWN = 3
"""Directions of a layer."""


@dataclass(frozen=True, slots=True)
class Insight:
    """What to look at, and in whose terms."""

    labels: Labels = field(default_factory=Labels)

    def placed(self, checkpoint: Checkpoint) -> Insight:
        """The same for one model, sure of which rows the labels belong to; `UsageError` where they fit none."""
        return replace(self, labels=self.labels.placed(checkpoint.plan))

    def of_row(
        self, row: Row, entry: Entry, arrays: Arrays, operator: LinearOperator, found: Measurement, request: Request
    ) -> Row:
        """The row with its spectrum and directions."""
        try:
            turned = isinstance(entry.part, Part) and entry.part.transposed
            spectrum = spectrum_of(operator, found, request, transposed=turned)
            directions = directions_of(entry, arrays, self.labels, _SHOWN)
        except OpnormError as error:
            return replace(row, reason="; ".join(filter(None, (row.reason, f"not looked into: {error}"))))
        return replace(row, spectrum=spectrum, directions=directions)

    def of_model(self, checkpoint: Checkpoint, rows: Sequence[Row], select: Callable[[str], bool]) -> Interaction:
        """How the layers of a checkpoint feed one another."""
        norms: Mapping[str, Bracket] = {r.name: r.bracket() for r in rows if r.status == "measured"}
        return interaction_of(checkpoint, norms, select)


def joined(parts: Sequence[Interaction]) -> Interaction | None:
    """Of several checkpoints as one; None of none."""
    if not parts:
        return None
    return Interaction(
        tuple(name for part in parts for name in part.order),
        tuple(link for part in parts for link in part.links),
        tuple(head for part in parts for head in part.heads),
        tuple(c for part in parts for c in part.compositions),
        tuple(dict.fromkeys(note for part in parts for note in part.notes)),
    )
