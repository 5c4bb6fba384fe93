"""ΔW = tuned − base as an operator whose rounding is known, so that ‖ΔW‖ can be PROVED.

Stored matrices: each entry of ΔW is one float64 subtraction of numbers that float64 holds exactly, so that it errs by
at most u·|ΔWᵢⱼ|: relative to the difference itself, however close the two are. Differences below 2⁻¹⁰²² are exact
(gradual underflow), and an entry is 0 exactly where both agree. So ‖ΔŴ − ΔW‖_F ≤ 2u‖ΔŴ‖_F, which is what `inexact` of
`opnorm.linalg.stored` stands for; the entrywise bounds, whose slack is γ of the number of terms and four more, cover it
too, as every entry brings one rounding to a sum and two to a sum of squares.

Convolutions of the same settings: the convolution with ΔK. Where subtraction rounds, Knuth's TwoSum gives its error λ
exactly, ΔK = fl(ΔK) + λ, and the norm of the convolution with λ, itself proved, is added on either side.

Diagonals: max |dᵢ − d'ᵢ|, what is not known of either added. All else: the sum of the two operators by
`opnorm.linalg.algebra`, whose slack is relative to ‖W‖, not to ‖ΔW‖.

Cost: 8mn bytes up to `MOST_FORMED` entries, beyond that a subtraction an entry and read.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from opnorm.bound import Evidence
from opnorm.errors import UnsupportedInput
from opnorm.frameworks.numpy import HostMatrix
from opnorm.linalg.convolution.by_symbol import BareKernel
from opnorm.linalg.convolution.operator import Convolution
from opnorm.linalg.diagonal import Diagonal
from opnorm.linalg.measure import measure_operator
from opnorm.linalg.near import Near
from opnorm.linalg.operator import LinearOperator
from opnorm.linalg.request import Request
from opnorm.linalg.rounding import UNIT, Float64, up
from opnorm.linalg.stored import StoredMatrix

MOST_FORMED = 1 << 26
"""Entries up to which ΔW is held in memory: 512 MB."""


class Difference(StoredMatrix):
    """fl(tuned − base), entry by entry in float64, formed while streaming."""

    def __init__(self, tuned: StoredMatrix, base: StoredMatrix) -> None:
        super().__init__(*tuned.shape, inexact=True)
        self.tuned, self.base = tuned, base

    def _read(self, start: int, stop: int) -> Float64:
        part = self.tuned._read(start, stop).astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            part -= self.base._read(start, stop)
        return part

    @property
    def T(self) -> Difference:
        """See `LinearOperator.T`."""
        tuned, base = self.tuned.T, self.base.T
        assert isinstance(tuned, StoredMatrix)
        assert isinstance(base, StoredMatrix)
        other = Difference(tuned, base)
        other.exponent = self.exponent
        return other


def difference(tuned: LinearOperator, base: LinearOperator) -> LinearOperator:
    """tuned − base; `UnsupportedInput` where the two are no operators of one kind and shape."""
    if isinstance(tuned, StoredMatrix) and isinstance(base, StoredMatrix):
        return _of_stored(tuned, base)
    if isinstance(tuned, Convolution | BareKernel) and isinstance(base, Convolution | BareKernel):
        return _of_kernels(tuned, base)
    if isinstance(tuned, Diagonal) and isinstance(base, Diagonal):
        return _of_diagonals(tuned, base)
    if tuned.shape != base.shape:
        raise UnsupportedInput(f"{base!r} and {tuned!r} are no operators of one shape: they have no difference")
    return tuned - base


def dense(operator: LinearOperator) -> Float64:
    """All entries in float64, for estimates."""
    width = max(1, (1 << 22) // max(operator.shape[0], 1))
    blocks = [block.copy() for block in operator.blocks64(width)]
    return np.concatenate(blocks, axis=1) if blocks else np.zeros(operator.shape)


def _of_stored(tuned: StoredMatrix, base: StoredMatrix) -> StoredMatrix:
    if tuned.shape != base.shape:
        raise UnsupportedInput(f"matrices of shapes {base.shape} and {tuned.shape} have no difference")
    if tuned.inexact or base.inexact or tuned.exponent or base.exponent:
        raise UnsupportedInput(
            "entries that float64 does not hold exactly are not compared; save them as float64 first"
        )
    streamed = Difference(tuned, base)
    if tuned.shape[0] * tuned.shape[1] > MOST_FORMED:
        return streamed
    return HostMatrix(np.ascontiguousarray(streamed._read(0, tuned.shape[1])), inexact=True)


def _of_kernels(tuned: Convolution | BareKernel, base: Convolution | BareKernel) -> LinearOperator:
    """By the settings of whichever knows them; two that know must agree."""
    if tuned.kernel.shape != base.kernel.shape:
        raise UnsupportedInput(f"kernels of shapes {base.kernel.shape} and {tuned.kernel.shape} have no difference")
    frames = [k for k in (tuned, base) if isinstance(k, Convolution)]
    if len({(f.geometry, f.transposed) for f in frames}) > 1:
        raise UnsupportedInput("the kernels are applied with different settings: their difference is no convolution")
    rounded, rest = _two_difference(tuned.kernel.astype(np.float64), base.kernel.astype(np.float64))
    operator = _with_kernel(frames, rounded)
    return Near(operator, relative=0.0, absolute=_norm_up(_with_kernel(frames, rest))) if rest.any() else operator


def _with_kernel(frames: list[Convolution], kernel: Float64) -> LinearOperator:
    return frames[0].with_kernel(kernel) if frames else BareKernel(kernel)


def _two_difference(tuned: Float64, base: Float64) -> tuple[Float64, Float64]:
    """s and e with s + e = tuned − base exactly, s rounded to nearest (Knuth, *Seminumerical Algorithms*, 4.2.2).

    Not where an entry is not finite, or s overflows: then e is 0 and s says so.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = tuned - base
        shadow = rounded - tuned
        rest = (tuned - (rounded - shadow)) - (base + shadow)
    return rounded, np.where(np.isfinite(rounded) & np.isfinite(rest), rest, 0.0)


def _norm_up(operator: LinearOperator) -> float:
    upper = measure_operator(operator, Request(Evidence.PROVED, width=0.5)).bracket(Evidence.PROVED).upper
    if upper is None:
        raise UnsupportedInput("what the subtraction of the kernels rounded away has no proved bound")
    return upper


def _of_diagonals(tuned: Diagonal, base: Diagonal) -> LinearOperator:
    if tuned.shape != base.shape:
        raise UnsupportedInput(f"diagonals of shapes {base.shape} and {tuned.shape} have no difference")
    unknown = sum(2 * d.relative * float(np.abs(d.values).max(initial=0.0)) for d in (tuned, base))
    return Near(Diagonal(tuned.values - base.values, 2 * UNIT), relative=0.0, absolute=up(unknown, 8))


def kernel_of(operator: LinearOperator) -> NDArray[Any] | None:
    """The kernel of a convolution, its settings known or not; None of anything else."""
    known = operator.operator if isinstance(operator, Near) else operator
    return known.kernel if isinstance(known, Convolution | BareKernel) else None
