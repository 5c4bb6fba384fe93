"""Which method, decided by counting work: the same input takes the same way on every machine.

Work is counted in float64 multiplications. A Gram proof costs m²n + m³/3 whatever the spectrum. Block
Lanczos costs some 2·16·mn a pass in float32 and as much in float64 for its final pass; a flat spectrum
takes about a dozen passes to 1 %, a decaying one three to five. The two meet at a short side of several hundred.
"""

from __future__ import annotations

from dataclasses import dataclass

from opnorm.bound import Evidence

GRAM_SIDE = 512
"""Up to this short side the Gram proof is the cheaper way to a bracket, and proves it."""

GRAM_SIDE_FINE = 2048
"""The same where the width asked for is below `FINE`: Lanczos would need a float64 basis of hundreds."""

GRAM_SIDE_MOST = 16384
"""Beyond this a Gram matrix (8m² bytes, twice) is not formed: 4.3 GB."""

IMPLICIT_SIDE = 64
"""The limit for operators whose columns must first be computed."""

CHEAP_COLUMNS = 1024
"""So few columns of a convolution cost no more than Lanczos would: the limit is then that of stored matrices."""

FINE = 1e-4
"""Widths below this need a basis built in float64: float32 leaves 3e-5."""

BLOCK = 16
"""Vectors in the start block, chosen by measurement: see `benchmarks/README.md`."""

MOST_BASIS = 768
"""Vectors in the basis at most: the budget of Lanczos."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How one operator will be measured. `precise`: explore in float64."""

    method: str
    block: int
    passes: int
    precise: bool


def choose(shape: tuple[int, int], *, stored: bool, evidence: Evidence, width: float) -> Plan:
    """The plan for a wide operator of `shape` (rows ≤ columns) that states its rounding."""
    rows, _ = shape
    block = min(BLOCK, rows)
    precise = width < FINE
    lanczos = Plan("lanczos", block, max(1, min(MOST_BASIS, rows) // block + 1), precise)
    if evidence is Evidence.ESTIMATE and rows > GRAM_SIDE:
        return lanczos
    if evidence is Evidence.PROVED:
        limit = GRAM_SIDE_MOST
    elif stored:
        limit = GRAM_SIDE_FINE if precise else GRAM_SIDE
    else:
        limit = IMPLICIT_SIDE
    return Plan("gram", min(8 if rows <= GRAM_SIDE else BLOCK, rows), 64, precise) if rows <= limit else lanczos
