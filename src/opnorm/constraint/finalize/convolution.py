"""The last move on a convolution: descend under the cap, cast, and prove what is stored.

Data flow: kernel → `ConvolutionDescent` until its Ritz values say cap/(1 + width), so that a proof of that width fits
→ Lanczos on the operator at its true size, which sees what warm vectors missed: descend again from fresh ones → cast to
the dtype of storage → proof (`measure_operator`, on the stored numbers) → where it misses, scale by cap/(proved upper
bound), cast and prove again.

Guarantee: the kernel returned has σ₁ ≤ cap, PROVED, at the input size given, or at any if none is. It is never scaled
up, and kernels under cap/(1 + width) are only cast. Scaling costs at most the width of the proof, but for
kernels whose norm is only bounded loosely (see the measurement's note).
Cost: a few dozen moves, and one or two proofs (`opnorm.linalg.convolution`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from opnorm.bound import Evidence, Measurement
from opnorm.constraint.kernels.convolution import ConvolutionDescent, working_dtype
from opnorm.constraint.outcome import read
from opnorm.errors import OpnormError, UnsupportedInput, UsageError
from opnorm.frameworks.convolution import convolution
from opnorm.linalg.convolution.geometry import Settings
from opnorm.linalg.measure import measure_operator
from opnorm.linalg.request import Request

MOVES = 60
"""Of descent from one start; about 10 bring a trained kernel within 0.1 %."""

STARTS = 3
"""Of descents, each from fresh random vectors."""

LARGEST_SIZE = 32
"""Axes of the input are cut to this for descending; the proof is at the true size."""

SHRINKS = 40
"""Rounding to a coarse dtype can undo a scaling; each repeat leaves twice the room."""

TOLERANCE = 1e-3
"""Relative, of the Ritz values above where the descent shall end."""


def finalize_convolution(
    kernel: torch.Tensor,
    settings: Settings,
    input_size: Sequence[int] | None,
    cap: float,
    dtype: torch.dtype | None = None,
    *,
    width: float = 0.01,
    seed: int = 0,
) -> tuple[torch.Tensor, Measurement]:
    """A kernel of `dtype` with σ₁ ≤ cap PROVED, near `kernel`, which is not changed; and the proof.

    settings: as `opnorm.Convolution` takes them. input_size: spatial axes only; None: any size.
    dtype: of storage, by default the kernel's. width: relative, of the proof.
    Raises `UndefinedNorm` for NaN or Inf, `UsageError` for a cap that is not above 0 or settings that do not fit.
    """
    if not (cap > 0 and math.isfinite(cap)):
        raise UsageError(f"cap {cap!r} is not possible: give a finite number above 0")
    dtype = kernel.dtype if dtype is None else dtype
    convolution(kernel.detach(), None, **settings).require_finite()
    wide = kernel.detach().to(working_dtype(kernel.dtype)).clone()
    aim = cap / (1 + width)
    guess = Request(Evidence.ESTIMATE, width, seed)
    for start in range(STARTS):
        _descend(wide, settings, input_size, aim, seed + start)
        seen = _measured(wide, settings, input_size, dtype, guess)[1].bracket(Evidence.ESTIMATE).lower or 0.0
        if seen <= aim * (1 + TOLERANCE):
            break
    return _scaled_under(wide, settings, input_size, cap, dtype, Request(Evidence.PROVED, width, seed))


def _descend(kernel: torch.Tensor, settings: Settings, input_size: Sequence[int] | None, aim: float, seed: int) -> None:
    """Move `kernel`, in place, until twice in a row its Ritz values lie under `aim`, or as often as is allowed."""
    descent = ConvolutionDescent(settings, input_size, aim=1.0, largest=LARGEST_SIZE, seed=seed)
    calm, top = 0, 0.0
    for _ in range(MOVES):
        before, top = top, read(descent.hold(kernel, 0.0, aim))["top"]
        settled = top <= aim * (1 + TOLERANCE) and abs(top - before) <= TOLERANCE * top
        calm = calm + 1 if settled else 0
        if calm == 2:
            return


def _scaled_under(
    kernel: torch.Tensor,
    settings: Settings,
    input_size: Sequence[int] | None,
    cap: float,
    dtype: torch.dtype,
    request: Request,
) -> tuple[torch.Tensor, Measurement]:
    room = torch.finfo(dtype).eps / 64
    for _ in range(SHRINKS):
        stored, proof = _measured(kernel, settings, input_size, dtype, request)
        upper = proof.bracket(Evidence.PROVED).upper
        assert upper is not None
        if upper <= cap:
            return stored, proof
        kernel = kernel * (cap / upper * (1 - min(room, 0.5)))
        room *= 2
    raise OpnormError(
        f"no multiple of the kernel could be proved under {cap:g} in {dtype}; the last bound was {upper:g}. "
        "Please report this kernel: no cap is promised of it"
    )


def _measured(
    kernel: torch.Tensor,
    settings: Settings,
    input_size: Sequence[int] | None,
    dtype: torch.dtype,
    request: Request,
) -> tuple[torch.Tensor, Measurement]:
    """The kernel as stored, and bounds on that."""
    stored = kernel.to(dtype)
    if not bool(torch.isfinite(stored.float() if stored.dtype.itemsize == 1 else stored).all()):
        raise UnsupportedInput(f"the kernel has entries that {dtype} cannot hold; store it in a wider dtype")
    shape = None if input_size is None else (_channels(kernel, settings), *input_size)
    return stored, measure_operator(convolution(stored, shape, **settings), request)


def _channels(kernel: torch.Tensor, settings: Settings) -> int:
    transposed = settings.get("transposed", False)
    return kernel.shape[0] if transposed else kernel.shape[1] * settings.get("groups", 1)
