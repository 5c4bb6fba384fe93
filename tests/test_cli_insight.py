"""--html, --insight and what asks for it, as a user gives them."""

import json
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

from opnorm.report.html.payload import embedded


def run(*arguments, **options):
    command = [sys.executable, "-m", "opnorm", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


@pytest.fixture
def model(tmp_path):
    rng = np.random.default_rng(0)
    weights = {"fc1.weight": rng.standard_normal((24, 10)), "fc2.weight": rng.standard_normal((5, 24))}
    save_file({name: w.astype(np.float32) for name, w in weights.items()}, tmp_path / "m.safetensors")
    return tmp_path / "m.safetensors"


def test_a_page_holds_the_report_and_asks_for_insight(model, tmp_path):
    done = run("measure", model, "--html", tmp_path / "r.html", "--json", tmp_path / "r.json")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "r.json").read_text())
    text = (tmp_path / "r.html").read_text()
    assert embedded(text)["rows"] == report["rows"]
    assert all(row["spectrum"]["quantities"]["effective_rank"]["evidence"] == "proved" for row in report["rows"])
    assert "opnorm measure" in text


def test_insight_is_left_out_where_it_is_not_wanted(model, tmp_path):
    assert run("measure", model, "--html", tmp_path / "r.html", "--no-insight").returncode == 0
    assert embedded((tmp_path / "r.html").read_text())["rows"][0]["spectrum"] is None
    plain = json.loads(run("measure", model, "--json", "-").stdout)
    assert plain["interaction"] is None
    assert plain["rows"][0]["spectrum"] is None


def test_features_name_the_directions_of_the_first_layer(model, tmp_path):
    (tmp_path / "names.txt").write_text("\n".join(f"column {i}" for i in range(10)))
    done = run("measure", model, "--features", tmp_path / "names.txt", "--json", "-")
    first = json.loads(done.stdout)["rows"][0]["directions"]
    inputs = [d for d in first if d["side"] == "input"]
    assert {d["kind"] for d in inputs} == {"features"}
    assert all(t["label"].startswith("column ") for d in inputs for t in d["positive"])


def test_names_of_the_wrong_number_are_a_usage_error(model, tmp_path):
    (tmp_path / "names.txt").write_text("a\nb\n")
    done = run("measure", model, "--features", tmp_path / "names.txt")
    assert done.returncode == 2
    assert "2 feature names" in done.stderr
    done = run("measure", model, "--features", tmp_path / "names.txt", "--no-insight")
    assert done.returncode == 2
    assert "--no-insight" in done.stderr


def test_the_page_of_a_check_draws_its_ceiling(model, tmp_path):
    done = run("check", model, "--max", "1", "--html", tmp_path / "r.html")
    assert done.returncode == 1
    assert "exceed" in (tmp_path / "r.html").read_text()


def test_nothing_that_is_read_is_overwritten(model, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("\n".join(f"c{i}" for i in range(10)))
    (tmp_path / "config.json").write_text("{}")
    before = model.read_bytes()
    for given, output in ((model, model), (tmp_path, model), (model, names), (tmp_path, tmp_path / "config.json")):
        done = run("measure", given, "--features", names, "--html", output)
        assert (done.returncode, "would be overwritten" in done.stderr) == (2, True)
    assert run("measure", model, "--html", tmp_path / "x", "--json", tmp_path / "x").returncode == 2
    assert model.read_bytes() == before
    assert run("measure", tmp_path, "--json", tmp_path / "report.json").returncode == 0


def test_insight_says_where_it_is_to_be_seen(model, tmp_path):
    assert "--html FILE or --json FILE" in run("measure", model, "--insight").stdout
    assert "--html FILE" not in run("measure", model, "--insight", "--json", tmp_path / "r.json").stdout


def test_several_files_are_told_apart_and_say_a_thing_once(model, tmp_path):
    other = tmp_path / "other.npz"
    np.savez(other, a=4 * np.eye(12), b=np.eye(3))
    done = run("measure", model, other, "--insight", "--json", tmp_path / "r.json")
    assert f"0: {model}; 1: {other}" in done.stdout
    assert "largest: 0: fc1.weight" in done.stdout or "largest: 1: a" in done.stdout
    notes = json.loads((tmp_path / "r.json").read_text())["interaction"]["notes"]
    assert len(notes) == len(set(notes)) == 1


def test_a_page_needs_a_file(model):
    done = run("measure", model, "--html", "-")
    assert done.returncode == 2
    assert "--html" in done.stderr
