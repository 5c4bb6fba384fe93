"""Fashion-MNIST (Xiao et al. 2017), 70,000 images of 28×28 in ten classes, from the files of Debian's package.

They are gzipped IDX files: two zero bytes, the type, the number of dimensions, the sizes, the values. They are sought
in the folder given, else in `datasets/fashion-mnist` of each folder of XDG_DATA_DIRS.
"""

from __future__ import annotations

import gzip
import os
import zlib
from math import prod
from pathlib import Path

import numpy as np

from opnorm.errors import FileAccessError, UsageError
from opnorm.experiment.data.words import shown

FILES = (
    "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz",
)  # fmt: skip
_SHARES = os.pathsep.join(("/usr/local/share", "/usr/share"))  # what the XDG standard says where nothing is set
_LARGEST = 1 << 30
_UNSIGNED_BYTES = 8


def is_idx_folder(folder: Path) -> bool:
    """Whether the four files are there."""
    return all(os.path.isfile(folder / f) for f in FILES)


def fashion_mnist(folder: Path | None = None) -> tuple[np.ndarray, np.ndarray, int]:
    """Images (n, 1, height, width) of bytes, classes, and how many at the end are the official test part."""
    shares = (os.environ.get("XDG_DATA_DIRS") or _SHARES).split(os.pathsep)
    places = [folder] if folder else [Path(s) / "datasets" / "fashion-mnist" for s in shares]
    found = next((p for p in places if is_idx_folder(p)), None)
    if found is None:
        raise UsageError(
            "Fashion-MNIST is not installed: on Debian or Ubuntu, apt-get install dataset-fashion-mnist; elsewhere "
            f"give --data the folder with its four files ({', '.join(FILES)})"
        )
    train, train_classes, test, test_classes = (_idx(found / f) for f in FILES)
    if train.shape[1:] != test.shape[1:] or (len(train), len(test)) != (len(train_classes), len(test_classes)):
        raise UsageError(f"the four files in {shown(found)} do not belong together: install the set again")
    return np.concatenate([train, test])[:, None], np.concatenate([train_classes, test_classes]), len(test)


def _idx(path: Path) -> np.ndarray:
    try:
        with gzip.open(path) as file:
            head = file.read(4)
            several = head[3] if len(head) == 4 and head[:3] == bytes((0, 0, _UNSIGNED_BYTES)) else 0
            sizes = [int.from_bytes(file.read(4), "big") for _ in range(several)]
            values = file.read(min(prod(sizes), _LARGEST) + 1) if several in (1, 3) else b""
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UsageError(f"{shown(path)} is damaged ({error}): install the set again") from error
    except OSError as error:
        raise FileAccessError(f"{shown(path)} cannot be read: {error.strerror or error}") from error
    if not sizes or not values or len(values) != prod(sizes):
        raise UsageError(f"{shown(path)} is not an IDX file of images or labels: install the set again")
    return np.frombuffer(values, dtype=np.uint8).reshape(sizes)
