"""Warm block power iteration with Rayleigh–Ritz, and its converged form, on an `Operator`.

One `advance` costs two passes over the weight for a block of r rows. The best combination of all rows comes first
(Rayleigh–Ritz on r×r), and the weakest row takes in a new direction each time, so that no start keeps the largest
singular vector out for good: whatever part of it enters grows by (σ₁/σ_{r+1})² an iteration. Convergence is that of a
block of r − 1: error of order (σ_r/σ₁)^{2k}. What is found lies below σ₁, never above, up to rounding.

No random generator is used: new directions are chirps, so results depend on the weight and the count alone.
All steps but those of `sharpen` are plain tensor operations without waiting for a device.
"""

from __future__ import annotations

import math

import torch

from opnorm.constraint.normalization.operators import Operator

NOISE = 0.3
"""Size of the new direction in the weakest row, relative to that row."""

SQUARINGS = 8
"""The top of a small Gram matrix by powers 2⁸: off the host, where an eigensolver would wait for the device."""

DEPTH, CYCLES, SETTLED = 4, 40, 2e-7
"""Of `sharpen`: blocks of one Krylov space, restarts at most, and the relative gain below which it stops."""


def advance(
    operator: Operator, weight: torch.Tensor, block: torch.Tensor, noise: torch.Tensor | None, *, ordered: bool = False
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One iteration: left (r, outputs) and right (1, inputs) directions, and the next block (r, inputs).

    u₁ᴴAv₁ = σ̂ ≥ 0 for the first rows, and the next block begins with v₁. ordered: r Ritz pairs, the larger first,
    which off the host waits for the device. weight: prepared. block: orthonormal rows. noise: a unit row.
    """
    if noise is not None and len(block) > 1:
        block = torch.cat([block[:-1], block[-1:] + NOISE * noise])
    q = orthonormal(operator.forward(weight, block))
    z = operator.adjoint(weight, q)
    rotation = _leading(_gram(z), ordered=ordered).mT
    left, z = rotation @ q, rotation @ z
    rest, right = orthonormal(z), _unit(z if ordered else z[:1])
    right = torch.where(right.abs().amax(dim=1, keepdim=True) > 0, right, rest[: len(right)])
    return left, right, torch.cat([right[:1], rest[1:]])


def sharpen(
    operator: Operator, weight: torch.Tensor, block: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Converged: (singular values (k,), left (k, outputs), right (k, inputs)), the largest first, k rows of `block`.

    Restarted block Krylov with Rayleigh–Ritz from `block` and two new directions, until a restart gains less than
    2e-7 of σ. Waits for the device. Values that are not finite are returned as such.
    """
    rows, best, settled = len(block), -1.0, 0
    for cycle in range(CYCLES):
        basis = _krylov(operator, weight, _started(block, cycle))
        images = operator.forward(weight, basis)
        scale = _power_of_two(images.abs().amax())
        if not bool(torch.isfinite(scale)):
            return images.real.new_full((rows,), torch.nan), images[:rows], basis[:rows]
        squares, turns = torch.linalg.eigh(_gram(images))
        top = turns.flip(1)[:, :rows].mT.to(basis.dtype)
        block = orthonormal(top @ basis)
        values = squares.flip(0)[:rows].clamp_min(0).sqrt() * scale
        largest = float(values[0])
        settled = settled + 1 if largest <= best * (1 + SETTLED) else 0
        best = max(best, largest)
        if settled == 2 or largest == 0:
            break
    images = operator.forward(weight, block)
    scale = _power_of_two(images.abs().amax())
    return torch.linalg.vector_norm(images / scale, dim=1) * scale, _unit(images), block


def chirp(length: int, count: torch.Tensor | int, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """A unit row (1, length), another one for each count: frequencies of all sizes, correlated with nothing usual."""
    places = torch.arange(length, device=device, dtype=torch.float64 if dtype == torch.float64 else torch.float32)
    count = torch.as_tensor(count, device=device)
    turn = torch.remainder(count.to(torch.float64) * 0.6180339887498949, 1.0).to(places.dtype)
    wave = torch.cos(places * (2 * math.pi * turn + 0.7548776662 * places) + 7.0 * turn)
    return (wave / torch.linalg.vector_norm(wave)).reshape(1, -1).to(dtype)


def orthonormal(rows: torch.Tensor) -> torch.Tensor:
    """Orthonormal rows, the first along the first; rows of zeros or dependent ones are replaced by others."""
    basis: torch.Tensor = torch.linalg.qr(_scaled(rows).mT).Q.mT
    return basis


def _krylov(operator: Operator, weight: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    """Orthonormal rows that span the start and its next images under AᴴA."""
    basis = last = orthonormal(start)
    for _ in range(1, DEPTH):
        if len(basis) == basis.shape[1]:
            break
        last = operator.adjoint(weight, _scaled(operator.forward(weight, last)))
        basis = orthonormal(torch.cat([basis, last]))
        last = basis[-len(start) :]
    return basis


def _started(block: torch.Tensor, cycle: int) -> torch.Tensor:
    """The block and new directions beside it, as many as there is room for."""
    length = block.shape[1]
    news = [chirp(length, 1000 + 2 * cycle + i, block.device, block.dtype) for i in range(min(2, length - len(block)))]
    return torch.cat([block, *news])


def _gram(rows: torch.Tensor) -> torch.Tensor:
    """Inner products of the rows, which are scaled by one power of two; finite whatever they are."""
    rows = rows / _power_of_two(rows.abs().amax())
    gram = rows.conj() @ rows.mT
    return torch.where(torch.isfinite(gram).all(), gram, torch.zeros_like(gram))


def _leading(gram: torch.Tensor, *, ordered: bool) -> torch.Tensor:
    """A unitary matrix whose first column is the eigenvector of the largest eigenvalue; ordered: the others follow."""
    if ordered or gram.device.type == "cpu":
        return torch.linalg.eigh(gram).eigenvectors.flip(1)
    return leading_by_powers(gram)


def leading_by_powers(gram: torch.Tensor) -> torch.Tensor:
    """The same without an eigensolver: by powers, whose largest column is completed to a unitary matrix."""
    power = gram
    for _ in range(SQUARINGS):
        power = _scaled_whole(power @ power)
    largest = power.diagonal().abs().argmax().reshape(1)
    column = power.index_select(1, largest)
    unit = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    column = torch.where(column.abs().amax() > 0, column, unit[:, :1])
    completed: torch.Tensor = torch.linalg.qr(torch.cat([column, unit], dim=1)).Q
    return completed


def _unit(rows: torch.Tensor) -> torch.Tensor:
    """Each row at norm 1; rows of zeros stay."""
    rows = _scaled(rows)
    norms = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return rows / torch.where(norms > 0, norms, torch.ones_like(norms))


def _scaled(rows: torch.Tensor) -> torch.Tensor:
    """Each row with its largest entry at 1."""
    largest = rows.abs().amax(dim=1, keepdim=True)
    return rows / torch.where(largest > 0, largest, torch.ones_like(largest))


def _scaled_whole(matrix: torch.Tensor) -> torch.Tensor:
    largest = matrix.abs().amax()
    return matrix / torch.where(largest > 0, largest, torch.ones_like(largest))


def _power_of_two(number: torch.Tensor) -> torch.Tensor:
    """The power of two below a number from 0; 1 for 0; what is not finite stays."""
    mantissa, _ = torch.frexp(number)
    ratio = number / torch.where(mantissa > 0, mantissa, torch.ones_like(mantissa))
    return torch.where(number == 0, torch.ones_like(number), ratio)
