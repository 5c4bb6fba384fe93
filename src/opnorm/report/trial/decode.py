"""JSON back to the frozen data it was made of, by the types that the dataclasses declare.

What does not fit its type is refused with the place where it stands: a file may come from anywhere. Numbers that JSON
has no literal for are read from their names, as `machine` writes them.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from opnorm.errors import UsageError

T = TypeVar("T")
NAMED = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def decoded(kind: type[T], value: Any) -> T:
    """`value`, as `json.loads` gives it, as a `kind`, a dataclass; `UsageError` where it does not fit."""
    return cast("T", _decoded(kind, value, kind.__name__))


def _decoded(kind: Any, value: Any, place: str) -> Any:
    origin, inside = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _one_of(inside, value, place)
    if origin is tuple:
        return _tuple(inside, value, place)
    if origin is not None and issubclass(origin, Mapping):
        _require(isinstance(value, dict), "an object", value, place)
        return {key: _decoded(inside[1], item, f"{place}.{key}") for key, item in value.items()}
    if is_dataclass(kind):
        return _object(cast("type[Any]", kind), value, place)
    return _enum(kind, value, place) if issubclass(kind, Enum) else _scalar(kind, value, place)


def _one_of(kinds: tuple[Any, ...], value: Any, place: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    exact = [k for k in kinds if isinstance(k, type) and type(value) is k]
    rest = [k for k in kinds if k is not type(None)]
    if not exact and len(rest) > 1:
        raise _unfit(" or ".join(k.__name__ for k in rest), value, place)
    return _decoded((exact or rest)[0], value, place)


def _tuple(inside: tuple[Any, ...], value: Any, place: str) -> tuple[Any, ...]:
    _require(isinstance(value, list), "a list", value, place)
    kinds = inside[:1] * len(value) if inside[-1] is Ellipsis else inside
    _require(len(kinds) == len(value), f"a list of {len(kinds)}", value, place)
    return tuple(_decoded(kind, item, f"{place}[{i}]") for i, (kind, item) in enumerate(zip(kinds, value, strict=True)))


def _object(kind: type[Any], value: Any, place: str) -> Any:
    _require(isinstance(value, dict), "an object", value, place)
    hints = _hints(kind)  # type: ignore[arg-type]
    unknown = sorted(value.keys() - hints.keys())
    _require(not unknown, f"an object without {unknown[:3]}", value, place)
    missing = [f.name for f in fields(kind) if f.name not in value and f.default is f.default_factory is MISSING]
    _require(not missing, f"an object with {missing[:3]}", value, place)
    return kind(**{name: _decoded(hints[name], item, f"{place}.{name}") for name, item in value.items()})


@cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    return get_type_hints(kind)


def _enum(kind: type[Enum], value: Any, place: str) -> Enum:
    found = next((member for member in kind if member.value == value), None)
    if found is None:
        raise _unfit(f"one of {', '.join(str(m.value) for m in kind)}", value, place)
    return found


def _scalar(kind: type[Any], value: Any, place: str) -> Any:
    if kind is float and isinstance(value, str) and value in NAMED:
        return NAMED[value]
    if kind is float and type(value) is int:
        return float(value)
    _require(type(value) is kind, f"a {kind.__name__}", value, place)
    return value


def _require(fits: bool, wanted: str, value: Any, place: str) -> None:
    if not fits:
        raise _unfit(wanted, value, place)


def _unfit(wanted: str, value: Any, place: str) -> UsageError:
    return UsageError(f"this is no report of a trial: {place[:200]} is {str(value)[:60]!r}, not {wanted}")
