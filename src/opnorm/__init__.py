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
    from opnorm.api import block_diagonal, measure, spectral_norm
    from opnorm.bound import Bound, Bracket, Evidence, Measurement
    from opnorm.errors import (
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
    from opnorm.linalg.algebra import low_rank_update
    from opnorm.linalg.operator import FunctionOperator, LinearOperator, adjoint_defect
    from opnorm.report.document import Report, Row

__version__ = "0.1.0"

_HOMES = {
    "opnorm.api": ("block_diagonal", "measure", "spectral_norm"),
    "opnorm.bound": ("Bound", "Bracket", "Evidence", "Measurement"),
    "opnorm.errors": (
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
    "opnorm.linalg.algebra": ("low_rank_update",),
    "opnorm.linalg.operator": ("FunctionOperator", "LinearOperator", "adjoint_defect"),
    "opnorm.report.document": ("Report", "Row"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Bound",
    "Bracket",
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
    "UndefinedNorm",
    "UnsupportedInput",
    "UsageError",
    "adjoint_defect",
    "aslinearoperator",
    "block_diagonal",
    "low_rank_update",
    "measure",
    "spectral_norm",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'opnorm' has no attribute {name!r}; it has: {', '.join(__all__)}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
