"""A convolution as the linear operator it is: kernel, settings, exact adjoint, and what its rounding costs.

Data flow: a block (columns, k) of vectors, each a flattened (channels, *size) → extended by the padding
(`padding`; zeros need none) → correlated with the kernel (`correlate`) → (rows, k).

Rounding. Entry by entry |fl(Ax) − Ax| ≤ γ_K|A||x| for sums of at most K products in any order, |A| the convolution
with |kernel| (its norm: `opnorm.linalg.convolution.kernel_size`): K = (c_in/groups)·taps. The adjoint's sums have
(c_out/groups)·(taps of one phase) products, as many times over as the padding takes one entry. Padding multiplies
norms by ‖P‖, since |A|P ≥ |AP| entry by entry.
Cost: `opnorm.linalg.convolution.correlate`; norms: one pass over the kernel.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Self, Unpack

import numpy as np
from numpy.typing import NDArray

from opnorm.errors import UndefinedNorm, UnsupportedInput, UsageError
from opnorm.linalg.convolution.correlate import Correlation, Products
from opnorm.linalg.convolution.geometry import Geometry, Settings, geometry
from opnorm.linalg.convolution.kernel_size import absolute_norm, adjoint_terms, frobenius_norm
from opnorm.linalg.convolution.padding import extend, fold, multiplicity
from opnorm.linalg.operator import Block, LinearOperator, Rounding
from opnorm.linalg.plan import CHEAP_COLUMNS
from opnorm.linalg.request import Found, Request, proved
from opnorm.linalg.rounding import Float64, gamma, ldexp_up, up
from opnorm.linalg.stored import UNDERFLOW

Kernel = NDArray[Any]
"""float32 or float64, (c_out, c_in/groups, *k) of the forward convolution."""

MODERATE_EXPONENT = 30
"""Kernels of norm within 2^±30 are left as they are; others are brought near 1 by a power of two."""

SINGLE_EXPONENT = 60
"""Products run in float32 where kernel and block lie within 2^±60: no sum leaves the range of float32."""

_CACHES = ("_single", "_double", "_explorer64")


class Convolution(LinearOperator):
    """2^exponent times a convolution, of one input size or (without `input_shape`) of any, or the adjoint of one.

    kernel: host float32 or float64, laid out as in PyTorch: (c_out, c_in/groups, *k), transposed
    (c_in, c_out/groups, *k), which is the kernel of the forward convolution whose adjoint it is; `geometry` is that
    forward convolution's. Products need an input_shape (channels, *size); bounds do not. settings: see `geometry`.
    """

    def __init__(self, kernel: Kernel, input_shape: Sequence[int] | None = None, **settings: Unpack[Settings]) -> None:
        _require_host(kernel)
        self.kernel: Kernel = kernel
        self.transposed = bool(settings.get("transposed", False))
        self.exponent = 0
        self.geometry: Geometry = geometry(kernel.shape, input_shape, **settings)
        inner = (kernel.shape[1] * self.geometry.groups, *(self.geometry.size or ()))
        outer = (kernel.shape[0], *(self.geometry.output if self.geometry.size else ()))
        super().__init__(*((inner, outer) if self.transposed else (outer, inner)))

    @property
    def T(self) -> Self:
        """See `LinearOperator.T`: the same kernel, the verbs exchanged."""
        other = copy.copy(self)
        other.transposed = not self.transposed
        other.codomain, other.domain = self.domain, self.codomain
        return other

    def rescaled(self, exponent: int) -> Self:
        """2^exponent·A, exact but for float64 entries that underflow (their loss is in `rounding`)."""
        other = copy.copy(self)
        for name in _CACHES:
            other.__dict__.pop(name, None)
        other.exponent = self.exponent + exponent
        return other

    def with_kernel(self, kernel: Kernel) -> Self:
        """The same settings with another kernel of this shape."""
        other = self.rescaled(0)
        other.__dict__.pop("_absolute_norm", None)
        other.kernel = kernel
        return other

    @property
    def columns_are_cheap(self) -> bool:
        """See `LinearOperator.columns_are_cheap`: each entry is one of the kernel's, or a sum of a few."""
        return max(self.shape) <= CHEAP_COLUMNS

    def centered(self) -> Self:
        """A rescaled by a power of two so that its norm is moderate, whatever the scale of the kernel."""
        norm, exponent = self._absolute_norm
        away = exponent + self.exponent
        return self if norm == 0 or abs(away) <= MODERATE_EXPONENT else self.rescaled(-away)

    def matmat(self, block: Block) -> Block:
        """See `LinearOperator.matmat`: in float32 for float32 kernels, where its range allows."""
        return self._explored(block, adjoint=self.transposed)

    def rmatmat(self, block: Block) -> Block:
        """See `LinearOperator.rmatmat`."""
        return self._explored(block, adjoint=not self.transposed)

    def matmat64(self, block: Float64) -> Float64:
        """See `LinearOperator.matmat64`."""
        return self._applied(self._double, block, np.float64, adjoint=self.transposed)

    def rmatmat64(self, block: Float64) -> Float64:
        """See `LinearOperator.rmatmat64`."""
        return self._applied(self._double, block, np.float64, adjoint=not self.transposed)

    def _explored(self, block: Block, *, adjoint: bool) -> Block:
        if self._single is None or not _fits_single(block):
            return self._applied(self._explorer64, block, np.float64, adjoint=adjoint)
        return self._applied(self._single, block, np.float32, adjoint=adjoint)

    def _applied(self, products: Products, block: Block, dtype: type, *, adjoint: bool) -> Block:
        source, target = (self.codomain, self.domain) if adjoint != self.transposed else (self.domain, self.codomain)
        if len(block) != math.prod(source):
            raise UsageError(f"a block of shape {block.shape} does not fit {self!r}: it needs {math.prod(source)} rows")
        vectors = block.shape[1]
        if 0 in (vectors, *source, *target):
            return np.zeros((math.prod(target), vectors), dtype=dtype)
        tensor: Block = np.ascontiguousarray(block, dtype=dtype).reshape(*source, vectors)
        if adjoint:
            image = fold(products.adjoint(tensor), self.geometry)
        else:
            image = products.forward(np.ascontiguousarray(extend(tensor, self.geometry)))
        return image.reshape(-1, vectors)

    @cached_property
    def _double(self) -> Products:
        return Correlation(self._scaled_kernel(np.float64), self._extended)

    @cached_property
    def _single(self) -> Products | None:
        """None where float32 would leave its range, or is coarser than the kernel."""
        norm, exponent = self._absolute_norm
        if self.kernel.dtype != np.float32 or (norm and abs(exponent + self.exponent) > SINGLE_EXPONENT):
            return None
        return self._explorer(np.float32)

    @property
    def _explorer64(self) -> Products:
        return self._double

    def _explorer(self, dtype: type) -> Products:
        return Correlation(self._scaled_kernel(dtype), self._extended)

    def _scaled_kernel(self, dtype: type) -> Kernel:
        kernel: Kernel = self.kernel.astype(dtype, copy=False)
        return np.ldexp(kernel, self.exponent) if self.exponent else kernel

    @property
    def _extended(self) -> Geometry:
        """The geometry after a padding that is not zeros."""
        known = self.geometry
        if known.size is None:
            raise UnsupportedInput(f"{self!r} has no input size, so no products; give input_shape=(channels, …)")
        if known.mode == "zeros":
            return known
        size = tuple(n + sum(pair) for n, pair in zip(known.size, known.padding, strict=True))
        return replace(known, size=size, padding=((0, 0),) * len(size), mode="zeros")

    def require_finite(self) -> None:
        """Raise `UndefinedNorm` where the kernel holds a NaN or an infinity."""
        if not np.isfinite(self.kernel).all():
            raise UndefinedNorm(int(np.isnan(self.kernel).sum()), int(np.isinf(self.kernel).sum()))

    def own_bounds(self, request: Request) -> Found | None:
        """See `LinearOperator.own_bounds`: by the symbol (`opnorm.linalg.convolution.by_symbol`)."""
        self.require_finite()
        if not self.kernel.any():
            return Found((proved("lower", 0.0, "zero"), proved("upper", 0.0, "zero")), "zero", 1)
        from opnorm.linalg.centering import scaled_back
        from opnorm.linalg.convolution.by_symbol import by_symbol  # which imports this file

        found = by_symbol(self.rescaled(-self.exponent), request)
        if found is None:
            return None
        bounds = [scaled_back(bound, self.exponent) for bound in found.bounds]
        return replace(found, bounds=tuple(b for b in bounds if b is not None), frobenius=self.frobenius())

    @property
    def rounding(self) -> Rounding | None:
        """See the module's docstring; None without an input shape, where there are no products."""
        if self.geometry.size is None:
            return None
        mantissa, exponent = self._absolute_norm
        copies = multiplicity(self.geometry)
        norm = ldexp_up(up(mantissa * math.sqrt(copies)), exponent + self.exponent)
        forward = up(gamma(self.kernel.shape[1] * self.geometry.taps) * norm + UNDERFLOW)
        adjoint = up(gamma(adjoint_terms(self.kernel, self.geometry) * copies) * norm + UNDERFLOW)
        known = Rounding(norm, forward, adjoint)
        return known.transposed if self.transposed else known

    @cached_property
    def _absolute_norm(self) -> tuple[float, int]:
        self.require_finite()
        return absolute_norm(self.kernel, self.geometry)

    def frobenius(self) -> float | None:
        """‖A‖_F to within γ_(number of entries + 4); None for any size, or where a padding repeats entries."""
        if self.geometry.size is None or self.geometry.mode != "zeros":
            return None
        self.require_finite()
        norm, exponent = frobenius_norm(self.kernel, self.geometry)
        return ldexp_up(norm, exponent + self.exponent)


def _require_host(kernel: Any) -> None:
    if not isinstance(kernel, np.ndarray) or kernel.dtype not in (np.float32, np.float64):
        kind = getattr(kernel, "dtype", type(kernel).__name__)
        raise UnsupportedInput(
            f"a kernel of {kind} is not taken here: give a host array of float32 or float64, "
            "or use opnorm.Convolution, which takes arrays of any real dtype"
        )


def _fits_single(block: Block) -> bool:
    if block.size == 0:
        return True
    largest = float(max(block.max(), -block.min()))
    return largest == 0 or 2.0**-SINGLE_EXPONENT < largest < 2.0**SINGLE_EXPONENT
