"""Convolutions, as the operators they are at their stride, padding, dilation, grouping and input size.

A convolution is not its kernel reshaped into a matrix: the reshaped kernel says how far one patch can reach one
position, while patches overlap. Its norm is a number of its own, between that of the reshaped kernel (where one full
window fits) and √taps times it, and depends on stride, padding and size (Sedghi, Gupta and Long, *The Singular Values
of Convolutional Layers*, 2019; Yi, *Asymptotic Singular Value Distribution of Linear Convolutional Layers*, 2021).
Without an input size the supremum over all sizes is bracketed. Where a checkpoint holds a kernel and nothing says
how it is applied, an upper bound for every way is given, and no lower one (`BareKernel`).

Guarantee and cost: `opnorm explain symbol`. The number that other tools print stands beside, under its own name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opnorm.bound import Bracket
from opnorm.frameworks import aslinearoperator
from opnorm.frameworks import convolution as factory
from opnorm.layers.plan import Also, Arrays, Build, ConvolutionPart, Entry
from opnorm.layers.vectors import numbers
from opnorm.linalg.convolution.by_symbol import BareKernel
from opnorm.linalg.measure import measure_operator
from opnorm.linalg.request import Request

FLATTENED = "flattened kernel"
_MEANING = "σ₁ of the kernel reshaped into a matrix, which other tools print; it is not the norm of the layer"

_DEFAULTS: dict[str, Any] = {
    "stride": 1,
    "padding": 0,
    "dilation": 1,
    "groups": 1,
    "padding_mode": "zeros",
    "output_padding": 0,
}


def convolution(
    name: str,
    shape: tuple[int, ...],
    dtype: str,
    *,
    settings: Mapping[str, Any] | None,
    input_shape: tuple[int, ...] | None = None,
    reason: str = "",
) -> Entry:
    """The row of a kernel. settings: keyword arguments of `opnorm.frameworks.convolution.convolution`, or None
    where they are not known; input_shape: (channels, *sizes), or None for any size.
    """  # fmt: skip
    transposed = bool(settings and settings.get("transposed"))
    part = ConvolutionPart(name, None if settings is None else dict(settings), input_shape)
    build = _build(part)
    words = convolution_words(shape, settings, input_shape)
    kind = "transposed convolution" if transposed else "convolution"
    also = (flattened(name, transposed=transposed),)
    return Entry(name, (name,), kind, words, shape, dtype, reason=reason, build=build, part=part, also=also)


def convolution_words(
    shape: tuple[int, ...], settings: Mapping[str, Any] | None, input_shape: tuple[int, ...] | None
) -> str:
    """Such as 'conv 64x3x7x7, stride 2, padding 3, on 3x224x224'; settings that are the usual ones are not named."""
    size = "x".join(map(str, shape))
    if settings is None:
        return f"conv {size}, unknown settings, any input size"
    head = f"{'transposed ' if settings.get('transposed') else ''}conv {size}"
    said = [
        f"{key.replace('_', ' ')} {_short(v)}" for key, d in _DEFAULTS.items() if not _is(v := settings.get(key), d)
    ]
    place = "any input size" if input_shape is None else "on " + "x".join(map(str, input_shape))
    return ", ".join((head, *said, place))


def flattened(name: str, *, transposed: bool = False) -> Also:
    """The norm of the kernel as outputs by all else, as `torch.nn.utils.spectral_norm` reshapes it."""

    def find(arrays: Arrays, request: Request) -> Bracket:
        kernel = arrays[name]
        outputs_first = kernel.swapaxes(0, 1) if transposed else kernel
        return bracket_of(outputs_first.reshape(outputs_first.shape[0], -1), request)

    return Also(FLATTENED, _MEANING, find)


def bracket_of(matrix: Any, request: Request) -> Bracket:
    """The bounds of a further number, at the evidence asked for where it was reached."""
    measurement = measure_operator(aslinearoperator(matrix), request)
    return measurement.bracket(max(request.evidence, measurement.best(request.width)))


def _build(part: ConvolutionPart) -> Build:
    def build(arrays: Arrays) -> object:
        kernel, settings = arrays[part.tensor], part.settings
        if settings is None:
            return BareKernel(numbers(kernel).reshape(tuple(kernel.shape)))
        return factory.convolution(kernel, part.input_shape, **settings)

    return build


def _is(value: Any, default: Any) -> bool:
    return value is None or value == default or (isinstance(value, tuple | list) and set(value) <= {default})


def _short(value: Any) -> str:
    """3 for (3, 3); 1x2 for (1, 2)."""
    if not isinstance(value, tuple | list):
        return str(value)
    return str(value[0]) if len(set(value)) == 1 else "x".join(str(v).replace(", ", "+") for v in value)
