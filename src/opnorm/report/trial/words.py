"""Numbers of a trial as its reports print them.

A difference always has its sign (− is a minus, not a hyphen) and as many decimals as tell the margin in two digits, so
that all differences of one measure align; a probability is never printed as 0 % or 100 %.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import groupby
from unicodedata import combining

from opnorm.experiment.document import Answer, Comparison
from opnorm.report.display import display_name
from opnorm.report.html.figures import figure

NAME = 40
"""Characters of an arm's or a measure's name."""

SYMBOL = {Answer.HELPS: "▲", Answer.HURTS: "▼", Answer.SAME: "=", Answer.OPEN: "?"}


def parts(sentence: str) -> list[str]:
    """A verdict's sentence, an arm a line."""
    whole = name(sentence, 4000).split("; ")
    return [f"{part};" for part in whole[:-1]] + whole[-1:]


_MARKS = 4
"""Combining marks in a row that are shown: more would run over the lines around."""


def name(text: str, limit: int = NAME) -> str:
    """A name of an arm, a measure or a column, harmless and short."""
    return display_name(_calmed(text), limit) if text.strip() else "(blank)"


def line(text: str, limit: int = 400) -> str:
    """A line of code or of prose, harmless; a blank one stays blank."""
    return display_name(_calmed(text), limit)


def _calmed(text: str) -> str:
    runs = ("".join(run) for _, run in groupby(text, lambda c: c.isascii() or not combining(c)))
    return "".join(run if run[:1].isascii() or not combining(run[0]) else run[:_MARKS] for run in runs)


def decimals(scale: float) -> int:
    """Decimals that tell `scale` in two significant digits."""
    if not math.isfinite(scale) or scale <= 0:
        return 3
    return min(12, max(0, 1 - math.floor(math.log10(scale))))


def scale_of(comparison: Comparison) -> float:
    """What a difference is large or small against: the margin, else the interval's width, else itself."""
    width = comparison.interval[1] - comparison.interval[0] if comparison.interval else 0.0
    return next((v for v in (comparison.margin, width, abs(comparison.difference or 0.0)) if 0 < v < math.inf), 0.0)


def fixed(value: float | None, places: int, sign: bool = False) -> str:
    """`value` with `places` decimals, in powers of ten where it would be unreadable."""
    if value is None or not math.isfinite(value):
        return "–" if value is None or math.isnan(value) else "∞" if value > 0 else "−∞"
    if abs(value) >= 1e6 or (value and places > 6):
        text = figure(abs(value), 3)
        return ("−" if value < 0 else "+" if sign else "") + text
    text = f"{abs(value):.{places}f}"
    zero = not text.strip("0.")
    return ("" if zero else "−" if value < 0 else "+" if sign else "") + text


def signed(comparison: Comparison, value: float | None) -> str:
    """A value on the scale of the comparison's differences."""
    return fixed(value, decimals(scale_of(comparison)), sign=True)


def interval(comparison: Comparison) -> str:
    """The interval, its ends signed; '–' without one."""
    if comparison.interval is None:
        return "–"
    low, high = comparison.interval
    return f"{signed(comparison, low)} to {signed(comparison, high)}"


def unit(comparison: Comparison) -> str:
    """' points', with its space; '' without a unit."""
    return f" {name(comparison.unit)}" if comparison.unit else ""


def unit_alone(comparison: Comparison) -> str:
    """'in points': for a caption; '' without a unit."""
    return f"in{unit(comparison)}" if comparison.unit else ""


def confidence(comparison: Comparison) -> str:
    """'95 %'."""
    return f"{100 * comparison.confidence:.4g} %"


def margin(comparison: Comparison) -> str:
    """'±0.010'."""
    return f"±{fixed(comparison.margin, decimals(scale_of(comparison)))}"


def chance(value: float | None) -> str:
    """A probability in per cent, its ends open: '> 99.9 %'."""
    if value is None or math.isnan(value):
        return "–"
    if value > 0.999:
        return "> 99.9 %"
    if value < 0.001:
        return "< 0.1 %"
    return f"{100 * value:.1f} %" if value < 0.1 or value > 0.9 else f"{100 * value:.0f} %"


def p_value(value: float | None) -> str:
    """A p-value in two significant digits."""
    if value is None or math.isnan(value):
        return "–"
    return "< 0.0001" if value < 1e-4 else f"{value:.2g}" if value < 0.1 else f"{value:.2f}"


def counted(number: int, thing: str) -> str:
    """'1 seed', '1,000 seeds'."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def listed(things: Iterable[str], most: int = 6) -> str:
    """'a, b and c'; 'a, b and 7 more'."""
    given = list(things)
    shown = given if len(given) <= most else [*given[: most - 1], f"{len(given) - most + 1} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}" if shown else ""


def capital(text: str) -> str:
    """The first letter large."""
    return text[:1].upper() + text[1:]


def value(number: float | None) -> str:
    """Any other number, in four digits, a minus for a hyphen."""
    if number is None or not math.isfinite(number):
        return fixed(number, 0)
    return f"−{figure(-number)}" if number < 0 else figure(number)


def plain_setting(number: float) -> str:
    """A setting as one would type it: 0.001, 3, 1e-05."""
    return f"{number:.4g}"
