"""Killed at random moments (SIGKILL) and resumed, a trial gives the same verdict, byte for byte."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def _killing(folder, *arguments):
    program = Path(__file__).with_name("trial_run_killing.py")
    given = [sys.executable, str(program), *map(str, arguments[:2]), str(folder), *arguments[2:]]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    ended = subprocess.run(given, capture_output=True, text=True, check=False, env=environment)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_killed_six_times(tmp_path):
    found = _killing(tmp_path, 6, 0.5)
    assert found["same"]
    assert found["kills"] >= 6
    assert found["bytes"] > 1000


@pytest.mark.slow
def test_killed_fifty_times_while_training(tmp_path):
    found = _killing(tmp_path, 50, 4.0, "real")
    assert found["same"]
    assert found["kills"] >= 50
