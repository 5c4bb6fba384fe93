"""NumPy arrays of any float dtype: computed in float64, the result rounded once."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opnorm.constraint.band import Band
from opnorm.constraint.projection.checks import require_finite_result, require_shape
from opnorm.constraint.projection.clipping import clipped
from opnorm.constraint.projection.spectrum import decomposed, derivative, scaled
from opnorm.errors import UndefinedNorm, UnsupportedInput
from opnorm.frameworks import require_real
from opnorm.frameworks.numpy import LOW_PRECISION


def accepts(matrix: Any) -> bool:  # noqa: ARG001
    """Whatever no other framework claimed: `numpy.asarray` decides."""
    return True


def project(matrix: Any, band: Band, stacked: bool) -> NDArray[Any]:
    """See `opnorm.project`."""
    array = _array(matrix, band, stacked)
    if array.size == 0:
        return array.copy()
    work, largest = _working(array)
    part = scaled(np, work, band.lo, band.hi, largest)
    moved = clipped(np, part, _eps(array.dtype))
    if moved is None:
        return array.copy()
    result = _rounded(moved * part.up, array.dtype)
    require_finite_result(bool(np.isfinite(result.astype(np.float64)).all()), array.dtype, band)
    kept = (moved == part.matrix).all((-1, -2), keepdims=True)
    return np.where(kept, array, result).astype(array.dtype)


def project_derivative(matrix: Any, tangent: Any, band: Band, stacked: bool) -> NDArray[Any]:
    """See `opnorm.constraint.projection.project_derivative`."""
    array = _array(matrix, band, stacked)
    direction = np.asarray(tangent)
    if direction.shape != array.shape:
        raise UnsupportedInput(f"a direction of shape {direction.shape} does not fit a matrix of shape {array.shape}")
    if array.size == 0:
        return array.copy()
    work, largest = _working(array)
    factors = decomposed(np, scaled(np, work, band.lo, band.hi, largest))
    return _rounded(derivative(np, factors, direction.astype(work.dtype)), array.dtype)


def _array(matrix: Any, band: Band, stacked: bool) -> NDArray[Any]:
    if isinstance(matrix, np.ma.MaskedArray):
        raise UnsupportedInput("a masked array cannot be projected; fill its missing entries first, with .filled(0)")
    array = np.asarray(matrix)
    require_real(array.dtype.kind == "c", array.dtype)
    if array.dtype.kind != "f" and array.dtype.name not in LOW_PRECISION:
        raise UnsupportedInput(f"an array of dtype {array.dtype} cannot hold a projection: convert it to a float dtype")
    require_shape(array.shape, band, stacked)
    return array


def _working(array: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The array in float64, and max|w_ij| of each matrix; `UndefinedNorm` for NaN or Inf."""
    work = array.astype(np.float64)
    largest = np.abs(work).max((-1, -2), keepdims=True)
    if not np.isfinite(largest).all():
        raise UndefinedNorm(int(np.isnan(work).sum()), int(np.isinf(work).sum()))
    return work, largest


def _rounded(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(dtype)


def _eps(dtype: np.dtype[Any]) -> float:
    if dtype.name not in LOW_PRECISION:
        return float(np.finfo(dtype).eps)
    limits: Any = import_module("ml_dtypes").finfo(dtype)
    return float(limits.eps)
