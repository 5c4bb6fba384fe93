"""Every hostile file is refused as such, at once, in little memory, in a sentence that names it."""

import pickle
import time
import tracemalloc

import numpy as np
import pytest
from hostile import CASES, Payload, load, npz, saved

from opnorm.errors import CheckpointError


@pytest.mark.parametrize("name", CASES)
def test_refused_with_a_reason_that_names_the_file(name, tmp_path):
    path = CASES[name].write(tmp_path)
    with pytest.raises(CheckpointError) as caught:
        load(path)
    message = str(caught.value)
    assert CASES[name].says in message
    assert str(tmp_path) in message
    assert len(message) < 600 + len(str(tmp_path))
    assert message.isprintable()


@pytest.mark.parametrize("name", CASES)
def test_refused_fast_and_in_little_memory(name, tmp_path):
    path = CASES[name].write(tmp_path)
    start = time.process_time()
    with pytest.raises(CheckpointError):
        load(path)
    assert time.process_time() - start < 1
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError):
            load(path)
        assert tracemalloc.get_traced_memory()[1] < 200e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("ending", [".safetensors", ".npy", ".npz", ".safetensors.index.json"])
def test_payloads_are_never_run(ending, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").mkdir()
    for data in (pickle.dumps(Payload()), saved(np.array([Payload()]), allow_pickle=True)):
        for content in (data, npz({"a.npy": data})):
            path = tmp_path / "weights" / f"payload{ending}"
            path.write_bytes(content)
            with pytest.raises(CheckpointError):
                load(path)
    assert [p.name for p in tmp_path.iterdir()] == ["weights"]
    pickle.loads(pickle.dumps(Payload())).close()  # noqa: S301 (the payload is live: it only was not run)
    assert (tmp_path / "opnorm-was-here").exists()
