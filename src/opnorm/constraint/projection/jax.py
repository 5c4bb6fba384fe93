"""JAX arrays, under `jit`, `vmap`, `grad` and `jvp`: one SVD, no branch on values.

Computed in float64 where JAX has it (`jax_enable_x64`), else in float32. The derivative is a rule of its own, so
repeated and zero singular values are no trouble; second derivatives go through JAX's SVD and are NaN where singular
values repeat. Traced arrays cannot be looked at: a NaN or an Inf in them makes the result NaN.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from opnorm.constraint.band import Band
from opnorm.constraint.projection.checks import require_finite_result, require_shape
from opnorm.constraint.projection.spectrum import Factors, decomposed, derivative, outside, rebuilt, scaled
from opnorm.errors import UndefinedNorm, UnsupportedInput
from opnorm.frameworks import require_real


def accepts(matrix: Any) -> bool:
    """Whether `matrix` is a JAX array, traced or not."""
    return isinstance(matrix, jax.Array)


def project(matrix: Any, band: Band, stacked: bool) -> Any:
    """See `opnorm.project`."""
    require_real(jnp.iscomplexobj(matrix), matrix.dtype)
    if not jnp.issubdtype(matrix.dtype, jnp.floating):
        raise UnsupportedInput(
            f"an array of dtype {matrix.dtype} cannot hold a projection: convert it to a float dtype"
        )
    require_shape(matrix.shape, band, stacked)
    if matrix.size == 0:
        return jnp.array(matrix)
    traced = isinstance(matrix, jax.core.Tracer)
    if not traced and not bool(jnp.isfinite(matrix).all()):
        raise UndefinedNorm(int(jnp.isnan(matrix).sum()), int(jnp.isinf(matrix).sum()))
    result = _projected(matrix, _fitting(band.lo), _fitting(band.hi))
    if not traced:
        require_finite_result(bool(jnp.isfinite(result).all()), matrix.dtype, band)
    return result


def _fitting(edge: float) -> float:
    """The edge, or inf where JAX's own float does not hold it."""
    return edge if edge <= float(jnp.finfo(jnp.asarray(0.0).dtype).max) else math.inf


@jax.custom_jvp
def _differentiable(matrix: Any, lo: Any, hi: Any) -> Any:
    return _value(matrix, *_decomposed(matrix, lo, hi))


@_differentiable.defjvp
def _jvp(primals: tuple[Any, Any, Any], tangents: tuple[Any, Any, Any]) -> tuple[Any, Any]:
    (matrix, lo, hi), (tangent, *_) = primals, tangents
    factors, up = _decomposed(matrix, lo, hi)
    moved = derivative(jnp, factors, tangent.astype(factors.sigma.dtype)).astype(matrix.dtype)
    return _value(matrix, factors, up), moved


_projected = jax.jit(_differentiable)


def _decomposed(matrix: Any, lo: Any, hi: Any) -> tuple[Factors, Any]:
    work = matrix.astype(jnp.asarray(0.0).dtype)
    part = scaled(jnp, work, lo, hi, abs(work).max((-1, -2), keepdims=True))
    return decomposed(jnp, part), part.up


def _value(matrix: Any, factors: Factors, up: Any) -> Any:
    return jnp.where(outside(factors), (rebuilt(factors) * up).astype(matrix.dtype), matrix)
