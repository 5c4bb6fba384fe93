"""Dense layers: one matrix a tensor, or several stacked in one.

y = Wx + b is affine, and its Lipschitz constant is σ₁(W) exactly: the bias shifts and stretches nothing. A stack
[W₁; W₂; …] on the output side holds one operator a part, each measured alone. Rows name W as it acts, outputs by
inputs, whichever way it is stored: ‖Wᵀ‖ = ‖W‖. Guarantee and cost are those of the matrix measured.
"""

from __future__ import annotations

from collections.abc import Sequence

from opnorm.errors import UsageError
from opnorm.layers.plan import Arrays, Build, Entry

UNKNOWN_USE = "layer kind not known: measured as the plain matrix"
"""The reason of a row whose matrix is sound while what it is for was not decided."""


def linear(
    name: str, shape: tuple[int, ...], dtype: str, *, transposed: bool = False, kind: str = "linear", reason: str = ""
) -> Entry:
    """The row of a matrix; `transposed`: stored as inputs by outputs (GPT-2's `Conv1D`)."""

    def build(arrays: Arrays) -> object:
        return arrays[name]

    words = dense_words(shape, transposed=transposed)
    return Entry(name, (name,), kind, words, shape, dtype, reason=reason, build=build)


def slices(
    name: str,
    shape: tuple[int, ...],
    dtype: str,
    parts: Sequence[tuple[str, int]],
    *,
    axis: int = 0,
    kind: str = "linear",
    reason: str = "",
) -> tuple[Entry, ...]:
    """One row a part of a fused matrix: `parts` are (suffix, size) in their order along `axis`."""
    if len(shape) != 2 or sum(size for _, size in parts) != shape[axis]:
        raise UsageError(
            f"the tensor {name[:80]!r} of shape {shape} does not hold parts of {[size for _, size in parts]} "
            f"on axis {axis}: give sizes that add up to the side"
        )
    entries, start = [], 0
    for suffix, size in parts:
        part = (size, shape[1]) if axis == 0 else (shape[0], size)
        words = dense_words(part, transposed=axis == 1)
        build = part_of(name, start, start + size, axis)
        entries.append(Entry(f"{name}[{suffix}]", (name,), kind, words, part, dtype, reason=reason, build=build))
        start += size
    return tuple(entries)


def part_of(name: str, start: int, stop: int, axis: int) -> Build:
    """Rows or columns `start`:`stop` of a tensor."""

    def build(arrays: Arrays) -> object:
        return arrays[name][start:stop] if axis == 0 else arrays[name][:, start:stop]

    return build


def dense_words(shape: tuple[int, ...], *, transposed: bool = False) -> str:
    """Such as 'dense 3072x768', outputs by inputs."""
    size = "x".join(map(str, shape[::-1] if transposed else shape))
    return f"dense {size} (stored transposed)" if transposed else f"dense {size}"
