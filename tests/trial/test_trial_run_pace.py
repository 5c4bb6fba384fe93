"""Planning seeds by the clock: closed cases of the arithmetic, and trials against a clock that is made up."""

from types import SimpleNamespace

import pytest
from trial_run_fakes import FakeCells, small_declared, small_subject, small_trial

from opnorm.errors import UsageError
from opnorm.experiment.document import Cell
from opnorm.experiment.run.cells import Chain
from opnorm.experiment.run.pace import MOST, Deadline, in_words, seconds_of_seed


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only where cells are run."""

    class Clock:
        now = 1000.0

        def __call__(self):
            return self.now

    made = Clock()
    for module in ("pace", "worker"):
        monkeypatch.setattr(f"opnorm.experiment.run.{module}.time", SimpleNamespace(monotonic=made, perf_counter=made))
    return made


def _cells_that_take(clock, seconds):
    fake = FakeCells()

    def run_cell(*given):
        clock.now += seconds
        return fake(*given)

    return fake, run_cell


def test_nine_tenths_of_the_time_are_planned(clock):
    deadline = Deadline(minutes=10, least=6, reserve=40)
    clock.now += 50  # the first seed
    assert deadline.seeds(50, most=50) == 1 + (540 - 40 - 50) // 50
    assert deadline.seeds(50, most=8) == 8
    with pytest.raises(UsageError, match="6 seeds or more"):
        deadline.seeds(100, most=50)


def test_the_minutes_said_to_be_enough_are_enough(clock):
    for a_seed in (0.7, 13.0, 55.5):
        with pytest.raises(UsageError) as refused:
            Deadline(0.01, 9, 5.0).seeds(a_seed, 50)
        needed = float(str(refused.value).split("give --minutes ")[1].split(",")[0])
        given = Deadline(needed, 9, 5.0)
        clock.now += a_seed
        assert given.seeds(a_seed, 50) >= 9


def test_a_seed_from_some_of_its_cells():
    work = [Chain("none", 0, ("full", "small")), Chain("cap", 0, ("full", "small"))]
    took = {Cell("none", 0): 3.0, Cell("cap", 0, "small"): 1.0}
    assert seconds_of_seed(work, took, workers=1) == 8.0
    assert seconds_of_seed(work, took, workers=16) == 4.0  # no more than one worker a chain


def test_seeds_are_planned_once_and_the_plan_is_kept(clock, monkeypatch, tmp_path):
    """4 cells of 2 s a seed; nine tenths of 2 minutes hold (108 − 8 − 8)/8 further seeds, after 8 s of rehearsal."""
    fake, run_cell = _cells_that_take(clock, 2.0)
    monkeypatch.setattr("opnorm.experiment.training.cell.run_cell", run_cell)
    subject = small_subject()
    asked = small_declared(subject, seeds=None, timed=True, conditions=("full",))
    assert asked.design.seeds == tuple(range(MOST))
    report = small_trial(subject, asked, minutes=2, journal=tmp_path / "j")
    assert report.design.seeds == tuple(range(12))
    assert len(report.records) == 12 * 4
    calls = len(fake.calls)
    again = small_trial(subject, asked, minutes=500, journal=tmp_path / "j")
    assert again.design == report.design
    assert len(fake.calls) == calls


def test_too_little_time_is_refused_within_the_first_seed(clock, monkeypatch, tmp_path):
    fake, run_cell = _cells_that_take(clock, 30.0)
    monkeypatch.setattr("opnorm.experiment.training.cell.run_cell", run_cell)
    subject = small_subject()
    asked = small_declared(subject, seeds=None, timed=True, conditions=("full",))
    with pytest.raises(UsageError, match="--minutes 1 is too little") as refused:
        small_trial(subject, asked, minutes=1, journal=tmp_path / "j")
    assert "a seed takes about 120.0 s" in str(refused.value)
    assert len(fake.calls) <= 4
    needed = float(str(refused.value).split("give --minutes ")[1].split(",")[0])
    report = small_trial(subject, asked, minutes=needed, journal=tmp_path / "j")  # what is done is not lost
    assert len(report.design.seeds) >= asked.least


@pytest.mark.parametrize("minutes", [0, -1, float("nan")])
def test_minutes_that_are_none(minutes):
    with pytest.raises(UsageError, match="positive"):
        small_trial(minutes=minutes)


@pytest.mark.parametrize(("seconds", "words"), [(0, "1 s"), (89, "89 s"), (95, "2 min"), (9000, "2.5 h")])
def test_words(seconds, words):
    assert in_words(seconds) == words
