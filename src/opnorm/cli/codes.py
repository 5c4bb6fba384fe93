"""Exit codes, and which of several takes precedence."""

from __future__ import annotations

from opnorm.errors import CheckpointError, FileAccessError, OpnormError

FAILED, USAGE, REFUSED, ACCESS, CONTRADICTION, INTERRUPTED = 1, 2, 3, 4, 70, 130
GRAVEST = (INTERRUPTED, CONTRADICTION, ACCESS, USAGE, REFUSED, FAILED)


def exit_code(error: OpnormError) -> int:
    """The code for an error that ends one input."""
    if isinstance(error, FileAccessError):
        return ACCESS
    return REFUSED if isinstance(error, CheckpointError) else USAGE


def gravest(*codes: int) -> int:
    """The code that takes precedence."""
    return min(codes, key=lambda c: GRAVEST.index(c) if c in GRAVEST else len(GRAVEST))
