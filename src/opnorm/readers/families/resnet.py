"""ResNets: torchvision's names, which timm shares, and Hugging Face's with their configuration.

Variants whose names or shapes differ (a stem of 3×3, backbones of segmentation networks) do not match here, and their
kernels are bounded for every setting instead. Some have the very names and shapes: blur pooling or dilation in the
place of a stride. A configuration of timm tells them; without one, each row says what its stride rests on.
"""

from __future__ import annotations

from collections.abc import Iterator

from opnorm.layers.plan import Layer
from opnorm.readers.config import flag, model_type, word
from opnorm.readers.families.book import Book
from opnorm.readers.families.convolutional import Convolved, after, convolved, fits, kernel

EPS = 1e-5
"""Of every BatchNorm, in torchvision and Hugging Face alike."""

MOST_BLOCKS = 256
_PREFIXES = ("", "module.", "model.", "_orig_mod.")
_REASON = (
    "stride and padding taken from torchvision's ResNet, whose names these are; blurred and dilated variants share them"
)
_BLURRED = ("blur", "aa")
"""In names of timm's architectures: a pooling does what the stride would."""

Size = tuple[int, int] | None


def resnet(book: Book) -> list[Layer]:
    """The convolutions of a ResNet; nothing unless every one of them is as the architecture has it."""
    if model_type(book.config) == "resnet":
        return _whole(book, [list(_hugging_face(book, p)) for p in ("", "resnet.")], "")
    if model_type(book.config) or any(part in word(book.config, "architecture") for part in _BLURRED):
        return []
    return _whole(book, [list(_torchvision(book, p)) for p in _PREFIXES], _REASON)


def _whole(book: Book, candidates: list[list[Convolved]], reason: str) -> list[Layer]:
    found = next((parts for parts in candidates if parts), [])
    return convolved(book, found, EPS, reason) if found and all(fits(book, part) for part in found) else []


def _torchvision(book: Book, prefix: str) -> Iterator[Convolved]:
    stem = kernel(book, f"{prefix}conv1")
    if stem is None or stem.shape[2] != 7 or kernel(book, f"{prefix}layer4.0.conv1") is None:
        return
    size: Size = input_size(book, stem.shape[1])
    first = Convolved(f"{prefix}conv1", f"{prefix}bn1", 7, 2, 3, 1, size)
    yield first
    size = after(first.output, 3, 2, 1)
    for stage in range(1, 5):
        for number in range(MOST_BLOCKS):
            block = f"{prefix}layer{stage}.{number}"
            if kernel(book, f"{block}.conv1") is None:
                break
            parts = list(_block(book, block, 2 if stage > 1 and number == 0 else 1, size))
            yield from parts
            size = parts[-1].output


def _block(book: Book, block: str, stride: int, size: Size) -> Iterator[Convolved]:
    if f"{block}.downsample.0.weight" in book.tensors:
        yield Convolved(f"{block}.downsample.0", f"{block}.downsample.1", 1, stride, 0, 1, size)
    convolutions = [(f"{block}.conv{i}", f"{block}.bn{i}") for i in (1, 2, 3) if kernel(book, f"{block}.conv{i}")]
    yield from _residual(book, convolutions, stride, size, strided=1 if len(convolutions) == 3 else 0)


def _residual(
    book: Book, convolutions: list[tuple[str, str]], stride: int, size: Size, *, strided: int
) -> Iterator[Convolved]:
    """3×3, 3×3 or 1×1, 3×3, 1×1; the stride lies in the one numbered `strided`; the 3×3 of ResNeXt has groups."""
    channels = 0
    for number, (path, norm) in enumerate(convolutions):
        side = 3 if len(convolutions) == 2 or number == 1 else 1
        tensor = kernel(book, path)
        inputs = 0 if tensor is None else tensor.shape[1]
        groups = channels // inputs if channels and inputs and channels % inputs == 0 else 1
        part = Convolved(path, norm, side, stride if number == strided else 1, side // 2, groups, size)
        yield part
        size, channels = part.output, 0 if tensor is None else tensor.shape[0]


def _hugging_face(book: Book, prefix: str) -> Iterator[Convolved]:
    stem = kernel(book, f"{prefix}embedder.embedder.convolution")
    if stem is None:
        return
    size: Size = input_size(book, stem.shape[1])
    paths = f"{prefix}embedder.embedder.convolution", f"{prefix}embedder.embedder.normalization"
    first = Convolved(*paths, stem.shape[2], 2, stem.shape[2] // 2, 1, size)
    yield first
    size = after(first.output, 3, 2, 1)
    strided = (
        1 if word(book.config, "layer_type") != "basic" and not flag(book.config, "downsample_in_bottleneck") else 0
    )
    for stage in range(MOST_BLOCKS):
        for number in range(MOST_BLOCKS):
            block = f"{prefix}encoder.stages.{stage}.layers.{number}"
            names = [(f"{block}.layer.{i}.convolution", f"{block}.layer.{i}.normalization") for i in range(3)]
            names = [pair for pair in names if kernel(book, pair[0]) is not None]
            if not names:
                break
            first_stage = stage == 0 and not flag(book.config, "downsample_in_first_stage")
            stride = 2 if number == 0 and not first_stage else 1
            if kernel(book, f"{block}.shortcut.convolution") is not None:
                shortcut = f"{block}.shortcut.convolution", f"{block}.shortcut.normalization"
                yield Convolved(*shortcut, 1, stride, 0, 1, size)
            parts = list(_residual(book, names, stride, size, strided=strided))
            yield from parts
            size = parts[-1].output


def input_size(book: Book, channels: int) -> Size:
    """Height and width of the model's input, where they were given and its channels are these."""
    shape = book.input_shape
    return (shape[1], shape[2]) if shape is not None and len(shape) == 3 and shape[0] == channels else None
