"""SVG from calls, and scales with round ticks.

Plots of one dimension measure x in per cent of their width, so that they fit a phone and a poster with text and dots
of the same size; they have no view box.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
Value = str | float | int


def node(tag: str, *children: str, **attributes: Value | None) -> Markup:
    """An element; `class_` is class, other underscores are hyphens. Everything that is no markup is escaped."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_text(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inside = Markup("").join(children)  # escapes what is no markup, as `given` is
    return Markup(f"<{tag}{given}>{inside}</{tag}>" if inside else f"<{tag}{given}/>")  # noqa: S704


def _text(value: Value) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def title(text: str) -> Markup:
    """What a mark says of itself: shown on hover, by the page's script or by the browser."""
    return node("title", text)


@dataclass(frozen=True, slots=True)
class Scale:
    """From numbers to places. logs: whether distances are those of logarithms."""

    low: float
    high: float
    start: float = 0.0
    end: float = 100.0
    logs: bool = False

    def __call__(self, value: float) -> float:
        """Where `value` stands, kept within the plot."""
        if self.logs:
            share = math.log(max(value, 1e-300) / self.low) / math.log(self.high / self.low)
        else:
            share = value / 2 - self.low / 2
            share /= self.high / 2 - self.low / 2
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)

    def percent(self, value: float) -> str:
        """Where `value` stands, in per cent."""
        return f"{_text(self(value))}%"


def covering(values: Iterable[float], pad: float = 0.06, start: float = 0.0, end: float = 100.0) -> Scale:
    """A linear scale over all of `values` with room at both ends."""
    known = [v for v in values if math.isfinite(v)] or [0.0]
    low, high = min(known), max(known)
    room = pad * (high - low) or max(abs(low), abs(high)) * 0.1 or 1.0
    return Scale(low - room, high + room, start, end)


def covering_logs(values: Iterable[float], start: float = 0.0, end: float = 100.0) -> Scale:
    """A logarithmic scale over all positive `values` with room at both ends."""
    known = [v for v in values if 0 < v < math.inf] or [1.0]
    low, high = min(known), max(known)
    room = max(1.06, (high / low) ** 0.06) if high > low else 2.0
    return Scale(low / room, high * room, start, end, logs=True)


def ticks(scale: Scale, most: int = 5) -> list[float]:
    """Round numbers within the scale, at least two where the numbers allow."""
    return _log_ticks(scale, most) if scale.logs else _round_ticks(scale.low, scale.high, most)


def _round_ticks(low: float, high: float, most: int) -> list[float]:
    raw = high / most - low / most
    if not math.isfinite(raw) or raw <= 0:
        return [low]
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(s * unit for s in (1, 2, 5, 10) if s * unit >= raw * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{n * step:.12g}") for n in range(first, last + 1)]


def _log_ticks(scale: Scale, most: int) -> list[float]:
    span = math.log10(scale.high / scale.low)
    if span < 0.7:
        return _round_ticks(scale.low, scale.high, most)
    steps = (1, 2, 5) if span * 3 <= most + 1 else (1,)
    first, last = math.floor(math.log10(scale.low)), math.ceil(math.log10(scale.high))
    stride = max(1, math.ceil((last - first) * len(steps) / (most + 2)))
    found = [s * 10.0**e for e in range(first, last + 1, stride) for s in steps]
    inside = [float(f"{t:.3g}") for t in found if scale.low <= t <= scale.high]
    return inside if len(inside) > 1 else _round_ticks(scale.low, scale.high, most)


def tick_texts(values: Sequence[float], sign: bool = False) -> list[str]:
    """The same number of decimals for all, a minus for a hyphen; powers of ten where they are very large or small."""
    size = max((abs(v) for v in values), default=0.0)
    small = min((abs(v) for v in values if v), default=1.0)
    if size >= 1e5 or small < 1e-4:
        return [_signed(v, power(abs(v)), sign) for v in values]
    places = max((len(f"{v:.10f}".rstrip("0").partition(".")[2]) for v in values), default=0)
    return [_signed(v, f"{abs(v):.{places}f}", sign) if v else "0" for v in values]


def power(value: float) -> str:
    """'2×10⁻¹²'; '0'."""
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{float(mantissa):g}×10{str(int(exponent)).translate(SUPERSCRIPT)}"


def _signed(value: float, text: str, sign: bool) -> str:
    return ("−" if value < 0 else "+" if sign and value > 0 else "") + text


def beeswarm(places: Sequence[float], apart: float, lanes: int = 5) -> list[int]:
    """A lane for each place, 0, 1, −1, 2, … outward, so that dots nearer than `apart` do not cover each other."""
    taken: dict[int, float] = {}
    found = [0] * len(places)
    order = sorted((0, *(s * (n + 1) for n in range(lanes // 2) for s in (1, -1))), key=abs)
    for index in sorted(range(len(places)), key=lambda i: places[i]):
        free = [lane for lane in order if places[index] - taken.get(lane, -math.inf) >= apart]
        lane = free[0] if free else min(order, key=lambda n: taken[n])
        taken[lane], found[index] = places[index], lane
    return found
