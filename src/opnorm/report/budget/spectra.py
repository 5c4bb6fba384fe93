"""What a budget needs beyond norms, and no more: the spectra of the rows whose spectrum a rule limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from opnorm.bound import Measurement
from opnorm.errors import OpnormError
from opnorm.layers.plan import Arrays, Entry
from opnorm.linalg.operator import LinearOperator
from opnorm.linalg.request import Request
from opnorm.readers.checkpoint import Checkpoint
from opnorm.report.budget.budget import Budget
from opnorm.report.document import Row
from opnorm.report.insight import Insight
from opnorm.spectrum.interaction.document import Interaction
from opnorm.spectrum.magnitude import spectrum_of


@dataclass(frozen=True, slots=True)
class Spectra(Insight):
    """An insight of spectra alone: no directions, nothing between layers."""

    budget: Budget = field(default_factory=lambda: Budget(""))

    def placed(self, checkpoint: Checkpoint) -> Insight:  # noqa: ARG002
        """Itself: a budget names rows in its own way."""
        return self

    def of_row(
        self,
        row: Row,
        entry: Entry,  # noqa: ARG002
        arrays: Arrays,  # noqa: ARG002
        operator: LinearOperator,
        found: Measurement,
        request: Request,
    ) -> Row:
        """The row with its spectrum, if a rule limits that."""
        if not self.budget.limits_spectrum(row):
            return row
        try:
            return replace(row, spectrum=spectrum_of(operator, found, request))
        except OpnormError as error:
            return replace(row, reason="; ".join(filter(None, (row.reason, f"not looked into: {error}"))))

    def of_model(
        self,
        checkpoint: Checkpoint,  # noqa: ARG002
        rows: Sequence[Row],  # noqa: ARG002
        select: Callable[[str], bool],  # noqa: ARG002
    ) -> Interaction:
        """Nothing."""
        return Interaction()
