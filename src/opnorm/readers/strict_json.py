"""JSON as strictly as a security boundary wants it: no duplicate keys, no NaN, no bombs of depth, size or digits."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from pathlib import Path
from typing import Any

from opnorm.errors import CheckpointError
from opnorm.readers.checkpoint import open_regular, read_exactly

MAX_ITEMS = 500_000
"""Commas allowed, and opening brackets: each can cost a hundred times its own byte once parsed."""

_DIGITS = 20


def parse(data: bytes, *, fractions: bool = False) -> dict[str, Any]:
    """The object in `data`; ValueError, in words, for anything else. `fractions`: finite decimals are allowed."""
    if max(data.count(b","), data.count(b"[") + data.count(b"{")) > MAX_ITEMS:
        raise ValueError(f"lists more than {MAX_ITEMS} items")
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_refuse,
            parse_float=_fraction if fractions else _refuse,
            parse_int=_whole,
        )
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"is not valid JSON ({error.msg} at character {error.pos})") from None
    if not isinstance(value, dict):
        raise ValueError("is not a JSON object")
    return value


def read(path: Path, most: int, what: str, remedy: str) -> dict[str, Any]:
    """The object in a file of at most `most` bytes; `what` it is called, `remedy` is what to do about a bad one."""
    descriptor = open_regular(path)
    try:
        size = os.fstat(descriptor).st_size
        if size > most:
            raise CheckpointError(path, f"has {size} bytes; {what} of {most} is allowed", remedy)
        raw = read_exactly(descriptor, str(path), 0, size).tobytes()
    finally:
        os.close(descriptor)
    try:
        return parse(raw, fractions=True)
    except ValueError as error:
        raise CheckpointError(path, f"{error}", remedy) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"gives {twice[:80]!r} twice")
    return found


def _whole(text: str) -> int:
    if len(text) > _DIGITS:
        raise ValueError(f"holds a number of {len(text)} digits, where {_DIGITS} are allowed")
    return int(text)


def _fraction(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(text)


def _refuse(text: str) -> Any:
    raise ValueError(f"holds the number {text[:40]}, where only whole numbers are allowed")
