"""What stability over seeds is judged by: the top input directions of the first layer, the singular values of all.

A layer is every weight of two or more axes but embeddings, as a matrix of output rows; for a convolution that is its
kernel (the operator's own values depend on the picture's size). Directions of a table are over its numeric columns.
Layers come in the order in which the model registers them. Numbers are rounded: directions to 4 decimals, values to 6
digits, at most 32 a layer, evenly ranked.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from opnorm.experiment.claims.interpretability import DIRECTION, VALUES
from opnorm.experiment.subject import Split

TOP = 3
WIDEST = 1024
"""Inputs of a first layer whose directions are kept."""

RANKS = 32


def of(model: torch.nn.Module, split: Split) -> dict[str, tuple[float, ...]]:
    """By name; empty where the model has no layer."""
    matrices = list(_matrices(model))
    found = {VALUES + name: _values(matrix) for name, matrix in matrices}
    first = _common(matrices[0][1], split) if matrices else None
    if first is not None and 0 < first.shape[1] <= WIDEST:
        found |= _directions(first)
    return found


def _common(matrix: np.ndarray, split: Split) -> np.ndarray | None:
    """The first layer over the inputs that mean the same in every split; None for tokens, which have no such thing.

    A table's numeric columns are those; how many columns its categories become depends on the training part.
    """
    if np.issubdtype(split.train.inputs.dtype, np.integer):
        return None
    if split.movable is None or matrix.shape[1] != split.train.inputs[0].size:
        return matrix
    return matrix[:, list(split.movable)]


def _matrices(model: torch.nn.Module) -> Iterator[tuple[str, np.ndarray]]:
    seen: set[int] = set()
    for path, module in model.named_modules():
        if isinstance(module, torch.nn.Embedding | torch.nn.EmbeddingBag):
            continue
        for name, weight in module.named_parameters(recurse=False):
            if weight.ndim < 2 or id(weight) in seen:
                continue
            seen.add(id(weight))
            matrix = weight.detach().to("cpu", torch.float64).flatten(1).numpy()
            if np.isfinite(matrix).all() and matrix.size:
                yield (f"{path}.{name}" if path else name), matrix


def _values(matrix: np.ndarray) -> tuple[float, ...]:
    values = np.linalg.svd(matrix, compute_uv=False)
    at = np.unique(np.linspace(0, len(values) - 1, min(RANKS, len(values))).round().astype(int))
    return tuple(float(f"{v:.6g}") for v in values[at])


def _directions(matrix: np.ndarray) -> dict[str, tuple[float, ...]]:
    """At most 3, and at most a quarter as many as inputs, so that chance alone gives at most a quarter of overlap."""
    count = min(TOP, max(1, matrix.shape[1] // 4), *matrix.shape)
    right = np.linalg.svd(matrix, full_matrices=False)[2][:count]
    return {f"{DIRECTION}{i}": tuple(float(v) for v in row.round(4)) for i, row in enumerate(right)}
