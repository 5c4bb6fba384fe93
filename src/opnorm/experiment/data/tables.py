"""A table from a file: CSV, TSV or Parquet, by its ending; nothing that is executed when read, such as pickle.

Empty cells and the words that pandas takes for missing (NA, NaN, null, None, …) are missing values. Fields of a CSV
file are separated by commas, or by semicolons where its first line has no comma. Numbers may have decimal commas: a
column of text that reads as such numbers, one of them without exactly three decimals (1,234 may be a thousand), is so
read.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from opnorm.errors import FileAccessError, UsageError
from opnorm.experiment.data.words import listed, shown

if TYPE_CHECKING:
    import pandas

_MEGABYTE = 1 << 20
_COMMA = r"[+-]?(\d+|\d{1,3}(\.\d{3})+),(\d+)([eE][+-]?\d+)?"
_WHOLE = r"[+-]?\d+"
_NEARLY_ALL = 0.95
"""Of a column of text that must read as numbers with decimal commas for them to be so."""
_TABLE = "A table has one line of column names and one line for each example"


def read_table(path: Path) -> pandas.DataFrame:
    """The table in the file; `UsageError` where there is none, `FileAccessError` where it cannot be read."""
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise UsageError(f"{shown(path)} ends in none of {', '.join(_READERS)}: write the table as one of these")
    try:
        with path.open("rb") as file:
            frame = reader(file, path)
    except OSError as error:
        raise FileAccessError(f"{shown(path)} cannot be read: {error.strerror or error}") from error
    if frame.shape[1] < 2:
        raise UsageError(
            f"{shown(path)} has {frame.shape[1]} column: a target and at least one feature are needed; fields are "
            "separated by commas or semicolons in .csv, by tabs in .tsv"
        )
    if frame.empty:
        raise UsageError(f"{shown(path)} has column names and no rows. {_TABLE}")
    return frame


def _read_text(file: BinaryIO, path: Path) -> pandas.DataFrame:
    import pandas

    start = _start(file, path)
    line = start.split("\n")[0]
    separator = "\t" if path.suffix.lower() == ".tsv" else ";" if ";" in line and "," not in line else ","
    _require_header(start, separator, path)
    try:
        frame = pandas.read_csv(file, sep=separator, encoding="utf-8-sig", low_memory=False)
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{shown(path)} is not text in UTF-8 (byte {error.start}): save it as UTF-8, such as by iconv -f latin1 -t "
            "utf-8, or as 'CSV UTF-8' from a spreadsheet"
        ) from error
    except ValueError as error:  # pandas' parser errors are such
        raise UsageError(f"{shown(path)} is not a table: {str(error).strip()[:200]!r}. {_TABLE}") from error
    return frame.apply(_with_points)


def _with_points(column: pandas.Series) -> pandas.Series:
    """'1.234,5' as '1234.5' in a column of such numbers; any other column as it is."""
    from pandas.api import types

    if not types.is_string_dtype(column.dropna()):
        return column
    text = column.dropna().astype(str).str.strip()
    comma = text.str.fullmatch(_COMMA)
    read = comma | text.str.fullmatch(_WHOLE)
    if not comma.any() or read.mean() < _NEARLY_ALL or text[comma].str.fullmatch(r".*,\d{3}").all():
        return column
    changed = text[comma].str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
    pointed = column.astype(object)
    pointed[changed.index] = changed
    return pointed.astype(float) if read.all() else pointed


def _start(file: BinaryIO, path: Path) -> str:
    start = file.read(_MEGABYTE)
    file.seek(0)
    if not start.strip():
        raise UsageError(f"{shown(path)} is empty. {_TABLE}")
    if b"\0" in start:
        raise UsageError(f"{shown(path)} holds zero bytes, so it is no text: save the table as CSV in UTF-8")
    return start.decode("utf-8-sig", errors="replace").lstrip("\r\n")


def _require_header(start: str, separator: str, path: Path) -> None:
    """A name for each column, and no name twice: pandas would quietly take a first column as index, and rename."""
    lines = (fields for fields in csv.reader(io.StringIO(start, newline=""), delimiter=separator) if fields)
    try:
        names, first = next(lines, []), next(lines, [])
    except csv.Error as error:
        raise UsageError(f"{shown(path)} is not a table: {error}. {_TABLE}") from error
    twice = [n for n, count in Counter(names).items() if count > 1]
    if twice:
        raise UsageError(f"{shown(path)} has more than one column named {listed(twice)}: give each column its own name")
    if len(first) > len(names):
        raise UsageError(
            f"{shown(path)}: rows have {len(first)} fields and the first line names {len(names)}. {_TABLE}"
        )


def _read_parquet(file: BinaryIO, path: Path) -> pandas.DataFrame:
    import pandas

    try:
        import pyarrow
    except ImportError as error:
        raise UsageError("reading Parquet needs pyarrow: pip install pyarrow, or save the table as CSV") from error
    try:
        return pandas.read_parquet(file, engine="pyarrow").reset_index(drop=True)
    except (pyarrow.ArrowException, OSError, ValueError, KeyError) as error:
        raise UsageError(f"{shown(path)} is no Parquet table: {str(error).strip()[:200]}") from error


_READERS: Mapping[str, Callable[[BinaryIO, Path], pandas.DataFrame]] = {
    ".csv": _read_text, ".tsv": _read_text, ".parquet": _read_parquet,
}  # fmt: skip
