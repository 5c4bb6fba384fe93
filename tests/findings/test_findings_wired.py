"""Findings as a user meets them: from live models, files with a configuration, and thresholds of one's own."""

import json
import subprocess
import sys

import numpy as np
import torch
from safetensors.numpy import save_file

import opnorm


def codes(report):
    return [(f.code, f.row) for f in report.findings]


def test_a_batch_norm_in_training_mode():
    model = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.BatchNorm1d(5))
    found = opnorm.measure(model).findings
    assert [f.code for f in found] == ["ON108"]
    assert "in training mode" in found[0].message
    assert codes(opnorm.measure(model.eval())) == []


def test_a_normalization_without_statistics_of_its_own_is_not_told_by_its_mode():
    model = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.BatchNorm1d(5, track_running_stats=False))
    assert "training mode" not in str(opnorm.measure(model).findings)


def tied_model(folder, head):
    rng = np.random.default_rng(0)
    table = rng.standard_normal((64, 16)).astype(np.float32)
    weights = {
        "model.embed_tokens.weight": table,
        "lm_head.weight": table if head is None else head(table),
        "model.layers.0.self_attn.q_proj.weight": rng.standard_normal((16, 16)).astype(np.float32),
    }
    save_file(weights, folder / "model.safetensors")
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "tie_word_embeddings": True}
    (folder / "config.json").write_text(json.dumps(config))
    return opnorm.measure(folder)


def test_tied_weights_that_are_stored_twice(tmp_path):
    assert "ON107" not in [code for code, _ in codes(tied_model(tmp_path, None))]
    assert ("ON107", "lm_head.weight") in codes(tied_model(tmp_path, lambda table: table + np.float32(0.5)))


def test_thresholds_of_ones_own(tmp_path):
    rng = np.random.default_rng(0)
    weights = {f"layers.{i}.weight": rng.standard_normal((20, 20)).astype(np.float32) for i in range(6)}
    weights["layers.3.weight"] *= 6
    save_file(weights, tmp_path / "m.safetensors")
    (tmp_path / "t.toml").write_text("[findings]\npeer_ratio = 4\n")

    def run(*options):
        command = [sys.executable, "-m", "opnorm", "measure", str(tmp_path / "m.safetensors"), "--json", "-", *options]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert [f["code"] for f in json.loads(run().stdout)["findings"]] == []
    assert [f["code"] for f in json.loads(run("--findings", str(tmp_path / "t.toml")).stdout)["findings"]] == ["ON102"]
    (tmp_path / "t.toml").write_text("[findings]\npeer_ration = 4\n")
    done = run("--findings", str(tmp_path / "t.toml"))
    assert done.returncode == 2
    assert "peer_ratio" in done.stderr
