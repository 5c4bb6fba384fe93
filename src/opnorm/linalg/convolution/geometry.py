"""What a convolution's settings mean: one value an axis, every short form and word resolved, every misfit refused.

Settings are read as PyTorch reads them, and beyond: padding may differ before and after. A transposed convolution is
described by the forward convolution whose adjoint it is, so that all that is proved is proved once.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, cast, get_args

from opnorm.errors import UnsupportedInput, UsageError

Mode = Literal["zeros", "circular", "reflect", "replicate"]

Sizes = int | Sequence[int]
"""One number for all axes, or one an axis."""

Padding = int | Sequence[int] | Sequence[tuple[int, int]] | Literal["same", "valid"]
"""A number for all sides, one an axis, a pair (before, after) an axis, or a word."""

MOST_AXES = 3


class Settings(TypedDict, total=False):
    """The keyword arguments of `geometry`, for what hands them on."""

    stride: Sizes
    padding: Padding
    dilation: Sizes
    groups: int
    padding_mode: str
    transposed: bool
    output_padding: Sizes


@dataclass(frozen=True, slots=True)
class Geometry:
    """A forward convolution's settings. All tuples have one item a spatial axis (1 to 3).

    padding: (before, after), 'same' and 'valid' resolved; `after` is negative where outputs are left out, which
    a transposed convolution with an output padding of its stride or more asks for. size: the input's spatial
    size; None: any size. For a transposed convolution, size is its output's.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    mode: Mode
    groups: int
    size: tuple[int, ...] | None

    @property
    def output(self) -> tuple[int, ...]:
        """Spatial size of the output: ⌊(n + p_before + p_after − (k−1)·d − 1)/s⌋ + 1 an axis; needs `size`."""
        if self.size is None:
            raise UnsupportedInput("a convolution of any input size has no output size; give an input_shape")
        return _outputs(self.size, self.kernel, self.stride, self.dilation, self.padding)

    @property
    def taps(self) -> int:
        """Positions of the kernel."""
        taps = 1
        for k in self.kernel:
            taps *= k
        return taps


