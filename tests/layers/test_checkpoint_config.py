"""config.json as data: bounded, strict, and never asked for memory; hostile names and numbers cost little time."""

import json
import os
import time

import numpy as np
import pytest
from checkpoints import Planned, made

from opnorm.errors import CheckpointError
from opnorm.readers.checkpoint import Tensor
from opnorm.readers.config import MAX_BYTES, config_of, flag, number, section, whole, word
from opnorm.readers.families.book import MOST_ROWS
from opnorm.readers.naming import plan


def test_neither_file_is_no_configuration(tmp_path):
    assert config_of(tmp_path) is None


def test_both_files_are_one_configuration(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert", "layer_norm_eps": 1e-12}')
    assert config_of(tmp_path) == {"model_type": "bert", "layer_norm_eps": 1e-12}
    (tmp_path / "adapter_config.json").write_text('{"lora_alpha": 8}')
    assert config_of(tmp_path)["adapter_config"] == {"lora_alpha": 8}
    os.remove(tmp_path / "config.json")
    assert config_of(tmp_path) == {"adapter_config": {"lora_alpha": 8}}


@pytest.mark.parametrize("name", ["config.json", "adapter_config.json"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[]", "not a JSON object"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": 1' + b"0" * 400 + b"}", "digits"),
        (b"[" * 100_000, "nested too deeply"),
        (b"\xff", "not UTF-8"),
        (b'{"a": "' + b" " * MAX_BYTES + b'"}', f"{MAX_BYTES} is allowed"),
        (b"", "not valid JSON"),
    ],
)
def test_what_is_no_configuration_is_refused(content, words, name, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=words):
        config_of(tmp_path)


def test_links_pipes_and_folders_are_refused(tmp_path):
    (tmp_path / "secret.json").write_text("{}")
    for number_, make in enumerate((
        lambda p: p.symlink_to(tmp_path / "secret.json"),
        lambda p: p.mkdir(),
        lambda p: os.mkfifo(p),
        lambda p: p.symlink_to("/dev/zero"),
    )):  # fmt: skip
        folder = tmp_path / f"model{number_}"
        folder.mkdir()
        make(folder / "config.json")
        with pytest.raises(CheckpointError):
            config_of(folder)


def test_values_of_a_wrong_kind_are_no_values():
    config = {"a": -1, "b": True, "c": 1 << 30, "d": "x", "e": [1], "f": 0.5, "g": {"h": 3}, "i": 7}
    assert whole(config, "a", "b", "c", "d", "e", "f", "zz") == 0
    assert whole(config, "a", "i") == 7
    assert number(config, "b", "d", "f") == 0.5
    assert number(config, "c") is None
    assert word(config, "a") == ""
    assert flag(config, "d") is False
    assert section(config, "e") is None
    assert section(config, "g") == {"h": 3}
    assert whole(None, "a") == 0


HOSTILE = {
    "model_type": ["bert"],
    "architectures": [{"a": 1}, 3],
    "num_attention_heads": {"x": 1},
    "quantization_config": {"weight_block_size": [0, -1], "quant_method": 3},
    "adapter_config": {"lora_alpha": "8", "alpha_pattern": ["x"]},
    "text_config": 5,
    "tie_word_embeddings": "yes",
    "layer_norm_eps": "small",
    "patch_size": [4, 4],
}


def test_a_configuration_of_wrong_kinds_is_ignored():
    arrays = made({"a.attention.self.query.weight": (4, 4), "x.lora_A.weight": (2, 4), "x.lora_B.weight": (4, 2)})
    assert "x[B·A]" in Planned(arrays, HOSTILE)


def described(shapes):
    return [Tensor(name, "float32", shape, 4 * int(np.prod(shape)), 0, 0) for name, shape in shapes.items()]


@pytest.mark.slow
def test_a_hundred_thousand_names_are_planned_in_seconds():
    shapes = {}
    for block in range(25_000):
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            shapes[f"encoder.layer.{block}.attention.{part}.weight"] = (4, 4)
    began = time.perf_counter()
    layers = plan(described(shapes), {"model_type": "bert", "num_attention_heads": 2})
    assert time.perf_counter() - began < 60
    rows = [e for layer in layers for e in layer.entries]
    assert sum(not e.derived for e in rows) == len(shapes)


def test_empty_tensors_cannot_ask_for_rows_without_end():
    shapes = {}
    for block in range(600):
        for part in ("self.query", "self.key", "self.value"):
            shapes[f"encoder.layer.{block}.attention.{part}.weight"] = (1024, 0)
        shapes[f"encoder.layer.{block}.attention.output.dense.weight"] = (0, 1024)
        shapes[f"encoder.layer.{block}.experts.w"] = (4000, 0, 1)
    layers = plan(described(shapes), {"model_type": "bert", "num_attention_heads": 1024})
    rows = [e for layer in layers for e in layer.entries]
    assert len(rows) <= MOST_ROWS + len(shapes)
    assert any("more than are measured one by one" in e.reason for e in rows)


@pytest.mark.parametrize(
    "name",
    [
        "." * 1000,
        ".weight",
        "weight",
        ".lora_A.weight",
        "lora_A" * 150,
        "a" * 500 + ".lora_A." + "b" * 500,
        "encoder.layer.99999999999999999999.attention.self.query.weight",
        "encoder.layer.².attention.self.query.weight",
        ".c_attn.weight",
        "weight_hh_l99999",
        "experts",
        "layer1.0.conv1.weight",
    ],
)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (3, 9), (0, 0), (1, 1, 1), (2, 2, 2, 2), (0, 3, 3, 3)])
def test_odd_names_of_any_shape_have_a_row(name, shape):
    planned = Planned({name: np.zeros(shape, np.float32)}, {"model_type": "bert", "num_attention_heads": 3})
    assert planned.entries


def test_a_configuration_is_json_before_it_is_python(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(HOSTILE))
    assert config_of(tmp_path) == HOSTILE
