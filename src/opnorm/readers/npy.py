"""NumPy's npy files, read without NumPy's loader: plain numbers only, no objects, no pickles, nothing evaluated."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opnorm.errors import CheckpointError
from opnorm.readers.checkpoint import Checkpoint, SourceFile, Tensor, open_regular, read_exactly, shape_problem

PREFIX = 12
"""Bytes that tell how long the header is."""

MAX_HEADER = 10_000
"""NumPy's own limit; a plain array's header has about a hundred bytes."""

_MAGIC = b"\x93NUMPY"
_REMEDY = "Save it again with numpy.save or numpy.savez from plain arrays."

_FIELD = re.compile(
    r"""\s*(?P<q>['"])(?P<key>descr|fortran_order|shape)(?P=q)\s*:\s*
    (?:(?P<p>['"])(?P<text>[^'"\\]{0,60})(?P=p)|(?P<flag>True|False)|\((?P<sides>[\d\sL,]{0,400})\))
    \s*(?:,|(?=\}))""",
    re.VERBOSE | re.ASCII,
)
_SIDES = re.compile(r"\s*(?:\d{1,19}L?\s*,\s*)*(?:\d{1,19}L?\s*)?", re.ASCII)
_DTYPE = re.compile(r"[<>=|]?(?:b1|[iu][1248]|f(?:2|4|8|12|16)|c(?:8|16|24|32)|V[1-9]\d{0,3})", re.ASCII)


def declared_end(path: object, data: bytes) -> int:
    """Where the header ends that `data`, an npy file's first `PREFIX` bytes, announces."""
    if not data.startswith(_MAGIC) or len(data) < PREFIX:
        raise _refusal(path, "does not begin as an npy file does")
    width = {(1, 0): 2, (2, 0): 4, (3, 0): 4}.get((data[6], data[7]))
    if width is None:
        raise _refusal(path, f"is of npy version {data[6]}.{data[7]}; 1.0, 2.0 and 3.0 are known")
    length = int.from_bytes(data[8 : 8 + width], "little")
    if length > MAX_HEADER:
        raise _refusal(path, f"claims a header of {length} bytes; {MAX_HEADER} are allowed")
    return 8 + width + length


class Header:
    """dtype, order and shape of one array in the npy format, and where its data begin.

    `data`: the file's beginning, up to `declared_end`. `total`: the size of the whole.
    """

    def __init__(self, path: object, data: bytes, total: int) -> None:
        self._path = path
        self.data_start = declared_end(path, data)
        if self.data_start > len(data):
            raise self._refuse(f"ends at byte {len(data)}, within its header of {self.data_start}")
        start = 10 if data[6] == 1 else 12
        fields = self._fields(data[start : self.data_start])
        self.dtype = self._dtype(fields.get("descr"))
        self.fortran = fields.get("fortran_order") == "True"
        self.shape = self._shape(fields.get("shape"))
        expected = math.prod(self.shape) * self.dtype.itemsize
        if total - self.data_start != expected:
            raise self._refuse(
                f"holds {total - self.data_start} bytes of data; its shape {self.shape} and dtype need {expected}"
            )

    def _refuse(self, problem: str) -> CheckpointError:
        return _refusal(self._path, problem)

    def _fields(self, raw: bytes) -> dict[str, str | None]:
        """The text of each field, from a dictionary of three literals; nothing is evaluated."""
        text = raw.decode("latin-1").strip()
        fields: dict[str, str | None] = {}
        position = 1
        while text[:1] == "{" and (match := _FIELD.match(text, position)):
            if match["key"] in fields:
                raise self._refuse(f"has a header that gives {match['key']} twice")
            fields[match["key"]] = match[{"descr": "text", "fortran_order": "flag", "shape": "sides"}[match["key"]]]
            position = match.end()
        if text[position:].strip() != "}" or len(fields) != 3 or None in fields.values():
            raise self._refuse("has a header that is not a dictionary of one plain descr, fortran_order and shape")
        return fields

    def _dtype(self, descr: str | None) -> np.dtype[Any]:
        if not descr or not _DTYPE.fullmatch(descr):
            raise self._refuse(f"holds entries of dtype {str(descr)[:60]!r}: only plain numbers are read")
        try:
            return np.dtype(descr)
        except (TypeError, ValueError):
            raise self._refuse(f"has the dtype {descr!r}, unknown on this machine") from None

    def _shape(self, sides: str | None) -> tuple[int, ...]:
        if sides is None or not _SIDES.fullmatch(sides) or (sides.strip() and "," not in sides):
            raise self._refuse("has a header whose shape is not a tuple of whole numbers")
        shape = tuple(int(side.strip(" L")) for side in re.sub(r"\s", " ", sides).split(",") if side.strip())
        problem = shape_problem(shape)
        if problem:
            raise self._refuse(f"holds an array that {problem}")
        return shape

    def array(self, raw: NDArray[np.uint8]) -> NDArray[Any]:
        """The entries in `raw`, shaped."""
        entries: NDArray[Any] = raw.view(self.dtype).reshape(self.shape, order="F" if self.fortran else "C")
        return entries


def _refusal(path: object, problem: str) -> CheckpointError:
    return CheckpointError(path, problem, _REMEDY)


def dtype_name(dtype: np.dtype[Any]) -> str:
    """The dtype's name in reports, whatever its byte order."""
    return f"V{dtype.itemsize}" if dtype.kind == "V" else dtype.newbyteorder("=").name


class NpyFile(Checkpoint):
    """One array in one npy file; its tensor is named after the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = open_regular(path)
        try:
            size = os.fstat(self._descriptor).st_size
            head = read_exactly(self._descriptor, str(path), 0, min(size, MAX_HEADER + PREFIX)).tobytes()
            self._header = Header(path, head, size)
        except BaseException:
            self.close()
            raise
        start, shape = self._header.data_start, self._header.shape
        tensor = Tensor(path.stem, dtype_name(self._header.dtype), shape, size - start, 0, start)
        super().__init__([SourceFile(str(path), "npy", size)], [tensor])

    def close(self) -> None:
        """See `Checkpoint.close`."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def read(self, tensor: Tensor) -> NDArray[Any]:
        """See `Checkpoint.read`."""
        return self._header.array(read_exactly(self._descriptor, str(self._path), tensor.offset, tensor.nbytes))
