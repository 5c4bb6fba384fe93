"""What a projection refuses, in the same words for every framework."""

from __future__ import annotations

from opnorm.constraint.band import Band
from opnorm.errors import UnsupportedInput, UsageError
from opnorm.frameworks import require_matrix


def require_shape(shape: tuple[int, ...], band: Band, stacked: bool) -> None:
    """Refuse what is no matrix; three dimensions and more only where the caller says that it is a stack."""
    if len(shape) < 3:
        require_matrix(shape, "float")
    elif not stacked:
        floor = f", and a floor such as lo={band.lo:g} cannot be held there" if band.lo > 0 else ""
        raise UnsupportedInput(
            f"an array of shape {shape} is not projected: if it is a convolution's kernel, clipping matrices cut out "
            f"of it does not bound the layer{floor} (cap it with opnorm.control, by its true operator); "
            "if it is a stack of matrices, say so with stacked=True"
        )


def require_finite_result(finite: bool, dtype: object, band: Band) -> None:
    """Refuse a projection that the dtype of the matrix cannot hold."""
    if not finite:
        raise UsageError(
            f"the projection onto {band} has entries beyond the range of {dtype}: "
            "convert the matrix to a wider dtype first, or give a lower floor or ceiling"
        )
