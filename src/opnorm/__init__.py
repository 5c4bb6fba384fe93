"""opnorm: the spectral norm (largest singular value) of model weights, measured, bracketed and proved.

    >>> import numpy as np, opnorm
    >>> opnorm.spectral_norm(np.eye(3)).bracket("proved").at_most(1.5)
    True

Names are loaded when first used: `import opnorm` imports neither a framework nor NumPy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opnorm.api import block_diagonal, compare, measure, spectral_norm, trial
    from opnorm.bound import Bound, Bracket, Evidence, Measurement
    from opnorm.constraint.decay.invariant import decay_for, norm_invariant
    from opnorm.constraint.diagnosis.suggest import suggest
    from opnorm.constraint.files.capping import cap_file
    from opnorm.constraint.finalize.certificate import Certificate
    from opnorm.constraint.gate import control
    from opnorm.constraint.losses.jacobian import jacobian_penalty
    from opnorm.constraint.losses.norms import differentiable_spectral_norm
    from opnorm.constraint.losses.penalties import orthogonality_penalty, spectral_penalty
    from opnorm.constraint.normalize import normalize
    from opnorm.constraint.projection import project
    from opnorm.constraint.rules import band, cap, orthogonalize, penalize, watch
    from opnorm.constraint.schedule import anneal, piecewise
    from opnorm.errors import (
        BoundMissed,
        CheckpointError,
        Contradiction,
        FileAccessError,
        MissingExtra,
        OpnormError,
        UndefinedNorm,
        UnsupportedInput,
        UsageError,
    )
    from opnorm.frameworks import aslinearoperator
    from opnorm.frameworks.convolution import Convolution
    from opnorm.integrations.estimators import SpectralClassifier, SpectralRegressor
    from opnorm.linalg.algebra import low_rank_update
    from opnorm.linalg.operator import FunctionOperator, LinearOperator, adjoint_defect
    from opnorm.report.document import Report, Row
    from opnorm.report.trial.result import TrialResult
    from opnorm.spectrum.describe import describe

__version__ = "0.1.0"

_HOMES = {
    "opnorm.api": ("block_diagonal", "compare", "measure", "spectral_norm", "trial"),
    "opnorm.bound": ("Bound", "Bracket", "Evidence", "Measurement"),
    "opnorm.constraint.finalize.certificate": ("Certificate",),
    "opnorm.constraint.files.capping": ("cap_file",),
    "opnorm.constraint.gate": ("control",),
    "opnorm.constraint.losses.jacobian": ("jacobian_penalty",),
    "opnorm.constraint.decay.invariant": ("decay_for", "norm_invariant"),
    "opnorm.constraint.normalize": ("normalize",),
    "opnorm.constraint.losses.norms": ("differentiable_spectral_norm",),
    "opnorm.constraint.losses.penalties": ("orthogonality_penalty", "spectral_penalty"),
    "opnorm.constraint.projection": ("project",),
    "opnorm.constraint.rules": ("band", "cap", "orthogonalize", "penalize", "watch"),
    "opnorm.constraint.schedule": ("anneal", "piecewise"),
    "opnorm.constraint.diagnosis.suggest": ("suggest",),
    "opnorm.errors": (
        "BoundMissed",
        "CheckpointError",
        "Contradiction",
        "FileAccessError",
        "MissingExtra",
        "OpnormError",
        "UndefinedNorm",
        "UnsupportedInput",
        "UsageError",
    ),
    "opnorm.frameworks": ("aslinearoperator",),
    "opnorm.frameworks.convolution": ("Convolution",),
    "opnorm.integrations.estimators": ("SpectralClassifier", "SpectralRegressor"),
    "opnorm.linalg.algebra": ("low_rank_update",),
    "opnorm.linalg.operator": ("FunctionOperator", "LinearOperator", "adjoint_defect"),
    "opnorm.report.document": ("Report", "Row"),
    "opnorm.report.trial.result": ("TrialResult",),
    "opnorm.spectrum.describe": ("describe",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Bound",
    "BoundMissed",
    "Bracket",
    "Certificate",
    "CheckpointError",
    "Contradiction",
    "Convolution",
    "Evidence",
    "FileAccessError",
    "FunctionOperator",
    "LinearOperator",
    "Measurement",
    "MissingExtra",
    "OpnormError",
    "Report",
    "Row",
    "SpectralClassifier",
    "SpectralRegressor",
    "TrialResult",
    "UndefinedNorm",
    "UnsupportedInput",
    "UsageError",
    "adjoint_defect",
    "anneal",
    "aslinearoperator",
    "band",
    "block_diagonal",
    "cap",
    "cap_file",
    "compare",
    "control",
    "decay_for",
    "describe",
    "differentiable_spectral_norm",
    "jacobian_penalty",
    "low_rank_update",
    "measure",
    "norm_invariant",
    "normalize",
    "orthogonality_penalty",
    "orthogonalize",
    "penalize",
    "piecewise",
    "project",
    "spectral_norm",
    "spectral_penalty",
    "suggest",
    "trial",
    "watch",
]


def __getattr__(name: str) -> object:
    if name == "parametrize":
        return import_module("opnorm.parametrize")
    if name not in _HOME:
        raise AttributeError(f"module 'opnorm' has no attribute {name!r}; it has: {', '.join(__all__)}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__", "parametrize"]
