"""Names of a model's input features: a sequence, a text file of one name a line, or the header of a CSV file."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable
from pathlib import Path

from opnorm.errors import CheckpointError, UsageError
from opnorm.readers.checkpoint import open_regular, read_exactly

MAX_BYTES = 16 << 20
"""Of a list of names; of a CSV file only so much is read, since its header comes first."""

MAX_NAMES = 1 << 20
_DELIMITERS = ",;\t"
_TABLES = (".csv", ".tsv")
_REMEDY = "Give a text file with one name a line, or a CSV file whose first line names the columns."


def read_features(features: str | Path | Iterable[object]) -> tuple[str, ...]:
    """The names. `UsageError` for no names, or too many; `CheckpointError` for a file that is no text."""
    names = _from_file(Path(features)) if isinstance(features, str | Path) else tuple(str(name) for name in features)
    if not 0 < len(names) <= MAX_NAMES:
        raise UsageError(f"{len(names)} feature names were given; give from 1 to {MAX_NAMES}")
    return names


def _from_file(path: Path) -> tuple[str, ...]:
    table = path.suffix.lower() in _TABLES
    text = _text(path, whole=not table)
    return _header(path, text) if table else tuple(line.strip() for line in text.rstrip().splitlines())


def _text(path: Path, *, whole: bool) -> str:
    descriptor = open_regular(path)
    try:
        size = os.fstat(descriptor).st_size
        if whole and size > MAX_BYTES:
            raise CheckpointError(path, f"has {size} bytes; a list of names of {MAX_BYTES} is allowed", _REMEDY)
        raw = read_exactly(descriptor, str(path), 0, min(size, MAX_BYTES)).tobytes()
    finally:
        os.close(descriptor)
    raw = raw if whole else raw[: raw.rfind(b"\n") + 1] or raw
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CheckpointError(path, "is not UTF-8 text", _REMEDY) from None


def _header(path: Path, text: str) -> tuple[str, ...]:
    first = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first.count)
    try:
        return tuple(name.strip() for name in next(csv.reader(io.StringIO(text), delimiter=delimiter), ()))
    except csv.Error as error:
        raise CheckpointError(path, f"has no header that can be read ({error})", _REMEDY) from None
