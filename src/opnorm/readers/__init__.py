"""One small file a format: strict, data only, no framework's loader, bounded memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from opnorm.errors import CheckpointError, FileAccessError, OpnormError, UsageError
from opnorm.readers.checkpoint import Checkpoint
from opnorm.readers.npy import NpyFile
from opnorm.readers.npz import NpzFile
from opnorm.readers.safetensors import SafetensorsFile
from opnorm.readers.sharded import inside, open_folder, open_indexed

INDEX = ".safetensors.index.json"

READERS: dict[str, Callable[[Path], Checkpoint]] = {
    ".safetensors": SafetensorsFile,
    INDEX: open_indexed,
    ".npz": NpzFile,
    ".npy": NpyFile,
}
"""How a file's name ends → its reader."""


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Open a file or folder of weights.

    A folder is read through its `*.safetensors.index.json` if it has one, else as all its safetensors
    files, else as its only npz or npy file. `UsageError`: nothing there. `CheckpointError`: refused.
    """
    path = Path(path)
    try:
        if path.is_dir():
            return _open_folder(path)
        if not path.exists():
            raise UsageError(f"{path}: no such file or directory; check the path")
    except OpnormError:
        raise
    except OSError as error:
        raise FileAccessError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{str(path)!r} is not a path: {error}") from None
    return _open_file(path)


def _open_file(path: Path) -> Checkpoint:
    for ending, reader in READERS.items():
        if path.name.endswith(ending):
            return reader(path)
    known = ", ".join(READERS)
    raise CheckpointError(path, f"is of no known format; these are read: {known}", "Save the weights as safetensors.")


def _open_folder(folder: Path) -> Checkpoint:
    names = sorted(os.listdir(folder))
    indices = [name for name in names if name.endswith(INDEX)]
    if len(indices) > 1:
        raise UsageError(f"{folder}: has {len(indices)} indices ({', '.join(indices)}); name the one that is meant")
    if indices:
        return open_indexed(inside(folder, indices[0]))
    if any(name.endswith(".safetensors") for name in names):
        return open_folder(folder)
    arrays = [name for name in names if name.endswith((".npz", ".npy"))]
    if len(arrays) == 1:
        return _open_file(inside(folder, arrays[0]))
    found = f"{len(arrays)} npz or npy files; name one" if arrays else "no weights"
    raise UsageError(f"{folder}: the folder has {found}; looked for *.safetensors, *.npz, *.npy")
