"""Data sets by name, from inside installed packages or made from a formula; nothing is downloaded."""

from __future__ import annotations

import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from opnorm.errors import UsageError
from opnorm.experiment.data.idx import fashion_mnist


@dataclass(frozen=True, slots=True)
class Loaded:
    """inputs: a frame or an array. official: rows at the end that are the test part. groups: see `Examples`."""

    inputs: Any
    targets: Any
    official: int = 0
    groups: np.ndarray | None = None


def _digits() -> Loaded:
    from sklearn.datasets import load_digits

    images, targets = load_digits(return_X_y=True)
    return Loaded(images.reshape(-1, 1, 8, 8).astype(np.float32), targets)


def _breast_cancer() -> Loaded:
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer(as_frame=True)
    return Loaded(data.data, data.target.map(dict(enumerate(data.target_names))))


def _wine() -> Loaded:
    from sklearn.datasets import load_wine

    data = load_wine(as_frame=True)
    return Loaded(data.data, data.target.map(dict(enumerate(data.target_names))))


def _diabetes() -> Loaded:
    from sklearn.datasets import load_diabetes

    data = load_diabetes(as_frame=True, scaled=False)
    return Loaded(data.data, data.target)


def _moons() -> Loaded:
    from sklearn.datasets import make_moons

    return Loaded(*make_moons(1000, noise=0.3, random_state=0))


def _fashion_mnist() -> Loaded:
    images, targets, official = fashion_mnist()
    return Loaded(images, targets, official)


TEXT = (
    "argparse", "ast", "bisect", "calendar", "configparser", "copy", "csv", "dataclasses", "difflib", "enum",
    "fractions", "functools", "heapq", "inspect", "pathlib", "random", "shutil", "statistics", "textwrap", "typing",
)  # fmt: skip
PLACES, WINDOWS, BLOCK = 64, 2000, 25
"""Characters a window, windows in all, and successive windows that stay in one part."""


def _python_source() -> Loaded:
    """Windows of the standard library's text, none overlapping; it depends on the version of Python."""
    files = [Path(sysconfig.get_path("stdlib")) / f"{name}.py" for name in TEXT]
    files = [f if f.is_file() else f.with_suffix("") / "__init__.py" for f in files]
    try:
        text = "".join(f.read_text(encoding="utf-8") for f in files)
    except OSError as error:
        raise UsageError(
            f"this Python has no source text of its library ({error.filename}): give data of your own"
        ) from error
    plain = text.encode("ascii", errors="ignore")[: WINDOWS * PLACES + 1]
    tokens = np.unique(np.frombuffer(plain, dtype=np.uint8), return_inverse=True)[1]
    windows = (len(tokens) - 1) // PLACES
    first, following = (tokens[i : i + windows * PLACES].reshape(windows, PLACES) for i in (0, 1))
    return Loaded(first, following, groups=np.arange(windows) // BLOCK)


SETS: Mapping[str, Callable[[], Loaded]] = {
    "digits": _digits,
    "breast_cancer": _breast_cancer,
    "wine": _wine,
    "diabetes": _diabetes,
    "moons": _moons,
    "fashion-mnist": _fashion_mnist,
    "python-source": _python_source,
}
"""A new one is a function and a line here."""
