"""Every hostile PyTorch file is refused as such, at once, in little memory, and nothing in it is imported or run."""

import pickle
import time
import tracemalloc
import warnings

import pytest
from hostile import load
from torch_hostile import CASES, LIVE
from torch_made import MARKER, SOUND, name, pickled, saved_zip, torch_legacy, torch_zip

from opnorm.errors import CheckpointError
from opnorm.readers import open_checkpoint

CANARY = f"open({MARKER!r}, 'w').close()\ndef run(*_):\n    open({MARKER!r}, 'w').close()\n"
LONG = ("pickle: opcode bomb", "pickle: memo bomb")  # millions of steps
ALL = [pytest.param(case, marks=pytest.mark.slow) if case in LONG else case for case in CASES]
BOMBS = [
    param
    for case, param in zip(CASES, ALL, strict=True)
    if any(word in case for word in ("bomb", "laughs", "deep lists", "of 2^"))
]


@pytest.fixture
def cage(tmp_path, monkeypatch):
    """A folder to be in, with a module that leaves a file there when it is imported or called."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "opnorm_canary.py").write_text(CANARY)
    monkeypatch.syspath_prepend(tmp_path / "modules")
    (tmp_path / "cage").mkdir()
    monkeypatch.chdir(tmp_path / "cage")
    return tmp_path / "cage"


def test_there_are_enough_of_them():
    assert len(CASES) > 200


@pytest.mark.parametrize("case", ALL)
def test_refused_with_a_reason_and_nothing_run(case, tmp_path, cage):
    path = CASES[case].write(tmp_path)
    start = time.process_time()
    with pytest.raises(CheckpointError) as caught:
        load(path)
    assert time.process_time() - start < 10
    message = str(caught.value)
    assert CASES[case].says in message
    assert str(tmp_path) in message
    assert len(message) < 600 + len(str(tmp_path))
    assert message.isprintable()
    assert not list(cage.iterdir())


@pytest.mark.parametrize("data", [LIVE, pickled(name("opnorm_canary", "run") + b")R")])
def test_the_payloads_are_live(data, cage):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        pickle.loads(data)  # noqa: S301 (they only were not run)
    assert (cage / MARKER).exists()


def test_the_files_around_them_are_sound(tmp_path):
    for data in (torch_zip(), torch_legacy(), torch_zip(SOUND), saved_zip()):
        (tmp_path / "sound.pt").write_bytes(data)
        assert load(tmp_path / "sound.pt")["a"].ravel().tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("case", BOMBS)
def test_bombs_take_little_memory(case, tmp_path):
    path = CASES[case].write(tmp_path)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError):
            load(path)
        assert tracemalloc.get_traced_memory()[1] < 200e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("build", [torch_zip, torch_legacy, saved_zip])
def test_cut_short_anywhere(build, tmp_path):
    data = build()
    cuts = {len(data) * n // 20 for n in range(20)} | {len(data) - 1, len(data) - 22, 1, 2, 3}
    for cut in sorted(cuts):
        (tmp_path / "cut.pt").write_bytes(data[:cut])
        with pytest.raises(CheckpointError):
            open_checkpoint(tmp_path / "cut.pt")


@pytest.mark.parametrize("build", [torch_zip, torch_legacy, saved_zip])
def test_anything_after_the_end(build, tmp_path):
    for more in (b"\0", b".", LIVE, build(), b"PK\5\6" + bytes(18)):
        (tmp_path / "more.pt").write_bytes(build() + more)
        with pytest.raises(CheckpointError):
            open_checkpoint(tmp_path / "more.pt")
