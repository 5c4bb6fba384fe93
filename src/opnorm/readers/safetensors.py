"""The safetensors format, read as data and nothing else; stricter than the reference reader.

8 bytes of little-endian header length, a JSON header {name: {dtype, shape, data_offsets}}, then the data.
Refused: a header beyond 25 MB or the file, duplicate keys, unknown fields, names beyond 1024 characters, sizes
that disagree with shape and dtype, overlaps, holes, and bytes after the last tensor. (The reference reader takes
headers up to 100 MB; a header of 25 MB describes more tensors than any checkpoint has.)
"""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from opnorm.errors import CheckpointError
from opnorm.readers import strict_json
from opnorm.readers.checkpoint import (
    Checkpoint,
    SourceFile,
    Tensor,
    name_problem,
    open_regular,
    read_exactly,
    shape_problem,
)

FORMAT = "safetensors"
MAX_HEADER = 25_000_000

DTYPES: dict[str, tuple[str, Any]] = {
    "BOOL": ("bool", np.bool_),
    "U8": ("uint8", np.uint8),
    "I8": ("int8", np.int8),
    "U16": ("uint16", np.uint16),
    "I16": ("int16", np.int16),
    "U32": ("uint32", np.uint32),
    "I32": ("int32", np.int32),
    "U64": ("uint64", np.uint64),
    "I64": ("int64", np.int64),
    "F16": ("float16", np.float16),
    "BF16": ("bfloat16", ml_dtypes.bfloat16),
    "F32": ("float32", np.float32),
    "F64": ("float64", np.float64),
    "F8_E4M3": ("float8_e4m3fn", ml_dtypes.float8_e4m3fn),
    "F8_E5M2": ("float8_e5m2", ml_dtypes.float8_e5m2),
    "F8_E4M3FNUZ": ("float8_e4m3fnuz", ml_dtypes.float8_e4m3fnuz),
    "F8_E5M2FNUZ": ("float8_e5m2fnuz", ml_dtypes.float8_e5m2fnuz),
    "F8_E8M0": ("float8_e8m0fnu", ml_dtypes.float8_e8m0fnu),
    "C64": ("complex64", np.complex64),
}
"""Name in the file → (name in reports, NumPy type)."""

_TYPES = dict(DTYPES.values())
_UNKNOWN = re.compile(r"[A-Z][A-Z0-9_]{0,31}")
"""A dtype that may exist: reported under its own name, which is none of those in reports, and never read."""


class SafetensorsFile(Checkpoint):
    """One open file in the safetensors format."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = open_regular(path)
        try:
            size = os.fstat(self._descriptor).st_size
            tensors = self._parse(size)
        except BaseException:
            self.close()
            raise
        super().__init__([SourceFile(str(path), FORMAT, size)], tensors)

    def close(self) -> None:
        """See `Checkpoint.close`."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def read(self, tensor: Tensor) -> NDArray[Any]:
        """See `Checkpoint.read`."""
        if tensor.dtype not in _TYPES:
            raise self._refuse(f"stores tensor {tensor.name[:80]!r} as {tensor.dtype}, a dtype that is not known")
        raw = read_exactly(self._descriptor, str(self._path), tensor.offset, tensor.nbytes)
        entries: NDArray[Any] = raw.view(_TYPES[tensor.dtype]).reshape(tensor.shape)
        return entries

    def _refuse(self, problem: str) -> CheckpointError:
        return CheckpointError(self._path, problem, "The file is damaged or not safetensors; fetch it again.")

    def _parse(self, size: int) -> list[Tensor]:
        if size < 8:
            raise self._refuse(f"has {size} bytes, too few for a safetensors header")
        length = int.from_bytes(read_exactly(self._descriptor, str(self._path), 0, 8).tobytes(), "little")
        if length > min(MAX_HEADER, size - 8):
            raise self._refuse(f"claims a header of {length} bytes; the file has {size}, {MAX_HEADER} are allowed")
        if length == 0 or read_exactly(self._descriptor, str(self._path), 8, 1).tobytes() != b"{":
            raise self._refuse("has a header that does not begin with '{'")
        raw = read_exactly(self._descriptor, str(self._path), 8, length).tobytes()
        try:
            header = strict_json.parse(raw)
        except ValueError as error:
            raise self._refuse(f"has a header that {error}") from None
        self._check_metadata(header.pop("__metadata__", {}))
        tensors = [self._tensor(name, entry, 8 + length) for name, entry in header.items()]
        tensors.sort(key=lambda t: (t.offset, t.nbytes))
        self._check_cover(tensors, 8 + length, size)
        return tensors

    def _check_metadata(self, metadata: Any) -> None:
        sound = isinstance(metadata, dict) and all(isinstance(v, str) for v in metadata.values())
        if metadata is not None and not sound:
            raise self._refuse("has a __metadata__ that is not a map of strings")

    def _tensor(self, name: str, entry: Any, base: int) -> Tensor:
        problem = name_problem(name)
        if problem:
            raise self._refuse(f"describes a tensor, {name[:80]!r}, that {problem}")
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            raise self._refuse(f"describes tensor {name[:80]!r} by other fields than dtype, shape, data_offsets")
        dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(dtype, str) or not _whole(shape) or not _whole(offsets) or len(offsets) != 2:
            raise self._refuse(f"gives tensor {name[:80]!r} a dtype, shape or data_offsets of a wrong kind")
        problem = shape_problem(tuple(shape))
        if problem:
            raise self._refuse(f"describes tensor {name[:80]!r}, which {problem}")
        begin, end = offsets
        size = end - begin
        return Tensor(name, self._dtype(name, dtype, shape, size), tuple(shape), size, 0, base + begin)

    def _dtype(self, name: str, dtype: str, shape: list[int], size: int) -> str:
        """The dtype's name in reports, once `size` is what it needs."""
        if dtype not in DTYPES:
            if not _UNKNOWN.fullmatch(dtype):
                raise self._refuse(f"gives tensor {name[:80]!r} the dtype {dtype[:40]!r}, which cannot be one")
            return dtype
        shown, kind = DTYPES[dtype]
        expected = math.prod(shape) * np.dtype(kind).itemsize
        if size != expected:
            raise self._refuse(f"gives tensor {name[:80]!r} {size} bytes; its shape and dtype need {expected}")
        return shown

    def _check_cover(self, tensors: list[Tensor], base: int, size: int) -> None:
        position = base
        for tensor in tensors:
            if tensor.offset != position or tensor.nbytes < 0:
                kind = "overlaps the one before it" if tensor.offset < position else "leaves a hole before it"
                raise self._refuse(f"stores tensor {tensor.name[:80]!r} where it {kind}")
            position += tensor.nbytes
        if position != size:
            raise self._refuse(f"has {size} bytes where its header accounts for {position}")


def _whole(values: Any) -> bool:
    """A list of whole numbers from 0 to 2⁶³; JSON's true and false are not numbers."""
    return isinstance(values, list) and all(type(v) is int and 0 <= v < 2**63 for v in values)
