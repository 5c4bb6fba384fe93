"""Singular values, and sums of functions of them, as differentiable functions of a matrix, twice.

Values. ∂σ_j/∂W = u_jv_jᵀ where σ_j is simple. Where t values are equal no derivative exists, and what is returned is
the mean over them, (1/t)Σu_iv_iᵀ: a subgradient of σ₁, and the only choice that does not depend on which singular
vectors were computed. At a zero value it is 0, also a subgradient.
Hinge. Σ max(0, σ_j − c)² is a spectral function with the derivative 2Σ(σ_j − c)u_jv_jᵀ, repeated values included
(Lewis, *Derivatives of spectral functions*, 1996).
Second derivatives: DG[E] = U(Γ∘sym K + Ω∘skew K)Vᵀ + U diag(f/σ)UᵀE(I − VVᵀ) + (I − UUᵀ)EV diag(f/σ)Vᵀ for
G = U diag(f)Vᵀ, K = UᵀEV, Γ_ij = (f_i − f_j)/(σ_i − σ_j) or f′, Ω_ij = (f_i + f_j)/(σ_i + σ_j) (Daleckii–Krein on the
dilation [[0, W], [Wᵀ, 0]]). Cost: one singular value decomposition, kept for the backward passes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from opnorm.constraint.normalization.operators import working
from opnorm.errors import UndefinedNorm, UnsupportedInput

TIED = 32
"""Values within this many units of the working precision, relative to the larger, count as equal."""


class Decomposition(NamedTuple):
    """W = U diag(s) Vh, thin."""

    u: torch.Tensor
    s: torch.Tensor
    vh: torch.Tensor


def decompose(weight: torch.Tensor) -> Decomposition:
    """In float32 or float64; `UnsupportedInput` for what is no real matrix, `UndefinedNorm` for NaN and Inf."""
    if weight.ndim != 2 or weight.numel() == 0:
        raise UnsupportedInput(
            f"a tensor of shape {tuple(weight.shape)} is no matrix with entries; give two axes, and for a "
            "convolution's kernel its settings, whose operator is not its kernel reshaped"
        )
    if not weight.is_floating_point():
        raise UnsupportedInput(
            f"a tensor of dtype {weight.dtype} has no singular values here; give real floating point"
        )
    matrix = working(weight.detach())
    if not bool(torch.isfinite(matrix).all()):
        raise UndefinedNorm(int(matrix.isnan().sum()), int(matrix.isinf().sum()))
    return Decomposition(*torch.linalg.svd(matrix, full_matrices=False))


def singular_values(weight: torch.Tensor, top: int) -> torch.Tensor:
    """The `top` largest (as many as there are), differentiable."""
    known = decompose(weight)
    return _Values.apply(working(weight), *known, _shares(known.s, min(top, len(known.s))))


def hinge_sum(weight: torch.Tensor, above: float, top: int) -> torch.Tensor:
    """Σ max(0, σ_j − above)² over the `top` largest, differentiable."""
    known = decompose(weight)
    shares = _shares(known.s, min(top, len(known.s))).sum(1)
    excess = (known.s - above).clamp_min(0.0)
    slopes = 2.0 * shares * (known.s > above)
    return _Sum.apply(working(weight), *known, (shares * excess.square()).sum(), 2.0 * shares * excess, slopes)


def tied_means(values: torch.Tensor) -> torch.Tensor:
    """The matrix that takes the mean over values that count as equal; values in descending order."""
    gap = (values[:, None] - values[None, :]).abs()
    equal = (gap <= TIED * torch.finfo(values.dtype).eps * torch.maximum(values[:, None], values[None, :])).to(values)
    return equal / equal.sum(1, keepdim=True)


def _shares(values: torch.Tensor, top: int) -> torch.Tensor:
    """(all, top): how much of σ_j's gradient goes to each u_iv_iᵀ; nothing to values of zero."""
    return tied_means(values)[:, :top] * (values > 0)[:, None]


class _Values(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: torch.Tensor, u: Any, s: Any, vh: Any, shares: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(weight, u, s, vh, shares)
        return s[: shares.shape[1]].clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
        weight, u, s, vh, shares = ctx.saved_tensors
        return _Recomposed.apply(weight, u, s, vh, shares @ gradient, torch.zeros_like(s)), None, None, None, None


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, weight: torch.Tensor, u: Any, s: Any, vh: Any, value: torch.Tensor, f: Any, slopes: Any
    ) -> torch.Tensor:
        ctx.save_for_backward(weight, u, s, vh, f, slopes)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
        return gradient * _Recomposed.apply(*ctx.saved_tensors), None, None, None, None, None, None


class _Recomposed(torch.autograd.Function):
    """U diag(f) Vᵀ as a function of W and of f; slopes: df/dσ where f is a function of σ."""

    @staticmethod
    def forward(ctx: Any, _: torch.Tensor, u: Any, s: Any, vh: Any, f: Any, slopes: Any) -> torch.Tensor:
        ctx.save_for_backward(u, s, vh, f, slopes)
        return (u * f) @ vh

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, e: torch.Tensor) -> tuple[Any, ...]:
        u, s, vh, f, slopes = ctx.saved_tensors
        k = u.mT @ e @ vh.mT
        gap, total = s[:, None] - s[None, :], s[:, None] + s[None, :]
        equal = gap.abs() <= TIED * torch.finfo(s.dtype).eps * total
        even = torch.where(equal, (slopes[:, None] + slopes[None, :]) / 2, _quotient(f[:, None] - f[None, :], gap))
        odd = _quotient(f[:, None] + f[None, :], total)
        inner = even * (k + k.mT) / 2 + odd * (k - k.mT) / 2
        ratio = _quotient(f, s)[:, None]
        beyond_right = u @ (ratio * (u.mT @ e - k @ vh))
        beyond_left = (e @ vh.mT - u @ k) @ (ratio * vh)
        return u @ inner @ vh + beyond_right + beyond_left, None, None, None, k.diagonal().clone(), None


def _quotient(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.where(b == 0, torch.zeros_like(b), a / torch.where(b == 0, torch.ones_like(b), b))
