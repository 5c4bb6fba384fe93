"""SciPy sparse matrices (entries stored: everything can be proved) and SciPy operators (black boxes)."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spla
from numpy.typing import NDArray

from opnorm.frameworks import require_matrix, require_real
from opnorm.linalg.operator import Block, FunctionOperator, LinearOperator
from opnorm.linalg.rounding import Float64
from opnorm.linalg.stored import StoredMatrix


def accepts(matrix: Any) -> bool:
    """Whether `matrix` is a SciPy sparse matrix, sparse array or linear operator."""
    return bool(sp.issparse(matrix)) or isinstance(matrix, spla.LinearOperator)


class SparseMatrix(StoredMatrix):
    """A sparse matrix in compressed columns, float64. Products cost its stored entries only.

    Its rounding constants count all n terms of a sum, zeros included: valid, and rarely what limits.
    """

    def __init__(self, matrix: Any, *, inexact: bool = False) -> None:
        super().__init__(*matrix.shape, inexact=inexact)
        self.matrix = matrix

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        return np.asarray(self.matrix[:, start:stop].toarray(order="F"))

    @property
    def T(self) -> SparseMatrix:
        """See `LinearOperator.T`."""
        other = self.rescaled(0)
        other.matrix = self.matrix.T.tocsc()
        other.codomain, other.domain = self.domain, self.codomain
        return other

    def _scaled(self) -> Any:
        scaled = self.matrix.copy()
        scaled.data = np.ldexp(scaled.data, self.exponent)
        return scaled

    def matmat64(self, block: Float64) -> Float64:
        """See `LinearOperator.matmat64`."""
        return np.asarray((self._scaled() if self.exponent else self.matrix) @ block)

    def rmatmat64(self, block: Float64) -> Float64:
        """See `LinearOperator.rmatmat64`."""
        return np.asarray((self._scaled() if self.exponent else self.matrix).T @ block)

    def gram64(self, block: Float64) -> Float64:
        """See `LinearOperator.gram64`."""
        return self.matmat64(self.rmatmat64(block))

    def gram(self, block: Block) -> Block:
        """See `LinearOperator.gram`."""
        return self.gram64(np.asarray(block, dtype=np.float64))


def adapt(matrix: Any) -> LinearOperator:
    """A `SparseMatrix` in float64 (duplicates summed), or a `FunctionOperator` over a SciPy operator."""
    if isinstance(matrix, spla.LinearOperator):
        return _black_box(matrix)
    require_real(np.dtype(matrix.dtype).kind == "c", matrix.dtype)
    require_matrix(matrix.shape, matrix.dtype)
    inexact = np.dtype(matrix.dtype).itemsize > 8 or matrix.dtype in (np.int64, np.uint64)
    columns = matrix.astype(np.float64).tocsc(copy=True)
    columns.sum_duplicates()  # in float64: a sum of stored entries is the entry
    return SparseMatrix(columns, inexact=bool(inexact))


def _black_box(operator: Any) -> FunctionOperator:
    require_real(operator.dtype is not None and np.dtype(operator.dtype).kind == "c", operator.dtype)
    rows, columns = operator.shape
    return FunctionOperator(rows, columns, operator.matmat, operator.rmatmat)
