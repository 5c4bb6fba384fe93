"""MobileNetV2 by torchvision's names, and by those of its older, flat form.

Inverted residuals: 1×1 to more channels (absent where the factor is 1), 3×3 one channel at a time, 1×1 to fewer.
Their strides are those of the paper's table (Sandler et al., *MobileNetV2*, 2018), which holds for every width.
"""

from __future__ import annotations

from collections.abc import Iterator

from opnorm.layers.plan import Layer
from opnorm.readers.config import model_type
from opnorm.readers.families.book import Book
from opnorm.readers.families.convolutional import Convolved, convolved, fits, kernel
from opnorm.readers.families.resnet import Size, input_size

EPS = 1e-5
BLOCKS = ((1, 1), (2, 2), (3, 2), (4, 2), (3, 1), (3, 2), (1, 1))
"""Blocks of each stage, and the stride of the first of them."""

_STRIDES = tuple(stride if i == 0 else 1 for count, stride in BLOCKS for i in range(count))
_PREFIXES = ("", "module.", "model.", "_orig_mod.")
_REASON = "stride and padding taken from torchvision's MobileNetV2, whose names these are"


def mobilenet(book: Book) -> list[Layer]:
    """The convolutions of a MobileNetV2; nothing unless every one of them is as the architecture has it."""
    if model_type(book.config):
        return []
    for prefix in _PREFIXES:
        parts = list(_parts(book, f"{prefix}features"))
        if len(parts) > len(_STRIDES) and all(fits(book, part) for part in parts):
            return convolved(book, parts, EPS, _REASON)
    return []


def _parts(book: Book, path: str) -> Iterator[Convolved]:
    last = len(_STRIDES) + 1
    stem = kernel(book, f"{path}.0.0")
    if stem is None or kernel(book, f"{path}.{last}.0") is None or kernel(book, f"{path}.{last + 1}.0") is not None:
        return
    size: Size = input_size(book, stem.shape[1])
    first = Convolved(f"{path}.0.0", f"{path}.0.1", 3, 2, 1, 1, size)
    yield first
    size = first.output
    for number, stride in enumerate(_STRIDES, start=1):
        for part in _inverted(book, f"{path}.{number}.conv", stride, size):
            yield part
            size = part.output
    yield Convolved(f"{path}.{last}.0", f"{path}.{last}.1", 1, 1, 0, 1, size)


def _inverted(book: Book, path: str, stride: int, size: Size) -> Iterator[Convolved]:
    for convolution, norm in _modules(book, path):
        tensor = kernel(book, convolution)
        if tensor is not None and tensor.shape[1:] == (1, 3, 3):
            part = Convolved(convolution, norm, 3, stride, 1, tensor.shape[0], size)
        else:
            part = Convolved(convolution, norm, 1, 1, 0, 1, size)
        yield part
        size = part.output


def _modules(book: Book, path: str) -> list[tuple[str, str]]:
    """The convolutions of a block and their BatchNorms, in order: torchvision nests all but the last, or none."""
    nested = [i for i in range(2) if kernel(book, f"{path}.{i}.0") is not None]
    if nested:
        last = len(nested)
        return [*((f"{path}.{i}.0", f"{path}.{i}.1") for i in nested), (f"{path}.{last}", f"{path}.{last + 1}")]
    return [(f"{path}.{i}", f"{path}.{i + 1}") for i in range(0, 9, 3) if kernel(book, f"{path}.{i}") is not None]
