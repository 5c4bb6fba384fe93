"""A folder of safetensors shards with its index; a shard that is refused does not take the others with it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from opnorm.errors import CheckpointError, OpnormError
from opnorm.readers import strict_json
from opnorm.readers.checkpoint import Checkpoint, SourceFile, Tensor, open_regular, read_exactly
from opnorm.readers.safetensors import MAX_HEADER, SafetensorsFile

_REMEDY = "Fetch the folder again, or measure its files one by one."


class ShardedCheckpoint(Checkpoint):
    """Shards read as one checkpoint. With an index, index and shards must name the same tensors."""

    def __init__(self, folder: Path, shards: dict[str, set[str] | None], problems: list[CheckpointError]) -> None:
        self._shards: list[SafetensorsFile] = []
        files: list[SourceFile] = []
        tensors: list[Tensor] = []
        for name, expected in sorted(shards.items()):
            try:
                shard = self._open(folder, name, expected)
            except OpnormError as error:
                problems.append(_as_checkpoint_error(folder / name, error))
                continue
            index = len(files)
            files.extend(shard.files)
            tensors.extend(replace(t, file=index) for t in shard.tensors)
            self._shards.append(shard)
        twice = {t.name for t in tensors}
        if len(twice) < len(tensors):
            self.close()
            raise CheckpointError(folder, "stores a tensor of the same name in two shards", _REMEDY)
        super().__init__(files, tensors, problems)

    def _open(self, folder: Path, name: str, expected: set[str] | None) -> SafetensorsFile:
        shard = SafetensorsFile(_inside(folder, name))
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
    """The checkpoint described by a `*.safetensors.index.json`."""
    return ShardedCheckpoint(index.parent, _weight_map(index), [])


def open_folder(folder: Path) -> ShardedCheckpoint:
    """Every safetensors file of a folder that has no index, as one checkpoint."""
    return ShardedCheckpoint(folder, {p.name: None for p in folder.glob("*.safetensors")}, [])


def _weight_map(index: Path) -> dict[str, set[str] | None]:
    descriptor = open_regular(index)

    try:
        size = os.fstat(descriptor).st_size
        if size > MAX_HEADER:
            raise CheckpointError(index, f"has {size} bytes; an index of {MAX_HEADER} is allowed", _REMEDY)
        raw = read_exactly(descriptor, str(index), 0, size).tobytes()
    finally:
        os.close(descriptor)
    try:
        weight_map = strict_json.parse(raw).get("weight_map")
    except ValueError as error:
        raise CheckpointError(index, f"{error}", _REMEDY) from None
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(index, "has no weight_map from tensor names to shards", _REMEDY)
    shards: dict[str, set[str] | None] = {}
    for tensor, shard in weight_map.items():
        if not isinstance(shard, str):
            raise CheckpointError(index, f"maps {tensor[:80]!r} to something that is not a file name", _REMEDY)
        names = shards.setdefault(shard, set())
        if names is not None:
            names.add(tensor)
    return shards


def _inside(folder: Path, name: str) -> Path:
    """The shard's path, refused where it leaves the folder.

    A symbolic link may stay within the folder, or be one of the Hugging Face cache's own:
    `…/snapshots/REVISION/FILE` → `…/blobs/HASH` of the same model.
    """
    path = folder / name
    if name in ("", ".", "..") or "\0" in name or Path(name).name != name or "\\" in name:
        raise CheckpointError(
            folder, f"its index names the shard {name[:80]!r}, which is not a plain file name", _REMEDY
        )
    root, target = folder.resolve(), path.resolve()
    blobs = root.parent.parent / "blobs" if root.parent.name == "snapshots" else None
    if target.parent not in (root, blobs):
        raise CheckpointError(path, "is a link that leaves the folder", _REMEDY)
    return path


def _as_checkpoint_error(path: Path, error: OpnormError) -> CheckpointError:
    return error if isinstance(error, CheckpointError) else CheckpointError(path, f"is unreadable: {error}")
