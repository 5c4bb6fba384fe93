"""Files that appear whole or not at all: written beside their place under another name, flushed, then renamed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from opnorm.errors import FileAccessError, UsageError


@contextmanager
def appearing(path: Path, *, overwrite: bool = True, like: Path | None = None) -> Iterator[Path]:
    """A temporary file in the folder of `path`, which takes its place when the block ends without an error.

    Without `overwrite` a file that is there by then is left, and `UsageError` raised. It may be read by those who may
    read what was there, else by those who may read `like`, of which it is a copy.
    """
    with access(path):
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:80]}.", dir=path.parent)
        os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        with access(path):
            flush(temporary)
            os.chmod(temporary, path.stat().st_mode & 0o777 if path.is_file() else _mode(like))
            put(temporary, path, overwrite=overwrite)
            flush(path.parent)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


@contextmanager
def appearing_folder(path: Path, like: Path) -> Iterator[Path]:
    """The same for a folder that is not there yet; like: the folder whose files are copied."""
    with access(path):
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name[:80]}.", dir=path.parent))
    try:
        yield temporary
        with access(path):
            for file in temporary.iterdir():
                flush(file)
                os.chmod(file, _mode(like / file.name))
            flush(temporary)
            os.chmod(temporary, like.stat().st_mode & 0o777 & ~_umask() | 0o700)
            if os.path.lexists(path):
                raise exists(path)
            os.rename(temporary, path)
            flush(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def exists(path: Path) -> UsageError:
    """What is said of a target that is there already."""
    return UsageError(f"{path} exists: give another name, or overwrite=True (--overwrite)")


def put(temporary: Path, path: Path, *, overwrite: bool) -> None:
    """Rename; without `overwrite` by a link, which fails where something is there."""
    if overwrite:
        os.replace(temporary, path)
        return
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise exists(path) from None
    except OSError:  # a file system without links
        if os.path.lexists(path):
            raise exists(path) from None
        os.rename(temporary, path)


def flush(path: Path) -> None:
    """To the disk; folders where the system knows how."""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def access(path: Path) -> Iterator[None]:
    """What the system refuses, as a `FileAccessError` that names the target."""
    try:
        yield
    except FileAccessError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise FileAccessError(f"{path}: cannot be written: {reason}; nothing was left half-written") from error


def _mode(like: Path | None) -> int:
    """Of a new file: what a plain copy of `like` would have."""
    return (0o666 if like is None else like.stat().st_mode & 0o666) & ~_umask() | 0o600


def _umask() -> int:
    current = os.umask(0o077)
    os.umask(current)
    return current
