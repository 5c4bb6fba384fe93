"""`opnorm.trial`: functions, a file, a subject that was made already; and what does not go together."""

from pathlib import Path

import numpy as np
import pytest
import trial_run_fakes
from trial_run_fakes import FakeCells, build_model, load_data

from opnorm import trial
from opnorm.errors import UsageError
from opnorm.experiment.data import from_arrays

FAST = {"arms": ["none", "cap"], "seeds": range(8), "conditions": ["full"], "jobs": 1, "cost": False, "budget": 1}


@pytest.fixture
def cells(monkeypatch):
    fake = FakeCells()
    monkeypatch.setattr("opnorm.experiment.training.cell.run_cell", fake)
    return fake


def test_functions_and_a_file_give_the_same_verdict(cells):
    from_functions = trial(build_model, load_data, **FAST)
    from_file = trial(Path(trial_run_fakes.__file__), **FAST)
    assert from_functions.winner == from_file.winner == "cap"
    assert from_functions.verdicts == from_file.verdicts
    assert from_file.subject["experiment"] == "trial_run_fakes.py"


def test_a_subject_of_arrays(cells):
    draw = np.random.default_rng(0)
    inputs = draw.normal(size=(120, 3)).astype(np.float32)
    report = trial(data=from_arrays(inputs, (inputs[:, 0] + draw.normal(size=120) > 0).astype(int)), **FAST)
    assert report.winner == "cap"
    assert "SpectralClassifier" in report.apply  # a table with the built-in model: the estimator


def test_seeds_may_be_any(cells):
    report = trial(build_model, load_data, **{**FAST, "seeds": [3, 1, 4, 15, 9, 2, 6, 5]})
    assert report.design.seeds == (3, 1, 4, 15, 9, 2, 6, 5)
    assert [r.seed for r in report.records if r.arm == "cap"] == [3, 1, 4, 15, 9, 2, 6, 5]


def test_a_journal_of_functions_is_resumed(cells, tmp_path):
    first = trial(build_model, load_data, **FAST, journal=tmp_path / "j")
    calls = len(cells.calls)
    assert trial(build_model, load_data, **FAST, journal=tmp_path / "j") == first
    assert len(cells.calls) == calls


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "give either"),
        ({"build_model": build_model}, "needs load_data"),
        ({"build_model": build_model, "load_data": load_data, "data": "digits"}, "give either"),
        ({"build_model": "x.py", "fit": print}, "brings its own"),
        ({"data": "digits", "fit": print}, "built-in models and loop"),
        ({"build_model": build_model, "load_data": load_data, "target": "y"}, "target: not with this"),
        ({"build_model": 3, "load_data": load_data}, "build_model of the functions given is no function but 'int'"),
    ],
)
def test_what_does_not_go_together(given, words):
    with pytest.raises(UsageError, match=words):
        trial(**given)
