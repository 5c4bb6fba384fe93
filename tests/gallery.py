"""Matrices of known or independently computable spectral norm, from the hard corners of the field."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def haar(n: int, k: int, rng: np.random.Generator) -> np.ndarray:
    """n×k with orthonormal columns, Haar distributed."""
    q, r = np.linalg.qr(rng.standard_normal((n, k)))
    return q * np.where(np.diagonal(r) < 0, -1.0, 1.0)


def with_spectrum(sigma: np.ndarray, m: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """U diag(σ) Vᵀ, m×n, in float64 (its true norm differs from max σ by rounding)."""
    k = len(sigma)
    return (haar(m, k, rng) * sigma) @ haar(n, k, rng).T


def profiles(k: int) -> dict[str, np.ndarray]:
    """Singular value profiles that make estimators fail."""
    i = np.arange(k)
    return {
        "flat": np.ones(k),
        "two ulps apart": np.where(i < k // 2, 1.0, 1.0 - 2.0**-52),
        "tiny gap": np.where(i == 0, 1.0, 1.0 - 1e-9),
        "rank one": np.where(i == 0, 1.0, 0.0),
        "geometric": 2.0 ** -(i / 2.0),
        "power law": (i + 1.0) ** -0.5,
        "spike": np.where(i == 0, 3.0, 1.0),
        "graded": np.logspace(0, -12, k),
        "cluster": np.where(i < max(1, k // 8), 1.0 - 1e-7 * i, 0.3),
    }


def _dft_real(n: int) -> np.ndarray:
    i = np.arange(n)
    return np.sqrt(2 / (n + 1)) * np.sin(np.pi * np.outer(i + 1, i + 1) / (n + 1))


CLOSED_FORMS: dict[str, Callable[[], tuple[np.ndarray, float]]] = {
    "identity": lambda: (np.eye(37), 1.0),
    "ones": lambda: (np.ones((30, 50)), np.sqrt(1500.0)),
    "hadamard": lambda: (_hadamard(64), 8.0),
    "second difference": lambda: (_laplacian(40), 2 + 2 * np.cos(np.pi / 41)),
    "sine transform": lambda: (_dft_real(33), 1.0),
    "magic": lambda: (_magic(9), 9 * (81 + 1) / 2),
    "permutation": lambda: (np.eye(29)[np.random.default_rng(0).permutation(29)], 1.0),
    "kronecker": lambda: (np.kron(_laplacian(5), _hadamard(8)), (2 + 2 * np.cos(np.pi / 6)) * np.sqrt(8)),
    "circulant": lambda: (_circulant(np.array([3.0, 1, 0, 0, 0, 0, 1])), 5.0),
    "one row": lambda: (np.arange(1.0, 25)[None, :], np.sqrt(np.sum(np.arange(1.0, 25) ** 2))),
}
"""Name → (matrix, its exact spectral norm)."""


def _hadamard(n: int) -> np.ndarray:
    h = np.ones((1, 1))
    while len(h) < n:
        h = np.block([[h, h], [h, -h]])
    return h


def _laplacian(n: int) -> np.ndarray:
    return 2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)


def _magic(n: int) -> np.ndarray:
    i, j = np.indices((n, n))
    return n * ((i + j - 1 + n // 2) % n) + (i + 2 * j - 2) % n + 1.0


def _circulant(row: np.ndarray) -> np.ndarray:
    return np.stack([np.roll(row, k) for k in range(len(row))])
