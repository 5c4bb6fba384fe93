"""Where the changed files of a checkpoint are written until all of them are proved: one file, or a folder.

A file, and a folder that was not there, appear by one renaming. In a folder that is there, files are exchanged one
after the other once all are complete; other files in it stay.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from opnorm.constraint.files.writers.atomic import access, appearing, appearing_folder, exists
from opnorm.constraint.files.writers.in_place import same_file
from opnorm.errors import CheckpointError, UsageError
from opnorm.readers import READERS, TORCH
from opnorm.readers.checkpoint import Checkpoint
from opnorm.readers.sharded import inside

_WEIGHTS = (*READERS, *TORCH, ".h5", ".msgpack", ".onnx", ".gguf", ".ot", ".pb", ".tflite", ".pkl", ".pickle", ".zip")
_INDEX = ".safetensors.index.json"
"""A folder's other files are copied with its weights, but for those that would be weights of their own."""


def check_target(source: Path, target: Path, *, overwrite: bool) -> None:
    """Refuse before anything is read what could not be written in the end."""
    if not source.exists():
        raise UsageError(f"{source}: no such file or directory; check the path")
    if target.name in ("", ".", ".."):
        raise UsageError(f"{str(target)!r} is no name for a file or folder to write")
    if not target.parent.is_dir():
        raise UsageError(f"{target}: its folder does not exist; make {target.parent} first")
    if same_file(source, target) and not overwrite:
        raise UsageError(f"{target} is the source itself: give another name, or overwrite=True (--overwrite)")
    if (target.exists() or target.is_symlink()) and not overwrite:
        raise exists(target)
    if source.is_dir() and not target.exists() and target.name.endswith((*READERS, *TORCH)):
        raise UsageError(
            f"{source} is a folder, which gives a folder; {target} is a file's name: leave its ending away"
        )
    if target.exists() and source.is_dir() != target.is_dir():
        kinds = ("folder", "file") if source.is_dir() else ("file", "folder")
        raise UsageError(f"{source} is a {kinds[0]} and {target} a {kinds[1]}: give a target of the same kind")
    if not source.is_dir() and _ending(source) != _ending(target):
        raise UsageError(f"{target} would hold what {source} does: give it a name that ends in {_ending(source)}")


@contextmanager
def staged(source: Path, target: Path, checkpoint: Checkpoint, *, overwrite: bool) -> Iterator[list[Path]]:
    """A path for each of the checkpoint's files, to be written; at the end of the block they take their places."""
    files = [Path(file.path) for file in checkpoint.files]
    if not source.is_dir():
        with appearing(target, overwrite=overwrite, like=source) as temporary:
            yield [temporary]
    elif not target.exists():
        with appearing_folder(target, source) as folder:
            _copy(_beside(source, files), folder)
            yield [folder / file.name for file in files]
    else:
        with ExitStack() as stack:
            if not same_file(source, target):
                _require_no_others(target, files)
                for file in _beside(source, files):
                    _copy([file], stack.enter_context(appearing(target / file.name, like=file)))
            yield [stack.enter_context(appearing(target / file.name, like=file)) for file in files]


def _beside(folder: Path, files: list[Path]) -> list[Path]:
    """The other files of a folder that belong to its weights: configuration, tokenizer, index."""
    names = {file.name for file in files}
    others = [p for p in sorted(folder.iterdir()) if p.name not in names and not p.name.startswith(".")]
    kept = [p for p in others if p.name.endswith(_INDEX) or not p.name.endswith(_WEIGHTS)]
    return [inside(folder, p.name) for p in kept if p.is_file()]


def _copy(files: list[Path], target: Path) -> None:
    """Into a folder, or one file to a path."""
    for file in files:
        with access(target):
            shutil.copyfile(file, target / file.name if target.is_dir() else target)


def _require_no_others(target: Path, files: list[Path]) -> None:
    names = {file.name for file in files}
    strange = sorted(p.name for p in target.glob("*.safetensors") if p.name not in names)
    if strange:
        raise UsageError(f"{target} holds other weights ({', '.join(strange[:4])}): give a folder without them")


def _ending(path: Path) -> str:
    return next((ending for ending in READERS if path.name.endswith(ending)), path.suffix)


def require_writable(source: Path) -> None:
    """Refuse formats that are read and not written, with what to do."""
    if source.is_file() and source.name.endswith(TORCH):
        raise CheckpointError(
            source,
            "is a PyTorch file, which is read and never written",
            "Save its state_dict as safetensors first: safetensors.torch.save_file(state_dict, 'model.safetensors').",
        )
    if source.is_file() and source.name.endswith((".index.json",)):
        raise UsageError(f"{source} is an index: give the folder that holds it")
