"""One entry's row: build its operator, measure it, and say what became of it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from opnorm.bound import Bracket, Evidence, Measurement
from opnorm.errors import CheckpointError, Contradiction, FileAccessError, OpnormError, UndefinedNorm
from opnorm.frameworks import aslinearoperator
from opnorm.layers.plan import Also, Entry
from opnorm.linalg.measure import measure_operator
from opnorm.linalg.request import Request
from opnorm.linalg.rounding import down, gamma, up
from opnorm.report.document import Beside, Finding, Row
from opnorm.report.prefetch import Contents

if TYPE_CHECKING:
    from opnorm.report.insight import Insight


@dataclass(frozen=True, slots=True)
class Outcome:
    """The row, what else to report, and the key of the content that was measured."""

    row: Row
    finding: Finding | None = None
    key: bytes = b""


def outcome_of(
    entry: Entry, contents: Contents, file: int, request: Request, insight: Insight | None = None
) -> Outcome:
    """Measure `entry`, of the report's input `file`; errors become rows, never exceptions."""
    row = blank(entry, file)
    if entry.status != "weight":
        return _beside(Outcome(row), entry, contents, request)
    try:
        arrays = _arrays(entry, contents)
        key = _key(entry, contents)
        request = replace(request, key=key)
        operator = _operator(entry, arrays)
        measurement = measure_operator(operator, request)
    except UndefinedNorm as error:
        return Outcome(replace(row, status="undefined", reason=f"{_counts(error)} among its entries"))
    except Contradiction as error:
        return Outcome(_refused(row, error), Finding("contradiction", str(error), row.name))
    except (CheckpointError, FileAccessError) as error:
        return Outcome(_refused(row, error), Finding("file-refused", str(error), row.name))
    except OpnormError as error:
        return Outcome(_refused(row, error))
    row = _filled(row, measurement, request)
    if insight is not None:
        row = insight.of_row(row, entry, arrays, operator, measurement, request)
    return _beside(Outcome(row, key=key), entry, contents, request)


def blank(entry: Entry, file: int) -> Row:
    """The row of an entry before anything is measured."""
    status = "measured" if entry.status == "weight" else entry.status
    return Row(
        file, entry.name, entry.tensors, entry.derived, entry.kind, entry.operator, entry.shape, entry.dtype, status,
        entry.reason,
    )  # fmt: skip


def _operator(entry: Entry, arrays: Mapping[str, Any]) -> Any:
    assert entry.build is not None, f"the rule of {entry.name} gives no operator for a weight"
    return aslinearoperator(entry.build(arrays))


def _arrays(entry: Entry, contents: Contents) -> dict[str, Any]:
    for name in entry.tensors:
        error = contents[name].error
        if error is not None:
            raise error
    return {name: contents[name].array for name in entry.tensors}


def _key(entry: Entry, contents: Contents) -> bytes:
    """Of a row that is one whole tensor: the digest of its bytes; else of all digests and the row's own suffix."""
    keys = [contents[name].key for name in entry.tensors]
    if not all(keys):
        return b""
    if len(keys) == 1 and entry.name == entry.tensors[0]:
        return keys[0]
    suffix = entry.name[entry.name.rfind("[") :] if entry.name.endswith("]") else entry.kind
    return hashlib.sha256(b"".join(keys) + suffix.encode("utf-8", "surrogatepass")).digest()


def _refused(row: Row, error: OpnormError) -> Row:
    return replace(row, status="refused", reason=str(error))


def _beside(outcome: Outcome, entry: Entry, contents: Contents, request: Request) -> Outcome:
    """The outcome with the entry's further numbers; one that cannot be found says why, and the row stands."""
    if not entry.also:
        return outcome
    found = tuple(_further(also, entry, contents, request) for also in entry.also)
    return replace(outcome, row=replace(outcome.row, also=found))


def _further(also: Also, entry: Entry, contents: Contents, request: Request) -> Beside:
    try:
        bracket = also.find(_arrays(entry, contents), request)
    except OpnormError as error:
        return Beside(also.name, f"{also.meaning}; not found: {error}")
    evidence = weakest(bracket)
    return Beside(
        also.name,
        also.meaning,
        bracket.lower,
        bracket.upper,
        None if evidence is None else evidence.label,
        bracket.failure_probability,
    )


def _filled(row: Row, measurement: Measurement, request: Request) -> Row:
    level = max(request.evidence, measurement.best(request.width))
    bracket = measurement.bracket(level)
    if weakest(bracket) is None:
        bracket = measurement.bracket(Evidence.ESTIMATE)
    return replace(
        row,
        shape=row.shape or measurement.shape,
        lower=bracket.lower,
        upper=bracket.upper,
        evidence=(weakest(bracket) or Evidence.ESTIMATE).label,
        failure_probability=bracket.failure_probability,
        method=measurement.method,
        passes=measurement.passes,
        seconds=round(measurement.seconds, 6),
        frobenius=measurement.frobenius,
        stable_rank=_stable_rank(measurement, bracket),
        reason=joined(row.reason, measurement.note),
        bounds=measurement.bounds,
    )


def weakest(bracket: Bracket) -> Evidence | None:
    """The weaker evidence of the ends that exist."""
    return min((b.evidence for b in (bracket.lower_bound, bracket.upper_bound) if b is not None), default=None)


def joined(*parts: str) -> str:
    """Parts of a reason as one sentence."""
    return "; ".join(p for p in parts if p)


def _stable_rank(measurement: Measurement, bracket: Bracket) -> tuple[float, float] | None:
    """‖A‖_F²/σ₁² as an interval, the rounding of ‖A‖_F included; at least 1 whatever the width."""
    frobenius, lower, upper = measurement.frobenius, bracket.lower, bracket.upper
    if not frobenius or not lower or not upper:
        return None
    slack = gamma(math.prod(measurement.shape) + 8)
    least, most = (frobenius / upper) ** 2 * (1 - slack), (frobenius / lower) ** 2 * (1 + slack)
    return max(1.0, down(least, 8)), max(1.0, up(most, 8))


def _counts(error: UndefinedNorm) -> str:
    return " and ".join(f"{n} {name}" for n, name in ((error.nan, "NaN"), (error.inf, "Inf")) if n)
