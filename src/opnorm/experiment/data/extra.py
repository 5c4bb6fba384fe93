"""Whether what a trial needs is installed, asked before anything is read."""

from __future__ import annotations

from importlib.util import find_spec

from opnorm.errors import MissingExtra

NEEDED = ("torch", "sklearn", "joblib", "pandas", "threadpoolctl")


def require_trial() -> None:
    """`MissingExtra` with the line that installs it, where a package is missing."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise MissingExtra("trial", f"a trial (it lacks {', '.join(missing)})")
