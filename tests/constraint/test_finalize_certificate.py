"""Certificates: what they say, how they are stored, and whether bytes still are those that were certified."""

import json
import math

import numpy as np
import pytest
import torch

from opnorm.constraint.finalize.certificate import Certificate, CertifiedRow, outward, sha256
from opnorm.errors import CheckpointError, FileAccessError, UsageError


def row(name="a.weight", **changes):
    fields = {
        "name": name, "tensors": (name,), "kind": "linear", "operator": "dense 3x4", "shape": (3, 4),
        "dtype": "float32", "lo": 0.0, "hi": 1.0, "lower": 0.9999, "upper": 0.99999999, "smallest": None,
        "tolerance": 0.0, "method": "gram", "sha256": ("0" * 64,), "seconds": 0.01, "before": 3.2, "changed": True,
    }  # fmt: skip
    return CertifiedRow(**(fields | changes))


ROWS = (
    row(),
    row("b.weight", lo=0.5, hi=2.0, upper=1.5, smallest=0.5000001, tolerance=1e-6, before=None, changed=False),
    row("c.weight", hi=math.inf, lower=None, tensors=("c.a", "c.b"), sha256=("1" * 64, "2" * 64)),
)


def test_it_comes_back_as_it_was(tmp_path):
    certificate = Certificate(ROWS, "0.1.0", "model.safetensors", ("a note",))
    certificate.save(tmp_path / "c.json")
    assert Certificate.load(tmp_path / "c.json") == certificate
    document = json.loads((tmp_path / "c.json").read_text())
    assert document["schema"] == "opnorm.certificate/1"
    assert document["rows"][2]["hi"] is None
    assert [p.name for p in tmp_path.iterdir()] == ["c.json"]
    with pytest.raises(FileAccessError):
        certificate.save(tmp_path / "none" / "c.json")


@pytest.mark.parametrize(
    ("changes", "holds"),
    [
        ({}, True),
        ({"upper": 1.0}, True),
        ({"upper": math.nextafter(1.0, 2)}, False),
        ({"lo": 0.5, "smallest": None}, False),
        ({"lo": 0.5, "smallest": 0.4}, False),
        ({"lo": 0.5, "smallest": 0.4999999, "tolerance": 1e-6}, True),
        ({"lo": 1.0, "smallest": 0.9999999, "upper": 1.0000001, "tolerance": 1e-6}, True),
    ],
)
def test_what_holds(changes, holds):
    assert row(**changes).holds is holds
    assert Certificate((row(), row(**changes)), "0").holds is holds
    assert ("MISSED" in str(Certificate((row(**changes),), "0"))) is not holds


def damaged():
    good = json.loads(Certificate(ROWS, "0.1.0").to_json())
    yield "schema", {**good, "schema": "opnorm.report/1"}
    yield "rows", {k: v for k, v in good.items() if k != "rows"}
    yield "holds", {**good, "holds": False}
    for field, value in (("upper", "1"), ("upper", None), ("changed", 1), ("sha256", []), ("name", 3), ("lower", True)):
        rows = [{**good["rows"][0], field: value}, *good["rows"][1:]]
        yield f"{field} {value!r}", {**good, "rows": rows}
    yield "extra", {**good, "rows": [{**good["rows"][0], "more": 1}]}
    yield "row", {**good, "rows": [1]}


@pytest.mark.parametrize("document", [d for _, d in damaged()], ids=[n for n, _ in damaged()])
def test_damaged_certificates_are_refused(tmp_path, document):
    (tmp_path / "c.json").write_text(json.dumps(document))
    with pytest.raises(CheckpointError):
        Certificate.load(tmp_path / "c.json")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"schema": NaN}', '{"a": 1, "a": 2}'])
def test_what_is_no_json_is_refused(tmp_path, text):
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(CheckpointError):
        Certificate.load(tmp_path / "c.json")


def test_numbers_are_printed_as_bounds():
    for value in (1.2345678, 0.99999999, 3.0, 1e-30, 123456.7, 2.0**-1074, 9.999999e22):
        assert float(outward(value, "ROUND_CEILING")) >= value >= float(outward(value, "ROUND_FLOOR"))
    text = str(Certificate(ROWS, "0.1.0"))
    assert "σ_min ≥" in text
    assert "b.weight" in text
    assert "[0.5, 2]" in text
    assert "σ_min" not in str(Certificate(ROWS[:1], "0.1.0"))


def test_hashes_of_paths_modules_and_arrays():
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Linear(3, 2).to(torch.bfloat16))
    digests = {name: sha256(tensor) for name, tensor in model.state_dict().items()}
    assert digests["0.weight"] == sha256(model[0].weight.detach().numpy())
    assert digests["0.weight"] == sha256(np.asfortranarray(model[0].weight.detach().numpy()))
    rows = tuple(row(name, sha256=(digests[name],)) for name in ("0.weight", "1.weight"))
    certificate = Certificate(rows, "0")
    assert certificate.verify(model)
    assert certificate.verify(model.state_dict())
    with torch.no_grad():
        model[1].weight[0, 0] += 1
    assert certificate.differing(model) == ("1.weight",)
    assert certificate.differing({"1.weight": np.zeros(3)}) == ("0.weight", "1.weight")
    with pytest.raises(UsageError):
        certificate.verify(3)
    assert certificate["0.weight"].name == "0.weight"
    with pytest.raises(KeyError, match=r"1\.weight"):
        certificate["nope"]