def geometry(
    kernel: tuple[int, ...],
    input_shape: Sequence[int] | None,
    *,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    transposed: bool = False,
    output_padding: Sizes = 0,
) -> Geometry:
    """The forward convolution's geometry from what a user says of a kernel of shape `kernel`.

    Raises `UnsupportedInput` for a kernel that is none, `UsageError` for settings that do not fit.
    """
    axes = _axes(kernel)
    groups = _number(groups, "groups", 1)
    if kernel[0] % groups:
        raise UsageError(f"groups={groups} does not divide the {kernel[0]} channels of a kernel of shape {kernel}")
    mode = _mode(padding_mode, transposed=transposed)
    strides, dilations = _numbers(stride, "stride", axes, 1), _numbers(dilation, "dilation", axes, 1)
    spatial = kernel[2:]
    pads = _pads(padding, spatial, strides, dilations, transposed=transposed)
    channels = kernel[0] if transposed else kernel[1] * groups
    size = None if input_shape is None else _size(input_shape, channels, axes)
    extra = _numbers(output_padding, "output_padding", axes, 0)
    if transposed:
        _require_output_padding(extra, strides, dilations)
        cut = tuple(e // s * s for e, s in zip(extra, strides, strict=True))
        grown = None if size is None else _grown(size, spatial, strides, dilations, pads, extra)
        pads = tuple((before, after - c) for (before, after), c in zip(pads, cut, strict=True))
        return Geometry(spatial, strides, dilations, pads, mode, groups, grown)
    if any(extra):
        raise UsageError(f"output_padding={output_padding!r} is for transposed convolutions; add transposed=True")
    if size is not None:
        _require_room(size, spatial, strides, dilations, pads)
        _require_source(size, pads, mode)
    return Geometry(spatial, strides, dilations, pads, mode, groups, size)


def _axes(kernel: tuple[int, ...]) -> int:
    axes = len(kernel) - 2
    if not 1 <= axes <= MOST_AXES:
        raise UnsupportedInput(
            f"an array of shape {kernel} is no kernel: give (out channels, in channels/groups, then one to three "
            "spatial axes); for a transposed convolution (in channels, out channels/groups, …)"
        )
    if min(kernel[2:]) < 1:
        raise UnsupportedInput(f"a kernel of shape {kernel} has no taps: each spatial axis needs at least one")
    return axes


def _mode(mode: str, *, transposed: bool) -> Mode:
    if mode not in get_args(Mode):
        raise UsageError(f"padding_mode={mode!r} is not known; choose one of: {', '.join(get_args(Mode))}")
    if transposed and mode != "zeros":
        raise UsageError(f"padding_mode={mode!r}: a transposed convolution pads with 'zeros' only")
    return cast("Mode", mode)


def _number(value: Any, name: str, least: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise UsageError(f"{name}={value!r} is not possible: give a whole number of at least {least}") from None
    if number < least:
        raise UsageError(f"{name}={value!r} is not possible: give a whole number of at least {least}")
    return number


def _numbers(value: Any, name: str, axes: int, least: int) -> tuple[int, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        return (_number(value, name, least),) * axes
    if len(value) != axes:
        raise UsageError(f"{name}={value!r} has {len(value)} items; give one number, or {axes}: one a spatial axis")
    return tuple(_number(v, name, least) for v in value)


def _pads(
    padding: Any,
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    *,
    transposed: bool,
) -> tuple[tuple[int, int], ...]:
    axes = len(kernel)
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise UsageError(f"padding={padding!r} is not known; give 'same', 'valid', or numbers")
        if transposed:
            raise UsageError(f"padding={padding!r}: a transposed convolution takes numbers only")
        if padding == "valid":
            return ((0, 0),) * axes
        if max(strides) > 1:
            raise UsageError(f"padding='same' with stride={strides}: only a stride of 1 keeps the size; give numbers")
        totals = [d * (k - 1) for k, d in zip(kernel, dilations, strict=True)]
        return tuple((total // 2, total - total // 2) for total in totals)
    pairs = isinstance(padding, Sequence) and any(isinstance(p, Sequence) for p in padding)
    if not pairs:
        return tuple((p, p) for p in _numbers(padding, "padding", axes, 0))
    if len(padding) != axes or not all(isinstance(p, Sequence) and len(p) == 2 for p in padding):
        raise UsageError(f"padding={padding!r} is not possible: give {axes} pairs (before, after), one a spatial axis")
    return tuple((_number(a, "padding", 0), _number(b, "padding", 0)) for a, b in padding)


def _size(input_shape: Any, channels: int, axes: int) -> tuple[int, ...]:
    words = f"give ({channels} channels, then {axes} spatial size{'s' if axes > 1 else ''}), without a batch"
    if not isinstance(input_shape, Sequence) or isinstance(input_shape, str) or len(input_shape) != axes + 1:
        raise UsageError(f"input_shape={input_shape!r} does not fit the kernel: {words}")
    first, *sizes = (_number(n, "input_shape", 0) for n in input_shape)
    if first != channels:
        raise UsageError(f"input_shape={tuple(input_shape)!r} has {first} channels, the kernel {channels}: {words}")
    if min(sizes) < 1:
        raise UsageError(f"input_shape={tuple(input_shape)!r} has an empty axis: {words}")
    return tuple(sizes)


def _outputs(
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    pads: tuple[tuple[int, int], ...],
) -> tuple[int, ...]:
    parts = zip(size, kernel, strides, dilations, pads, strict=True)
    return tuple((n + sum(p) - (k - 1) * d - 1) // s + 1 for n, k, s, d, p in parts)


def _require_room(
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    pads: tuple[tuple[int, int], ...],
) -> None:
    if min(_outputs(size, kernel, strides, dilations, pads)) < 1:
        spans = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))
        padded = tuple(n + sum(p) for n, p in zip(size, pads, strict=True))
        raise UsageError(
            f"a kernel that spans {spans} does not fit an input padded to {padded}: there is no output; "
            "give a larger input_shape or more padding"
        )


def _require_source(size: tuple[int, ...], pads: tuple[tuple[int, int], ...], mode: Mode) -> None:
    """Refuse a padding that would need entries from beyond the input: PyTorch refuses the same."""
    most = {"reflect": -1, "circular": 0}.get(mode)
    if most is None:
        return
    for n, pair in zip(size, pads, strict=True):
        if max(pair) > n + most:
            raise UsageError(
                f"padding {pair} of mode {mode!r} needs an input of at least {max(pair) - most} along an axis of size "
                f"{n}; give a larger input_shape or less padding"
            )


def _require_output_padding(extra: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...]) -> None:
    for e, s, d in zip(extra, strides, dilations, strict=True):
        if e >= max(s, d):
            raise UsageError(
                f"output_padding={e} is not possible with stride {s} and dilation {d}: it must be below the larger"
            )


def _grown(
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    pads: tuple[tuple[int, int], ...],
    extra: tuple[int, ...],
) -> tuple[int, ...]:
    """A transposed convolution's output size."""
    parts = zip(size, strides, pads, dilations, kernel, extra, strict=True)
    grown = tuple((n - 1) * s - sum(p) + d * (k - 1) + e + 1 for n, s, p, d, k, e in parts)
    if min(grown) < 1:
        raise UsageError(
            f"a transposed convolution of an input of size {size} would have size {grown}: "
            "give a larger input_shape or less padding"
        )
    return grown
