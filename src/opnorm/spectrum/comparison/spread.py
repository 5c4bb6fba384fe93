"""How much of a direction lies along any one singular direction of a weight, without knowing them all.

Let y be a unit vector and μ the measure that puts the weight cosᵢ² = ⟨uᵢ, y⟩² on each eigenvalue σᵢ² of AAᵀ. Lanczos
on AAᵀ, begun with y, gives the polynomials p₀, p₁, … orthonormal for μ, and the Christoffel function bounds every atom
of it from above: μ({x}) ≤ 1/Σ_{k<n} p_k(x)², as p(x)²·μ({x}) ≤ ∫p²dμ for any polynomial p, and the best one of degree
n−1 gives the right-hand side (Akhiezer, *The Classical Moment Problem*, section 2.4). So n products bound max |cosᵢ|,
whatever else the spectrum holds; a direction spread over many is seen to be so, at a rate of about 1/n.

Directions that are known are taken out of y first. A tall A has a null space on that side, which may hold most of y and
has no direction: there only x of at least `TALL_FLOOR` of the largest count, singular values of 5 % of the norm.

Evidence: estimates, as the supremum over x is taken over a grid. Cost: `STEPS` passes over the entries.
"""

from __future__ import annotations

import numpy as np

from opnorm.linalg.operator import LinearOperator
from opnorm.linalg.rounding import Float64

STEPS = 40
"""Products of AAᵀ with each direction."""

_BETWEEN = 24
"""Points of the grid between two neighbouring Ritz values."""

TALL_FLOOR = 0.05**2

_SMALL = 1e-10
"""A residual below this share of the largest Ritz value, or a rest of y, is none."""


def largest_atoms(operator: LinearOperator, outputs: Float64, known: Float64) -> Float64:
    """At least max |⟨uᵢ, y⟩| over the uᵢ orthogonal to the columns `known`, for each unit column y of `outputs`."""
    rest = outputs - known @ (known.T @ outputs)
    rest -= known @ (known.T @ rest)
    sizes = np.linalg.norm(rest, axis=0)
    atoms, floor = np.zeros(len(sizes)), TALL_FLOOR if operator.shape[0] > operator.shape[1] else 0.0
    live = np.flatnonzero(sizes > _SMALL)
    if len(live):
        atoms[live] = [_atom(*c, floor) for c in _jacobi(operator, rest[:, live] / sizes[live], known)]
    return np.asarray(sizes * np.sqrt(atoms))


def _jacobi(operator: LinearOperator, start: Float64, known: Float64) -> list[tuple[Float64, Float64]]:
    """Of each column, the diagonal and the side diagonal of its Jacobi matrix; all products are made together."""
    columns = start.shape[1]
    bases = [[start[:, j]] for j in range(columns)]
    diagonal: list[list[float]] = [[] for _ in range(columns)]
    side: list[list[float]] = [[] for _ in range(columns)]
    live = list(range(columns))
    for _ in range(min(STEPS, len(start))):
        images = np.asarray(operator.gram(np.stack([bases[j][-1] for j in live], axis=1)), dtype=np.float64)
        still = []
        for j, image in zip(live, images.T, strict=True):
            diagonal[j].append(float(bases[j][-1] @ image))
            residual = _cleaned(image, bases[j], known)
            size = float(np.linalg.norm(residual))
            if size > _SMALL * max(diagonal[j][0], size, max(diagonal[j])):
                side[j].append(size)
                bases[j].append(residual / size)
                still.append(j)
        live = still
        if not live:
            break
    return [(np.array(d), np.array(s[: len(d) - 1])) for d, s in zip(diagonal, side, strict=True)]


def _cleaned(image: Float64, basis: list[Float64], known: Float64) -> Float64:
    """`image` orthogonal to what came before, twice, and to what is known."""
    before = np.stack(basis, axis=1)
    for _ in range(2):
        image = image - before @ (before.T @ image)
        image = image - known @ (known.T @ image)
    return image


def _atom(diagonal: Float64, side: Float64, floor: float) -> float:
    """max over a grid of 1/Σ p_k(x)²: the Ritz values, and points between and beside them."""
    matrix = np.diag(diagonal) + np.diag(side, 1) + np.diag(side, -1)
    ritz = np.linalg.eigvalsh(matrix)
    ends = np.concatenate([[0.0], np.maximum(ritz, 0.0), [ritz[-1] * 1.01]])
    shares = np.linspace(0, 1, _BETWEEN, endpoint=False)
    grid = (ends[:-1, None] + np.diff(ends)[:, None] * shares).ravel()
    grid = grid[grid >= floor * ritz[-1]]
    last, now, total = np.zeros_like(grid), np.ones_like(grid), np.ones_like(grid)
    for k in range(len(diagonal) - 1):
        before = side[k - 1] if k else 0.0
        last, now = now, ((grid - diagonal[k]) * now - before * last) / side[k]
        total += now * now
    return float(1 / total.min())
