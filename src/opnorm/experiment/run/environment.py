"""What the numbers of a trial depend on besides its design: versions of what computes them."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

COMPUTING = ("numpy", "scipy", "torch", "scikit-learn", "pandas")
"""A journal is not resumed under other versions of these: one trial, one arithmetic."""


def versions(*more: str) -> dict[str, str]:
    """Of opnorm and what it computes with."""
    import opnorm

    return {"opnorm": opnorm.__version__, **{name: _version(name) for name in (*COMPUTING, *more)}}


def environment(engine: str, jobs: int) -> Mapping[str, str]:
    """For the report."""
    engines = {"joblib": "joblib", "dask": "distributed", "ray": "ray"}
    return {
        "python": platform.python_version(),
        **versions(engines.get(engine, "joblib")),
        "machine": f"{platform.system()} {platform.machine()}",
        "engine": engine,
        "workers": str(jobs),
        "threads a worker": "1",
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"
