"""The walker gives what pickle gives for plain data; mutants of sound files load or are refused, and nothing runs."""

import builtins
import io
import math
import pickle
import random
import tracemalloc

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_fuzz import mutant
from torch_made import name, pickled, state, tensor, torch_legacy, torch_zip, tuple_of, whole

from opnorm.errors import CheckpointError, FileAccessError
from opnorm.readers.pytorch.byte_stream import Stream
from opnorm.readers.pytorch.files import TorchFile
from opnorm.readers.pytorch.opcodes import CONSTANTS, FIXED, REFUSED, SIZED, TUPLES
from opnorm.readers.pytorch.pickles import _OTHERS, Nothing, Set, Walker

# ------------------------------------------------------------------ the walker and pickle

SCALARS = st.one_of(
    *(st.none(), st.booleans(), st.integers(-(2**59), 2**59), st.integers(-(2**500), 2**500)),
    *(st.floats(allow_nan=False), st.text(max_size=40), st.binary(max_size=300)),
)
KEYS = st.one_of(st.none(), st.integers(-(2**59), 2**59), st.text(max_size=9), st.binary(max_size=9))
PLAIN = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.tuples(inner, inner), st.tuples(inner), st.dictionaries(KEYS, inner, max_size=4)
    ),
    max_leaves=25,
)


def walked(data):
    return Walker(Stream(lambda at, size: data[at : at + size], 0, len(data)), Nothing()).walk()


@settings(max_examples=150, deadline=None)
@given(PLAIN, st.sampled_from([3, 4, 5]))
def test_plain_data_as_pickle_reads_them(value, protocol):
    shared = [value, value, {"again": value}]
    for pickler in (pickle.Pickler, pickle._Pickler):
        file = io.BytesIO()
        pickler(file, protocol).dump(shared)
        assert walked(file.getvalue()) == shared


def test_sets_by_opcode():
    assert sorted(walked(pickle.dumps({3, 1, 2}, 4)).items) == [1, 2, 3]
    assert isinstance(walked(pickle.dumps(frozenset({1}), 4)), Set)


def test_long_containers():
    value = {"list": list(range(5000)), "dict": {n: str(n) for n in range(3000)}, "tuple": tuple(range(300))}
    for protocol in (2, 3, 4, 5):
        assert walked(pickle.dumps(value, protocol)) == value


def test_every_opcode_is_read_or_refused_by_name():
    known = {name: getattr(pickle, name) for name in dir(pickle) if name.isupper() and name[0] != "_"}
    opcodes = {code for code in known.values() if isinstance(code, bytes) and len(code) == 1}
    ours = [REFUSED, CONSTANTS, FIXED, SIZED, TUPLES, _OTHERS, {b".": 0, b"\x80": 0}]
    assert set().union(*ours) == opcodes
    assert sum(map(len, ours)) == len(opcodes)
    assert all(known[name] == code for code, name in REFUSED.items())


# ------------------------------------------------------------------ mutants


def sound(kind):
    """The bytes of a sound file of a form."""
    file = io.BytesIO()
    if kind in ("zip", "legacy"):
        model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
        value = {"state_dict": model.state_dict(), "t": torch.arange(6.0).reshape(2, 3).t(), "n": [1, (2.0, "x")]}
        torch.save(value, file, _use_new_zipfile_serialization=kind == "zip", pickle_protocol=2)
        return file.getvalue()
    value = state(w=tensor(), n=tuple_of(whole(1), name("torch", "float32")))
    return torch_zip(pickled(value)) if kind == "small zip" else torch_legacy(pickled(value))


def pickle_mutant(rng):
    """A sound archive around a pickle with one or two faults, whose checksum is right."""
    data = pickled(state(w=tensor(), v=tensor((4,), (1,)), n=tuple_of(whole(1), name("torch", "float32"))))
    for _ in range(rng.randrange(1, 3)):
        data = mutant(data, rng) or b"."
    return torch_zip(data)


def outcomes(folder, files):
    """How many of `files` loaded and were refused; any other exception goes through."""
    path = folder / "mutant.pt"
    loaded, refusals = 0, []
    for data in files:
        path.write_bytes(data)
        try:
            with TorchFile(path) as checkpoint:
                for described in checkpoint.tensors:
                    assert checkpoint.read(described).nbytes == described.nbytes
                    assert math.prod(described.shape) < 1 << 22
            loaded += 1
        except (CheckpointError, FileAccessError) as error:
            refusals.append(str(error))
    assert all(str(path) in refusal and refusal.isprintable() for refusal in refusals)
    return [loaded, len(refusals)]


@pytest.fixture
def watched(monkeypatch):
    """What was imported or evaluated meanwhile."""
    calls = []
    for function in ("__import__", "eval", "exec", "compile"):
        original = getattr(builtins, function)

        def spy(*args, original=original, **more):
            calls.append(args[0])
            return original(*args, **more)

        monkeypatch.setattr(builtins, function, spy)
    return calls


KINDS = ["zip", "legacy", "small zip", "small legacy"]


def mutants(kind, count, seed):
    rng = random.Random(seed)
    if kind == "pickle":
        return (pickle_mutant(rng) for _ in range(count))
    data = sound(kind)
    return (mutant(data, rng) for _ in range(count))


@pytest.mark.parametrize("kind", KINDS)
def test_the_files_that_are_mutated_are_sound(kind, tmp_path):
    assert outcomes(tmp_path, [sound(kind)]) == [1, 0]


@pytest.mark.parametrize("kind", [*KINDS, "pickle"])
def test_mutants_load_or_are_refused(kind, tmp_path, watched):
    count = 400
    made = list(mutants(kind, count, 1))
    outcomes(tmp_path, made[:20])
    watched.clear()
    tracemalloc.start()
    try:
        loaded, refused = outcomes(tmp_path, made)
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()
    assert loaded + refused == count
    assert refused > count // 4
    assert not watched


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 6))
@pytest.mark.parametrize("kind", [*KINDS, "pickle"])
def test_five_thousand_mutants_load_or_are_refused(kind, seed, tmp_path):
    assert sum(outcomes(tmp_path, mutants(kind, 5000, seed))) == 5000
