"""A convolution's directions: patches of the input as pictures, and the gain it has for waves of each frequency.

A direction is a right singular vector of the kernel as a matrix, outputs × (channels × window): the patch that
excites the layer most at one position, and the filters that answer. Its singular value is that matrix's, not the
layer's norm. The map of frequencies shows σ₁ of the symbol F(ω) = Σ_a K_a e^{iω·a}, by how much a pure wave of
frequency ω is amplified before a stride drops positions (Sedghi, Gupta and Long, *The Singular Values of
Convolutional Layers*, 2019). Zero frequency is in the middle of each map, half a cycle a pixel at its edges.

Guarantee: none; estimates on a grid of `GRID` × `GRID` frequencies. Cost: that of the kernel as a matrix, once more.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from opnorm.layers.plan import Arrays, ConvolutionPart
from opnorm.layers.vectors import numbers
from opnorm.linalg.rounding import Float64
from opnorm.spectrum.directions.terms import Namer
from opnorm.spectrum.document import Direction, Picture

GRID = 33
MOST_PICTURED = 64
"""The largest side of a window that is shown."""

DIGITS = 3
OF_KERNEL = "σ of the kernel as a matrix from patches to outputs, not of the layer"


def kernel_of(part: ConvolutionPart, arrays: Arrays) -> Float64:
    """The kernel in float64 with outputs first, whichever way it is laid out; one group of a grouped one inside."""
    stored = arrays[part.tensor]
    kernel = numbers(stored).reshape(tuple(stored.shape))
    settings = part.settings or {}
    if not settings.get("transposed"):
        return kernel
    groups = int(settings.get("groups", 1))
    parts = kernel.reshape(groups, kernel.shape[0] // groups, *kernel.shape[1:]).swapaxes(1, 2)
    return np.ascontiguousarray(parts.reshape(-1, *parts.shape[2:]))


def is_pictured(kernel_shape: tuple[int, ...], groups: int = 1) -> bool:
    """Whether the windows of a kernel are pictures: two axes, one gray channel or three of color."""
    axes = len(kernel_shape) == 4 and max(kernel_shape[2:]) <= MOST_PICTURED
    return axes and groups == 1 and kernel_shape[1] in (1, 3)


def patch_namer(shape: tuple[int, ...]) -> Namer:
    """Coordinate of a flattened patch (channels, *window) → `channel 2 at (0, 1)`."""

    def name(index: int) -> str:
        channel, *place = np.unravel_index(index, shape)
        return f"channel {int(channel)} at ({', '.join(str(int(p)) for p in place)})"

    return name


def patch_pictures(patch: Float64, shape: tuple[int, ...], rank: int) -> tuple[Picture, ...]:
    """A direction (channels, height, width) as a picture, and its response by frequency."""
    window = patch.reshape(shape)
    response = np.sqrt((np.abs(_at_frequencies(window)) ** 2).sum(axis=0))
    return (
        picture(np.moveaxis(window, 0, -1), f"input direction {rank + 1}"),
        picture(response[:, :, None], f"its response by frequency, at most {response.max():.3g}"),
    )


def filter_pictures(kernel: Float64, outputs: list[int]) -> tuple[Picture, ...]:
    """The windows of some filters."""
    moved, exponent = _moderate(kernel)
    sizes = np.ldexp(np.linalg.norm(moved.reshape(len(moved), -1), axis=1), exponent)
    return tuple(picture(np.moveaxis(kernel[i], 0, -1), f"filter {i}, norm {sizes[i]:.3g}") for i in outputs)


def frequency_direction(kernel: Float64, stride: object) -> Direction:
    """The map of σ₁(F(ω)), with the frequency of the largest."""
    moved, exponent = _moderate(kernel)
    symbol = np.moveaxis(_at_frequencies(moved), (0, 1), (-2, -1))
    gain = np.sqrt(np.linalg.eigvalsh(symbol.conj().swapaxes(-1, -2) @ symbol)[..., -1].clip(min=0.0))
    gain = np.minimum(np.ldexp(gain, exponent), np.finfo(np.float64).max)
    row, column = np.unravel_index(int(gain.argmax()), gain.shape)
    where = np.abs(_frequencies()[[row, column]])
    plain = stride is None or set(np.atleast_1d(np.asarray(stride)).tolist()) == {1}
    note = f"largest at {where[0]:.2f} cycles a pixel down and {where[1]:.2f} across"
    note += "" if plain else ", before the stride drops positions"
    map_ = picture(gain[:, :, None], f"gain by frequency, from {gain.min():.3g} to {gain.max():.3g}")
    return Direction(0, float(gain.max()), "input", "frequency", pictures=(map_,), note=note)


def picture(image: NDArray[np.float64], caption: str) -> Picture:
    """(height, width, channels), scaled so that the largest size is 1; zero stays zero."""
    largest = float(np.abs(image).max(initial=0.0))
    scaled = image / largest if largest else image
    values = tuple(round(v, DIGITS) + 0.0 for v in scaled.ravel().tolist())
    height, width, channels = image.shape
    return Picture(height, width, channels, values, caption)


def _moderate(kernel: Float64) -> tuple[Float64, int]:
    """2^−e·K with entries of at most 1, whose squares stay in range, and e."""
    exponent = math.frexp(float(np.abs(kernel).max(initial=0.0)))[1]
    return np.ldexp(kernel, -exponent), exponent


def _frequencies() -> Float64:
    return np.linspace(-0.5, 0.5, GRID)


def _at_frequencies(window: Float64) -> NDArray[np.complex128]:
    """Σ_a x_a e^{2πi f·a} over the last two axes, at all pairs of frequencies."""
    down, across = (np.exp(2j * math.pi * np.outer(np.arange(n), _frequencies())) for n in window.shape[-2:])
    return np.asarray(np.einsum("...ab,ai,bj->...ij", window, down, across, optimize=True))
