"""Names from a checkpoint, made harmless for a terminal, a table or a spreadsheet."""

from __future__ import annotations

import unicodedata

MAX_LENGTH = 120

_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0")
"""Characters that count as letters or marks and show nothing."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def display_name(name: str, limit: int = MAX_LENGTH) -> str:
    """`name` with control, bidirectional, zero-width and unassigned characters as \\u{…}, shortened in the middle."""
    shown = "".join(f"\\u{{{ord(c):x}}}" if _hidden(c) else c for c in name)
    if len(shown) <= limit:
        return shown
    half = (limit - 1) // 2
    return f"{shown[:half]}…{shown[-half:]}"


def _hidden(character: str) -> bool:
    selector = "VARIATION SELECTOR" in unicodedata.name(character, "")
    return unicodedata.category(character) in _INVISIBLE or character in _BLANK or selector


def spreadsheet_cell(value: object) -> str:
    """Text that no spreadsheet takes for a formula."""
    if isinstance(value, int | float):
        return repr(value)
    text = "" if value is None else display_name(str(value), limit=1000)
    return f"'{text}" if text.startswith(_FORMULA) else text
