"""Which examples of a batch excite a direction most: ⟨x, v⟩ for the inputs x of the layer that the batch is for.

The batch holds inputs of that layer itself: rows of numbers for a dense layer, images for a convolution, numbers of
tokens for an embedding. What is shown is the vector of all excitations scaled to length 1, so that its concentration
says by how many examples a direction is carried.
Cost: one product of the batch with the directions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from opnorm.errors import UsageError
from opnorm.frameworks import aslinearoperator
from opnorm.linalg.rounding import Float64


def batch_shape(batch: Any) -> tuple[int, ...]:
    """Its shape as plain numbers; nested sequences are arrays."""
    return tuple(int(n) for n in (batch.shape if hasattr(batch, "shape") else np.shape(batch)))


def is_whole(batch: Any) -> bool:
    """Whether it holds whole numbers, such as those of tokens."""
    return "int" in str(batch.dtype if hasattr(batch, "dtype") else np.asarray(batch).dtype)


def of_rows(batch: Any, directions: Float64) -> Float64:
    """⟨x, v⟩ for each example, flattened, and each direction: (examples, directions)."""
    array = batch if hasattr(batch, "reshape") else np.asarray(batch)
    return np.asarray(aslinearoperator(array.reshape(len(array), -1)).matmat(directions), dtype=np.float64)


def of_tokens(batch: Any, directions: Float64) -> Float64:
    """The mean over an example's tokens of the direction's weight at each."""
    numbers = np.asarray(batch).astype(np.int64)
    if numbers.size and not 0 <= numbers.min() <= numbers.max() < len(directions):
        raise UsageError(
            f"the batch holds token numbers from {numbers.min()} to {numbers.max()}; the embedding has rows 0 to "
            f"{len(directions) - 1}"
        )
    weights: Float64 = directions[numbers.reshape(len(numbers), -1)].mean(axis=1)
    return weights


def of_patches(batch: Any, directions: Float64, window: tuple[int, ...]) -> Float64:
    """The excitation of largest size over all positions of an image. window: (channels, *sides) of the kernel."""
    images = np.asarray(batch, dtype=np.float64)
    if any(n < side for n, side in zip(images.shape[2:], window[1:], strict=True)):
        raise UsageError(f"images of {images.shape[2:]} are smaller than the layer's window of {window[1:]}")
    axes = tuple(range(2, images.ndim))
    views = np.lib.stride_tricks.sliding_window_view(images, window[1:], axis=axes)
    places = len(axes)
    spread = np.moveaxis(views, 1, places + 1)  # (examples, *positions, channels, *window)
    found = []
    for image in spread:
        answers = image.reshape(-1, int(np.prod(window))) @ directions
        found.append(answers[np.abs(answers).argmax(axis=0), np.arange(answers.shape[1])])
    return np.asarray(found)


def unit(excitations: Float64) -> Float64:
    """Scaled to length 1, each column."""
    sizes = np.linalg.norm(excitations, axis=0)
    return np.asarray(excitations / np.where(sizes > 0, sizes, 1.0))
