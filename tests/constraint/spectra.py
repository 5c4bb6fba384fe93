"""Matrices of chosen singular values and bands around them, for the tests of the projection."""

from __future__ import annotations

import numpy as np

from gallery import with_spectrum

INF = float("inf")

BANDS = [(0.0, 1.0), (0.5, 1.5), (1.0, 1.0), (0.7, INF), (0.0, INF)]
SHAPES = [(6, 9), (9, 6), (7, 7), (1, 5), (5, 1)]

SPECTRA = {
    "simple": lambda k: np.linspace(0.1, 2.9, k) + 0.013,
    "repeated above": lambda k: np.where(np.arange(k) < (k + 1) // 2, 2.3, 0.8),
    "repeated inside": lambda k: np.where(np.arange(k) < (k + 1) // 2, 0.9, 2.0),
    "repeated below": lambda k: np.where(np.arange(k) < (k + 1) // 2, 0.2, 1.2),
    "all equal": lambda k: np.full(k, 2.5),
    "zeros": lambda k: np.where(np.arange(k) < k // 2, 0.0, 1.7),
    "rank one": lambda k: np.where(np.arange(k) == 0, 2.0, 0.0),
}


def matrix(spectrum: str, shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    return with_spectrum(SPECTRA[spectrum](min(shape)), *shape, np.random.default_rng(seed))


def reference(w: np.ndarray, lo: float, hi: float) -> np.ndarray:
    """U clip(Σ)Vᵀ by NumPy's SVD, in float64."""
    u, sigma, vt = np.linalg.svd(w.astype(np.float64), full_matrices=False)
    return (u * sigma.clip(lo, hi)) @ vt


def defined(spectrum: str, lo: float) -> bool:
    """Whether the projection is unique: no zero singular value where there is a floor."""
    return not (lo > 0 and spectrum in ("zeros", "rank one"))


def sigma(w) -> np.ndarray:
    return np.linalg.svd(np.asarray(w).astype(np.float64), compute_uv=False)
