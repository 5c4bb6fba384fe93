"""A trial's report for other programs: all of it, or only its verdict in canonical bytes.

`read_json(to_json(report)) == report` whatever the report holds. JSON has no literal for NaN and the infinities; the
rare number of this kind is written as the string 'NaN', 'Infinity' or '-Infinity'.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import Any, NoReturn

from opnorm.errors import UsageError
from opnorm.experiment.document import SCHEMA, TrialReport
from opnorm.report.trial.decode import decoded

_NAMES = {math.inf: "Infinity", -math.inf: "-Infinity"}
_TIMELESS = ("design", "verdicts", "controls", "winner")


def to_dict(report: TrialReport) -> dict[str, Any]:
    """The report in the shape of its JSON schema."""
    return {"schema": SCHEMA, "opnorm": report.version} | {k: v for k, v in _plain(report).items() if k != "version"}


def to_json(report: TrialReport) -> str:
    """JSON text; numbers round-trip, no NaN or Infinity literal occurs."""
    return json.dumps(to_dict(report), indent=1, allow_nan=False) + "\n"


def verdict_json(report: TrialReport) -> str:
    """Design, verdicts, controls and winner: what depends on no clock, machine or command. Same verdict, same bytes."""
    found = {"schema": SCHEMA, **{k: v for k, v in _plain(report).items() if k in _TIMELESS}}
    return json.dumps(found, sort_keys=True, separators=(",", ":"), allow_nan=False) + "\n"


def read_json(text: str) -> TrialReport:
    """The report that `to_json` wrote; `UsageError` where it is none."""
    try:
        found = json.loads(text, parse_constant=_no_literal)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"this is no report of a trial: it is not JSON ({error}); give a file made by --json"
        ) from error
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        schema = found.get("schema") if isinstance(found, dict) else None
        raise UsageError(
            f"this is no report of a trial: its schema is {schema!r}, not {SCHEMA!r}; give a file of --json"
        )
    rest = {key: value for key, value in found.items() if key not in ("schema", "opnorm")}
    return decoded(TrialReport, rest | ({"version": found["opnorm"]} if "opnorm" in found else {}))


def _no_literal(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _plain(report: TrialReport) -> dict[str, Any]:
    return {f.name: _json(getattr(report, f.name)) for f in fields(report)}


def _json(value: Any) -> Any:
    """Objects and lists as JSON has them, numbers that it has not by their names."""
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return (
            value if math.isfinite(value) else "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        )
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _json(item) for key, item in value.items()}
    return {name: _json(getattr(value, name)) for name in _names(type(value))}  # type: ignore[arg-type]


@cache
def _names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(f.name for f in fields(kind))
