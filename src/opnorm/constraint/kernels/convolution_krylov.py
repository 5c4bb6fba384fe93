"""Top singular triplets of a convolution at its own input size, edges included: warm block Krylov on the true operator.

Data flow: a block of r vectors a group on one side → its image and the image of that (one step of block Krylov) →
Rayleigh-Ritz on 2r vectors → r triplets. The side alternates, so that the images of one call start the next.
Groups are independent blocks of the operator: each has its own vectors, and one batch of products serves all.
Cost: 3r products, and a weight gradient of r; memory: 4r tensors.
"""

from __future__ import annotations

import torch

from opnorm.constraint.kernels.convolution_algebra import Face, grouped, orthonormal, outside, ritz, ungrouped
from opnorm.constraint.kernels.convolution_products import Products


class KrylovExplorer:
    """Warm singular triplets of the operator that `products` makes."""

    def __init__(self, products: Products, channels: int, rank: int, device: torch.device, seed: int) -> None:
        self._products, self._channels, self._rank = products, channels, rank
        self._device, self._seed = device, seed

    def start(self, dtype: torch.dtype) -> torch.Tensor:
        """Random vectors (rank, channels, *size)."""
        generator = torch.Generator().manual_seed(self._seed)
        shape = (self._rank, self._channels, *self._products.size)
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(self._device, dtype)

    def explore(self, kernel: torch.Tensor, block: torch.Tensor, unit: torch.Tensor) -> tuple[Face, torch.Tensor]:
        """The triplets of unit·kernel, and the block to start from the next time."""
        products, groups, shape = self._products, self._products.geometry.groups, block.shape[1:]
        here = orthonormal(grouped(block, groups))
        image = products.forward(kernel, ungrouped(here, shape)) * unit
        new = grouped(products.adjoint(kernel, image) * unit, groups)
        new = outside(new, here)
        second = products.forward(kernel, ungrouped(new, shape)) * unit
        images = torch.cat([grouped(image, groups), grouped(second, groups)], dim=1)
        values, source, target = ritz(torch.cat([here, new], dim=1), images, self._rank)
        right, left = ungrouped(source, shape), ungrouped(target, image.shape[1:])
        return self._face(kernel, values, left, right), right

    def _face(self, kernel: torch.Tensor, values: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> Face:
        groups = self._products.geometry.groups

        def combine(alpha: torch.Tensor) -> torch.Tensor:
            weighted = grouped(left, groups) * alpha.unsqueeze(2)
            return self._products.gradient(kernel, ungrouped(weighted, left.shape[1:]), right)

        def first() -> torch.Tensor:
            return self._products.gradient(kernel, left[:1], right[:1])

        return Face(values, combine, first)
