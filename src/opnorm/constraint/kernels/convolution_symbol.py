"""Top singular triplets of a convolution at a grid of frequencies: of the symbol, which bounds every zero-padded size.

With stride s the operator on all of Zᵈ takes a plane wave of each of the ∏s phases of its input to one of its output:
F(θ) = Σ_t K_t e^{iθ·shift_t}, tap t in the columns of its phase: c_out × (c_in·phases). Zero-padded
and circular convolutions of any size have norms of at most sup_θ σ₁(F(θ)), and nearly that when they are many times
larger than the kernel (Sedghi, Gupta, Long, ICLR 2019; with strides, `opnorm.linalg.convolution.symbol`).
The symbol is a trigonometric polynomial of degree D an axis: between N = 4D points σ₁ is at most 1/cos(π/8) times as
large, an axis, and in practice within 2 %. No bound is claimed.
Cost: the symbol once, three thin products with it and one from all triplets to the taps, whatever the input's size: as
of 30 samples of a batch on 8×8 positions. Memory: 8·D² symbols of c_in·c_out·phases complex numbers on two axes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch

from opnorm.constraint.kernels.convolution_algebra import Face, orthonormal, outside, ritz
from opnorm.linalg.convolution.correlate import kernel_taps
from opnorm.linalg.convolution.geometry import Geometry

DENSITY = {1: 4, 2: 4, 3: 3}
"""Points of an axis for each degree, by the number of axes."""

FULL = 16
"""Up to this short side all singular values of a frequency are taken, from its Gram matrix."""


class SymbolExplorer:
    """Warm singular triplets at every frequency of the grid; one of each pair ±θ."""

    def __init__(self, known: Geometry, kernel: Sequence[int], rank: int, device: torch.device, seed: int) -> None:
        taps = kernel_taps(known)
        phases = sorted({tap.phase for tap in taps})
        self._columns = torch.tensor([phases.index(tap.phase) for tap in taps], device=device)
        shifts = torch.tensor([tap.shift for tap in taps], dtype=torch.float64)
        degrees = (shifts.amax(dim=0) - shifts.amin(dim=0)).long().tolist()
        self._waves = torch.exp(1j * (grid(degrees) @ shifts.T))  # (frequencies, taps)
        self._taps = [torch.nonzero(self._columns == phase).flatten() for phase in range(len(phases))]
        self.phases, self.groups = len(phases), known.groups
        self.inner, self.outer = kernel[1], kernel[0] // known.groups
        short = min(self.outer, self.inner * self.phases)
        self.full = short <= FULL
        self.rank = min(short, rank)
        self._tables: dict[torch.dtype, torch.Tensor] = {}
        self._device, self._seed = device, seed

    def start(self, dtype: torch.dtype) -> torch.Tensor:
        """Random vectors (groups·frequencies, rank, columns), complex."""
        shape = (self.groups * len(self._waves), self.rank, self.inner * self.phases)
        generator = torch.Generator().manual_seed(self._seed)
        return torch.randn(shape, generator=generator, dtype=torch.complex128).to(self._device, dtype.to_complex())

    def explore(self, kernel: torch.Tensor, block: torch.Tensor, unit: torch.Tensor) -> tuple[Face, torch.Tensor]:
        """The triplets of unit·kernel, and the block to start from the next time."""
        symbol = self.symbol(kernel, unit)
        if self.full:
            values, left, right = self._all(symbol)
        else:
            values, left, right = self._krylov(symbol, block)
        return self._face(kernel, values, left, right), right if not self.full else block

    def symbol(self, kernel: torch.Tensor, unit: torch.Tensor) -> torch.Tensor:
        """F of unit·kernel at all frequencies: (groups·frequencies, c_out/groups, phases·c_in/groups)."""
        waves = self._table(kernel.dtype) * unit
        groups, count = self.groups, len(waves)
        taps = kernel.reshape(groups, self.outer * self.inner, -1).mT  # (g, taps, o·i)
        parts = []
        for own in self._taps:
            some, wave = taps.index_select(1, own), waves.index_select(1, own)
            real, imag = torch.cat([wave.real, wave.imag]).matmul(some).split(count, dim=1)
            parts.append(torch.complex(real, imag).reshape(groups * count, self.outer, self.inner))
        return parts[0] if self.phases == 1 else torch.cat(parts, dim=2)

    def _all(self, symbol: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        tall = symbol.shape[1] > symbol.shape[2]
        basis = torch.eye(min(symbol.shape[1:]), dtype=symbol.dtype, device=symbol.device).expand(len(symbol), -1, -1)
        images = symbol.mT if tall else symbol.conj()  # rows: F e_j, or F^H e_j
        values, here, there = ritz(basis, images, self.rank)
        return (values, there, here) if tall else (values, here, there)

    def _krylov(self, symbol: torch.Tensor, block: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        here = orthonormal(block)
        image = here @ symbol.mT
        new = (image.conj() @ symbol).conj()
        new = outside(new, here)
        basis, images = torch.cat([here, new], dim=1), torch.cat([image, new @ symbol.mT], dim=1)
        values, right, left = ritz(basis, images, self.rank)
        return values, left, right

    def _face(self, kernel: torch.Tensor, values: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> Face:
        groups, count = self.groups, len(self._waves) * self.rank
        values = values.reshape(groups, count)
        left = left.reshape(groups, count, self.outer)
        right = right.reshape(groups, count, self.phases, self.inner)
        waves = self._table(kernel.dtype).repeat_interleave(self.rank, dim=0).expand(groups, -1, -1)

        def combine(alpha: torch.Tensor) -> torch.Tensor:
            return self._normals(left * alpha.unsqueeze(2), right, waves).reshape(kernel.shape)

        def first() -> torch.Tensor:
            top = values.argmax(dim=1)
            rows = torch.arange(groups, device=top.device)
            some = (part[rows, top].unsqueeze(1) for part in (left, right, waves))
            return self._normals(*some).reshape(kernel.shape)

        return Face(values, values.new_zeros(groups), combine, first)

    def _normals(self, left: torch.Tensor, right: torch.Tensor, waves: torch.Tensor) -> torch.Tensor:
        """Σ over triplets of Re(ū ⊗ v_phase e^{iθ·shift}): (groups, c_out/groups, c_in/groups, taps)."""
        right = right.index_select(2, self._columns)
        seen = torch.view_as_real((right * waves.unsqueeze(3)).flatten(2))  # (g, h, taps·i, 2)
        ends = torch.view_as_real(left)
        total = torch.cat([ends[..., 0], ends[..., 1]], dim=1).mT @ torch.cat([seen[..., 0], seen[..., 1]], dim=1)
        return total.reshape(self.groups, self.outer, -1, self.inner).mT

    def _table(self, dtype: torch.dtype) -> torch.Tensor:
        """e^{iθ·shift} (frequencies, taps) on the device, in the precision of `dtype`; made once."""
        if dtype not in self._tables:
            self._tables[dtype] = self._waves.to(self._device, dtype.to_complex())
        return self._tables[dtype]


def grid(degrees: Sequence[int]) -> torch.Tensor:
    """Frequencies (count, axes), N = density·degree points an axis, one of each pair ±θ."""
    sizes = [max(1, DENSITY[len(degrees)] * degree) for degree in degrees]
    points = itertools.product(*map(range, sizes))
    kept = [p for p in points if p <= tuple(-a % n for a, n in zip(p, sizes, strict=True))]
    scale = torch.tensor([2 * math.pi / n for n in sizes], dtype=torch.float64)
    return torch.tensor(kept, dtype=torch.float64) * scale
