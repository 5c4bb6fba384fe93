"""`opnorm.measure` and the report as Python objects."""

import json

import numpy as np
import pytest

import opnorm

torch = pytest.importorskip("torch", reason="the test extras include torch")


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return {
        "layer1.0.conv1.weight": rng.standard_normal((20, 30)),
        "layer1.0.conv1.bias": np.zeros(20),
        "layer2.a.weight": rng.standard_normal((5, 5)).astype(np.float32),
        "layer2.b.weight": rng.standard_normal((6, 5)).astype(np.float32),
    }


def test_a_dictionary_of_arrays(arrays):
    report = opnorm.measure(arrays, evidence="proved")
    for row in report.rows:
        if row.status == "measured":
            truth = np.linalg.norm(arrays[row.name].astype(float), 2)
            assert row.bracket().lower <= truth <= row.bracket().upper
            assert row.bracket().evidence is opnorm.Evidence.PROVED


def test_a_state_dict_of_tensors():
    module = torch.nn.Sequential(torch.nn.Linear(30, 40), torch.nn.Linear(40, 5)).to(torch.bfloat16)
    report = opnorm.measure(module.state_dict())
    assert [r.status for r in report.rows] == ["measured", "not_a_map"] * 2
    truth = np.linalg.norm(module[0].weight.detach().double().numpy(), 2)
    assert report["0"].lower <= truth <= report["0"].upper
    assert report["0"].dtype == "bfloat16"


def test_rows_by_name_or_module_path(arrays):
    report = opnorm.measure(arrays)
    assert report["layer1.0.conv1.weight"] is report["layer1.0.conv1"]
    with pytest.raises(KeyError, match=r"layer2\.a\.weight, layer2\.b\.weight"):
        report["layer2"]
    with pytest.raises(KeyError, match=r"report\.rows"):
        report["nothing"]


def test_json_round_trips(arrays):
    report = opnorm.measure(arrays)
    again = json.loads(report.to_json())
    assert [r["upper"] for r in again["rows"]] == [r.upper for r in report.rows]


def test_patterns_cross_dots_and_match_module_paths(arrays):
    names = lambda **o: [r.name for r in opnorm.measure(arrays, **o).rows]  # noqa: E731
    assert names(only=["layer2*"]) == ["layer2.a.weight", "layer2.b.weight"]
    assert names(only=["layer1.0"]) == ["layer1.0.conv1.weight", "layer1.0.conv1.bias"]
    assert names(only=["*weight"], skip=["*b.weight"]) == ["layer1.0.conv1.weight", "layer2.a.weight"]


def test_one_pattern_may_be_given_as_a_string(arrays):
    names = [row.name for row in opnorm.measure(arrays, only="layer1*").rows]
    assert names
    assert all(name.startswith("layer1") for name in names)
    assert opnorm.measure(arrays, only="zzz*").rows == ()
    assert not any(row.name.startswith("layer1") for row in opnorm.measure(arrays, skip="layer1*").rows)


def test_progress_is_reported(arrays):
    seen = []
    opnorm.measure(arrays, progress=lambda name, number, total: seen.append((name, number, total)))
    assert seen[0] == ("layer1.0.conv1", 0, 3)
    assert len(seen) == 3


@pytest.mark.parametrize("target", [3, None, torch.nn.Linear, {"a": [1, 2]}, {3: np.eye(2)}])
def test_other_targets_are_refused_with_advice(target):
    with pytest.raises(opnorm.UnsupportedInput, match="give"):
        opnorm.measure(target)


def test_missing_paths_and_folders(tmp_path):
    with pytest.raises(opnorm.UsageError, match="no such file"):
        opnorm.measure(tmp_path / "none.safetensors")
    with pytest.raises(opnorm.UsageError, match="no weights"):
        opnorm.measure(tmp_path)
    (tmp_path / "x.weights").write_bytes(b"123")
    with pytest.raises(opnorm.CheckpointError, match="no known format"):
        opnorm.measure(tmp_path / "x.weights")
