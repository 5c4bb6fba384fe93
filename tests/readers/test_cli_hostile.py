"""The command on hostile files: exit code 3, one line a file on standard error, and the rest is still measured."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hostile import CASES

from opnorm import cli


@pytest.fixture
def run(capsys, monkeypatch):
    """Run the command in this process: exit code, standard output, standard error."""

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["opnorm", *map(str, arguments)])
        with pytest.raises(SystemExit) as exited:
            cli.main()
        return exited.value.code, *capsys.readouterr()

    return command


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good.npy"
    np.save(path, np.diag([3.0, 1.0]))
    return path


@pytest.mark.parametrize("name", CASES)
def test_one_line_exit_3_and_the_other_input_measured(name, tmp_path, good, run):
    path = CASES[name].write(tmp_path)
    code, out, err = run("measure", path, good, "--json", "-")
    report = json.loads(out)
    assert code == 3
    assert [row["name"] for row in report["rows"] if row["status"] == "measured"] == ["good"]
    assert report["rows"][-1]["lower"] <= 3 <= report["rows"][-1]["upper"]
    assert report["complete"] is False or any(row["status"] == "refused" for row in report["rows"])
    assert err.startswith(f"opnorm: {tmp_path}")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert err[:-1].isprintable()
    assert "Traceback" not in out + err


@pytest.mark.parametrize("name", ["safetensors: trailing bytes", "npy: dtype of objects", "npz: checksum wrong"])
def test_check_never_passes_what_it_could_not_read(name, tmp_path, good, run):
    code, out, err = run("check", "--max", "10", CASES[name].write(tmp_path), good)
    assert code == 3
    assert "PASS" not in out
    assert "FAIL" in out
    assert err.count("\n") == 1


def test_all_at_once_as_users_run_it(tmp_path, good):
    paths = []
    for number, case in enumerate(CASES.values()):
        folder = tmp_path / str(number)
        folder.mkdir()
        paths.append(case.write(folder))
    command = [sys.executable, "-m", "opnorm", "measure", *paths, good, "--json", tmp_path / "report.json"]
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=120)
    assert done.returncode == 3
    assert done.stderr.count("\n") == len(paths)
    assert "Traceback" not in done.stdout + done.stderr
    assert "Warning" not in done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["complete"] is False
    assert [row["name"] for row in report["rows"] if row["status"] == "measured"] == ["good"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("missing.npz", 2), ("model.pt", 3), ("x" * 5000 + ".npy", 4), ("empty", 2)],
)
def test_exit_codes_of_what_cannot_be_opened(name, expected, tmp_path, good, run):
    (tmp_path / "empty").mkdir()
    (tmp_path / "model.pt").write_bytes(b"\x80\x02.")
    code, out, err = run("measure", tmp_path / name, good, "--json", "-")
    assert code == expected
    assert [row["name"] for row in json.loads(out)["rows"]] == ["good"]
    assert err.count("\n") == 1


def test_the_gravest_code_wins(tmp_path, good, run):
    (tmp_path / "model.pt").write_bytes(b"")
    code, _, err = run("measure", tmp_path / "missing.npz", tmp_path / "model.pt", good, "--quiet")
    assert code == 2
    assert err.count("\n") == 2
