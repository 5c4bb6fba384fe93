"""Which cells a design has, in which order, what is left of them, and what 'full' hands on."""

import pytest
from trial_run_fakes import FakeCells, fake_record, small_declared, small_subject, small_trial

from opnorm.experiment.document import Cell, Design
from opnorm.experiment.run.cells import chains, in_order, remaining, trainings

DESIGN = Design(("none", "cap", "l2"), (7, 3), "accuracy", 0.01, conditions=("full", "looser", "small"), budget=4)


def _cells(work):
    return [cell for chain in work for cell in chain.cells()]


def test_seed_by_seed_and_looser_only_where_there_is_a_ceiling():
    work = chains(DESIGN, ["cap"], control=True)
    assert [(c.arm, c.seed, c.conditions) for c in work] == [
        (arm, seed, ("full", "looser", "small") if arm == "cap" else ("full", "small"))
        for seed in (7, 3)
        for arm in ("none", "cap", "l2", "none@again")
    ]
    assert not any(c.arm == "none@again" for c in chains(DESIGN, ["cap"], control=False))
    assert trainings(work, DESIGN.budget) == 2 * (4 * 4 + 4 + 1)


def test_what_is_left_knows_what_full_chose():
    work = chains(DESIGN, ["cap"], control=False)
    done = {cell: fake_record(cell) for cell in _cells(work)[:3]}
    left = remaining(work, done)
    assert _cells(left) == _cells(work)[3:]
    assert left[0].chosen == fake_record(Cell("cap", 7)).setting
    assert left[1].chosen is None
    assert remaining(work, {cell: fake_record(cell) for cell in _cells(work)}) == ()


def test_order_of_records_is_that_of_the_design():
    work = chains(DESIGN, ["cap"], control=False)
    backwards = {cell: fake_record(cell) for cell in reversed(_cells(work))}
    assert [Cell(r.arm, r.seed, r.condition) for r in in_order(work, backwards)] == _cells(work)


def test_other_conditions_get_the_setting_and_full_gets_none(monkeypatch):
    fake = FakeCells()
    monkeypatch.setattr("opnorm.experiment.training.cell.run_cell", fake)
    subject = small_subject()
    asked = small_declared(subject)
    small_trial(subject, asked)
    pairs = list(zip(fake.calls, fake.chosen, strict=True))[4:]  # the first four are the rehearsal
    assert len(pairs) == 9 * 4 * 3
    for cell, chosen in pairs:
        assert chosen == (None if cell.condition == "full" else fake_record(cell).setting)


def test_a_trial_finds_what_was_planted(monkeypatch):
    """cap adds 8 points, l2 takes 8 away, the control is the same; the report is whole."""
    monkeypatch.setattr("opnorm.experiment.training.cell.run_cell", FakeCells())
    report = small_trial()
    assert report.winner == "cap"
    assert report.complete
    assert len(report.records) == 9 * 4 * 3
    lead = {c.arm: c for c in report.verdicts[0].comparisons if c.measure == report.verdicts[0].lead}
    assert lead["cap"].answer == "helps"
    assert lead["l2"].answer == "hurts"
    assert lead["cap"].difference == pytest.approx(0.08, abs=0.002)
    assert {c.arm for c in report.controls} == {"none@again"}
    assert not {c.answer for c in report.controls} & {"helps", "hurts"}
    assert report.spectral == ("cap",)
    assert "cap" in report.apply
    assert report.environment["workers"] == "1"
