"""`opnorm trial`: outputs, exit codes, what is refused before anything is trained, and what resumes."""

import json
import sys

import pytest
from trial_run_fakes import FakeCells

import opnorm.cli as command
from opnorm.cli.trial import trial
from opnorm.report.trial import read_json, verdict_json

MINE = """
import sys
sys.path.insert(0, {folder!r})
from trial_run_fakes import build_model, load_data
"""
SHORT = ["--arms", "none,cap,l2", "--seeds", "9", "--budget", "1", "--epochs", "1", "--jobs", "1", "--no-cost"]


@pytest.fixture
def opnorm(monkeypatch, capsys, tmp_path):
    """Runs the command in an empty folder; (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)
    if "trial" not in command.cli.commands:
        monkeypatch.setitem(command.cli.commands, "trial", trial)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["opnorm", "trial", *arguments])
        with pytest.raises(SystemExit) as ended:
            command.main()
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return run


@pytest.fixture
def cells(monkeypatch):
    fake = FakeCells()
    monkeypatch.setattr("opnorm.experiment.training.cell.run_cell", fake)
    return fake


@pytest.fixture
def mine(tmp_path):
    from pathlib import Path

    (tmp_path / "mine.py").write_text(MINE.format(folder=str(Path(__file__).parent)))
    return "mine.py"


def test_summary_page_json_and_journal(opnorm, cells, mine, tmp_path):
    code, out, err = opnorm(mine, *SHORT, "--html", "t.html", "--json", "t.json")
    assert code == 0
    assert "Yes." in out
    assert "at most 108 trainings" in err  # 3 arms and the control, 9 seeds, 3 conditions
    assert "2 comparisons in its leading measure, which has half of the level, and 6 in others, at level 0.05" in err
    assert "with 1 worker" in err
    report = read_json((tmp_path / "t.json").read_text())
    assert report.winner == "cap"
    assert report.command == "opnorm trial mine.py " + " ".join([*SHORT, "--html", "t.html", "--json", "t.json"])
    assert str(tmp_path) not in (tmp_path / "t.json").read_text()
    assert "<html" in (tmp_path / "t.html").read_text()
    (journal,) = tmp_path.glob("opnorm-trial-*.jsonl")
    assert len(journal.read_text().splitlines()) == 1 + 108
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "__pycache__") == sorted(
        ["mine.py", "t.html", "t.json", journal.name]
    )


def test_how_a_table_was_understood_is_said_before_it_is_trained_on(opnorm, cells, tmp_path):
    lines = ["Größe,Aufnahme,ref_id,const,Ausfall"]
    lines += [f"{i * 37 % 60}.5,2020-01-{i % 28 + 1:02},{i + 7},x,{'ja' if i % 3 else 'nein'}" for i in range(80)]
    (tmp_path / "bank.csv").write_text("\n".join(lines), encoding="utf-8")
    code, _, err = opnorm("--data", "bank.csv", "--target", "Ausfall", "--metric", "average_precision", *SHORT)
    assert code == 0, err
    first, second, third, *_ = err.splitlines()
    assert first.startswith("opnorm: data bank.csv; examples 80; inputs table of 1 column: 1 numeric; task binary")
    assert "task because the target holds words" in first
    assert "class looked for 'nein', the second by name" in first
    assert second.startswith("opnorm: columns not used: 'Aufnahme': a date")
    assert "'ref_id': " in second
    assert "at most" in third or third.startswith("opnorm: copies")
    assert opnorm("--data", "bank.csv", "--target", "Ausfall", *SHORT, "--quiet")[2] == ""


def test_json_alone_is_on_standard_output(opnorm, cells, mine):
    code, out, err = opnorm(mine, *SHORT, "--json", "-")
    assert code == 0
    assert json.loads(out)["winner"] == "cap"
    assert "trainings" in err


def test_quiet_is_quiet(opnorm, cells, mine):
    assert opnorm(mine, *SHORT, "--quiet") == (0, "", "")


def test_a_finished_trial_is_shown_again_without_training(opnorm, cells, mine, tmp_path):
    opnorm(mine, *SHORT, "--json", "one.json")
    trained = len(cells.calls)
    code, _, err = opnorm(mine, *SHORT, "--json", "two.json", "--html", "two.html")
    assert code == 0
    assert len(cells.calls) == trained
    assert "108 cells of the journal need not be done again" in err
    one, two = (read_json((tmp_path / name).read_text()) for name in ("one.json", "two.json"))
    assert verdict_json(one) == verdict_json(two)
    opnorm(mine, *SHORT, "--restart")
    assert len(cells.calls) == 2 * trained


def test_interrupted_and_resumed(opnorm, cells, mine, monkeypatch, tmp_path):
    whole = opnorm(mine, *SHORT, "--json", "whole.json", "--journal", "whole.jsonl")
    assert whole[0] == 0
    count = 0

    def run_cell(*given):
        nonlocal count
        count += 1
        if count == 50:
            raise KeyboardInterrupt
        return cells(*given)

    monkeypatch.setattr("opnorm.experiment.training.cell.run_cell", run_cell)
    code, out, err = opnorm(mine, *SHORT, "--json", "t.json", "--journal", "j.jsonl")
    assert (code, out) == (130, "")
    assert "kept in j.jsonl, and the same command goes on from there" in err
    assert not (tmp_path / "t.json").exists()
    code, _, err = opnorm(mine, *SHORT, "--json", "t.json", "--journal", "j.jsonl")
    assert code == 0
    assert "45 cells of the journal" in err  # 49 less the four of the rehearsal
    one, two = (read_json((tmp_path / name).read_text()) for name in ("whole.json", "t.json"))
    assert verdict_json(one) == verdict_json(two)


def test_a_journal_of_another_trial(opnorm, cells, mine):
    assert opnorm(mine, *SHORT, "--journal", "j.jsonl")[0] == 0
    code, _, err = opnorm(mine, *SHORT, "--journal", "j.jsonl", "--margin", "0.02")
    assert code == 2
    assert "margin was 0.01, now 0.02" in err
    assert "--restart" in err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "give either a Python file"),
        ([], 2, "opnorm trial --data credit.csv --target default"),
        (["mine.py", "--data", "digits"], 2, "give either"),
        (["nothing.py"], 2, "there is no such file"),
        (["--data", "nothing.csv", "--target", "y"], 2, "nothing.csv"),
        (["mine.py", "--target", "y"], 2, "target: not with this"),
        (["mine.py", "--drop", "a"], 2, "drop: not with this"),
        (["mine.py", "--arms", "none,kap"], 2, "nearest: cap"),
        (["mine.py", "--seeds", "many"], 2, "3,5,8"),
        (["mine.py", "--seeds", "4"], 2, "4 seeds cannot decide"),
        (["mine.py", "--minutes", "0"], 2, "positive"),
        (["mine.py", "--minutes", "inf"], 2, "positive"),
        (["mine.py", "--margin", "nan"], 2, "positive"),
        (["mine.py", "--metric", "r2"], 2, "does not suit"),
        (["mine.py", "--engine", "spark"], 2, "spark"),
        (["mine.py", "--html", "-"], 2, "a page is a file"),
        (["mine.py", "--open"], 2, "--html"),
        (["mine.py", "--html", "x", "--json", "x"], 2, "two outputs"),
        (["mine.py", "--json", "mine.py"], 2, "would be overwritten"),
        (["mine.py", "--journal", "mine.py"], 2, "would be overwritten"),
        (["mine.py", "--json", "x", "--journal", "x"], 2, "two outputs"),
        (["mine.py", "--html", "no/t.html"], 4, "cannot be written"),
        (["mine.py", "--journal", "no/j"], 4, "cannot be written"),
    ],
)
def test_refused_before_anything_is_trained_or_written(opnorm, cells, mine, tmp_path, arguments, code, words):
    ended, out, err = opnorm(*arguments)
    assert (ended, out) == (code, "")
    assert words in err
    assert "Traceback" not in err
    assert not cells.calls
    assert {p.name for p in tmp_path.iterdir()} <= {"mine.py", "__pycache__"}


def test_an_error_of_the_users_own_is_one_line_and_leaves_nothing(opnorm, mine, tmp_path):
    with (tmp_path / mine).open("a") as file:
        file.write("def fit(model, train, validation, arm):\n    return model.fitt()\n")
    code, out, err = opnorm(mine, *SHORT)
    assert (code, out) == (2, "")
    assert "fit of mine.py raised AttributeError" in err
    assert "('mine.py', line 6)" in err
    assert not list(tmp_path.glob("*.jsonl"))


def test_hostile_names_reach_no_terminal(opnorm, mine):
    _, _, err = opnorm(mine, "--arms", "none,\x1b[31mcap")
    assert "\x1b" not in err
