"""A spectrum in words, for the terminal: a line a quantity, with its bracket and its evidence."""

from __future__ import annotations

import math

from opnorm.spectrum.document import NoiseEdge, Quantity, Spectrum, Tail, Units
from opnorm.spectrum.metrics import METRICS

_BARS = " ▁▂▃▄▅▆▇█"


def lines(spectrum: Spectrum) -> tuple[str, ...]:
    """Everything known, most important first; what is not known says why."""
    head = f"{spectrum.rows}×{spectrum.columns}, singular values by {spectrum.method}"
    shown = [f"  {METRICS[name].title:28} {words(quantity)}" for name, quantity in spectrum.quantities.items()]
    more = (_density(spectrum), _noise(spectrum.noise), _tail(spectrum.tail), _units(spectrum.units))
    return (head, *shown, *(f"  {line}" for line in more if line))


def words(quantity: Quantity) -> str:
    """Such as '41.2 in [41.1, 41.3], proved' or '3.1 ± 0.2' or '– (why)'."""
    note = f" ({quantity.note})" if quantity.note else ""
    if quantity.value is None:
        known = "" if quantity.lower is None else f"at least {number(quantity.lower)}, {quantity.evidence} "
        return f"{known}{note.strip()}" if known else f"–{note}"
    if quantity.error is not None:
        return f"{number(quantity.value)} ± {quantity.error:.2g}{note}"
    if quantity.lower is None or quantity.upper is None:
        return f"{number(quantity.value)}{note}"
    if quantity.lower == quantity.upper or number(quantity.lower) == number(quantity.upper):
        return f"{number(quantity.value)}, {quantity.evidence}{note}"
    ends = f"[{number(quantity.lower)}, {number(quantity.upper)}]"
    return f"{number(quantity.value)} in {ends}, {quantity.evidence}{note}"


def number(value: float) -> str:
    """Six significant digits; whole numbers as such."""
    return str(int(value)) if value == math.floor(value) and abs(value) < 1e9 else f"{value:.6g}"


def _density(spectrum: Spectrum) -> str:
    known = spectrum.density
    if known is None:
        return ""
    most = max(known.shares, default=0.0) or 1.0
    bars = "".join(_BARS[math.ceil(share / most * (len(_BARS) - 1))] for share in known.shares)
    ends = f"{10 ** known.edges[0]:.3g} {bars} {10 ** known.edges[-1]:.3g}"
    zero = f", {known.zero:.1%} below" if known.zero > 0 else ""
    return f"density of log σ: {ends}{zero} ({known.method})"


def _noise(noise: NoiseEdge | None) -> str:
    if noise is None:
        return ""
    return f"noise: {noise.scale:.3g} an entry, edge at {noise.edge:.4g}, by the {noise.scale_method}"


def _tail(tail: Tail | None) -> str:
    if tail is None:
        return ""
    fit = "" if tail.p_value is None else f", p = {tail.p_value:.2f}"
    where = f"from λ = {tail.least:.3g}, {tail.points} values"
    return f"tail: λ^−{tail.alpha:.2f} {where}, distance {tail.distance:.3f}{fit}; favored: {tail.favored}"


def _units(units: Units | None) -> str:
    if units is None:
        return ""
    counts = (
        (units.dead_outputs_count, "dead outputs"),
        (units.dead_inputs_count, "dead inputs"),
        (units.duplicate_outputs_count, "duplicate outputs"),
    )
    return ", ".join(f"{count} {name}" for count, name in counts if count)
