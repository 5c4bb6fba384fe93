"""A convolution from a kernel in any framework: the kernel to the host, exactly; the products where it lives.

Kernels are small and read once: every proof runs on the host copy. NumPy products are as fast as PyTorch's own on
the host, so only kernels on another device are explored there (`opnorm.frameworks.torch_convolution`). JAX
kernels are copied to the host and explored there.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from opnorm.errors import UnsupportedInput
from opnorm.frameworks import require_real
from opnorm.frameworks.numpy import embed
from opnorm.linalg.convolution.geometry import Padding, Sizes
from opnorm.linalg.convolution.operator import Convolution as _Convolution


def convolution(
    kernel: Any,
    input_shape: Sequence[int] | None = None,
    *,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    transposed: bool = False,
    output_padding: Sizes = 0,
) -> _Convolution:
    """The linear operator of a convolution in one, two or three dimensions.

    kernel: a NumPy, PyTorch or JAX array of any real dtype, laid out as in PyTorch: (out channels, in channels/groups,
    *k), transposed (in channels, out channels/groups, *k). Parameters are detached; the kernel is copied as it is now.
    input_shape: (channels, *size) of the input, without a batch; None: any size, and what is bounded is the supremum.
    stride, dilation, output_padding: one number, or one a spatial axis. padding: the same, or a pair (before, after)
    an axis, or 'same' or 'valid'. padding_mode: 'zeros', 'circular', 'reflect' or 'replicate'.

    Raises `UnsupportedInput` for what is no real kernel, `UsageError` for settings that do not fit it. The kernel's
    entries are looked at when measured: `UndefinedNorm` for NaN or Inf.
    """
    elsewhere = _is_torch(kernel) and kernel.device.type not in ("cpu", "meta")
    kind = cast("type[_Convolution]", _torch().TorchConvolution) if elsewhere else _Convolution
    operator = kind(
        _to_host(kernel),
        input_shape,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        padding_mode=padding_mode,
        transposed=transposed,
        output_padding=output_padding,
    )
    if elsewhere:
        cast("Any", operator).device = kernel.device
    return operator


Convolution = convolution
"""The public name, `opnorm.Convolution`."""


def _to_host(kernel: Any) -> NDArray[Any]:
    if isinstance(kernel, np.ma.MaskedArray):
        raise UnsupportedInput(
            "a masked kernel has no norm while entries are missing; fill them first, with .filled(0)"
        )
    array: NDArray[Any] = _torch().to_host_kernel(kernel) if _is_torch(kernel) else np.asarray(kernel)
    require_real(array.dtype.kind == "c", array.dtype)
    embedded, inexact = embed(array)
    if inexact:
        raise UnsupportedInput(
            f"a kernel of dtype {array.dtype} may hold entries that float64 does not; convert it to float64 first"
        )
    return np.array(embedded, order="C")  # a copy: a kernel in training changes under what is known of it


def _is_torch(kernel: Any) -> bool:
    return "torch" in sys.modules and isinstance(kernel, sys.modules["torch"].Tensor)


def _torch() -> Any:
    return import_module("opnorm.frameworks.torch_convolution")
