"""A folder of shards, safetensors or PyTorch's, with its index; a refused shard does not take the others with it."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from opnorm.errors import CheckpointError, OpnormError
from opnorm.readers import strict_json
from opnorm.readers.checkpoint import Checkpoint, SourceFile, Tensor
from opnorm.readers.pytorch.files import TorchFile
from opnorm.readers.safetensors import MAX_HEADER, SafetensorsFile

MAX_SHARDS = 512
"""Each stays open; a process may hold about a thousand files."""

TORCH_SHARD = (".bin", ".pt", ".pth")
"""How the names of PyTorch's own shards end; all others are safetensors."""

_REMEDY = "Fetch the folder again, or measure its files one by one."


class ShardedCheckpoint(Checkpoint):
    """Shards read as one checkpoint. With an index, index and shards must name the same tensors."""

    def __init__(self, folder: Path, shards: dict[str, set[str] | None], problems: list[CheckpointError]) -> None:
        self._shards: list[Checkpoint] = []
        files: list[SourceFile] = []
        tensors: list[Tensor] = []
        if len(shards) > MAX_SHARDS:
            raise CheckpointError(folder, f"has {len(shards)} shards; {MAX_SHARDS} are allowed", _REMEDY)
        for name, expected in sorted(shards.items()):
            try:
                shard = self._open(folder, name, expected)
            except OpnormError as error:
                problems.append(_as_checkpoint_error(Path(folder, name), error))
                continue
            index = len(files)
            files.extend(shard.files)
            tensors.extend(replace(t, file=index) for t in shard.tensors)
            self._shards.append(shard)
        super().__init__(files, tensors, problems)
        self._require_distinct(folder)

    def _require_distinct(self, folder: Path) -> None:
        name, count = max(Counter(t.name for t in self.tensors).items(), key=lambda c: c[1], default=("", 0))
        if count > 1:
            where = ", ".join(repr(Path(self.files[t.file].path).name[:80]) for t in self.tensors if t.name == name)
            self.close()
            raise CheckpointError(folder, f"stores tensor {name[:80]!r} in more than one shard: {where}", _REMEDY)

    def _open(self, folder: Path, name: str, expected: set[str] | None) -> Checkpoint:
        path = inside(folder, name)
        shard = TorchFile(path) if name.endswith(TORCH_SHARD) else SafetensorsFile(path)
        names = {t.name for t in shard.tensors}
        if expected is not None and names != expected:
            shard.close()
            odd = sorted(names ^ expected)[0]
            where = "index but not in the shard" if odd in expected else "shard but not in the index"
            raise CheckpointError(folder / name, f"disagrees with its index: {odd[:80]!r} is in the {where}", _REMEDY)
        return shard

    def read(self, tensor: Tensor) -> NDArray[Any]:
        """See `Checkpoint.read`."""
        return self._shards[tensor.file].read(tensor)

    def close(self) -> None:
        """See `Checkpoint.close`."""
        for shard in self._shards:
            shard.close()


def open_indexed(index: Path) -> ShardedCheckpoint:
    """The checkpoint described by a `*.safetensors.index.json` or a `*.bin.index.json`."""
    return ShardedCheckpoint(index.parent, _weight_map(index), [])


def open_folder(folder: Path) -> ShardedCheckpoint:
    """Every safetensors file of a folder that has no index, as one checkpoint."""
    return ShardedCheckpoint(folder, {p.name: None for p in folder.glob("*.safetensors")}, [])


def _weight_map(index: Path) -> dict[str, set[str] | None]:
    weight_map = strict_json.read(index, MAX_HEADER, "an index", _REMEDY).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(index, "has no weight_map from tensor names to shards", _REMEDY)
    shards: dict[str, set[str]] = {}
    for tensor, shard in weight_map.items():
        if not isinstance(shard, str):
            raise CheckpointError(index, f"maps {tensor[:80]!r} to something that is not a file name", _REMEDY)
        shards.setdefault(shard, set()).add(tensor)
    return dict(shards)


def inside(folder: Path, name: str) -> Path:
    """The path of a file of the folder, refused where it leaves the folder.

    A symbolic link may stay within the folder, or be one of the Hugging Face cache's own:
    `…/snapshots/REVISION/FILE` → `…/blobs/HASH` of the same model.
    """
    if name in ("", ".", "..") or Path(name).name != name or "\\" in name or not name.isprintable():
        raise CheckpointError(folder, f"names the shard {name[:80]!r}, which is not a plain file name", _REMEDY)
    root, target = Path(os.path.realpath(folder)), Path(os.path.realpath(folder / name))
    blobs = root.parent.parent / "blobs" if root.parent.name == "snapshots" else None
    if target.parent not in (root, blobs):
        raise CheckpointError(folder / name, "is a link that leaves the folder", _REMEDY)
    return folder / name


def _as_checkpoint_error(path: Path, error: OpnormError) -> CheckpointError:
    if isinstance(error, CheckpointError):
        return error
    return CheckpointError(path, f"is a shard that cannot be read ({error})", _REMEDY)
