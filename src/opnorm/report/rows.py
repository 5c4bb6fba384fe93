"""One tensor's row: measure it if it is a weight, and say what became of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from opnorm.bound import Bracket, Evidence, Measurement
from opnorm.errors import CheckpointError, Contradiction, FileAccessError, OpnormError, UndefinedNorm
from opnorm.frameworks import aslinearoperator
from opnorm.linalg.measure import measure_operator
from opnorm.linalg.request import Request
from opnorm.linalg.rounding import down, gamma, up
from opnorm.readers.checkpoint import Tensor
from opnorm.readers.naming import Identity
from opnorm.report.document import Finding, Row
from opnorm.report.prefetch import Content


@dataclass(frozen=True, slots=True)
class Outcome:
    """The row, what else to report, and the key of the tensor's content."""

    row: Row
    finding: Finding | None = None
    key: bytes = b""


def outcome_of(tensor: Tensor, identity: Identity, content: Content, base: int, request: Request) -> Outcome:
    """Measure `tensor`, the `base`-th file of the report and on; errors become rows, never exceptions."""
    row = _blank(tensor, identity, base)
    if identity.status != "weight":
        return Outcome(row)
    try:
        if content.error is not None:
            raise content.error
        measurement = measure_operator(aslinearoperator(content.array), replace(request, key=content.key))
    except UndefinedNorm as error:
        return Outcome(replace(row, status="undefined", reason=f"{_counts(error)} among its entries"))
    except Contradiction as error:
        return Outcome(
            replace(row, status="refused", reason=str(error)), Finding("contradiction", str(error), row.name)
        )
    except (CheckpointError, FileAccessError) as error:
        return Outcome(replace(row, status="refused", reason=str(error)), Finding("file-refused", str(error), row.name))
    except OpnormError as error:
        return Outcome(replace(row, status="refused", reason=str(error)))
    return Outcome(_filled(row, measurement, request), key=content.key)


def _blank(tensor: Tensor, identity: Identity, base: int) -> Row:
    size = "x".join(map(str, tensor.shape))
    operator = f"dense {size}" if identity.status == "weight" else ""
    status = "measured" if identity.status == "weight" else identity.status
    return Row(
        base + tensor.file,
        tensor.name,
        (tensor.name,),
        False,
        identity.kind,
        operator,
        tensor.shape,
        tensor.dtype,
        status,
        identity.reason,
    )


def _filled(row: Row, measurement: Measurement, request: Request) -> Row:
    level = max(request.evidence, measurement.best(request.width))
    bracket = measurement.bracket(level)
    if bracket.evidence is None:
        bracket = measurement.bracket(Evidence.ESTIMATE)
    found = bracket.evidence or Evidence.ESTIMATE
    return replace(
        row,
        lower=bracket.lower,
        upper=bracket.upper,
        evidence=found.label,
        failure_probability=bracket.failure_probability,
        method=measurement.method,
        passes=measurement.passes,
        seconds=round(measurement.seconds, 6),
        frobenius=measurement.frobenius,
        stable_rank=_stable_rank(measurement, bracket),
        reason=measurement.note,
    )


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
