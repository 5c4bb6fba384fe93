"""The journal of a trial: JSON Lines, first what was asked, then one line a finished cell.

A line is written by one write and is on disk (fsync) before the next cell is reported done. What follows the last line
break is the rest of a line torn by a kill: it is cut off at resume, nothing else ever is. Each line ends in a checksum
(CRC-32) of the first line and itself, so that a changed digit, or a line of another journal, is refused and not judged.
A file that is no journal is never written to. One process at a time holds it, by a lock that the system drops with the
process.

    {"schema": "opnorm.trial-journal/1", "asked": {"design": …, "source": …, "versions": …, …}}
    {"plan": [0, 1, 2, …], "sum": "3f…"}        the seeds that fit the minutes given, if any were
    {"record": {…}, "took": 1.25, "sum": "…"}   one cell, and the seconds that it took with its tuning
    {"costs": [{…}, …], "sum": "…"}             timings, once everything else is there
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opnorm.errors import FileAccessError, UsageError
from opnorm.experiment.document import Cell, Cost, Record
from opnorm.experiment.run.lines import cost_of, plain, record_of
from opnorm.experiment.run.lock import locked

SCHEMA = "opnorm.trial-journal/1"
LONGEST = 60
"""Of a value shown in a message."""

Line = Mapping[str, Any]


@dataclass(slots=True)
class Journal:
    """An open journal, or, without a file, the memory of one trial. done, plan, costs, took: what is in it.

    first: its first line, which goes into each checksum.
    """

    descriptor: int | None = None
    first: bytes = b""
    done: dict[Cell, Record] = field(default_factory=dict)
    took: dict[Cell, float] = field(default_factory=dict)
    plan: tuple[int, ...] | None = None
    costs: tuple[Cost, ...] | None = None

    def add(self, record: Record, took: float) -> None:
        """One finished cell."""
        self._write({"record": plain(record), "took": took})

    def keep_plan(self, seeds: Sequence[int]) -> None:
        """The seeds that fit."""
        self._write({"plan": list(seeds)})

    def keep_costs(self, costs: Sequence[Cost]) -> None:
        """The timings."""
        self._write({"costs": [plain(cost) for cost in costs]})

    def _write(self, line: Line) -> None:
        """To disk, then to memory as it would be read again: a resumed trial sees the very same values."""
        text = _text(line)
        if self.descriptor is not None:
            _append(self.descriptor, _summed(text, self.first))
        self.take(json.loads(text))

    def take(self, line: Line) -> None:
        """Into memory. The first line of a cell holds."""
        if "record" in line:
            record = record_of(line["record"])
            cell = Cell(record.arm, record.seed, record.condition)
            self.done.setdefault(cell, record)
            self.took.setdefault(cell, float(line["took"]))
        elif "plan" in line:
            self.plan = tuple(int(seed) for seed in line["plan"])
        else:
            self.costs = tuple(cost_of(cost) for cost in line["costs"])


@contextmanager
def journal_at(path: str | Path | None, asked: Line, *, restart: bool = False) -> Iterator[Journal]:
    """The journal of what is `asked`, opened or begun, and held. restart: what it holds is thrown away.

    Raises `UsageError` where the file is the journal of something else, is damaged, is no journal or is held by another
    process, `FileAccessError` where it cannot be read or written.
    """
    if path is None:
        yield Journal()
        return
    descriptor = _opened(path)
    try:
        with locked(descriptor, path):
            yield _resumed(descriptor, Path(path), json.loads(_text(asked)), restart)
    finally:
        os.close(descriptor)


def _opened(path: str | Path) -> int:
    if os.path.exists(path) and not os.path.isfile(path):
        raise FileAccessError(f"{path}: is no plain file; give another --journal")
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)
    except OSError as error:
        reason = error.strerror or str(error)
        raise FileAccessError(f"{path}: the journal cannot be opened: {reason}; give another --journal") from error


def _resumed(descriptor: int, path: Path, asked: Line, restart: bool) -> Journal:
    header = _text({"schema": SCHEMA, "asked": asked})
    content = _content(descriptor, path)
    if not content or header.startswith(content):  # nothing, or a header that was torn
        return _begun(descriptor, header)
    first, *lines = content.split(b"\n")
    was = _asked_in(first, path)
    if restart:
        return _begun(descriptor, header)
    _require_same(was, asked, path)
    journal = Journal(descriptor, first + b"\n")
    torn = lines.pop() if lines else b""
    for number, line in enumerate(lines, 2):
        _take(journal, line, number, path)
    if torn or not content.endswith(b"\n"):
        _cut(descriptor, len(content) - len(torn))
    return journal


def _content(descriptor: int, path: Path) -> bytes:
    try:
        parts = []
        while part := os.read(descriptor, 1 << 22):
            parts.append(part)
        return b"".join(parts)
    except OSError as error:
        raise FileAccessError(f"{path}: the journal cannot be read: {error.strerror or error}") from error


def _asked_in(first: bytes, path: Path) -> Line:
    """The header of a file that is a journal beyond doubt."""
    try:
        header = json.loads(first)
        if header["schema"] == SCHEMA and isinstance(header["asked"], dict):
            return dict(header["asked"])
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise UsageError(f"{path}: is no journal of a trial, and is left as it is; give --journal another name")


def _require_same(was: Line, asked: Line, path: Path) -> None:
    differences = list(_differences(was, asked))
    if differences:
        raise UsageError(
            f"{path}: is the journal of another trial: {'; '.join(differences)}. "
            "Give --journal another name, or --restart to throw away what it holds"
        )


def _differences(was: Any, asked: Any, name: str = "") -> Iterator[str]:
    if isinstance(was, dict) and isinstance(asked, dict):
        for key in dict.fromkeys((*was, *asked)):
            yield from _differences(was.get(key), asked.get(key), f"{name} {key}".lstrip())
    elif was != asked:
        yield f"{name} was {_short(was)}, now {_short(asked)}"


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _take(journal: Journal, line: bytes, number: int, path: Path) -> None:
    try:
        journal.take(json.loads(_checked(line, journal.first)))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"{path}: line {number} is damaged, which no interruption does; give --restart to begin anew, "
            "or --journal another name"
        ) from error


def _begun(descriptor: int, header: bytes) -> Journal:
    _cut(descriptor, 0)
    _append(descriptor, header)
    return Journal(descriptor, header)


def _cut(descriptor: int, length: int) -> None:
    os.ftruncate(descriptor, length)
    os.fsync(descriptor)


def _append(descriptor: int, text: bytes) -> None:
    try:
        written = os.write(descriptor, text)
        while written < len(text):  # a full disk or a signal: the rest, or an error
            written += os.write(descriptor, text[written:])
        os.fsync(descriptor)
    except OSError as error:
        raise FileAccessError(
            f"the journal cannot be written: {error.strerror or error}; what it holds already stays, "
            "and the same command resumes it"
        ) from error


def _summed(text: bytes, first: bytes) -> bytes:
    """A line with its checksum in front of the last brace."""
    return b'%s,"sum":"%08x"}\n' % (text[:-2], zlib.crc32(text, zlib.crc32(first)))


def _checked(line: bytes, first: bytes) -> bytes:
    """The line as it was before `_summed`; `ValueError` where it was changed since."""
    text = line[: -len(b',"sum":"00000000"}')] + b"}\n"
    if _summed(text, first) != line + b"\n":
        raise ValueError("the checksum differs")
    return text


def _text(line: Line) -> bytes:
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"
