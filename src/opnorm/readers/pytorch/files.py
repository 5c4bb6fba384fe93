"""PyTorch's own checkpoints (`.pt`, `.pth`, `.bin`, `.ckpt`), read without torch and with nothing executed.

Data flow: the file's first bytes decide its form (`archive`, `legacy`); a static walker (`pickles`) turns its
pickle into plain data and views of storages (`vocabulary`, `values`); `names` names the tensors.
No bytes of a storage are read until its tensor is asked for; then as many as lie between its first and last entry,
and once per storage of a zip file all of it, for the checksum. Values are bit-equal to torch's own.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opnorm.errors import CheckpointError
from opnorm.readers.checkpoint import Checkpoint, SourceFile, Tensor, allocate, open_regular, read_exactly
from opnorm.readers.npz import BOMB_BYTES, BOMB_RATIO
from opnorm.readers.pytorch.archive import TorchZip
from opnorm.readers.pytorch.byte_stream import Refusal
from opnorm.readers.pytorch.dtypes import NUMPY
from opnorm.readers.pytorch.legacy import TorchLegacy
from opnorm.readers.pytorch.names import named_tensors
from opnorm.readers.pytorch.values import Opaque, View

REMEDY = (
    "If you trust the file, open it in torch, save its tensors alone: "
    "torch.save(model.state_dict(), path), or better as safetensors."
)

_FOREIGN = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras)"),
    (b"\x93NUMPY", "a NumPy array; name it .npy"),
    (b"GGUF", "a GGUF file (llama.cpp)"),
    (b"lmgg", "a GGML file (llama.cpp)"),
    (b"tjgg", "a GGML file (llama.cpp)"),
    (b"\x1f\x8b", "compressed by gzip; decompress it first"),
    (b"BZh", "compressed by bzip2; decompress it first"),
    (b"\xfd7zXZ", "compressed by xz; decompress it first"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself; fetch it by git lfs pull"),
    (b"<!DOCTYPE", "a web page, not the file itself; download it again"),
    (b"<html", "a web page, not the file itself; download it again"),
)
_TENSORFLOW_END = (0xDB4775248B80FB57).to_bytes(8, "little")
_PROTOCOLS = (b"\x80\2", b"\x80\3", b"\x80\4", b"\x80\5")


class TorchFile(Checkpoint):
    """One open file of `torch.save`, of either form."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = open_regular(path)
        try:
            size = os.fstat(self._descriptor).st_size
            self._form = self._open(size)
            self._values = self._named(size)
        except Refusal as refusal:
            self.close()
            raise self._refuse(str(refusal)) from None
        except BaseException:
            self.close()
            raise
        tensors = [self._tensor(name, value) for name, value in self._values.items()]
        super().__init__([SourceFile(str(path), self._form.format, size)], tensors)

    def close(self) -> None:
        """See `Checkpoint.close`."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def read(self, tensor: Tensor) -> NDArray[Any]:
        """See `Checkpoint.read`. Entries that lie densely keep their order in memory; others are gathered."""
        value = self._values[tensor.name]
        if isinstance(value, Opaque):
            raise self._refuse(f"has a tensor {tensor.name[:80]!r} that {value.reason}")
        if value.dtype not in NUMPY:
            raise self._refuse(f"stores tensor {tensor.name[:80]!r} as {value.dtype}, which is not read")
        if not value.span:
            return np.empty(value.shape, NUMPY[value.dtype])
        raw = read_exactly(self._descriptor, str(self._path), tensor.offset, value.span)
        self._form.verify(value.storage.key, raw.data)
        return self._shaped(value, raw)

    def _shaped(self, view: View, raw: NDArray[np.uint8]) -> NDArray[Any]:
        dtype = np.dtype(NUMPY[view.dtype])
        strides = tuple(stride if side > 1 else 0 for side, stride in zip(view.shape, view.strides, strict=True))
        entries: NDArray[Any] = np.ndarray(view.shape, dtype, raw.data, 0, strides)
        if view.span == view.nbytes:
            return entries
        gathered: NDArray[Any] = allocate(self._path, view.nbytes).view(dtype).reshape(view.shape)
        gathered[...] = entries
        return gathered

    def _refuse(self, problem: str) -> CheckpointError:
        return CheckpointError(self._path, problem, REMEDY)

    def _fetch(self, offset: int, size: int) -> bytes:
        return read_exactly(self._descriptor, str(self._path), offset, size).tobytes()

    def _open(self, size: int) -> TorchZip | TorchLegacy:
        head = self._fetch(0, min(size, 512))
        if head.startswith(b"PK\3\4"):
            return TorchZip(self._path, self._fetch, size)
        if head[:2] in _PROTOCOLS:
            return TorchLegacy(self._fetch, size)
        raise Refusal(f"is {_kind(head, self._fetch(max(0, size - 8), min(size, 8)), size)}; it is none of torch.save")

    def _named(self, size: int) -> dict[str, View | Opaque]:
        values = named_tensors(self._form.root, self._path.stem, self._form.opcodes)
        self._form.vocabulary.require_named(list(values.values()))
        total = sum(value.nbytes for value in values.values())
        if total > BOMB_BYTES and total > BOMB_RATIO * size:
            raise Refusal(f"shows its {size} bytes as tensors of {total}, which looks like a bomb")
        return values

    def _tensor(self, name: str, value: View | Opaque) -> Tensor:
        if isinstance(value, Opaque):
            return Tensor(name, value.dtype, value.shape, value.nbytes)
        start = self._form.place(value.storage.key) + value.storage.start + value.offset
        return Tensor(name, value.dtype, value.shape, value.nbytes, 0, start)


def _kind(head: bytes, tail: bytes, size: int) -> str:
    """What a file is that is not PyTorch's, as far as its ends tell."""
    for magic, kind in _FOREIGN:
        if head.startswith(magic):
            return kind
    if head[257:262] == b"ustar":
        return "a tar archive, as torch wrote before 0.2 and others do since"
    if tail == _TENSORFLOW_END:
        return "a TensorFlow checkpoint"
    if head[8:9] == b"{" and 0 < int.from_bytes(head[:8], "little") <= size - 8:
        return "a safetensors file; name it .safetensors"
    if not size:
        return "empty"
    return f"of a kind that its first bytes, {head[:8].hex(' ')}, do not tell"
