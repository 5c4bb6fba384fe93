"""Tensors are found at any depth and named by their path; wrappers are left out where nothing is lost by it."""

import json

import numpy as np
import pytest
import torch
from hostile import load
from safetensors.numpy import save_file

from opnorm.errors import CheckpointError, UsageError
from opnorm.readers import open_checkpoint
from opnorm.readers.naming import identify

A, B, C = (torch.full((2, 2), float(n)) for n in (1, 2, 3))
STATE = {"conv.weight": A, "conv.bias": B[0]}


def names(value, tmp_path):
    """Name → first entry."""
    torch.save(value, tmp_path / "file.pt")
    return {name: float(entries.ravel()[0]) for name, entries in load(tmp_path / "file.pt").items()}


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "model_state_dict", "module", "net", "params"])
def test_a_wrapper_is_left_out(wrapper, tmp_path):
    assert names({wrapper: STATE, "epoch": 3}, tmp_path) == {"conv.weight": 1, "conv.bias": 2}


CASES = {
    "none": (STATE, {"conv.weight": 1, "conv.bias": 2}),
    "wrapper in a wrapper": ({"state_dict": {"model": STATE}}, {"conv.weight": 1, "conv.bias": 2}),
    "wrapper beside another dictionary": (
        {"model": {"w": A}, "ema": {"w": B}, "best": C},
        {"w": 1, "ema.w": 2, "best": 3},
    ),
    "two wrappers": ({"model": {"w": A}, "state_dict": {"v": B}}, {"model.w": 1, "state_dict.v": 2}),
    "a wrapper without tensors": ({"model": {"name": "x"}, "state_dict": {"v": B}}, {"v": 2}),
    "a name that would be there twice": ({"model": {"w": A}, "w": B}, {"model.w": 1, "w": 2}),
    "a key that only begins so": ({"model.w": A, "module.w": B}, {"model.w": 1, "module.w": 2}),
    "a tensor of a wrapper's name": ({"model": A}, {"model": 1}),
    "lists and tuples": ([A, (B, {"c": C})], {"0": 1, "1.0": 2, "1.1.c": 3}),
    "keys that are numbers": ({0: A, -1: B, 2.5: C}, {"0": 1, "-1": 2, "2.5": 3}),
    "keys of all kinds": ({None: A, True: B, b"raw": C}, {"None": 1, "True": 2, "[2]": 3}),
    "a tuple as key": ({(1, 2): A, (1, 3): B}, {"[0]": 1, "[1]": 2}),
    "the same dictionary twice": (
        {"a": STATE, "b": STATE},
        {"a.conv.weight": 1, "a.conv.bias": 2, "b.conv.weight": 1, "b.conv.bias": 2},
    ),
    "the same tensor twice": ({"a": A, "b": A}, {"a": 1, "b": 1}),
    "Lightning": (
        {"state_dict": {"net.w": A}, "hyper_parameters": {"lr": 0.1}, "callbacks": {"x{'a': 1}": {"best": B}},
         "optimizer_states": [{"state": {0: {"exp_avg": C}}, "param_groups": [{"params": [0]}]}]},
        {"net.w": 1, "callbacks.x{'a': 1}.best": 2, "optimizer_state.optimizer_states.0.state.0.exp_avg": 3},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_names(case, tmp_path):
    value, expected = CASES[case]
    assert names(value, tmp_path) == expected


@pytest.mark.parametrize(
    "key", ["optimizer", "optimizers", "optimizer_state_dict", "optim", "optim_state", "g_optimizer"]
)
def test_optimizers_by_key(key, tmp_path):
    found = names({"model": {"w": A}, key: {"momentum": {"w": B}}}, tmp_path)
    prefix = "optimizer" if key == "optimizer" else f"optimizer_state.{key}"
    assert found == {"w": 1, f"{prefix}.momentum.w": 2}
    assert [identify(n, "float32", (2, 2)).status for n in found] == ["weight", "optimizer"]


@pytest.mark.parametrize("key", ["optimal", "adoption", "options", "stop_imized"])
def test_other_keys_are_no_optimizers(key, tmp_path):
    assert names({key: {"w": A}}, tmp_path) == {f"{key}.w": 1}


@pytest.mark.parametrize("key", ["trainer", "opt"])
def test_optimizers_by_what_they_hold(key, tmp_path):
    states = {"state": {0: {"step": A}}, "param_groups": [{"lr": 0.1}]}
    assert names({"model": {"w": A}, key: states}, tmp_path) == {
        "w": 1,
        f"optimizer_state.{key}.state.0.step": 1,
    }
    assert names(states, tmp_path) == {"optimizer_state.state.0.step": 1}


# ------------------------------------------------------------------ folders


def test_shards_with_an_index(tmp_path):
    torch.save({"a": A, "b": B}, tmp_path / "pytorch_model-00001-of-00002.bin")
    torch.save({"c": C}, tmp_path / "pytorch_model-00002-of-00002.bin")
    torch.save(object, tmp_path / "training_args.bin")
    index = {name: f"pytorch_model-0000{n}-of-00002.bin" for name, n in (("a", 1), ("b", 1), ("c", 2))}
    path = tmp_path / "pytorch_model.bin.index.json"
    path.write_text(json.dumps({"metadata": {"total_size": 48}, "weight_map": index}))
    for given in (path, tmp_path):
        assert {k: v.ravel()[0] for k, v in load(given).items()} == {"a": 1, "b": 2, "c": 3}
    path.write_text(json.dumps({"weight_map": index | {"d": index["c"]}}))
    with open_checkpoint(path) as checkpoint:
        assert [t.name for t in checkpoint.tensors] == ["a", "b"]
        assert "'d' is in the index but not in the shard" in str(checkpoint.problems[0])


@pytest.mark.parametrize("name", ["pytorch_model.bin", "adapter_model.bin"])
def test_a_folder_of_a_model(name, tmp_path):
    torch.save({"a": A}, tmp_path / name)
    for other in ("optimizer.pt", "rng_state.pth", "training_args.bin"):
        (tmp_path / other).write_bytes(b"never looked at")
    assert list(load(tmp_path)) == ["a"]
    save_file({"s": np.ones(2)}, tmp_path / "model.safetensors")
    assert list(load(tmp_path)) == ["s"]


@pytest.mark.parametrize("name", ["last.ckpt", "model.pt", "model.pth", "model_best.pth.tar"])
def test_a_folder_of_one_file(name, tmp_path):
    torch.save({"a": A}, tmp_path / name)
    (tmp_path / "notes.txt").write_text("x")
    assert list(load(tmp_path)) == ["a"]
    torch.save({"b": B}, tmp_path / "another.pt")
    with pytest.raises(UsageError, match=r"2 files of weights \(another.pt, "):
        load(tmp_path)


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "inner").mkdir()
    torch.save({"a": A}, tmp_path / "pytorch_model.bin")
    (tmp_path / "inner" / "pytorch_model.bin").symlink_to("../pytorch_model.bin")
    with pytest.raises(CheckpointError, match="leaves the folder"):
        load(tmp_path / "inner")
