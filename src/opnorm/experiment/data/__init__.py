"""Data of a trial: tables, images, series and token sequences, split and prepared anew for each seed.

The way: a file, a name or arrays (`opening`, from `tables`, `sets`, `frames`, `arrays`) → targets with their task
(`targets`) → kinds of columns (`columns`) → `checks` → `Examples` (`examples`) → `BuiltInSubject` (`subject`); for each
seed rows of the three parts (`parts`) → preparation fitted on the training rows (`prepare`) → `conditions` on the
training part → `Split`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from opnorm.experiment.data.extra import require_trial

if TYPE_CHECKING:
    from opnorm.experiment.data.opening import builtin, from_arrays

__all__ = ["builtin", "from_arrays"]


def __getattr__(name: str) -> Any:
    """The public names, loaded when first used: they need pandas and scikit-learn."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    require_trial()
    return getattr(import_module("opnorm.experiment.data.opening"), name)
