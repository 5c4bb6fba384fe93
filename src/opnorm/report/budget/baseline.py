"""What a model's numbers were: a committed file of brackets and digests, and reading it back as strictly as a budget.

The way: `Report` → `Baseline` → JSON, one row a line, so that a change shows as a change of lines. Numbers round-trip.
Nothing is guessed: a file of another schema, of a newer one, or with anything missing is refused.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath
from typing import Any

from opnorm.bound import Evidence
from opnorm.errors import CheckpointError, UsageError
from opnorm.readers.strict_json import MAX_ITEMS, read
from opnorm.report.budget.fields import Fields
from opnorm.report.budget.metrics import SPECTRAL_NORM, quantity_of
from opnorm.report.document import Input, Report, Row
from opnorm.spectrum.document import Quantity

SCHEMA, VERSION = "opnorm.baseline/", 1
MOST_BYTES = 1 << 28
"""Of a baseline file."""

_NUMBERS = ("value", "lower", "upper", "error")


@dataclass(frozen=True, slots=True)
class Line:
    """One row as it was; `input` counts the baseline's inputs."""

    name: str
    input: int
    tensors: tuple[str, ...]
    derived: bool
    kind: str
    operator: str
    shape: tuple[int, ...]
    metrics: Mapping[str, Quantity]


@dataclass(frozen=True, slots=True)
class Baseline:
    """Every row of a model that had numbers, by name."""

    path: str
    version: str
    inputs: tuple[Input, ...]
    lines: Mapping[str, Line]

    def digest(self, line: Line) -> str:
        """SHA-256 of the file that held the row; '' where unknown."""
        return self.inputs[line.input].sha256 if line.input < len(self.inputs) else ""

    def to_json(self) -> str:
        """The file: one row a line."""
        head = {"schema": f"{SCHEMA}{VERSION}", "opnorm": self.version, "inputs": [asdict(i) for i in self.inputs]}
        rows = ",\n  ".join(json.dumps(_line_dict(line), allow_nan=False) for line in self.lines.values())
        return json.dumps(head, indent=1)[:-2] + f',\n "rows": [\n  {rows}\n ]\n}}\n'


def baseline_of(report: Report, metrics: Iterable[str] = ()) -> Baseline:
    """What `report` says now of σ₁ and of `metrics`; `UsageError` where it cannot be a baseline.

    Rows are matched by name, so no name may occur twice; and what is written must be read again.
    """
    rows = [row for row in report.rows if row.status == "measured"]
    twice = [name for name, count in Counter(row.name for row in rows).items() if count > 1]
    if twice:
        raise UsageError(
            f"{len(twice)} names occur in more than one of the files, such as {twice[0]!r}: a baseline is of one "
            "model; check one PATH at a time"
        )
    wanted = tuple(dict.fromkeys((SPECTRAL_NORM, *metrics)))
    inputs = tuple(Input(PurePath(i.path).name, i.format, i.bytes, i.sha256) for i in report.inputs)
    found = Baseline("", report.version, inputs, {row.name: _line(row, wanted) for row in rows})
    if found.to_json().count(",") > MAX_ITEMS:
        raise UsageError(f"{len(rows)} rows are more than a baseline can hold: choose some with --only")
    return found


def read_baseline(path: str) -> Baseline:
    """The baseline in a file; `UsageError` for any other content, `FileAccessError` where it cannot be read."""
    try:
        data = read(Path(path), MOST_BYTES, "a baseline", "")
    except CheckpointError as error:
        raise UsageError(f"{path}: is no baseline: {error.problem}; write one with --write-baseline FILE") from None
    _require_schema(path, data.get("schema"))
    fields = Fields(data, path, "the baseline")
    fields.text("schema")
    inputs = tuple(_read_input(entry) for entry in fields.tables("inputs"))
    lines = [_read_line(entry) for entry in fields.tables("rows")]
    found = Baseline(path, fields.text("opnorm"), inputs, {line.name: line for line in lines})
    fields.require_all_read()
    if len(found.lines) < len(lines):
        raise UsageError(f"{path}: is no baseline: it names a row twice")
    return found


def _require_schema(path: str, schema: object) -> None:
    text = schema if isinstance(schema, str) else ""
    number = text.removeprefix(SCHEMA)
    if text == f"{SCHEMA}{VERSION}":
        return
    if text.startswith(SCHEMA) and number.isascii() and number.isdigit():
        raise UsageError(
            f"{path}: has the schema {text[:60]!r}, of a newer opnorm; this one reads {SCHEMA}{VERSION}: "
            "upgrade opnorm, or write the baseline anew under another name"
        )
    what = "a report" if text.startswith("opnorm.report/") else "no baseline"
    raise UsageError(f"{path}: is {what}: its schema is not {SCHEMA}{VERSION}; write one with --write-baseline FILE")


def _line(row: Row, metrics: Iterable[str]) -> Line:
    known = {name: found for name in metrics if (found := _kept(row, name)) is not None}
    return Line(row.name, row.input, row.tensors, row.derived, row.kind, row.operator, row.shape, known)


def _kept(row: Row, metric: str) -> Quantity | None:
    if metric == SPECTRAL_NORM:
        return Quantity(None, row.lower, row.upper, row.evidence or Evidence.ESTIMATE.label)
    found = quantity_of(row, metric, Evidence.ESTIMATE)
    return None if found.value is None and found.lower is None and found.upper is None else found


def _line_dict(line: Line) -> dict[str, Any]:
    """Without what is as usual: one tensor of the row's own name, in the first file."""
    usual = {"input": 0, "tensors": [line.name], "derived": False}
    given = {"input": line.input, "tensors": list(line.tensors), "derived": line.derived}
    return {
        "name": line.name,
        **{key: value for key, value in given.items() if value != usual[key]},
        "kind": line.kind,
        "operator": line.operator,
        "shape": list(line.shape),
        "metrics": {name: _quantity_dict(quantity) for name, quantity in line.metrics.items()},
    }


def _quantity_dict(quantity: Quantity) -> dict[str, Any]:
    numbers = {name: value for name in _NUMBERS if (value := getattr(quantity, name)) is not None}
    return {**numbers, "evidence": quantity.evidence}


def _read_input(fields: Fields) -> Input:
    found = Input(fields.text("path"), fields.text("format"), fields.count("bytes"), fields.text("sha256"))
    fields.require_all_read()
    return found


def _read_line(fields: Fields) -> Line:
    name = fields.text("name")
    found = Line(
        name,
        fields.count("input", 0),
        fields.texts("tensors", (name,)),
        fields.flag("derived", False),
        fields.text("kind"),
        fields.text("operator"),
        fields.counts("shape"),
        {metric: _read_quantity(entry) for metric, entry in fields.named_tables("metrics")},
    )
    fields.require_all_read()
    return found


def _read_quantity(fields: Fields) -> Quantity:
    value, lower, upper, error = (fields.optional_number(name) for name in _NUMBERS)
    found = Quantity(value, lower, upper, fields.evidence("evidence").label, error)
    fields.require_all_read()
    return found
