"""A baseline says again exactly what was written; anything else is refused, and nothing is overwritten."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import HOSTILE, quantity, report, row

from opnorm.errors import UsageError
from opnorm.report.budget.baseline import baseline_of, read_baseline


def again(report, tmp_path, metrics=()):
    path = tmp_path / "baseline.json"
    path.write_text(baseline_of(report, metrics).to_json(), encoding="utf-8")
    return read_baseline(str(path))


def test_what_is_written_is_read(tmp_path):
    rows = [
        row("a", lower=1 / 3, upper=2 / 3, evidence="probable", frobenius=1.5),
        row("b", upper=5e-324),
        row("q[0]", lower=1.0, upper=1.0, derived=True, shape=(), quantities={"condition": quantity(3.0, error=0.1)}),
        row("nan", status="undefined"),
    ]
    metrics = ("frobenius", "condition")
    found = again(report(*rows), tmp_path, metrics)
    assert found.lines == baseline_of(report(*rows), metrics).lines
    assert list(found.lines) == ["a", "b", "q[0]"]
    assert found.lines["a"].metrics["spectral_norm"].lower == 1 / 3
    assert found.lines["b"].metrics["spectral_norm"].lower is None
    assert found.lines["q[0]"].metrics["condition"].error == 0.1
    assert found.digest(found.lines["a"]) == "a" * 64


@given(lower=st.floats(0, 1e308), name=st.text(st.characters(exclude_categories=["Cs"])))
def test_numbers_and_names_round_trip(tmp_path_factory, lower, name):
    found = again(report(row(name, lower=lower, upper=lower)), tmp_path_factory.mktemp("b"))
    assert found.lines[name].metrics["spectral_norm"].upper == lower


def test_hostile_names_round_trip(tmp_path):
    names = list(dict.fromkeys(HOSTILE))
    found = again(report(*(row(n, lower=1.0, upper=1.0) for n in names)), tmp_path)
    assert list(found.lines) == names


def test_paths_do_not_leave_the_machine(tmp_path):
    found = again(report(row(lower=1.0, upper=1.0), path="some/where/secret/model.safetensors"), tmp_path)
    assert found.inputs[0].path == "model.safetensors"


def test_one_line_a_row():
    text = baseline_of(report(*(row(f"r{i}", lower=1.0, upper=1.0) for i in range(9)))).to_json()
    assert sum('"spectral_norm"' in line for line in text.splitlines()) == 9


def test_a_name_in_two_files_is_refused():
    given = replace(report(row("w", lower=1.0, upper=1.0), row("w", lower=2.0, upper=2.0)))
    with pytest.raises(UsageError, match="one PATH at a time"):
        baseline_of(given)


def test_more_rows_than_can_be_read_are_not_written(monkeypatch):
    from opnorm.report.budget import baseline

    monkeypatch.setattr(baseline, "MAX_ITEMS", 40)
    baseline_of(report(row("w", lower=1.0, upper=1.0)))
    with pytest.raises(UsageError, match="more than a baseline can hold"):
        baseline_of(report(*(row(f"r{i}", lower=1.0, upper=1.0) for i in range(9))))


def document():
    return json.loads(baseline_of(report(row("w", lower=1.0, upper=2.0))).to_json())


def changed(**new):
    return json.dumps({**document(), **new})


def line(**new):
    return changed(rows=[{**document()["rows"][0], **new}])


def number(**new):
    return line(metrics={"spectral_norm": {"lower": 1.0, "upper": 2.0, "evidence": "proved", **new}})


BAD = {
    "newer": (changed(schema="opnorm.baseline/2"), "of a newer opnorm"),
    "much newer": (changed(schema="opnorm.baseline/11"), "of a newer opnorm"),
    "report": (changed(schema="opnorm.report/1"), "is a report"),
    "other": (changed(schema="x"), "is no baseline"),
    "schema of a number": (changed(schema=1), "is no baseline"),
    "no schema": ("{}", "is no baseline"),
    "list": ("[]", "is no baseline"),
    "empty": ("", "is no baseline"),
    "not JSON": ("{", "is no baseline"),
    "nested": ("[" * 100_000, "is no baseline"),
    "unknown key": (changed(drfit=1), "unknown key 'drfit'"),
    "rows no list": (changed(rows={}), "list of tables"),
    "row no table": (changed(rows=[1]), "rows 1 is 1"),
    "a name twice": (changed(rows=document()["rows"] * 2), "names a row twice"),
    "unknown key of a row": (line(shap=[1]), "unknown key 'shap'; did you mean 'shape'"),
    "name of a number": (line(name=3), "name = 3, where text"),
    "shape of text": (line(shape=["4"]), "whole numbers"),
    "shape below 0": (line(shape=[-4]), "whole numbers"),
    "shape of truths": (line(shape=[True]), "whole numbers"),
    "metrics no table": (line(metrics=3), "where a table is needed"),
    "number of text": (number(lower="1"), "finite number"),
    "evidence of another word": (number(evidence="sure"), "not known"),
    "NaN": (number(lower=1.0).replace("1.0", "NaN"), "is no baseline"),
    "infinite": (number(lower=1.0).replace("1.0", "1e999"), "is no baseline"),
    "a key twice": ('{"schema": "opnorm.baseline/1", "schema": "opnorm.baseline/1"}', "is no baseline"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_baselines_are_refused_in_words(tmp_path, name):
    text, words = BAD[name]
    path = tmp_path / "b.json"
    path.write_text(text)
    with pytest.raises(UsageError) as refused:
        read_baseline(str(path))
    assert words in str(refused.value)
    assert "b.json" in str(refused.value)


def test_places_that_are_no_file(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        read_baseline(str(tmp_path / "nowhere.json"))
    with pytest.raises(UsageError, match="is no baseline"):
        read_baseline(str(tmp_path))
