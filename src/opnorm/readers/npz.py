"""NumPy's npz files: a zip archive of npy files, each inflated alone and only as far as its header promises.

Refused: anything before the first or after the last record of the archive, members that overlap, appear twice,
are encrypted, are no npy files, or differ between the directory and their own header, and zip bombs.
"""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from opnorm.errors import CheckpointError
from opnorm.readers.checkpoint import (
    Checkpoint,
    SourceFile,
    Tensor,
    allocate,
    name_problem,
    open_regular,
    read_exactly,
)
from opnorm.readers.npy import PREFIX, Header, declared_end, dtype_name

MAX_DIRECTORY = 4 << 20
"""Bytes of the archive's directory: some 20 000 members at least; zipfile reads it in one go."""

BOMB_RATIO = 200
BOMB_BYTES = 64 << 20

_LOCAL = struct.Struct("<4s5H3L2H")
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_REMEDY = "Save it again with numpy.save or numpy.savez from plain arrays."
_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError, RuntimeError),
    *(EOFError, ValueError, OverflowError, IndexError, KeyError, MemoryError, OSError),
)

_Result = TypeVar("_Result")


class NpzFile(Checkpoint):
    """One open npz file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.fdopen(open_regular(path), "rb")
        try:
            size = os.fstat(self._file.fileno()).st_size
            start = self._directory_start(size)
            self._zip = self._guard(lambda: zipfile.ZipFile(self._file))
            self._infos = self._members(start)
            self._headers = {name: self._read_header(info) for name, info in self._infos.items()}
        except BaseException:
            self._file.close()
            raise
        tensors = [
            Tensor(name, dtype_name(h.dtype), h.shape, self._infos[name].file_size - h.data_start)
            for name, h in self._headers.items()
        ]
        super().__init__([SourceFile(str(path), "npz", size)], tensors)

    def close(self) -> None:
        """See `Checkpoint.close`."""
        self._zip.close()
        self._file.close()

    def read(self, tensor: Tensor) -> NDArray[Any]:
        """See `Checkpoint.read`; the archive's checksum is verified."""
        header, info = self._headers[tensor.name], self._infos[tensor.name]
        buffer = allocate(self._path, tensor.nbytes)
        self._guard(lambda: self._inflate(info, header.data_start, buffer))
        return header.array(buffer)

    def _inflate(self, info: zipfile.ZipInfo, start: int, buffer: NDArray[np.uint8]) -> None:
        with self._zip.open(info) as stream:
            _fill(stream, np.empty(start, dtype=np.uint8))
            _fill(stream, buffer)
            if stream.read(1):  # reaching the end is what verifies the checksum
                raise ValueError("a member is longer than it says")

    def _refuse(self, problem: str) -> CheckpointError:
        return CheckpointError(self._path, problem, _REMEDY)

    def _read_header(self, info: zipfile.ZipInfo) -> Header:
        where = f"{self._path}[{info.filename[:80]!r}]"

        def head() -> bytes:
            with self._zip.open(info) as stream:
                data = stream.read(PREFIX)
                return data + stream.read(max(0, declared_end(where, data) - len(data)))

        return Header(where, self._guard(head), info.file_size)

    def _bytes(self, offset: int, size: int) -> bytes:
        return read_exactly(self._file.fileno(), str(self._path), offset, size).tobytes()

    def _directory_start(self, size: int) -> int:
        """Where the directory begins; it must fill the file to its end record, and that the rest."""
        if size < _END.size:
            raise self._refuse(f"has {size} bytes, too few for an npz archive")
        end = size - _END.size
        magic, _, _, _, _, length, start, comment = _END.unpack(self._bytes(end, _END.size))
        if magic != b"PK\5\6" or comment:
            raise self._refuse("does not end as an npz archive does: it is cut short, or something follows it")
        tail = _LOCATOR.size + _END64.size
        if end >= tail and self._bytes(end - _LOCATOR.size, 4) == b"PK\6\7":
            end -= tail
            record = _END64.unpack(self._bytes(end, _END64.size))
            magic, length, start = record[0], record[8], record[9]
            if magic != b"PK\6\6":
                raise self._refuse("has no 64-bit end record where its locator promises one")
        if start + length != end:
            raise self._refuse(f"has a directory of {length} bytes at {start}, which does not reach its end at {end}")
        if length > MAX_DIRECTORY:
            raise self._refuse(f"has a directory of {length} bytes; {MAX_DIRECTORY} are allowed")
        return int(start)

    def _members(self, directory: int) -> dict[str, zipfile.ZipInfo]:
        """The members by tensor name; `directory` is where their data must have ended."""
        members: dict[str, zipfile.ZipInfo] = {}
        position = total = 0
        for info in sorted(self._zip.infolist(), key=lambda i: i.header_offset):
            problem = _member_problem(info, members)
            if not problem and info.header_offset < position:
                problem = "overlaps another member"
            if not problem:
                position = self._data_end(info, directory)
                problem = "reaches beyond the members' part of the file" if position > directory else ""
            if problem:
                raise self._refuse(f"has a member {info.filename[:80]!r} that {problem}")
            total += info.file_size
            members[info.filename.removesuffix(".npy")] = info
        if total > BOMB_BYTES and total > BOMB_RATIO * directory:
            raise self._refuse(f"would inflate {directory} bytes to {total}, which looks like a bomb")
        return members

    def _data_end(self, info: zipfile.ZipInfo, directory: int) -> int:
        if info.header_offset + _LOCAL.size > directory:
            return directory + 1
        fields = _LOCAL.unpack(self._bytes(info.header_offset, _LOCAL.size))
        magic, flags, method, name, extra = fields[0], fields[2], fields[3], fields[9], fields[10]
        if magic != b"PK\3\4" or flags != info.flag_bits or method != info.compress_type:
            raise self._refuse(f"describes its member {info.filename[:80]!r} differently in two places")
        return int(info.header_offset + _LOCAL.size + name + extra + info.compress_size)

    def _guard(self, action: Callable[[], _Result]) -> _Result:
        """What `action` gives; whatever zipfile raises for a damaged archive becomes one kind of refusal."""
        try:
            return action()
        except _DAMAGE as error:
            raise self._refuse(f"is not a sound npz archive ({str(error)[:200] or type(error).__name__})") from None


def _member_problem(info: zipfile.ZipInfo, seen: dict[str, zipfile.ZipInfo]) -> str:
    name = info.filename.removesuffix(".npy")
    if name == info.filename or "\0" in info.orig_filename:
        return "is not an npy array"
    if name in seen:
        return "appears twice"
    if info.flag_bits & 0x1:
        return "is encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"uses compression method {info.compress_type}; stored and deflated are read"
    if info.compress_type == zipfile.ZIP_STORED and info.file_size != info.compress_size:
        return f"is stored as {info.compress_size} bytes, yet claims {info.file_size}"
    if info.file_size > BOMB_BYTES and info.file_size > BOMB_RATIO * info.compress_size:
        return f"would inflate {info.compress_size} bytes to {info.file_size}, which looks like a bomb"
    return name_problem(name)


def _fill(stream: IO[bytes], buffer: NDArray[np.uint8]) -> None:
    view = buffer.data
    done = 0
    while done < len(view):
        piece = stream.read(min(len(view) - done, 1 << 20))
        if not piece:
            raise ValueError("a member ends before the data its header promises")
        view[done : done + len(piece)] = piece
        done += len(piece)
