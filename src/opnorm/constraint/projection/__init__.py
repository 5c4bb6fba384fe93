"""The exact Frobenius projection onto a band of singular values, and its derivative.

project(W) = U clip(Σ, lo, hi)Vᵀ is the nearest matrix with lo ≤ σ_i ≤ hi (von Neumann 1937, Mirsky 1960), the only
one if lo = 0 or σ_min(W) > 0 (`docs/proofs.md`, section 15). Arrays stay in their framework, on their device and in
their dtype; a framework is looked at only if it is already imported.
"""

from __future__ import annotations

import math
import sys
from importlib import import_module
from typing import Any

from opnorm.constraint.band import Band

_HOMES = {module: f"{__name__}.{module}" for module in ("torch", "jax", "numpy")}


def project(W: Any, lo: float = 0.0, hi: float = math.inf, *, stacked: bool = False) -> Any:
    """The nearest matrix to W (Frobenius) whose singular values lie in [lo, hi]: they are clipped, nothing else moves.

    W: a NumPy, PyTorch or JAX matrix of any float dtype; with stacked=True a stack (..., m, n) of them. lo = 0 is a
    cap, lo = hi an orthogonal matrix times hi (rows or columns, on the short side). Returns a new array of the same
    kind, dtype and device; W itself, bit for bit, where it lies in the band up to (4+√k)ε of what was computed in.

    Error: with k = min(m, n), σ₁ of the result exceeds hi by at most (4+√k)·ε·hi, ε of W's dtype, where
    no entry is subnormal; about ε/2 is usual. This is no certificate: `opnorm.spectral_norm` gives one. Where some
    σ_i ≤ ε·σ₁ and lo > 0 there are many nearest matrices: the SVD's vectors decide, and a zero W becomes lo·I.

    Differentiable in torch (once, in both modes, with vmap) and JAX, also at repeated and zero singular values. On an
    edge the derivative is that from inside the band. With lo > 0 it grows as lo/σ and leaves out what a zero σ
    multiplies, where none exists.

    Raises `UsageError` for an impossible band, `UndefinedNorm` for NaN or Inf (JAX: not under jit, where NaN comes
    out), `UnsupportedInput` for kernels of convolutions and what is no matrix of floats.
    Cost: an eigendecomposition of side k, or an SVD where lo > 0 or the dtype asks for it; a cap that row and
    column sums show not to be reached costs one pass. JAX: an SVD.
    """
    return _home(W).project(W, Band(lo, hi), stacked)


def project_derivative(W: Any, E: Any, lo: float = 0.0, hi: float = math.inf, *, stacked: bool = False) -> Any:
    """The derivative of `project` at W in the direction E, DP(W)[E], of NumPy arrays; self-adjoint in E. One SVD."""
    from opnorm.constraint.projection.numpy import project_derivative as derivative

    return derivative(W, E, Band(lo, hi), stacked)


def _home(matrix: Any) -> Any:
    loaded = (import_module(home) for module, home in _HOMES.items() if module in sys.modules)
    return next(home for home in loaded if home.accepts(matrix))
