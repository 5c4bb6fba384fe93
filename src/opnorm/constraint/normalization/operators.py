"""A weight as the linear operator it is, for iterations on small blocks of vectors: a matrix, or a convolution.

Vectors are the rows of a block (k, inputs) or (k, outputs): on the host, products from the left are several times
faster than products with a thin matrix on the right. Nothing here is a bound; iterations on these products approach
the norm from below.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch

from opnorm.constraint.kernels.convolution_products import Products
from opnorm.errors import UsageError
from opnorm.linalg.convolution.geometry import Geometry, Settings, geometry


class Operator(Protocol):
    """Products with a weight; `prepared` weights go into `forward` and `adjoint`, tracked ones into `value`."""

    def prepared(self, weight: torch.Tensor) -> torch.Tensor:
        """The weight untracked, in the precision that is worked in, in the layout that products take."""

    def shape(self, weight: torch.Tensor) -> tuple[int, int]:
        """(outputs, inputs) of the operator."""

    def forward(self, weight: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """A applied to each row."""

    def adjoint(self, weight: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """The adjoint of A applied to each row."""

    def values(self, weight: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """⟨u_i, A v_i⟩ for each pair of rows: differentiable, its gradient u_i v_iᴴ, the directions held constant."""


class Matrix:
    """A weight reshaped into (dim, all else); of one dimension it is one column."""

    def __init__(self, dim: int = 0) -> None:
        self.dim = dim

    def view(self, weight: torch.Tensor) -> torch.Tensor:
        """The two-dimensional view; tracked where the weight is."""
        if weight.ndim < 2:
            return weight.reshape(-1, 1)
        return (weight.movedim(self.dim, 0) if self.dim else weight).flatten(1)

    def prepared(self, weight: torch.Tensor) -> torch.Tensor:
        """See `Operator.prepared`."""
        return working(self.view(weight.detach()))

    def shape(self, weight: torch.Tensor) -> tuple[int, int]:
        """See `Operator.shape`."""
        rows = weight.shape[self.dim] if weight.ndim else 1
        return rows, weight.numel() // max(rows, 1)

    def forward(self, weight: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """See `Operator.forward`."""
        return rows @ weight.mT

    def adjoint(self, weight: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """See `Operator.adjoint`."""
        return rows @ weight.conj()

    def values(self, weight: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """See `Operator.values`; of the weight nothing is kept for the backward pass, which may follow a step."""
        matrix = working(self.view(weight))
        if len(left) == 1:
            return torch.mv(matrix, right[0]).mul(left[0].conj()).sum().real.reshape(1)
        found: torch.Tensor = (torch.matmul(right, matrix.mT) * left.conj()).sum(1).real
        return found


class ConvolutionOperator:
    """A convolution at one input size, or on the torus of `free_geometry` where the size is not known.

    Groups, strides, dilations, paddings of all modes and transposed convolutions are what `Products` makes of them.
    """

    def __init__(self, known: Geometry) -> None:
        assert known.size is not None
        self.geometry = known
        self._made: dict[torch.device, Products] = {}

    def prepared(self, weight: torch.Tensor) -> torch.Tensor:
        """See `Operator.prepared`."""
        return working(weight.detach())

    def shape(self, weight: torch.Tensor) -> tuple[int, int]:
        """See `Operator.shape`: of the forward convolution."""
        known = self.geometry
        assert known.size is not None
        return weight.shape[0] * math.prod(known.output), weight.shape[1] * known.groups * math.prod(known.size)

    def forward(self, weight: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """See `Operator.forward`."""
        return self._products(weight).forward(weight, self._inputs(weight, rows)).flatten(1)

    def adjoint(self, weight: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """See `Operator.adjoint`."""
        outputs = rows.reshape(len(rows), weight.shape[0], *self.geometry.output)
        return self._products(weight).adjoint(weight, outputs).flatten(1)

    def values(self, weight: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """See `Operator.values`; the backward pass keeps a copy of the kernel, so that it may follow a step."""
        kernel = working(weight).clone()
        return (self._products(kernel).forward(kernel, self._inputs(kernel, right)).flatten(1) * left).sum(1)

    def _inputs(self, weight: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        assert self.geometry.size is not None
        return rows.reshape(len(rows), weight.shape[1] * self.geometry.groups, *self.geometry.size)

    def _products(self, weight: torch.Tensor) -> Products:
        if weight.device not in self._made:
            self._made[weight.device] = Products(self.geometry, weight.device)
        return self._made[weight.device]


def convolution_operator(
    kernel: tuple[int, ...], settings: Settings, input_shape: tuple[int, ...] | None
) -> ConvolutionOperator:
    """The operator of a kernel of this shape; input_shape: (channels, *size), None for any size."""
    known = geometry(kernel, input_shape, **settings)
    return ConvolutionOperator(known if known.size is not None else free_geometry(known))


def free_geometry(known: Geometry) -> Geometry:
    """The convolution on a torus: its norm is the symbol's largest on a grid of frequencies.

    That is at most the supremum over all input sizes, and at least ∏ cos(πD/2N) of it, N frequencies an axis and D the
    symbol's degree there: 0.98 an axis for 3 taps. Padding by other values than zeros can amplify beyond it.
    """
    spans = [(k - 1) * d for k, d in zip(known.kernel, known.dilation, strict=True)]
    least = 8 if len(spans) == 3 else 16
    size = tuple(s * max(least, 6 * (span // s)) for span, s in zip(spans, known.stride, strict=True))
    if max(spans) > max(size):
        raise UsageError(f"a kernel that spans {max(spans)} is not worked with; give the input_shape")
    padding = tuple((span // 2, span - span // 2) for span in spans)
    return Geometry(known.kernel, known.stride, known.dilation, padding, "circular", known.groups, size)


def working(tensor: torch.Tensor) -> torch.Tensor:
    """Low precisions in float32; float32, float64 and complex as they are."""
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor
