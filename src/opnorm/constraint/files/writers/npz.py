"""Archives of NumPy arrays: written again member by member, the arrays that moved in the place of the old ones.

Every other member keeps its bytes, name, date and compression method; checksums are made anew.
"""

from __future__ import annotations

import copy
import shutil
import zipfile
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from opnorm.constraint.files.writers.atomic import access
from opnorm.constraint.files.writers.in_place import stored_bytes
from opnorm.readers.checkpoint import Tensor

_SLICE = 1 << 20


class Rewritten:
    """What shall become `target`: moved arrays are kept until `finish`."""

    def __init__(self, source: Path, target: Path) -> None:
        self._source = source
        self._target = target
        self._moved: dict[str, memoryview] = {}

    def write(self, tensor: Tensor, array: NDArray[Any]) -> None:
        """Keep the entries of a tensor; same dtype, shape and layout as were read."""
        self._moved[tensor.name] = stored_bytes(array)

    def finish(self) -> None:
        """Write the archive; where nothing moved, a copy."""
        if not self._moved:
            with access(self._target):
                shutil.copyfile(self._source, self._target)
            return
        with access(self._target), zipfile.ZipFile(self._source) as old, zipfile.ZipFile(self._target, "w") as new:
            for info in old.infolist():
                self._member(old, new, info)

    def _member(self, old: zipfile.ZipFile, new: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
        data = self._moved.get(info.filename.removesuffix(".npy"))
        fresh = copy.copy(info)
        with old.open(info) as reader, new.open(fresh, "w", force_zip64=info.file_size >= 1 << 31) as writer:
            if data is None:
                shutil.copyfileobj(reader, writer, _SLICE)
                return
            writer.write(reader.read(info.file_size - len(data)))  # the npy header
            for start in range(0, len(data), _SLICE):
                writer.write(data[start : start + _SLICE])
