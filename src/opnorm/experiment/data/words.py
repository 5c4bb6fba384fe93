"""Names out of a user's data, made harmless for a message, and what is said about them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

_LIMIT = 60


def shown(name: object) -> str:
    """`name` in quotes, control and invisible characters as escapes, shortened in the middle."""
    text = repr(str(name))
    half = (_LIMIT - 1) // 2
    return text if len(text) <= _LIMIT else f"{text[:half]}…{text[-half:]}"


def listed(names: Iterable[object], most: int = 8) -> str:
    """The first names, and how many more there are."""
    every = [shown(n) for n in names]
    rest = len(every) - most
    return ", ".join(every[:most]) + (f" and {rest} more" if rest > 0 else "")


def nearest(name: str, names: Sequence[str]) -> str:
    """' Did you mean …?' where something similar exists, else ''."""
    lower = {n.lower(): n for n in names}
    close = [lower[c] for c in difflib.get_close_matches(name.lower(), list(lower), 3, 0.5)]
    return f" Did you mean {listed(close)}?" if close else ""


def counted(number: int, thing: str, things: str = "") -> str:
    """'1 row', '2 rows'."""
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"
