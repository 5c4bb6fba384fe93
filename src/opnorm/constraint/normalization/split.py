"""A fused weight, such as q, k and v in one: each part of its outputs scaled by its own norm."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from opnorm.constraint.normalization.scaled import Home, SpectralScale
from opnorm.errors import UsageError


class SplitScale(torch.nn.Module):
    """Parts along the first axis, a `SpectralScale` each."""

    def __init__(
        self, weight: torch.Tensor, sizes: Sequence[int], make: Callable[[torch.Tensor], SpectralScale]
    ) -> None:
        super().__init__()
        self.sizes, self.home = list(sizes), Home()
        self.parts = torch.nn.ModuleList(make(part) for part in weight.detach().split(self.sizes))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """All parts, each as it is served."""
        if self.parts[0].bare:
            return weight
        return torch.cat([scale(part) for scale, part in zip(self.parts, weight.split(self.sizes), strict=True)])

    def right_inverse(self, value: torch.Tensor) -> torch.Tensor:
        """See `SpectralScale.right_inverse`."""
        self.refresh(value)
        return value

    def refresh(self, weight: torch.Tensor, *, always: bool = True) -> None:
        """See `SpectralScale.refresh`."""
        for scale, part in zip(self.parts, weight.detach().split(self.sizes), strict=True):
            scale.refresh(part, always=always)

    @property
    def loaded_whole(self) -> bool:
        """Whether the last checkpoint held the state of every part."""
        return all(scale.loaded_whole for scale in self.parts)

    def train(self, mode: bool = True) -> SplitScale:
        """See `SpectralScale.train`."""
        entering = self.training and not mode
        super().train(mode)
        weight = self.home.weight() if entering else None
        if weight is not None and type(weight) in (torch.Tensor, torch.nn.Parameter):
            self.refresh(weight)
        return self


def part_sizes(split: int | Sequence[int], outputs: int, what: str) -> list[int]:
    """The sizes of the parts; `UsageError` where they do not make up all outputs."""
    sizes = [outputs // split] * split if isinstance(split, int) and split > 0 else split
    if isinstance(sizes, int) or not all(type(n) is int and n > 0 for n in sizes) or sum(sizes) != outputs:
        raise UsageError(f"{what}: {outputs} outputs do not split into {split!r}; give equal parts' number, or sizes")
    return list(sizes)
