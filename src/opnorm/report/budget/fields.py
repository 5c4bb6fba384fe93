"""A table of a TOML or JSON file, read field by field: each of its type, none unknown, none left over.

`UsageError` names the file, the place, what was given, and for an unknown key the nearest known one.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from opnorm.bound import Evidence
from opnorm.errors import UsageError

T = TypeVar("T")

LEVELS = ("estimate", "probable", "proved")
"""Evidence that can be asked for."""


class Fields:
    """What a table holds; `read` remembers which keys were asked for."""

    def __init__(self, table: object, path: str, place: str) -> None:
        self.path, self.place = path, place
        if not isinstance(table, dict):
            raise self.error(f"is {told(table)}, where a table is needed")
        self._table: dict[str, Any] = table
        self._asked: dict[str, None] = {}

    def error(self, problem: str) -> UsageError:
        """A `UsageError` about this table."""
        return UsageError(f"{self.path}: {self.place} {problem}")

    def get(self, key: str) -> Any:
        """What is there, or None."""
        self._asked[key] = None
        return self._table.get(key)

    def require_all_read(self, also: Iterable[str] = ()) -> None:
        """Refuse a key that nobody asked for; `also`: keys that are known and were looked at elsewhere."""
        known = [*self._asked, *also]
        for key in self._table:
            if key not in known:
                near = difflib.get_close_matches(key, known, 1, 0.5)
                hint = f"; did you mean {near[0]!r}?" if near else ";"
                raise self.error(f"has the unknown key {key[:80]!r}{hint} Known: {', '.join(known)}")

    def text(self, key: str, default: str | None = None) -> str:
        """A string."""
        return self._typed(key, str, "text", default)

    def flag(self, key: str, default: bool | None = None) -> bool:
        """True or false."""
        return self._typed(key, bool, "true or false", default)

    def count(self, key: str, default: int | None = None) -> int:
        """A whole number of at least 0."""
        value = self._typed(key, int, "a whole number", default)
        if isinstance(value, bool) or value < 0:
            raise self.error(f"has {key} = {told(value)}, where a whole number of at least 0 is needed")
        return value

    def texts(self, key: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """A string, or a list of them that is not empty where a default exists."""
        value = self.get(key)
        if value is None and default is not None:
            return default
        values = [value] if isinstance(value, str) else value
        allowed = isinstance(values, list) and all(isinstance(v, str) for v in values)
        if not allowed or (not values and default is not None):
            raise self.error(f"has {key} = {told(value)}, where text or a list of texts is needed")
        return tuple(values)

    def counts(self, key: str) -> tuple[int, ...]:
        """A list of whole numbers of at least 0."""
        value = self.get(key)
        if not isinstance(value, list) or not all(type(v) is int and v >= 0 for v in value):
            raise self.error(f"has {key} = {told(value)}, where a list of whole numbers is needed")
        return tuple(value)

    def optional_number(self, key: str) -> float | None:
        """A finite number, or None where there is none."""
        value = self.get(key)
        if value is None:
            return None
        number = _finite(value)
        if number is None:
            raise self.error(f"has {key} = {told(value)}, where a finite number is needed")
        return number

    def evidence(self, key: str) -> Evidence:
        """Evidence that can be asked for."""
        return self.choice(key, {level: Evidence.parse(level) for level in LEVELS})

    def choice(self, key: str, options: Mapping[str, T]) -> T:
        """What `options` has under the text given; the nearest is suggested for any other."""
        given = self.text(key)
        if given in options:
            return options[given]
        near = difflib.get_close_matches(given, options, 1, 0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ";"
        raise self.error(f"has {key} = {given[:80]!r}, which is not known{hint} Known: {', '.join(options)}")

    def tables(self, key: str) -> Iterator[Fields]:
        """A list of tables; absent is empty."""
        values = self.get(key)
        if not isinstance(values, list | None):
            raise self.error(f"has {key} = {told(values)}, where a list of tables is needed")
        for index, value in enumerate(values or ()):
            yield Fields(value, self.path, f"{key} {index + 1}")

    def named_tables(self, key: str) -> Iterator[tuple[str, Fields]]:
        """The tables of a table, with their names."""
        inner = Fields(self.get(key), self.path, f"{self.place}, {key}")
        for name, value in inner._table.items():
            yield name, Fields(value, self.path, f"{inner.place}, {name[:80]}")

    def _typed(self, key: str, kind: type[T], what: str, default: T | None) -> T:
        value = self.get(key)
        if value is None and default is not None:
            return default
        if value is None:
            raise self.error(f"has no {key}: {what} is needed")
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.error(f"has {key} = {told(value)}, where {what} is needed")
        return value


def told(value: object) -> str:
    """A short form of a value for a message."""
    if isinstance(value, dict):
        return "a table"
    if value is None:
        return "nothing"
    if isinstance(value, int) and value.bit_length() > 1000:
        return "a number of very many digits"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
