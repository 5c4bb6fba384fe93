"""The report as frozen data: what was given, what was asked, a row for every weight, and what to know."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from opnorm.bound import Bound, Bracket, Evidence, tightest
from opnorm.spectrum.comparison.document import Comparison
from opnorm.spectrum.document import Direction, Spectrum
from opnorm.spectrum.interaction.document import Interaction

SCHEMA = "opnorm.report/1"
STATUSES = ("measured", "not_a_map", "undefined", "refused")


@dataclass(frozen=True, slots=True)
class Input:
    """A file that was read; `sha256` is empty for arrays in memory."""

    path: str
    format: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Settings:
    """What was asked for."""

    evidence: str
    width: float
    failure_probability: float
    seed: int


@dataclass(frozen=True, slots=True)
class Finding:
    """Something a reader of the report should know.

    code: stable, `opnorm explain CODE` says more. message: one sentence with the figures it rests on. row: the name of
    the row it is about, '' for the whole model. severity: 'serious', 'warning' or 'note'. advice: the next step.
    evidence: of the figures, '' where it rests on none.
    """

    code: str
    message: str
    row: str = ""
    severity: str = "note"
    advice: str = ""
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class Beside:
    """A further number beside a row's: what it is called, what it means, and its bounds."""

    name: str
    meaning: str
    lower: float | None = None
    upper: float | None = None
    evidence: str | None = None
    failure_probability: float = 0.0


@dataclass(frozen=True, slots=True)
class Row:
    """One operator of one input. Numbers bracket σ₁ of what `operator` names; None is an absent bound."""

    input: int
    name: str
    tensors: tuple[str, ...]
    derived: bool
    kind: str
    operator: str
    shape: tuple[int, ...]
    dtype: str
    status: str
    reason: str = ""
    lower: float | None = None
    upper: float | None = None
    evidence: str | None = None
    failure_probability: float = 0.0
    method: str = ""
    passes: int = 0
    seconds: float = field(default=0.0, compare=False)
    frobenius: float | None = None
    stable_rank: tuple[float, float] | None = None
    also: tuple[Beside, ...] = ()
    spectrum: Spectrum | None = None
    directions: tuple[Direction, ...] = ()
    bounds: tuple[Bound, ...] = field(default=(), repr=False)
    """Every bound that was found; not in the JSON, whose numbers are the best at the row's evidence."""

    def bracket(self, least: Evidence | str | None = None) -> Bracket:
        """The tightest bounds with at least the evidence `least`; by default the row's own numbers."""
        return tightest(self.bounds, Evidence.parse(least or self.evidence or Evidence.ESTIMATE))

    @property
    def width(self) -> float | None:
        """Relative width of the bracket."""
        return self.bracket().width


@dataclass(frozen=True, slots=True)
class Report:
    """Everything one run found. `complete` is False where a file was refused or the run interrupted."""

    version: str
    complete: bool
    inputs: tuple[Input, ...]
    settings: Settings
    rows: tuple[Row, ...]
    coverage: dict[str, int]
    findings: tuple[Finding, ...]
    interaction: Interaction | None = None
    comparison: Comparison | None = None

    @property
    def failure_probability(self) -> float:
        """An upper bound on the probability that any bound here is wrong: the sum of all."""
        compared = 0.0 if self.comparison is None else self.comparison.failure_probability
        return math.fsum((compared, *(row.failure_probability for row in self.rows)))

    def __getitem__(self, name: str) -> Row:
        """The row called `name`, or the one measured row below the module path `name`."""
        exact = [row for row in self.rows if row.name == name]
        below = [row for row in self.rows if row.name.startswith(f"{name}.") and row.status == "measured"]
        found = exact or below
        if len(found) == 1:
            return found[0]
        near = [r.name for r in found] or [r.name for r in self.rows if name.lower() in r.name.lower()]
        hint = f"; did you mean one of: {', '.join(near[:8])}" if near else "; see report.rows for all names"
        raise KeyError(f"{len(found)} rows match {name!r}{hint}")

    def to_dict(self) -> dict[str, Any]:
        """The report in the shape of its JSON schema."""
        rows = [asdict(replace(row, bounds=())) for row in self.rows]
        for row in rows:
            del row["bounds"]
        return {
            "schema": SCHEMA,
            "opnorm": self.version,
            "complete": self.complete,
            "inputs": [asdict(i) for i in self.inputs],
            "settings": asdict(self.settings),
            "failure_probability": self.failure_probability,
            "rows": rows,
            "coverage": dict(self.coverage),
            "findings": [asdict(f) for f in self.findings],
            "interaction": None if self.interaction is None else asdict(self.interaction),
            "comparison": None if self.comparison is None else asdict(self.comparison),
        }

    def to_json(self) -> str:
        """JSON text; numbers round-trip, no NaN or Infinity occurs."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n"

    def to_html(self, path: str | Path, ceiling: float | None = None) -> None:
        """Write the report as one page that needs nothing else, whole or not at all; `FileAccessError` if it cannot.

        ceiling: of the weights' norms, drawn as a line and judged.
        """
        from opnorm.report.html import page
        from opnorm.report.machine import write_whole

        write_whole(path, page(self, ceiling))

    def frame(self, backend: str | None = None) -> Any:
        """The rows as a data frame; see `opnorm.report.frame.frame`."""
        from opnorm.report.frame import frame

        return frame(self, backend)

    def __str__(self) -> str:
        """For `print`: as the command shows it."""
        from opnorm.report.plain import as_text

        return as_text(self)

    def _repr_html_(self) -> str:
        """For notebooks."""
        from opnorm.report.html.notebook import fragment

        return fragment(self)
