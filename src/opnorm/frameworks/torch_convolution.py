"""Convolutions explored by PyTorch's own, on the device of their kernel.

Exploration runs in float32, for float64 kernels in float64 (on the host where a device has none), with TF32 switched
off. Nothing is assumed of its rounding: what it finds is verified by float64 products on the host.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from opnorm.frameworks import require_real
from opnorm.frameworks.torch import require_entries, to_host
from opnorm.linalg.convolution.correlate import Products
from opnorm.linalg.convolution.geometry import Geometry
from opnorm.linalg.convolution.operator import Convolution
from opnorm.linalg.operator import Block

_CONV = (torch.nn.functional.conv1d, torch.nn.functional.conv2d, torch.nn.functional.conv3d)
_CONV_TRANSPOSE = (
    torch.nn.functional.conv_transpose1d,
    torch.nn.functional.conv_transpose2d,
    torch.nn.functional.conv_transpose3d,
)


class TorchConvolution(Convolution):
    """A convolution explored on `device`. Padding of other modes than zeros is done on the host."""

    device: torch.device = torch.device("cpu")

    def _explorer(self, dtype: type) -> Products:
        if dtype is np.float64 and self.device.type == "mps":
            return super()._explorer(dtype)
        return TorchCorrelation(self._scaled_kernel(dtype), self._extended, self.device)

    @cached_property
    def _explorer64(self) -> Products:
        return self._explorer(np.float64)


class TorchCorrelation:
    """The products of `Correlation` by PyTorch; blocks are host arrays (channels, *size, k)."""

    def __init__(self, kernel: NDArray[Any], geometry: Geometry, device: torch.device) -> None:
        axes = len(geometry.kernel)
        self._conv, self._conv_transpose = _CONV[axes - 1], _CONV_TRANSPOSE[axes - 1]
        self._kernel = torch.tensor(kernel, device=device)
        self._geometry = geometry

    def forward(self, block: Block) -> Block:
        """See `Correlation.forward`."""
        known = self._geometry
        with torch.no_grad(), _full_precision(self._kernel.device):
            padded = _padded(self._to_device(block), known.padding)
            return _to_block(self._conv(padded, self._kernel, None, known.stride, 0, known.dilation, known.groups))

    def adjoint(self, block: Block) -> Block:
        """See `Correlation.adjoint`: what lies in the padding is cut off, what no output sees is zero."""
        known, inputs = self._geometry, self._to_device(block)
        assert known.size is not None
        with torch.no_grad(), _full_precision(self._kernel.device):
            image = self._conv_transpose(inputs, self._kernel, None, known.stride, 0, 0, known.groups, known.dilation)
            windows = [(before, before + n) for n, (before, _) in zip(known.size, known.padding, strict=True)]
            lacking = [(0, max(0, stop - had)) for (_, stop), had in zip(windows, image.shape[2:], strict=True)]
            return _to_block(_padded(image, lacking)[(..., *(slice(*window) for window in windows))])

    def _to_device(self, block: Block) -> torch.Tensor:
        return torch.from_numpy(block).to(self._kernel.device).movedim(-1, 0)


def to_host_kernel(tensor: torch.Tensor) -> NDArray[Any]:
    """The kernel's entries on the host; `UnsupportedInput` where there are none to read."""
    require_real(tensor.is_complex(), tensor.dtype)
    require_entries(tensor, "kernel")
    return to_host(tensor)


def _padded(batch: torch.Tensor, edges: Any) -> torch.Tensor:
    """Zeros before and after each spatial axis; negative numbers cut."""
    return torch.nn.functional.pad(batch, [side for pair in reversed(edges) for side in pair])


def _to_block(batch: torch.Tensor) -> Block:
    return np.asarray(batch.movedim(0, -1).cpu().contiguous().numpy())


def _full_precision(device: torch.device) -> AbstractContextManager[Any]:
    if device.type != "cuda":
        return nullcontext()
    kept = torch.backends.cudnn
    return kept.flags(kept.enabled, benchmark=False, deterministic=kept.deterministic, allow_tf32=False)  # type: ignore[no-any-return]
