"""torch tensors where they live, differentiable in reverse and forward mode, under `torch.func` and `vmap`.

The forward pass takes the fast path of `clipping` and keeps the weight only; its derivative takes an SVD. Both are
computed in float64 (float32 on devices without it) and rounded once. Values are looked at on the host a few times.
"""

from __future__ import annotations

from typing import Any

import torch

from opnorm.constraint.band import Band
from opnorm.constraint.projection.checks import require_finite_result, require_shape
from opnorm.constraint.projection.clipping import clipped
from opnorm.constraint.projection.spectrum import decomposed, derivative, scaled
from opnorm.errors import UndefinedNorm, UnsupportedInput
from opnorm.frameworks import require_real
from opnorm.frameworks.torch import require_entries

_WITHOUT_FLOAT64 = ("mps",)


def accepts(matrix: Any) -> bool:
    """Whether `matrix` is a torch tensor."""
    return isinstance(matrix, torch.Tensor)


def project(matrix: torch.Tensor, band: Band, stacked: bool) -> torch.Tensor:
    """See `opnorm.project`."""
    require_real(matrix.is_complex(), matrix.dtype)
    if not matrix.is_floating_point():
        raise UnsupportedInput(
            f"a tensor of dtype {matrix.dtype} cannot hold a projection: convert it to a float dtype"
        )
    require_entries(matrix, "tensor")
    require_shape(tuple(matrix.shape), band, stacked)
    result: torch.Tensor = _Projection.apply(matrix, band)
    return result


class _Projection(torch.autograd.Function):
    """P, with DP as its derivative in both modes."""

    @staticmethod
    def forward(matrix: torch.Tensor, band: Band) -> torch.Tensor:
        return _value(matrix.detach(), band)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[torch.Tensor, Band], output: torch.Tensor) -> None:  # noqa: ARG004
        ctx.save_for_backward(inputs[0])
        ctx.save_for_forward(inputs[0])
        ctx.band = inputs[1]

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return _Derivative.apply(*ctx.saved_tensors, gradient, ctx.band), None

    @staticmethod
    def jvp(ctx: Any, tangent: torch.Tensor, _: None) -> torch.Tensor:
        result: torch.Tensor = _Derivative.apply(*ctx.saved_tensors, tangent, ctx.band)
        return result

    @staticmethod
    def vmap(info: Any, dims: tuple[int | None, None], matrix: torch.Tensor, band: Band) -> tuple[torch.Tensor, int]:
        return _Projection.apply(_leading(matrix, dims[0], info.batch_size), band), 0


class _Derivative(torch.autograd.Function):
    """E ↦ DP(W)[E]; it refuses to be differentiated itself."""

    @staticmethod
    def forward(matrix: torch.Tensor, tangent: torch.Tensor, band: Band) -> torch.Tensor:
        if matrix.numel() == 0:
            return tangent.clone()
        work = matrix.detach().to(_working_dtype(matrix))
        part = scaled(torch, work, band.lo, band.hi, _largest(work))
        return derivative(torch, decomposed(torch, part), tangent.to(work.dtype)).to(tangent.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: torch.Tensor) -> None:
        """Nothing is kept."""

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:  # noqa: ARG004
        raise UnsupportedInput(_TWICE)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:  # noqa: ARG004
        raise UnsupportedInput(_TWICE)

    @staticmethod
    def vmap(info: Any, dims: Any, matrix: torch.Tensor, tangent: torch.Tensor, band: Band) -> tuple[torch.Tensor, int]:
        stacks = (_leading(x, d, info.batch_size) for x, d in zip((matrix, tangent), dims[:2], strict=True))
        return _Derivative.apply(*stacks, band), 0


_TWICE = (
    "opnorm.project has first derivatives only: its second derivative does not exist where a singular value meets an "
    "edge or another one. Differentiate once, or detach the projected weight"
)


def _value(matrix: torch.Tensor, band: Band) -> torch.Tensor:
    if matrix.numel() == 0:
        return matrix.clone()
    work = matrix.to(_working_dtype(matrix))
    largest = _largest(work)
    if not bool(largest.isfinite().all()):
        raise UndefinedNorm(int(work.isnan().sum()), int(work.isinf().sum()))
    part = scaled(torch, work, band.lo, band.hi, largest)
    moved = clipped(torch, part, torch.finfo(matrix.dtype).eps)
    if moved is None:
        return matrix.clone()
    result = (moved * part.up).to(matrix.dtype)
    require_finite_result(bool(result.to(work.dtype).isfinite().all()), matrix.dtype, band)
    kept = (moved == part.matrix).all(-1).all(-1)[..., None, None]
    return torch.where(kept, matrix, result)


def _working_dtype(matrix: torch.Tensor) -> torch.dtype:
    return torch.float32 if matrix.device.type in _WITHOUT_FLOAT64 else torch.float64


def _largest(work: torch.Tensor) -> torch.Tensor:
    return work.abs().amax((-1, -2), keepdim=True)


def _leading(tensor: torch.Tensor, dimension: int | None, size: int) -> torch.Tensor:
    return tensor.expand(size, *tensor.shape) if dimension is None else tensor.movedim(dimension, 0)
