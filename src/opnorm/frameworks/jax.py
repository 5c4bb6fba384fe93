"""JAX arrays on any device: exploration where they live, proofs streamed to the host in blocks."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from opnorm.frameworks import require_matrix, require_real
from opnorm.frameworks.numpy import embed
from opnorm.linalg.operator import Block
from opnorm.linalg.rounding import Float64
from opnorm.linalg.stored import StoredMatrix


def accepts(matrix: Any) -> bool:
    """Whether `matrix` is a concrete JAX array."""
    return isinstance(matrix, jax.Array)


class JaxMatrix(StoredMatrix):
    """A JAX array of two dimensions where it lives; exploration in float32 at the highest precision."""

    def __init__(self, array: Any, *, inexact: bool = False) -> None:
        super().__init__(*array.shape, inexact=inexact)
        self.array = array

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        return embed(np.asarray(self.array[:, start:stop]))[0]

    @property
    def T(self) -> JaxMatrix:
        """See `LinearOperator.T`."""
        other = self.rescaled(0)
        other.array = self.array.T
        other.codomain, other.domain = self.domain, self.codomain
        return other

    def gram(self, block: Block) -> Float64:
        """See `LinearOperator.gram`."""
        if self.exponent:
            return self.gram64(np.asarray(block, dtype=np.float64))
        x = jnp.asarray(block, dtype=jnp.float32)
        total = jnp.zeros_like(x)
        width = self.block_width
        for start in range(0, self.shape[1], width):
            total = total + _part(self.array[:, start : start + width], x)
        return np.asarray(total, dtype=np.float64)


@jax.jit  # type: ignore[untyped-decorator]
def _part(part: Any, x: Any) -> Any:
    part = part.astype(jnp.float32)
    highest = jax.lax.Precision.HIGHEST
    return jnp.matmul(part, jnp.matmul(part.T, x, precision=highest), precision=highest)


def adapt(array: Any) -> JaxMatrix:
    """A `JaxMatrix` over `array`."""
    require_real(jnp.iscomplexobj(array), array.dtype)
    require_matrix(tuple(array.shape), array.dtype)
    return JaxMatrix(array, inexact=array.dtype in (jnp.int64, jnp.uint64))
