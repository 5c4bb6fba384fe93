"""The files of examples/trials as modules, and where their data lie."""

import importlib.util
import sys
from functools import cache
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples" / "trials"
DATA = EXAMPLES.parents[1] / ".cache" / "data"


@cache
def example(name):
    """examples/trials/NAME.py; its siblings are found as they are when it is run."""
    sys.path.insert(0, str(EXAMPLES))
    try:
        spec = importlib.util.spec_from_file_location(f"examples_trials_{name}", EXAMPLES / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(EXAMPLES))
    return module


def needs(*names):
    """Skip, naming the file, where data have not been fetched."""
    for name in names:
        if not (DATA / name).exists():
            pytest.skip(f".cache/data/{name} is not there: python examples/trials/fetch.py")
