"""Numbers as the page prints them, in Python for what reads without a script; the script has the same rules.

A bracket is "6.124–6.131", its ends rounded outward so that what is printed is still a bound; an estimate is "≈ 6.13",
never a bracket.
"""

from __future__ import annotations

import math
from decimal import Decimal

from opnorm.report.document import Row
from opnorm.spectrum.document import Quantity

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def figure(value: float | None, digits: int = 4, direction: int = 0) -> str:
    """`value` in `digits` significant digits, rounded down (−1), up (1) or to nearest (0)."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    rounded = float(f"{mantissa}e{exponent}")
    if (direction < 0 and rounded > value) or (direction > 0 and rounded < value):
        moved = Decimal(f"{mantissa}e{exponent}") + direction * Decimal(1).scaleb(int(exponent) - digits + 1)
        mantissa, exponent = f"{moved:.{digits - 1}e}".split("e")
    return _laid_out(mantissa, int(exponent), digits)


def _laid_out(mantissa: str, exponent: int, digits: int) -> str:
    if -4 <= exponent < 6:
        return f"{float(f'{mantissa}e{exponent}'):.{max(0, digits - 1 - exponent)}f}"
    return f"{mantissa}×10{str(exponent).translate(_SUPERSCRIPT)}"


def bracket(lower: float | None, upper: float | None, evidence: str | None) -> str:
    """The two ends as one text, in as many digits as tell them apart."""
    if evidence in (None, "estimate", "assumed"):
        known = [v for v in (lower, upper) if v is not None]
        return f"≈ {figure(math.fsum(v / len(known) for v in known))}" if known else "–"
    if lower is None or upper is None:
        given = f"≥ {figure(lower, 4, -1)}" if lower is not None else f"≤ {figure(upper, 4, 1)}"
        return given if (lower, upper) != (None, None) else "–"
    if lower == upper:
        exact = figure(upper, 6)
        return exact.rstrip("0").rstrip(".") if "." in exact and "×" not in exact else exact
    size = math.floor(math.log10(upper))
    digits = next((d for d in (4, 5, 6) if 10.0 ** (size - d + 1) < upper - lower), 6)
    return f"{figure(lower, digits, -1)}–{figure(upper, digits, 1)}"


def row_bracket(row: Row) -> str:
    """σ₁ of a row."""
    return bracket(row.lower, row.upper, row.evidence)


def quantity(found: Quantity | None) -> str:
    """A quantity's bracket where it has one that bounds, else its value."""
    if found is None:
        return "–"
    if (found.lower, found.upper) != (None, None) and found.evidence in ("proved", "probable"):
        return bracket(found.lower, found.upper, found.evidence)
    return "–" if found.value is None else f"≈ {figure(found.value)}"


def size(count: int) -> str:
    """Bytes as people say them."""
    value, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.0f} {units[0]}" if units[0] == "B" else f"{value:.3g} {units[0]}"
