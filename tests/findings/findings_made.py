"""Models to break, and spectra found by NumPy's SVD alone, so that findings are tested without the rooms they read."""

from dataclasses import replace

import numpy as np
import torch
from torch import nn

import opnorm
from opnorm.report.document import Report, Row, Settings
from opnorm.report.findings import DEFAULT, findings_of
from opnorm.spectrum.document import Quantity, Spectrum, Units

BLOCKS, SIDE, WIDE = 5, 48, 96
PARTS = {"query": (SIDE, SIDE), "key": (SIDE, SIDE), "value": (SIDE, SIDE), "up": (WIDE, SIDE), "down": (SIDE, WIDE)}


def trained_like(seed=0, decay=0.3):
    """Blocks of matrices whose singular values fall like i^−decay, the size of each block's a little its own."""
    rng = np.random.default_rng(seed)
    return {
        f"block.{i}.{part}.weight": with_spectrum(
            2.0 * np.exp(0.3 * rng.standard_normal()) * np.arange(1.0, min(shape) + 1) ** -decay, shape, rng
        )
        for i in range(BLOCKS)
        for part, shape in PARTS.items()
    }


def with_spectrum(sigma, shape, rng):
    """A matrix with these singular values, and singular vectors at random."""
    u = np.linalg.qr(rng.standard_normal((shape[0], len(sigma))))[0]
    v = np.linalg.qr(rng.standard_normal((shape[1], len(sigma))))[0]
    return ((u * sigma) @ v.T).astype(np.float32)


def measured(arrays, *, spectrum=True):
    """The report of named arrays; each matrix with its spectrum, as NumPy's SVD has it."""
    report = opnorm.measure(arrays)
    if not spectrum:
        return report
    rows = [replace(r, spectrum=spectrum_of(arrays[r.name])) if _is_matrix(r, arrays) else r for r in report.rows]
    return replace(report, rows=tuple(rows))


def _is_matrix(row, arrays):
    return row.status == "measured" and row.name in arrays and arrays[row.name].ndim == 2


def spectrum_of(matrix):
    """What findings read of a spectrum."""
    matrix = np.asarray(matrix, np.float64)
    sigma = np.linalg.svd(matrix, compute_uv=False)
    shares = sigma[sigma > 0] / sigma.sum() if sigma.any() else np.ones(1)
    rank = Quantity(float(np.exp(-(shares * np.log(shares)).sum())))
    top = tuple(map(float, sigma[:64]))
    return Spectrum(*matrix.shape, "svd", {"effective_rank": rank}, top, tuple(range(len(top))), units=units_of(matrix))


def units_of(matrix):
    """Dead and duplicate units by comparing all pairs."""
    dead, idle = np.flatnonzero(~matrix.any(1)), np.flatnonzero(~matrix.any(0))
    unit = matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-300)
    cosines = np.abs(unit @ unit.T) > 1 - 1e-12
    pairs = [(int(np.argmax(cosines[i, :i])), i) for i in range(len(matrix)) if cosines[i, :i].any()]
    return Units(
        tuple(map(int, dead[:32])), len(dead), tuple(map(int, idle[:32])), len(idle), tuple(pairs[:32]), len(pairs)
    )


def codes(report, thresholds=DEFAULT):
    """The codes of a report's findings, each with its row."""
    return [(f.code, f.row) for f in findings_of(report, thresholds)]


def only(report, thresholds=DEFAULT):
    """The one finding that there is."""
    (finding,) = findings_of(report, thresholds)
    return finding


def row(name="fc.weight", *, sigma=1.0, width=0.0, kind="linear", shape=(32, 32), stable_rank=None, **more):
    """A measured row with σ₁ in [sigma, sigma·(1 + width)]."""
    return Row(
        0, name, (name,), False, kind, f"dense {shape}", shape, "float32", "measured", lower=sigma,
        upper=sigma * (1 + width), evidence="probable", stable_rank=stable_rank, **more,
    )  # fmt: skip


def report_of(*rows, coverage=None, **more):
    """A report of rows made by hand."""
    counts = coverage or {"bytes": 100, "measured": 100, "refused": 0}
    return Report("0", True, (), Settings("probable", 0.01, 1e-12, 0), rows, counts, (), **more)


class Attention(nn.Module):
    """Layers of attention with heads enough to compare."""

    def __init__(self, layers=3, size=32, heads=4):
        super().__init__()
        self.layers = nn.ModuleList(nn.MultiheadAttention(size, heads) for _ in range(layers))
        self.size = size // heads

    def scale_head(self, layer, head, *, value=1.0, query=1.0):
        """Multiply a head's rows of W_V and of W_Q."""
        weight, size = self.layers[layer].in_proj_weight, self.size
        whole = weight.shape[1]
        with torch.no_grad():
            weight[head * size : (head + 1) * size] *= query
            weight[2 * whole + head * size : 2 * whole + (head + 1) * size] *= value
