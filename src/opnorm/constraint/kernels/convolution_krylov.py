"""Top singular triplets of a convolution at its own input size, edges included: warm block Krylov on the true operator.

Data flow: 2r warm vectors a group → their images, Ritz → the image of every second (one step of block Krylov) →
Rayleigh-Ritz on 3r vectors → r triplets, and 2r vectors to start from. A move pushes down just the triplets that it was
given, so those after them may lead the next time: without them the top of a clustered spectrum is lost.
Groups are independent blocks of the operator: each has its own vectors, and one batch of products serves all.
Cost: 4r products, and a weight gradient of r; memory: 6r tensors.
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
        """Random vectors (2·rank, channels, *size)."""
        generator = torch.Generator().manual_seed(self._seed)
        shape = (2 * self._rank, self._channels, *self._products.size)
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(self._device, dtype)

    def explore(self, kernel: torch.Tensor, block: torch.Tensor, unit: torch.Tensor) -> tuple[Face, torch.Tensor]:
        """The triplets of unit·kernel, and the block to start from the next time."""
        products, groups, shape, rank = self._products, self._products.geometry.groups, block.shape[1:], self._rank
        half = torch.exp2(torch.div(torch.frexp(unit)[1], 2, rounding_mode="floor").to(unit.dtype))
        rest = unit / half  # before and after a product, lest the products of a tiny kernel lose digits
        here = orthonormal(grouped(block, groups))
        image = products.forward(kernel, ungrouped(here, shape) * half) * rest
        ends, image = image.shape[1:], grouped(image, groups)
        there = ritz(here, image, here.shape[1])[2]
        lead = ungrouped(there[:, ::2], ends)
        new = outside(grouped(products.adjoint(kernel, lead * half) * rest, groups), here)
        second = products.forward(kernel, ungrouped(new, shape) * half) * rest
        images = torch.cat([image, grouped(second, groups)], dim=1)
        values, source, target = ritz(torch.cat([here, new], dim=1), images, 2 * rank)
        right, left = ungrouped(source[:, :rank], shape), ungrouped(target[:, :rank], ends)
        return self._face(kernel, values, left, right), ungrouped(source, shape)

    def _face(self, kernel: torch.Tensor, values: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> Face:
        groups, rank = self._products.geometry.groups, self._rank

        def combine(alpha: torch.Tensor) -> torch.Tensor:
            weighted = grouped(left, groups) * alpha.unsqueeze(2)
            return self._products.gradient(kernel, ungrouped(weighted, left.shape[1:]), right)

        def first() -> torch.Tensor:
            return self._products.gradient(kernel, left[:1], right[:1])

        following = values[:, rank] if values.shape[1] > rank else values.new_zeros(groups)
        return Face(values[:, :rank], following, combine, first)
