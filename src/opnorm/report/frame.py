"""The report as a data frame of the library at hand: pandas, polars or pyarrow, through narwhals.

One line a row of the report, flat columns. String: input, name, kind, operator, shape ("384x384"), dtype, status,
reason, evidence, method. Boolean: derived. Int64: passes. Float64, null where unknown: lower, upper,
failure_probability, seconds, frobenius, stable_rank_lower, stable_rank_upper. For each quantity of the spectra that
occurs, such as `alpha_weighted`: its value, `…_lower` and `…_upper` (Float64) and `…_evidence` (String).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Literal, TypeAlias

from opnorm.errors import MissingExtra, UsageError
from opnorm.report.document import Report, Row
from opnorm.spectrum.document import Quantity

Backend: TypeAlias = Literal["polars", "pandas", "pyarrow"]
BACKENDS: tuple[Backend, ...] = ("polars", "pandas", "pyarrow")

_SPECIAL: dict[str, Callable[[Row], Any]] = {
    "shape": lambda row: "x".join(map(str, row.shape)),
    "stable_rank_lower": lambda row: row.stable_rank[0] if row.stable_rank else None,
    "stable_rank_upper": lambda row: row.stable_rank[1] if row.stable_rank else None,
}
_STRINGS = ("name", "kind", "operator", "shape", "dtype", "status", "reason", "evidence", "method")
_COLUMNS = (
    *("name", "kind", "operator", "shape", "dtype", "status", "reason", "derived", "lower", "upper", "evidence"),
    *("failure_probability", "method", "passes", "seconds", "frobenius", "stable_rank_lower", "stable_rank_upper"),
)
_ENDS = ("", "_lower", "_upper", "_evidence")


def frame(report: Report, backend: str | None = None) -> Any:
    """`report` as a data frame of `backend`; by default of the one already imported, else of the first installed."""
    try:
        import narwhals as nw
    except ImportError:
        raise MissingExtra("frame", "a data frame") from None
    columns = _columns(report)
    schema = {name: getattr(nw, _kind(name))() for name in columns}
    return nw.from_dict(columns, schema, backend=_backend(backend)).to_native()


def _backend(asked: str | None) -> Backend:
    candidates = [b for b in BACKENDS if asked in (None, b)]
    if not candidates:
        raise UsageError(f"backend {asked!r} is not known; choose one of: {', '.join(BACKENDS)}")
    imported = [b for b in candidates if b in sys.modules]
    installed = imported or [b for b in candidates if find_spec(b) is not None]
    if not installed:
        raise MissingExtra("frame", f"a data frame of {asked or 'any library'}")
    return installed[0]


def _columns(report: Report) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {"input": [report.inputs[row.input].path for row in report.rows]}
    columns |= {name: [_cell(row, name) for row in report.rows] for name in _COLUMNS}
    for name in _quantities(report):
        found = [row.spectrum.quantities.get(name) if row.spectrum else None for row in report.rows]
        own = f"spectrum_{name}" if any(f"{name}{end}" in columns for end in _ENDS) else name
        columns |= {f"{own}{end}": [_part(q, end) for q in found] for end in _ENDS}
    return columns


def _cell(row: Row, name: str) -> Any:
    return _SPECIAL[name](row) if name in _SPECIAL else getattr(row, name)


def _quantities(report: Report) -> list[str]:
    return list(dict.fromkeys(name for row in report.rows if row.spectrum for name in row.spectrum.quantities))


def _part(found: Quantity | None, end: str) -> float | str | None:
    if found is None:
        return None
    value: float | str | None = getattr(found, end.lstrip("_") or "value")
    return value if isinstance(value, str) or value is None else float(value)


def _kind(name: str) -> str:
    if name in _STRINGS or name == "input" or (name.endswith("_evidence") and name not in _COLUMNS):
        return "String"
    return {"derived": "Boolean", "passes": "Int64"}.get(name, "Float64")
