"""NumPy's npy and npz files, read without NumPy's loader: no objects, no pickles, no bombs."""

from __future__ import annotations

import ast
import math
import os
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from opnorm.errors import CheckpointError
from opnorm.readers.checkpoint import MAX_RANK, Checkpoint, SourceFile, Tensor, open_regular, read_exactly

MAX_HEADER = 1 << 16
MAX_MEMBERS = 1 << 20
BOMB_RATIO = 200
BOMB_BYTES = 64 << 20

_MAGIC = b"\x93NUMPY"
_REMEDY = "Save it again with numpy.save or numpy.savez from plain arrays."


class _Header:
    """dtype, order and shape of one array in the npy format, and where its data begin."""

    def __init__(self, path: object, data: bytes, total: int) -> None:
        self._path = path
        text, self.data_start = self._text(data)
        fields = self._fields(text)
        self.dtype = self._dtype(fields["descr"])
        self.fortran = fields["fortran_order"]
        self.shape: tuple[int, ...] = fields["shape"]
        good = isinstance(self.shape, tuple) and all(type(n) is int and 0 <= n < 2**63 for n in self.shape)
        if not good or type(self.fortran) is not bool or len(self.shape) > MAX_RANK:
            raise self._refuse("has a header with an impossible shape or order")
        expected = math.prod(self.shape) * self.dtype.itemsize
        if total - self.data_start != expected:
            raise self._refuse(
                f"holds {total - self.data_start} bytes of data; its shape {self.shape} and dtype need {expected}"
            )

    def _refuse(self, problem: str) -> CheckpointError:
        return CheckpointError(self._path, problem, _REMEDY)

    def _text(self, data: bytes) -> tuple[bytes, int]:
        if not data.startswith(_MAGIC) or len(data) < 12:
            raise self._refuse("does not begin as an npy file does")
        width = {1: 2, 2: 4, 3: 4}.get(data[6])
        if width is None:
            raise self._refuse(f"is of npy version {data[6]}.{data[7]}; 1, 2 and 3 are known")
        length = int.from_bytes(data[8 : 8 + width], "little")
        start = 8 + width + length
        if length > MAX_HEADER or start > len(data):
            raise self._refuse(f"claims a header of {length} bytes; {MAX_HEADER} are allowed")
        return data[8 + width : start], start

    def _fields(self, text: bytes) -> dict[str, Any]:
        try:
            fields = ast.literal_eval(text.decode("utf-8").strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            raise self._refuse("has a header that is not a plain dictionary") from None
        if not isinstance(fields, dict) or set(fields) != {"descr", "fortran_order", "shape"}:
            raise self._refuse("has a header without exactly descr, fortran_order and shape")
        return fields

    def _dtype(self, descr: Any) -> np.dtype[Any]:
        try:
            dtype = np.dtype(descr) if isinstance(descr, str) else np.dtype(object)
        except (TypeError, ValueError):
            raise self._refuse(f"has the unknown dtype {str(descr)[:60]!r}") from None
        if dtype.kind not in "biufcV" or dtype.hasobject or dtype.subdtype is not None:
            raise self._refuse(f"holds entries of dtype {str(descr)[:60]!r}: only plain numbers are read")
        return dtype

    def array(self, raw: NDArray[np.uint8]) -> NDArray[Any]:
        """The entries in `raw`, shaped."""
        return raw.view(self.dtype).reshape(self.shape, order="F" if self.fortran else "C")


def _dtype_name(dtype: np.dtype[Any]) -> str:
    return f"V{dtype.itemsize}" if dtype.kind == "V" else dtype.newbyteorder("=").name


class NpyFile(Checkpoint):
    """One array in one npy file; its tensor is named after the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = open_regular(path)
        try:
            size = os.fstat(self._descriptor).st_size
            head = read_exactly(self._descriptor, str(path), 0, min(size, MAX_HEADER + 12)).tobytes()
            self._header = _Header(path, head, size)
        except BaseException:
            self.close()
            raise
        start, shape = self._header.data_start, self._header.shape
        tensor = Tensor(path.stem, _dtype_name(self._header.dtype), shape, size - start, 0, start)
        super().__init__([SourceFile(str(path), "npy", size)], [tensor])

    def close(self) -> None:
        """See `Checkpoint.close`."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def read(self, tensor: Tensor) -> NDArray[Any]:
        """See `Checkpoint.read`."""
        return self._header.array(read_exactly(self._descriptor, str(self._path), tensor.offset, tensor.nbytes))


class NpzFile(Checkpoint):
    """The arrays of one npz file, each inflated alone and only as far as its header promises."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.fdopen(open_regular(path), "rb")
        try:
            size = os.fstat(self._file.fileno()).st_size
            self._zip = self._guard(lambda: zipfile.ZipFile(self._file))
            members = self._members(size)
            self._headers = {name: self._read_header(info) for name, info in members.items()}
        except BaseException:
            self._file.close()
            raise
        self._infos = members
        tensors = [
            Tensor(name, _dtype_name(h.dtype), h.shape, members[name].file_size - h.data_start, 0)
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
        raw = self._guard(lambda: self._inflate(info, header.data_start, tensor.nbytes))
        return header.array(raw)

    def _inflate(self, info: zipfile.ZipInfo, start: int, size: int) -> NDArray[np.uint8]:
        buffer = np.empty(size, dtype=np.uint8)
        with self._zip.open(info) as stream:
            _fill(stream, np.empty(start, dtype=np.uint8), self._path)
            _fill(stream, buffer, self._path)
            if stream.read(1):
                raise CheckpointError(self._path, f"member {info.filename[:80]!r} is longer than it says", _REMEDY)
        return buffer

    def _read_header(self, info: zipfile.ZipInfo) -> _Header:
        def head() -> bytes:
            with self._zip.open(info) as stream:
                return bytes(stream.read(MAX_HEADER + 12))

        return _Header(f"{self._path}[{info.filename[:80]}]", self._guard(head), info.file_size)

    def _members(self, size: int) -> dict[str, zipfile.ZipInfo]:
        infos = sorted(self._zip.infolist(), key=lambda i: i.header_offset)
        if len(infos) > MAX_MEMBERS:
            raise CheckpointError(self._path, f"has {len(infos)} members; {MAX_MEMBERS} are allowed", _REMEDY)
        members: dict[str, zipfile.ZipInfo] = {}
        position = 0
        for info in infos:
            problem = _member_problem(info, members)
            if info.header_offset < position:
                problem = "overlaps another member"
            position = info.header_offset + 30 + len(info.filename) + info.compress_size
            if problem or position > size:
                problem = problem or "reaches beyond the file"
                raise CheckpointError(self._path, f"member {info.filename[:80]!r} {problem}", _REMEDY)
            members[info.filename.removesuffix(".npy")] = info
        return members

    def _guard(self, action: Any) -> Any:
        try:
            return action()
        except (
            zipfile.BadZipFile,
            zlib.error,
            NotImplementedError,
            RuntimeError,
            EOFError,
            ValueError,
            OSError,
        ) as error:
            if isinstance(error, CheckpointError):
                raise
            raise CheckpointError(self._path, f"is not a sound npz archive ({error})", _REMEDY) from None


def _member_problem(info: zipfile.ZipInfo, seen: dict[str, zipfile.ZipInfo]) -> str:
    if not info.filename.endswith(".npy"):
        return "is not an npy array"
    if info.filename.removesuffix(".npy") in seen:
        return "appears twice"
    if info.flag_bits & 0x1:
        return "is encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"uses compression method {info.compress_type}; stored and deflated are read"
    if info.file_size > BOMB_BYTES and info.file_size > BOMB_RATIO * max(info.compress_size, 1):
        return f"would inflate {info.compress_size} bytes to {info.file_size}, which looks like a bomb"
    return ""


def _fill(stream: IO[bytes], buffer: NDArray[np.uint8], path: Path) -> None:
    view = buffer.data
    done = 0
    while done < len(view):
        piece = stream.read(min(len(view) - done, 1 << 20))
        if not piece:
            raise CheckpointError(path, "ends before the data its header promises", _REMEDY)
        view[done : done + len(piece)] = piece
        done += len(piece)
