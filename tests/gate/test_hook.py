"""The hook for pre-commit in a real git repository: a commit that breaks the budget is refused."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from made import weights

ROOT = Path(__file__).parent.parent.parent
HOOKS = ROOT / ".pre-commit-hooks.yaml"

RUNNER = """#!{python}
import os, re, subprocess, sys
staged = subprocess.run(["git", "diff", "--cached", "--name-only", "-z"], capture_output=True, text=True, check=True)
files = [f for f in staged.stdout.split("\\0") if re.search({pattern!r}, f)]
if not files:
    sys.exit(0)
sys.exit(subprocess.run([*{entry!r}, "--budget", "opnorm.toml", *files]).returncode)
"""
"""What pre-commit does: the hook's entry, its arguments, then the staged files that its pattern finds."""


def git(*arguments, **options):
    return subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=120, check=False, **options)


@pytest.fixture
def hook():
    yaml = pytest.importorskip("yaml")
    (found,) = yaml.safe_load(HOOKS.read_text())
    return found


@pytest.fixture
def repository(tmp_path, monkeypatch, hook):
    monkeypatch.chdir(tmp_path)
    for name in [n for n in os.environ if n.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    assert git("init", "-q", ".").returncode == 0
    for key, value in (("user.name", "t"), ("user.email", "t@example.org"), ("commit.gpgsign", "false")):
        git("config", key, value)
    command = shlex.split(hook["entry"])
    assert command[0] == "opnorm"
    script = Path(".git/hooks/pre-commit")
    script.parent.mkdir(exist_ok=True)
    entry = [sys.executable, "-m", *command]
    script.write_text(RUNNER.format(python=sys.executable, pattern=hook["files"], entry=entry))
    script.chmod(0o755)
    Path("opnorm.toml").write_text("version = 1\n[[rule]]\nglob = 'layers.*'\nmax = 3.5\n")
    return tmp_path


def commit(message):
    git("add", "-A")
    done = git("commit", "-q", "-m", message)
    return done.returncode, done.stdout + done.stderr


def test_a_commit_that_breaks_the_budget_is_refused(repository):
    np.savez("model.npz", **weights())
    assert commit("a model")[0] == 0
    np.savez("model.npz", **weights(2.0))
    code, told = commit("a model that exploded")
    assert code == 1
    assert "layers.0.weight: spectral_norm ≥ 6 exceeds max 3.5" in told.replace("5.9999", "6")
    assert git("log", "--oneline").stdout.count("\n") == 1
    Path("README.md").write_text("text\n")
    git("restore", "--staged", "model.npz")
    git("checkout", "-q", "model.npz")
    assert commit("text alone")[0] == 0
    Path("opnorm.toml").write_text("version = 1\n[[rule]]\nmaxx = 3.5\n")
    np.savez("model.npz", **weights(0.5))
    code, told = commit("a budget with a typing error")
    assert code == 1
    assert "did you mean 'max'" in told


def test_the_pattern_finds_weights_and_nothing_else(hook):
    finds = [f"a/b.{e}" for e in ("safetensors", "npz", "npy", "pt", "pth", "ckpt", "bin")]
    assert all(re.search(hook["files"], f) for f in finds)
    assert not any(re.search(hook["files"], f) for f in ("a.py", "pt", "a.bin.md", "budget.toml", "safetensors"))


def test_the_hook_is_complete(hook):
    assert {"id", "name", "entry", "language", "files"} <= set(hook)
    assert hook["language"] == "python"
    assert hook["require_serial"] is True
