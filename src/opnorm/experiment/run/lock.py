"""A file held by one process at a time; the system lets go when the process ends, however it ends."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from opnorm.errors import UsageError


@contextmanager
def locked(descriptor: int, path: str | Path) -> Iterator[None]:
    """Hold the open file `descriptor`. Raises `UsageError` where another process does."""
    try:
        _lock(descriptor)
    except OSError as error:
        raise UsageError(
            f"{path}: another process is running this trial; wait for it, or give --journal another name"
        ) from error
    try:
        yield
    finally:
        _unlock(descriptor)


if sys.platform == "win32":
    import msvcrt

    FAR = 1 << 40  # locked bytes cannot be read there: one far behind the end

    def _lock(descriptor: int) -> None:
        import os

        os.lseek(descriptor, FAR, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)

    def _unlock(descriptor: int) -> None:
        import os

        os.lseek(descriptor, FAR, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
