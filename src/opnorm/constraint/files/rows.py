"""One row of a checkpoint under a ceiling: moved where it can be written, judged where it cannot, and proved.

A matrix is clipped exactly, with every other singular value kept (`finalize`). A convolution whose settings are known
descends on its true operator where torch is installed (`conv_finalize`), else is scaled; a kernel of unknown settings
is scaled by the bound that holds for every way to apply it. Rows that lie in no one tensor are only judged.

Guarantee: what `prove` returns is PROVED of the arrays it was given. Cost: that of the clip and of the proofs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opnorm.bound import Evidence, Measurement
from opnorm.constraint.finalize.matrix import MOST_ROUNDS, finalize_matrix, require_finite
from opnorm.constraint.finalize.stored import FORMATS, format_of, like, on_host, rounded
from opnorm.errors import BoundMissed, NotFinite, UndefinedNorm
from opnorm.frameworks import aslinearoperator
from opnorm.layers.plan import ConvolutionPart, Entry, Part
from opnorm.linalg.at_most import at_most
from opnorm.linalg.measure import measure_operator
from opnorm.linalg.operator import LinearOperator
from opnorm.linalg.request import Request
from opnorm.linalg.stored import StoredMatrix

Arrays = Mapping[str, NDArray[Any]]

_WIDTHS = (1e-2, 1e-4, 1e-6)
_DESCENDING = ("float64", "float32", "float16", "bfloat16")


def seen(entry: Entry, arrays: Arrays, seed: int) -> Measurement:
    """A first look, which decides only whether there is something to move. Raises `NotFinite`."""
    return _measured(entry, arrays, Request(Evidence.PROBABLE, _WIDTHS[0], seed))


def prove(entry: Entry, arrays: Arrays, ceiling: float, seed: int) -> Measurement:
    """Bounds with an upper one of at most `ceiling`, PROVED. `BoundMissed` where there is no proof."""
    found = _tried(entry, arrays, ceiling, seed)
    if upper_of(found) <= ceiling:
        return found
    reason = f": {found.note}" if found.note else ""
    raise BoundMissed(
        f"{entry.name}: σ₁ ≤ {ceiling:g} cannot be proved, only {found.bracket(Evidence.PROVED)}{reason}; "
        "leave it out, or allow more"
    )


def _tried(entry: Entry, arrays: Arrays, ceiling: float, seed: int) -> Measurement:
    operator = _operator(entry, arrays)
    if isinstance(operator, StoredMatrix):
        return at_most(operator, ceiling, seed)
    for width in _WIDTHS:
        found = measure_operator(operator, Request(Evidence.PROVED, width, seed))
        if upper_of(found) <= ceiling or (found.bracket(Evidence.PROVED).lower or 0.0) > ceiling:
            break
    return found


def stays(entry: Entry, arrays: Arrays, first: Measurement, ceiling: float, seed: int) -> bool:
    """Whether a kernel that was not `seen` to lie under the ceiling does; matrices are looked at as they are moved."""
    if (first.bracket(Evidence.PROBABLE).lower or 0.0) > ceiling or not isinstance(entry.part, ConvolutionPart):
        return False
    return upper_of(_tried(entry, arrays, ceiling, seed)) <= ceiling


def moved(entry: Entry, arrays: Arrays, ceiling: float, seed: int) -> NDArray[Any]:
    """The entries of the row's matrix or kernel, brought under the ceiling, in their own dtype."""
    if isinstance(entry.part, Part):
        matrix = entry.part.matrix(arrays)
        values: NDArray[Any] = finalize_matrix(matrix, 0.0, ceiling, name=entry.name, seed=seed).values
        return values
    assert isinstance(entry.part, ConvolutionPart)
    kernel = arrays[entry.part.tensor]
    if entry.part.settings is not None and format_of(kernel.dtype) in _DESCENDING and find_spec("torch") is not None:
        return _descended(kernel, entry.part, ceiling, seed)
    return _scaled(entry, kernel, ceiling, seed)


def place(entry: Entry, arrays: Arrays, values: NDArray[Any]) -> None:
    """Put values where the row lies, in place."""
    assert entry.part is not None
    arrays[entry.part.tensor][entry.part.index if isinstance(entry.part, Part) else ...] = values


def upper_of(measurement: Measurement, least: Evidence = Evidence.PROVED) -> float:
    """The upper end; infinite where there is none."""
    upper = measurement.bracket(least).upper
    return math.inf if upper is None else upper


def _measured(entry: Entry, arrays: Arrays, request: Request) -> Measurement:
    try:
        return measure_operator(_operator(entry, arrays), request)
    except UndefinedNorm as error:
        raise NotFinite(entry.name, error.nan, error.inf) from None


def _operator(entry: Entry, arrays: Arrays) -> LinearOperator:
    assert entry.build is not None
    return aslinearoperator(entry.build(arrays))


def _descended(kernel: NDArray[Any], part: ConvolutionPart, ceiling: float, seed: int) -> NDArray[Any]:
    import torch

    from opnorm.constraint.finalize.convolution import finalize_convolution

    native = kernel.astype(kernel.dtype.newbyteorder("="), copy=False)
    size = None if part.input_shape is None else part.input_shape[1:]
    settings: Any = part.settings
    finished, _ = finalize_convolution(like(native, torch.empty(0)), settings, size, ceiling, seed=seed)
    return on_host(finished)


def _scaled(entry: Entry, kernel: NDArray[Any], ceiling: float, seed: int) -> NDArray[Any]:
    """The kernel times one number, rounded, and smaller by a step that doubles until the proof holds."""
    assert isinstance(entry.part, ConvolutionPart)
    wide, step = np.asarray(kernel, dtype=np.float64), FORMATS[format_of(kernel.dtype)] / 64
    values, factor = kernel, 1.0
    for _ in range(MOST_ROUNDS):
        upper = upper_of(_measured(entry, {entry.part.tensor: values}, Request(Evidence.PROVED, _WIDTHS[0], seed)))
        if upper <= ceiling:
            return values
        factor *= min(ceiling / upper, 1.0) * (1 - min(step, 0.5))
        step *= 2
        values = rounded(wide * factor, kernel.dtype)
        require_finite(values, entry.name)
    raise BoundMissed(f"{entry.name}: no multiple of the kernel was proved to have σ₁ ≤ {ceiling:g}")
