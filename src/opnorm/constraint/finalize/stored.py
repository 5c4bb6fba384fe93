"""Weights as they are stored: formats, their rounding, and the way from a framework to the host and back.

A finished weight is rounded once, to nearest, into the format it is saved in.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from opnorm.errors import UnsupportedInput

FORMATS = {
    "float64": 2.0**-53,
    "float32": 2.0**-24,
    "float16": 2.0**-11,
    "bfloat16": 2.0**-8,
    **dict.fromkeys(("float8_e4m3fn", "float8_e4m3fnuz"), 2.0**-4),
    **dict.fromkeys(("float8_e5m2", "float8_e5m2fnuz"), 2.0**-3),
}
"""Formats in which weights can be finished, each with its unit roundoff u: |fl(x) − x| ≤ u|x| unless subnormal."""


def format_of(dtype: Any) -> str:
    """'bfloat16' for torch.bfloat16, a NumPy dtype or a string; `UnsupportedInput` for what is not in `FORMATS`."""
    text = str(dtype).removeprefix("torch.")
    name = text if text in FORMATS else getattr(dtype, "name", text)
    if name not in FORMATS:
        raise UnsupportedInput(f"weights of dtype {text[:60]} are not finished: choose one of {', '.join(FORMATS)}")
    return str(name)


def numpy_dtype(name: str) -> np.dtype[Any]:
    """The NumPy type of a format."""
    return np.dtype(getattr(np, name, None) or getattr(ml_dtypes, name))


def rounded(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """To nearest; beyond the format's range infinite or NaN, which whoever stores it must look for."""
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        return values.astype(dtype)


def is_torch(weight: Any) -> bool:
    """Whether a weight is a torch tensor; torch is not loaded for it."""
    return "torch" in sys.modules and isinstance(weight, sys.modules["torch"].Tensor)


def on_host(weight: Any) -> NDArray[Any]:
    """A NumPy view of a weight, or a copy from another device."""
    if is_torch(weight):
        array: NDArray[Any] = import_module("opnorm.frameworks.torch").to_host(weight)
        return array
    return np.asarray(weight)


def like(values: NDArray[Any], weight: Any) -> Any:
    """`values`, bit by bit, in the framework and on the device of `weight`."""
    if not is_torch(weight):
        return values
    torch = sys.modules["torch"]
    values = np.ascontiguousarray(values)
    if values.dtype.name in ("float64", "float32", "float16"):
        return torch.from_numpy(values).to(weight.device)
    codes = torch.from_numpy(values.view(f"i{values.dtype.itemsize}"))
    return codes.view(getattr(torch, values.dtype.name)).to(weight.device)
