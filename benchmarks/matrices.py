"""Float32 matrices whose spectra span what trained weights show, from flat to fast decay."""

from __future__ import annotations

import numpy as np


def gaussian(m: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """No gap at the top: the worst case for every iteration."""
    return rng.standard_normal((m, n), dtype=np.float32)


def power_law(m: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """σ_i = i^(−1/2), Haar singular vectors (on the long side, orthonormal by QR)."""
    u = np.linalg.qr(rng.standard_normal((m, m)))[0]
    v = np.linalg.qr(rng.standard_normal((n, m)))[0]
    return ((u * np.arange(1, m + 1) ** -0.5) @ v.T).astype(np.float32)


def spiked(m: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """A Gaussian bulk and one direction half as large again as its edge."""
    u, v = rng.standard_normal(m), rng.standard_normal(n)
    spike = 1.5 * (np.sqrt(m) + np.sqrt(n)) * np.outer(u / np.linalg.norm(u), v / np.linalg.norm(v))
    return (rng.standard_normal((m, n)) + spike).astype(np.float32)


SPECTRA = {"gaussian": gaussian, "power law": power_law, "spiked": spiked}
SHAPES = ((1024, 1024), (4096, 4096), (4096, 11008))


def truth(matrix: np.ndarray) -> float:
    """σ₁ by a full float64 eigenvalue decomposition of the Gram matrix on the short side."""
    wide = matrix.astype(np.float64) if matrix.shape[0] <= matrix.shape[1] else matrix.T.astype(np.float64)
    return float(np.sqrt(np.linalg.eigvalsh(wide @ wide.T)[-1]))
