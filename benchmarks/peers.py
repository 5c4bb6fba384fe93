"""What others offer for σ₁, each as its users call it. Evidence: what the number proves, in opnorm's words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse.linalg import svds

import opnorm


@dataclass(frozen=True)
class Method:
    """A name, what its number is worth, how often to time it, and how to call it on a float32 array."""

    name: str
    evidence: str
    repeats: int
    call: Callable[[np.ndarray], tuple[float, float]]


def _twice(value: float) -> tuple[float, float]:
    return float(value), float(value)


def _bracket(level: str, width: float) -> Callable[[np.ndarray], tuple[float, float]]:
    def call(matrix: np.ndarray) -> tuple[float, float]:
        bracket = opnorm.spectral_norm(matrix, evidence=level, width=width, seed=0).bracket(level)
        return float(bracket.lower), float(bracket.upper)

    return call


def _power(matrix: np.ndarray, steps: int = 100) -> tuple[float, float]:
    v = np.random.default_rng(0).standard_normal(matrix.shape[1]).astype(np.float32)
    for _ in range(steps):
        u = matrix @ (v / np.linalg.norm(v))
        v = matrix.T @ (u / np.linalg.norm(u))
    return _twice(np.linalg.norm(v))


METHODS = (
    Method("opnorm estimate 1%", "estimate", 5, _bracket("estimate", 1e-2)),
    Method("opnorm probable 1%", "probable", 5, _bracket("probable", 1e-2)),
    Method("opnorm proved 1%", "proved", 3, _bracket("proved", 1e-2)),
    Method("opnorm proved 1e-6", "proved", 3, _bracket("proved", 1e-6)),
    Method("scipy svds(k=1)", "estimate", 5, lambda a: _twice(svds(a, k=1, return_singular_vectors=False)[0])),
    Method("100 power iterations", "lower bound", 1, _power),
    Method("torch.svd_lowrank", "estimate", 5, lambda a: _twice(torch.svd_lowrank(torch.from_numpy(a))[1][0])),
    Method("torch matrix_norm(2)", "estimate", 1, lambda a: _twice(torch.linalg.matrix_norm(torch.from_numpy(a), 2))),
    Method("numpy norm(2)", "estimate", 1, lambda a: _twice(np.linalg.norm(a, 2))),
    Method(
        "float64 svdvals", "estimate", 1, lambda a: _twice(np.linalg.svd(a.astype(np.float64), compute_uv=False)[0])
    ),
)
