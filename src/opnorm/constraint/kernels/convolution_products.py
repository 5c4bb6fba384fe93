"""A convolution's products on a batch of tensors where they live, and the gradient that leads back to its kernel.

For a zero-padded kernel K and tensors v, u, with A(K) the operator of any setting that `linalg.convolution.geometry`
knows: `forward` gives A(K)v, `adjoint` A(K)ᵀu, `gradient` the kernel G with ⟨G, E⟩ = uᵀA(E)v for every kernel E, hence
the only direction within the kernel's support in which u and v see the most change.
A transposed convolution is the adjoint of the forward one it is described by; its norm and its gradients are the same.
Cost: PyTorch's own convolution, its input gradient and its weight gradient; other paddings than zeros copy the tensor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from opnorm.linalg.convolution.geometry import Geometry, Settings, geometry
from opnorm.linalg.convolution.padding import index_map

LEAST_SIZE = 8
"""Of an axis on which the operator of unknown input size is worked with."""

SPANS = 3
"""Or so many times what the kernel spans there, if that is more."""


class Products:
    """The products of one geometry; kernels are given with each call, of the forward convolution's layout."""

    def __init__(self, known: Geometry, device: torch.device) -> None:
        assert known.size is not None
        self.geometry = known
        self.size = known.size
        self.output = known.output
        self._axes = len(known.kernel)
        even = all(before == after for before, after in known.padding)
        self._own = known.mode == "zeros" and even  # what PyTorch's convolution pads by itself
        self._inner = [before for before, _ in known.padding] if self._own else [0] * self._axes
        self._maps = [] if known.mode == "zeros" else self._index_maps(device)

    def forward(self, kernel: torch.Tensor, block: torch.Tensor) -> torch.Tensor:
        """(k, c_in, *size) → (k, c_out, *output)."""
        known = self.geometry
        return torch.convolution(
            self._extended(block), kernel, None, known.stride, self._inner, known.dilation, False,
            [0] * self._axes, known.groups,
        )  # fmt: skip

    def adjoint(self, kernel: torch.Tensor, block: torch.Tensor) -> torch.Tensor:
        """(k, c_out, *output) → (k, c_in, *size)."""
        shape = (len(block), kernel.shape[1] * self.geometry.groups, *self._padded_size())
        seen = block.new_empty(1).expand(shape)  # only its shape is read
        return self._folded(self._backward(block, seen, kernel, (True, False))[0])

    def gradient(self, kernel: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """Σ over the batch of the kernels G with ⟨G, E⟩ = leftᵀ A(E) right. Of `kernel` only the shape is used."""
        return self._backward(left, self._extended(right), kernel, (False, True))[1]

    def _backward(
        self, out: torch.Tensor, inputs: torch.Tensor, kernel: torch.Tensor, mask: tuple[bool, bool]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        known = self.geometry
        found: tuple[torch.Tensor, torch.Tensor, object] = torch.ops.aten.convolution_backward(
            out, inputs, kernel, None, known.stride, self._inner, known.dilation, False,
            [0] * self._axes, known.groups, [*mask, False],
        )  # fmt: skip
        return found[0], found[1]

    def _padded_size(self) -> list[int]:
        if self._own:
            return list(self.size)
        return [n + sum(pair) for n, pair in zip(self.size, self.geometry.padding, strict=True)]

    def _extended(self, block: torch.Tensor) -> torch.Tensor:
        if self._own:
            return block
        if not self._maps:
            return torch.nn.functional.pad(block, _edges(self.geometry.padding, 1))
        for axis, indices in enumerate(self._maps, start=2):
            block = block.index_select(axis, indices)
        return block

    def _folded(self, block: torch.Tensor) -> torch.Tensor:
        if self._own:
            return block
        if not self._maps:
            return torch.nn.functional.pad(block, _edges(self.geometry.padding, -1))
        for axis, indices in enumerate(self._maps, start=2):
            shape = list(block.shape)
            shape[axis] = self.size[axis - 2]
            block = block.new_zeros(shape).index_add_(axis, indices, block)
        return block

    def _index_maps(self, device: torch.device) -> list[torch.Tensor]:
        pairs = zip(self.size, self.geometry.padding, strict=True)
        maps = [index_map(n, before, after, self.geometry.mode) for n, (before, after) in pairs]
        return [torch.from_numpy(indices).to(device) for indices in maps]


def working_geometry(
    kernel: Sequence[int], settings: Settings, size: Sequence[int] | None, largest: int | None
) -> Geometry:
    """The geometry that is worked with: the true input size, cut to `largest` an axis; without one, a small size.

    A zero-padded operator on a smaller input is a part of the one on a larger: its norm is at most as large, and below
    by a share of order (span/size)². Steering by it sees that much too little; nothing is proved by it.
    """
    free = geometry(tuple(kernel), None, **settings)
    if size is not None:
        channels = kernel[0] if settings.get("transposed", False) else kernel[1] * free.groups
        free = geometry(tuple(kernel), (channels, *size), **settings)
    return _resized(free, tuple(_axis_size(free, axis, largest) for axis in range(len(free.kernel))))


def _resized(known: Geometry, size: tuple[int, ...]) -> Geometry:
    return Geometry(known.kernel, known.stride, known.dilation, known.padding, known.mode, known.groups, size)


def _axis_size(known: Geometry, axis: int, largest: int | None) -> int:
    true = math.inf if known.size is None else known.size[axis]
    span = (known.kernel[axis] - 1) * known.dilation[axis] + 1
    least = max(LEAST_SIZE, SPANS * span, 1 + max(known.padding[axis]))
    least = -(-least // known.stride[axis]) * known.stride[axis]
    if true == math.inf:
        return least
    return int(true if largest is None else min(true, max(least, largest)))


def _edges(padding: Sequence[tuple[int, int]], sign: int) -> list[int]:
    """What `torch.nn.functional.pad` takes: before and after, the last axis first; negative numbers cut."""
    return [sign * side for pair in reversed(padding) for side in pair]
