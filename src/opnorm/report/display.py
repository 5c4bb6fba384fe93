"""Names from a checkpoint, made harmless for a terminal, a table or a spreadsheet."""

from __future__ import annotations

import unicodedata

MAX_LENGTH = 120

_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def display_name(name: str, limit: int = MAX_LENGTH) -> str:
    """`name` with control, bidirectional, zero-width and unassigned characters as \\u{…}, shortened in the middle."""
    shown = "".join(c if unicodedata.category(c) not in _INVISIBLE else f"\\u{{{ord(c):x}}}" for c in name)
    if len(shown) <= limit:
        return shown
    half = (limit - 1) // 2
    return f"{shown[:half]}…{shown[-half:]}"


def spreadsheet_cell(value: object) -> str:
    """Text that no spreadsheet takes for a formula."""
    if isinstance(value, int | float):
        return repr(value)
    text = "" if value is None else display_name(str(value), limit=1000)
    return f"'{text}" if text.startswith(_FORMULA) else text
