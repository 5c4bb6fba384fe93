"""Kinds of columns: what a model can use of a table, and what is left out with the reason.

The rule, in order: a column without two different values is left out, and one equal to an earlier one up to other
names; a numeric column counts rows and is left out where its whole numbers are all different and run through without a
gap, or where it is called an id; numeric columns of two values are flags; dates are left out; text is a number where
nearly all of it reads as one (the rest is missing), left out where it is nearly all different, else a category.
Kinds are read off the whole table, as its owner knows them; no value of a test row enters what a model learns from.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from opnorm.errors import UsageError
from opnorm.experiment.data.examples import Columns
from opnorm.experiment.data.words import counted, listed, shown

if TYPE_CHECKING:
    import pandas

NUMBER, FLAG, CATEGORY = "number", "flag", "category"

NEARLY_ALL = 0.95
"""Of text that must read as numbers, or as dates, for the column to be so."""

DIFFERENT = 0.5
MANY = 20
"""Text is left out where more than `DIFFERENT` of its values, and more than `MANY`, are different ones."""

_DATE = r"\s*\d{1,4}([-/.])\d{1,2}\1\d{1,4}([ T].*)?"
_ID = re.compile(r"((^|.*[_ .-])([iI][dD]|[uU][uU][iI][dD])|.*[a-z]I[Dd])$")
_LARGEST = float(np.finfo(np.float32).max)


class Unusable(Exception):
    """Why a column is left out; never leaves this file."""


def clean(frame: pandas.DataFrame) -> tuple[pandas.DataFrame, Columns]:
    """The columns that a model can use, numbers as float64 with NaN and categories as text with '', and their kinds."""
    import pandas

    kinds: dict[str, list[str]] = {NUMBER: [], FLAG: [], CATEGORY: []}
    kept: dict[str, np.ndarray] = {}
    seen: dict[bytes, str] = {}
    dropped: list[tuple[str, str]] = []
    notes: list[str] = []
    for name in map(str, frame.columns):
        try:
            kind, values = _read(frame[name], notes)
            _require_new(name, kind, values, seen)
        except Unusable as reason:
            dropped.append((name, str(reason)))
            continue
        kinds[kind].append(name)
        kept[name] = values
    _require_some(dropped, kept)
    numbers, flags, categories = (tuple(kinds[k]) for k in (NUMBER, FLAG, CATEGORY))
    columns = Columns(numbers, flags, categories, tuple(dropped), tuple(notes))
    return pandas.DataFrame({c: kept[c] for c in columns.used}, columns=list(columns.used)), columns


def _read(column: pandas.Series, notes: list[str]) -> tuple[str, np.ndarray]:
    from pandas.api import types

    if types.is_complex_dtype(column):
        raise Unusable("complex numbers")
    if types.is_numeric_dtype(column) or types.is_bool_dtype(column):
        return _number(column.name, column.to_numpy(dtype=np.float64, na_value=np.nan))
    if types.is_datetime64_any_dtype(column) or types.is_timedelta64_dtype(column):
        raise Unusable(_A_DATE)
    return _text(column, notes)


_A_DATE = "a date: add as numbers what matters of it, such as the month, or name it as the time that orders rows"


def _number(name: object, values: np.ndarray) -> tuple[str, np.ndarray]:
    _require_finite(name, values)
    distinct = np.unique(values[~np.isnan(values)])
    if len(distinct) < 2 and not (len(distinct) == 1 and np.isnan(values).any()):
        raise Unusable("no value" if len(distinct) == 0 else "the same value everywhere")
    if len(distinct) == len(values) > MANY and (distinct == np.round(distinct)).all():
        if distinct[-1] - distinct[0] == len(distinct) - 1:
            raise Unusable("it counts the rows")
        if _ID.match(str(name)):
            raise Unusable("an identifier: every row has its own")
    return (NUMBER if len(distinct) > 2 else FLAG), values + 0.0  # -0.0 becomes 0.0


def _require_finite(name: object, values: np.ndarray) -> None:
    with np.errstate(invalid="ignore"):
        beyond = int((np.abs(values) > _LARGEST).sum())
    if beyond:
        raise UsageError(
            f"the column {shown(name)} has {counted(beyond, 'value')} infinite or beyond {_LARGEST:.2g}: mend "
            "the rows, leave them empty if they are unknown, or drop the column"
        )


def _text(column: pandas.Series, notes: list[str]) -> tuple[str, np.ndarray]:
    import pandas

    missing = column.isna().to_numpy(dtype=bool)
    text = column.astype(object).map(str).str.strip().where(~missing, "").to_numpy(dtype=object)
    present = pandas.Series(text[text != ""], dtype=object)
    if present.empty:
        raise Unusable("no value")
    numbers = pandas.to_numeric(present, errors="coerce").to_numpy(dtype=np.float64)
    if np.isfinite(numbers).mean() >= NEARLY_ALL and len(np.unique(numbers)) > 2:
        return _number(column.name, _numbers_in(column.name, text, numbers, present, notes))
    if present.str.fullmatch(_DATE).mean() >= NEARLY_ALL:
        raise Unusable(_A_DATE)
    distinct = present.nunique()
    if distinct > max(MANY, DIFFERENT * len(text)):
        raise Unusable(f"free text or an identifier: {distinct:,} different values in {counted(len(text), 'row')}")
    if distinct == 1 and len(present) == len(text):
        raise Unusable("the same value everywhere")
    return CATEGORY, text


def _numbers_in(
    name: object, text: np.ndarray, numbers: np.ndarray, present: pandas.Series, notes: list[str]
) -> np.ndarray:
    strange = present[np.isnan(numbers)]
    if len(strange):
        words = listed(strange.unique(), 3)
        notes.append(f"{shown(name)}: {counted(len(strange), 'value')} such as {words} taken as missing")
    values = np.full(len(text), np.nan)
    values[text != ""] = numbers
    return values


def _require_new(name: str, kind: str, values: np.ndarray, seen: dict[bytes, str]) -> None:
    """Against the columns before: numbers by value, categories up to renaming."""
    import pandas

    same = pandas.factorize(values)[0] if kind == CATEGORY else values
    key = hashlib.sha256(same.tobytes() + (b"c" if kind == CATEGORY else b"")).digest()
    if key in seen:
        raise Unusable(f"a copy of {shown(seen[key])}")
    seen[key] = name


def _require_some(dropped: Sequence[tuple[str, str]], kept: dict[str, np.ndarray]) -> None:
    if not kept:
        reasons = "; ".join(f"{shown(n)} ({why})" for n, why in dropped[:8])
        raise UsageError(f"no column is left that a model could use: {reasons or 'there is only the target'}")
