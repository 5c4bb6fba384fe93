"""Valid files with a single fault load or are refused; they never raise anything else, nor ask for much memory."""

import random
import tracemalloc

import numpy as np
import pytest
from hostile import load
from safetensors.numpy import save

from opnorm.errors import OpnormError
from opnorm.readers.npy import NpyFile
from opnorm.readers.npz import NpzFile
from opnorm.readers.safetensors import SafetensorsFile
from opnorm.readers.sharded import open_indexed

ARRAYS = {
    "weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "bias": np.ones(4, np.float16),
    "count": np.array(7),
    "none": np.zeros((0, 3)),
}
READERS = {
    "safetensors": SafetensorsFile,
    "npy": NpyFile,
    "npz": NpzFile,
    "npz deflated": NpzFile,
    "index": open_indexed,
}
PIECES = (
    b"\0",
    b"\xff",
    b"-",
    b"0",
    b"9" * 30,
    b'"',
    b"{",
    b"}",
    b"[",
    b",",
    b"PK\3\4",
    b"PK\5\6",
    b"1e9",
    b"\x7f" * 8,
)


def valid(kind, folder):
    """The path of a sound file of that kind."""
    path = folder / f"sound.{kind.split()[0]}"
    if kind == "safetensors":
        path.write_bytes(save(ARRAYS, metadata={"format": "np"}))
    elif kind == "npy":
        np.save(path, ARRAYS["weight"])
    elif kind.startswith("npz"):
        (np.savez_compressed if "deflated" in kind else np.savez)(path, **ARRAYS)
    else:
        (folder / "a.safetensors").write_bytes(save(ARRAYS))
        text = ", ".join(f'"{name}": "a.safetensors"' for name in ARRAYS)
        path = folder / "sound.safetensors.index.json"
        path.write_text(f'{{"metadata": {{"total_size": 64.0}}, "weight_map": {{{text}}}}}')
    return path


def mutant(data, rng):
    """`data` with one fault: a bit, a byte, a field, a piece lost, doubled, moved or put in, or the end lost."""
    at = rng.randrange(len(data))
    to = min(len(data), at + rng.randrange(1, 40))
    number = rng.choice([0, 1, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1])
    return rng.choice(
        [
            lambda: data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :],
            lambda: data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :],
            lambda: data[:at] + number.to_bytes(8, rng.choice(["little", "big"])) + data[at + 8 :],
            lambda: data[:at] + data[to:],
            lambda: data[:at] + data[at:to] + data[at:],
            lambda: data[:at] + data[at:to][::-1] + data[to:],
            lambda: data[:at] + rng.choice(PIECES) + data[at:],
            lambda: data[:at],
        ]
    )()


def outcomes(kind, folder, count, seed):
    """How many mutants loaded and how many were refused; any exception but an OpnormError goes through."""
    sound, rng = valid(kind, folder), random.Random(seed)
    data, path = sound.read_bytes(), sound.with_name(sound.name.replace("sound", "mutant"))
    loaded = 0
    refusals = []
    for _ in range(count):
        path.write_bytes(mutant(data, rng))
        try:
            with READERS[kind](path) as checkpoint:
                for tensor in checkpoint.tensors:
                    assert checkpoint.read(tensor).nbytes == tensor.nbytes
            loaded += 1
        except OpnormError as error:
            refusals.append(str(error))
    assert all(str(folder) in refusal for refusal in refusals)
    return loaded, len(refusals)


@pytest.mark.parametrize("kind", READERS)
def test_the_file_that_is_mutated_is_sound(kind, tmp_path):
    assert len(load(valid(kind, tmp_path))) == (1 if kind == "npy" else 4)


@pytest.mark.parametrize("kind", READERS)
def test_a_thousand_mutants_load_or_are_refused(kind, tmp_path):
    tracemalloc.start()
    try:
        loaded, refused = outcomes(kind, tmp_path, 1000, seed=1)
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()
    assert loaded + refused == 1000
    assert refused > 400


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 7))
@pytest.mark.parametrize("kind", READERS)
def test_four_thousand_mutants_load_or_are_refused(kind, seed, tmp_path):
    assert sum(outcomes(kind, tmp_path, 4000, seed)) == 4000
