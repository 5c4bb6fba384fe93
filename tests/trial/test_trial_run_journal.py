"""The journal: what is written comes back, whatever moment a kill tears it at; nothing else is ever touched."""

import json
import os
import subprocess
import sys

import pytest
from trial_run_fakes import fake_record

from opnorm.errors import FileAccessError, UsageError
from opnorm.experiment.document import Cell, Cost
from opnorm.experiment.run.journal import journal_at

ASKED = {"design": {"arms": ("none", "cap"), "seeds": (0, 1)}, "control": True, "versions": {"torch": "2"}}
CELLS = [Cell(arm, seed) for seed in (0, 1) for arm in ("none", "cap")]


def _filled(path):
    with journal_at(path, ASKED) as journal:
        for cell in CELLS:
            journal.add(fake_record(cell), 0.1)
        journal.keep_plan((0, 1))
        journal.keep_costs((Cost("cap", 1.5, (1.2, 1.75), 10, "n"), Cost("l2", None, None, None)))
    return path.read_bytes()


def test_what_was_written_comes_back_to_the_last_bit(tmp_path):
    _filled(tmp_path / "j")
    with journal_at(tmp_path / "j", ASKED) as journal:
        assert journal.done == {cell: fake_record(cell) for cell in CELLS}
        assert journal.took == dict.fromkeys(CELLS, 0.1)
        assert journal.plan == (0, 1)
        assert journal.costs == (Cost("cap", 1.5, (1.2, 1.75), 10, "n"), Cost("l2", None, None, None))


def test_torn_at_every_byte_whole_lines_stay_and_the_rest_is_done_again(tmp_path):
    whole = _filled(tmp_path / "whole")
    for length in range(0, len(whole), 7):
        path = tmp_path / "torn"
        path.write_bytes(whole[:length])
        lines = max(whole[:length].count(b"\n") - 1, 0)
        with journal_at(path, ASKED) as journal:
            assert list(journal.done) == CELLS[: min(lines, len(CELLS))]
            kept = whole[: whole.rfind(b"\n", 0, length) + 1] or whole[: whole.index(b"\n") + 1]
            assert path.read_bytes() == kept
            for cell in CELLS[len(journal.done) :]:
                journal.add(fake_record(cell), 0.1)
        assert path.read_bytes()[: len(whole) // 2] == whole[: len(whole) // 2]


def test_a_first_line_of_a_cell_holds(tmp_path):
    with journal_at(tmp_path / "j", ASKED) as journal:
        journal.add(fake_record(CELLS[0]), 0.1)
        journal.add(fake_record(CELLS[0]), 9.0)
        assert journal.took[CELLS[0]] == 0.1


def test_another_trial_is_refused_with_what_differs(tmp_path):
    before = _filled(tmp_path / "j")
    other = {"design": {"arms": ("none", "l2"), "seeds": (0, 1)}, "control": True, "versions": {"torch": "3"}}
    with pytest.raises(UsageError) as refused, journal_at(tmp_path / "j", other):
        pass
    assert "design arms was none, cap, now none, l2" in str(refused.value)
    assert "versions torch was 2, now 3" in str(refused.value)
    assert "seeds" not in str(refused.value)
    assert "--restart" in str(refused.value)
    assert (tmp_path / "j").read_bytes() == before
    with journal_at(tmp_path / "j", other, restart=True) as journal:
        assert not journal.done


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize(
    "content", [b"my thesis", b"{}\n{}\n", b'{"schema": "opnorm.report/1"}\n', b"\x00\xff", b"[" * 9999, b"\n"]
)
def test_a_file_that_is_no_journal_is_left_as_it_is(tmp_path, content, restart):
    path = tmp_path / "thesis.txt"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="no journal"), journal_at(path, ASKED, restart=restart):
        pass
    assert path.read_bytes() == content


def test_damage_inside_is_refused_by_line(tmp_path):
    lines = _filled(tmp_path / "j").split(b"\n")
    for damaged in (b"{}", lines[2][:40], b'{"record": {"arm": 3}, "took": 1}', b"\x00" * 30):
        (tmp_path / "j").write_bytes(b"\n".join([*lines[:2], damaged, *lines[3:]]))
        with pytest.raises(UsageError, match="line 3 is damaged"), journal_at(tmp_path / "j", ASKED):
            pass


def test_no_changed_byte_is_ever_judged(tmp_path):
    whole = _filled(tmp_path / "j")
    for place in range(0, len(whole) - 1, 5):  # the last byte is the line's end: without it the line is a torn one
        (tmp_path / "j").write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(UsageError, match=r"damaged|another trial|no journal"), journal_at(tmp_path / "j", ASKED):
            pass


def test_lines_of_another_trial_are_refused(tmp_path):
    mine = _filled(tmp_path / "j").split(b"\n")
    with journal_at(tmp_path / "other", ASKED | {"data and model": "f"}) as journal:
        for cell in CELLS:
            journal.add(fake_record(cell), 0.1)
    others = (tmp_path / "other").read_bytes().split(b"\n")
    (tmp_path / "j").write_bytes(b"\n".join([*mine[:3], others[3], *mine[4:]]))
    with pytest.raises(UsageError, match="line 4 is damaged"), journal_at(tmp_path / "j", ASKED):
        pass


def test_one_process_at_a_time(tmp_path):
    path = tmp_path / "j"
    code = (
        "from opnorm.errors import UsageError\nfrom opnorm.experiment.run.journal import journal_at\n"
        f"try:\n    with journal_at({str(path)!r}, {ASKED!r}): print('held')\nexcept UsageError as e: print(e)"
    )

    def another():
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    with journal_at(path, ASKED) as journal:
        journal.add(fake_record(CELLS[0]), 0.1)
        assert "another process is running this trial" in another()
    assert "held" in another()
    with journal_at(path, ASKED) as journal:
        assert list(journal.done) == CELLS[:1]


def test_where_nothing_can_be_written(tmp_path):
    with pytest.raises(FileAccessError, match="--journal"), journal_at(tmp_path / "no" / "j", ASKED):
        pass
    with pytest.raises(FileAccessError), journal_at(tmp_path, ASKED):
        pass


def test_a_device_is_no_journal():
    with pytest.raises(FileAccessError, match="no plain file"), journal_at(os.devnull, ASKED):
        pass


def test_a_full_disk_is_said_and_what_is_there_stays(tmp_path):
    resource = pytest.importorskip("resource")
    whole = _filled(tmp_path / "j")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with journal_at(tmp_path / "j", ASKED) as journal:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 100, hard))  # room for a part of a line
        try:
            with pytest.raises(FileAccessError, match="the same command resumes it"):
                journal.add(fake_record(Cell("l2", 0)), 1.0)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len((tmp_path / "j").read_bytes()) == len(whole) + 100
    with journal_at(tmp_path / "j", ASKED) as journal:
        assert list(journal.done) == CELLS
    assert (tmp_path / "j").read_bytes() == whole


def test_every_line_is_json(tmp_path):
    lines = _filled(tmp_path / "j").decode().splitlines()
    assert [sorted(json.loads(line))[0] for line in lines] == ["asked", *["record"] * 4, "plan", "costs"]
