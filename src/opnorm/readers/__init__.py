"""One small file a format: strict, data only, no framework's loader, bounded memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from opnorm.errors import CheckpointError, FileAccessError, OpnormError, UsageError
from opnorm.readers.checkpoint import Checkpoint
from opnorm.readers.config import config_of
from opnorm.readers.npy import NpyFile
from opnorm.readers.npz import NpzFile
from opnorm.readers.pytorch.files import TorchFile
from opnorm.readers.safetensors import SafetensorsFile
from opnorm.readers.sharded import inside, open_folder, open_indexed

INDEX = ".safetensors.index.json"
TORCH_INDEX = ".bin.index.json"
TORCH = (".pt", ".pth", ".pth.tar", ".ckpt", ".bin")

TORCH_WEIGHTS = ("pytorch_model.bin", "adapter_model.bin", "diffusion_pytorch_model.bin")
"""The files of Hugging Face folders that hold weights; others beside them hold a trainer's state."""

READERS: dict[str, Callable[[Path], Checkpoint]] = {
    ".safetensors": SafetensorsFile,
    INDEX: open_indexed,
    ".npz": NpzFile,
    ".npy": NpyFile,
    TORCH_INDEX: open_indexed,
    **dict.fromkeys(TORCH, TorchFile),
}
"""How a file's name ends → its reader."""


def open_checkpoint(path: str | Path, input_shape: tuple[int, ...] | None = None) -> Checkpoint:
    """Open a file or folder of weights, with the `config.json` beside them.

    input_shape: of the model's input, without batch, where convolutions are to be measured at their own sizes.

    A folder is read through its `*.safetensors.index.json` if it has one, else as all its safetensors
    files, else through its `*.bin.index.json`, as its `pytorch_model.bin` or adapter, or as the only file of
    npz, npy, pt, pth or ckpt in it. `UsageError`: nothing there. `CheckpointError`: refused.
    """
    path = Path(path)
    try:
        if path.is_dir():
            checkpoint = _open_folder(path)
            _configure(checkpoint, path, checkpoint.problems)
        elif path.exists():
            checkpoint = _open_file(path)
            _configure(checkpoint, path.parent, checkpoint.notes)
        else:
            raise UsageError(f"{path}: no such file or directory; check the path")
    except OpnormError:
        raise
    except OSError as error:
        raise FileAccessError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{str(path)!r} is not a path: {error}") from None
    checkpoint.input_shape = input_shape
    return checkpoint


def _configure(checkpoint: Checkpoint, folder: Path, refused: list[OpnormError]) -> None:
    """Read the configuration; one that is refused leaves names and shapes to decide, and is reported."""
    try:
        checkpoint.config = config_of(folder)
    except OpnormError as error:
        refused.append(error)


def _open_file(path: Path) -> Checkpoint:
    for ending, reader in READERS.items():
        if path.name.endswith(ending):
            return reader(path)
    known = ", ".join(READERS)
    raise CheckpointError(path, f"is of no known format; these are read: {known}", "Save the weights as safetensors.")


def _open_folder(folder: Path) -> Checkpoint:
    names = sorted(os.listdir(folder))
    if index := _index(folder, names, INDEX):
        return open_indexed(index)
    if any(name.endswith(".safetensors") for name in names):
        return open_folder(folder)
    if index := _index(folder, names, TORCH_INDEX):
        return open_indexed(index)
    alone = (".npz", ".npy", *(ending for ending in TORCH if ending != ".bin"))
    files = [name for name in names if name in TORCH_WEIGHTS] or [name for name in names if name.endswith(alone)]
    if len(files) == 1:
        return _open_file(inside(folder, files[0]))
    looked = ", ".join(f"*{ending}" for ending in (".safetensors", *alone)) + ", " + ", ".join(TORCH_WEIGHTS)
    found = f"{len(files)} files of weights ({', '.join(files[:4])}); name one" if files else "no weights"
    raise UsageError(f"{folder}: the folder has {found}; looked for {looked}")


def _index(folder: Path, names: list[str], ending: str) -> Path | None:
    """The folder's one index of that kind, if it has one."""
    indices = [name for name in names if name.endswith(ending)]
    if len(indices) > 1:
        raise UsageError(f"{folder}: has {len(indices)} indices ({', '.join(indices)}); name the one that is meant")
    return inside(folder, indices[0]) if indices else None
