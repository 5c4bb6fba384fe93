"""Dense layers: one matrix a tensor, or several stacked in one.

y = Wx + b is affine, and its Lipschitz constant is σ₁(W) exactly: the bias shifts and stretches nothing. A stack
[W₁; W₂; …] on the output side holds one operator a part, each measured alone. Rows name W as it acts, outputs by
inputs, whichever way it is stored: ‖Wᵀ‖ = ‖W‖. Guarantee and cost are those of the matrix measured.
"""

from __future__ import annotations

from collections.abc import Sequence

from opnorm.errors import UsageError
from opnorm.layers.plan import Also, Entry, Part

UNKNOWN_USE = "layer kind not known: measured as the plain matrix"
"""The reason of a row whose matrix is sound while what it is for was not decided."""


def linear(
    name: str, shape: tuple[int, ...], dtype: str, *, transposed: bool = False, kind: str = "linear", reason: str = ""
) -> Entry:
    """The row of a matrix; `transposed`: stored as inputs by outputs (GPT-2's `Conv1D`)."""
    part = Part(name, transposed=transposed)
    return dense(name, part, kind, dense_words(shape, transposed=transposed), shape, dtype, reason=reason)


def dense(
    name: str,
    part: Part,
    kind: str,
    words: str,
    shape: tuple[int, ...],
    dtype: str,
    *,
    reason: str = "",
    also: tuple[Also, ...] = (),
) -> Entry:
    """The row of the matrix at `part` of its tensor."""
    return Entry(
        name, (part.tensor,), kind, words, shape, dtype, reason=reason, build=part.matrix, part=part, also=also
    )


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
        sides = (size, shape[1]) if axis == 0 else (shape[0], size)
        words = dense_words(sides, transposed=axis == 1)
        part = Part(name, (*(slice(None),) * axis, slice(start, start + size)), transposed=axis == 1)
        entries.append(dense(f"{name}[{suffix}]", part, kind, words, sides, dtype, reason=reason))
        start += size
    return tuple(entries)


def dense_words(shape: tuple[int, ...], *, transposed: bool = False) -> str:
    """Such as 'dense 3072x768', outputs by inputs."""
    size = "x".join(map(str, shape[::-1] if transposed else shape))
    return f"dense {size} (stored transposed)" if transposed else f"dense {size}"
