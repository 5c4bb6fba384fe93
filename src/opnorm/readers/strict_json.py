"""JSON as strictly as a security boundary wants it: no duplicate keys, no NaN, no floats, no depth bombs."""

from __future__ import annotations

import json
from typing import Any


def parse(data: bytes) -> dict[str, Any]:
    """The object in `data`; ValueError, in words, for anything else."""
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_refuse,
            parse_float=_refuse,
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


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"gives {key[:80]!r} twice")
        found[key] = value
    return found


def _refuse(text: str) -> Any:
    raise ValueError(f"holds the number {text[:40]}, where only whole numbers are allowed")
