"""The spectral norm as a differentiable function, for a loss of one's own: exact, or by converged Krylov iteration.

`svd`: exact to the precision of the weight, twice differentiable; ties as in `losses.spectral_functions`. Cost:
one SVD, 4·m²n multiplications and more.
`krylov`: from below, to about 1e-6 relative where the top is separated (1e-5 where hundreds of values crowd there); its
gradient is that of `svd` at convergence, its second derivative takes the singular vectors for constant. Cost: some ten
to a hundred passes over the weight with k + 4 vectors. It reads numbers from the device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, cast

import torch

from opnorm.constraint.losses.spectral_functions import singular_values, tied_means
from opnorm.constraint.normalization.iteration import chirp, sharpen
from opnorm.constraint.normalization.operators import Matrix, Operator, convolution_operator
from opnorm.errors import UndefinedNorm, UnsupportedInput, UsageError
from opnorm.linalg.convolution.geometry import Settings

Method: TypeAlias = Literal["auto", "svd", "krylov"]

EXACT = 512
"""Short sides up to this take an SVD where the method is 'auto'."""


def differentiable_spectral_norm(
    weight: torch.Tensor,
    k: int = 1,
    *,
    method: Method = "auto",
    settings: Mapping[str, Any] | None = None,
    input_shape: Sequence[int] | None = None,
) -> torch.Tensor:
    """σ₁ of a matrix, a scalar; for k > 1 the vector of the k largest singular values.

    settings: a convolution's, as for `opnorm.Convolution` (stride, padding, groups, …); then `weight` is its kernel,
    and the operator that of input_shape (channels, *size), or of any size. Gradient: u₁v₁ᵀ; the mean over tied values;
    0 for a matrix of zeros. Not a bound: measure what is saved.

    Raises `UnsupportedInput` for what has no norm here, `UndefinedNorm` for NaN or Inf, `UsageError` for the rest.
    """
    if type(k) is not int or k < 1:
        raise UsageError(f"k={k!r} is not possible: give a whole number of at least 1")
    if method not in ("auto", "svd", "krylov"):
        raise UsageError(f"method={method!r} is not known; choose 'auto', 'svd' or 'krylov'")
    if settings is not None:
        if method == "svd":
            raise UsageError("method='svd' is for matrices; a convolution's norm takes 'krylov'")
        shape = None if input_shape is None else tuple(input_shape)
        operator: Operator = convolution_operator(tuple(weight.shape), cast("Settings", dict(settings)), shape)
        found = krylov_values(weight, operator, k)
    elif (weight.ndim == 2 and min(weight.shape) > EXACT and method == "auto") or method == "krylov":
        if weight.ndim != 2 or weight.numel() == 0:
            raise UnsupportedInput(f"a tensor of shape {tuple(weight.shape)} is no matrix with entries; give two axes")
        found = krylov_values(weight, Matrix(), k)
    else:
        found = singular_values(weight, k)
    return found[0] if k == 1 else found


def krylov_values(weight: torch.Tensor, operator: Operator, k: int) -> torch.Tensor:
    """The k largest singular values of an operator (as many as there are), differentiable in the weight once."""
    whole = operator.prepared(weight)
    if not bool(torch.isfinite(whole).all()):
        raise UndefinedNorm(int(whole.isnan().sum()), int(whole.isinf().sum()))
    rows, columns = operator.shape(weight)
    count = min(k + 2, rows, columns)
    start = torch.cat([chirp(columns, -1 - i, whole.device, whole.dtype) for i in range(count)])
    with torch.no_grad():
        values, left, right = sharpen(operator, whole, start)
        means = _loosely_tied(values) * (values > 0)[:, None]
    return (means.mT @ operator.values(weight, left, right))[:k]


def _loosely_tied(values: torch.Tensor) -> torch.Tensor:
    """Means over values that are equal as far as the iteration tells them apart."""
    return tied_means(values.to(torch.float32)).to(values.dtype)
