"""The package as a whole: what it imports, what it exports, how large its files are."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import opnorm

SOURCE = Path(opnorm.__file__).parent


def imported_by(statement):
    code = f"{statement}; import sys; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_loads_no_framework_and_not_even_numpy():
    assert not {"torch", "jax", "scipy", "numpy", "click", "rich"} & imported_by("import opnorm")


def test_measuring_numpy_loads_no_framework():
    used = "import numpy as np, opnorm; opnorm.spectral_norm(np.eye(3)); opnorm.aslinearoperator(np.eye(2))"
    assert not {"torch", "jax", "rich"} & imported_by(used)


def test_help_loads_no_numerics():
    assert not {"numpy", "scipy", "rich"} & imported_by("import opnorm.cli")


def test_exports_are_sorted_few_and_real():
    assert opnorm.__all__ == sorted(opnorm.__all__)
    assert len(opnorm.__all__) <= 50
    for name in opnorm.__all__:
        assert getattr(opnorm, name).__doc__
    assert set(opnorm._HOME) == set(opnorm.__all__)


def test_unknown_names_are_answered():
    with pytest.raises(AttributeError, match="spectral_norm"):
        opnorm.spectal_norm  # noqa: B018


def test_no_public_function_shares_a_name_with_a_module():
    modules = {p.stem for p in SOURCE.iterdir()}
    assert not modules & set(opnorm.__all__)


RUN_USERS_CODE = {"torch_trace.py", "torch_modules.py", "calling.py"}
"""A user's own forward or functions may raise anything; what they raised becomes a row's reason, or one message."""


def test_files_and_functions_are_short():
    for path in SOURCE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= 300, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno <= 75, (path, node.name)
            if isinstance(node, ast.ExceptHandler):
                names = ast.dump(node.type) if node.type else "bare"
                assert "bare" not in names
                assert "'Exception'" not in names or path.name in RUN_USERS_CODE, path


def test_errors_derive_from_one_base():
    for name in opnorm.__all__:
        item = getattr(opnorm, name)
        if isinstance(item, type) and issubclass(item, Exception):
            assert issubclass(item, opnorm.OpnormError)
