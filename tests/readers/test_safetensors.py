"""Sound safetensors files load bit for bit as the reference library loads them."""

import json
import os

import ml_dtypes
import numpy as np
import pytest
import torch
from hostile import FOUR, entry, load, safetensors
from safetensors.torch import load_file, save_file

from opnorm.errors import CheckpointError, FileAccessError, UsageError
from opnorm.readers import checkpoint as base
from opnorm.readers import open_checkpoint

TORCH = {
    "bool": torch.bool,
    "uint8": torch.uint8,
    "int8": torch.int8,
    "uint16": torch.uint16,
    "int16": torch.int16,
    "uint32": torch.uint32,
    "int32": torch.int32,
    "uint64": torch.uint64,
    "int64": torch.int64,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
    "float8_e4m3fn": torch.float8_e4m3fn,
    "float8_e5m2": torch.float8_e5m2,
    "complex64": torch.complex64,
}
SHAPES = [(), (1,), (7,), (3, 5), (0,), (0, 4), (4, 0), (2, 3, 4), (1, 2, 1, 2, 1, 2, 1, 2)]


def random_tensor(dtype, shape):
    """Every bit pattern may occur, NaN and subnormal numbers included."""
    if not np.prod(shape):
        return torch.empty(shape, dtype=dtype)
    count = int(np.prod(shape)) * torch.empty((), dtype=dtype).element_size()
    noise = np.random.default_rng(count).integers(0, 2 if dtype is torch.bool else 256, count, dtype=np.uint8)
    return torch.from_numpy(noise).view(dtype).reshape(shape)


def bits(array):
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).tobytes()


@pytest.mark.parametrize("name", TORCH)
def test_every_dtype_and_shape_matches_the_reference(name, tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({f"t{i}": random_tensor(TORCH[name], shape) for i, shape in enumerate(SHAPES)}, path)
    expected, found = load_file(path), load(path)
    assert found.keys() == expected.keys()
    for key, tensor in expected.items():
        assert found[key].shape == tuple(tensor.shape)
        assert found[key].dtype.name == name
        assert bits(found[key]) == tensor.reshape(-1).view(torch.uint8).numpy().tobytes()


@pytest.mark.parametrize(
    ("stored", "kind"),
    [
        ("F8_E8M0", ml_dtypes.float8_e8m0fnu),
        ("F8_E4M3FNUZ", ml_dtypes.float8_e4m3fnuz),
        ("F8_E5M2FNUZ", ml_dtypes.float8_e5m2fnuz),
    ],
)
def test_dtypes_that_the_reference_cannot_hand_over(stored, kind, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors({"a": entry(stored, (2, 2))}, b"\1\2\3\xff"))
    found = load(path)["a"]
    assert found.dtype == kind
    assert bits(found) == b"\1\2\3\xff"


BENIGN = {
    "no tensors": safetensors({}),
    "metadata": safetensors({"__metadata__": {"format": "pt", "note": "=1+1 [/x] \x1b[31m"}, "a": entry()}, FOUR),
    "metadata empty": safetensors({"__metadata__": {}, "a": entry()}, FOUR),
    "metadata null": safetensors({"__metadata__": None, "a": entry()}, FOUR),
    "header padded with spaces": safetensors(json.dumps({"a": entry()}).encode() + b" " * 100, FOUR),
    "tensors out of order": safetensors({"b": entry(offsets=(4, 8)), "a": entry()}, FOUR * 2),
    "empty tensors at one place": safetensors(
        {"x": entry(shape=(0,), offsets=(4, 4)), "a": entry(), "y": entry(shape=(3, 0), offsets=(4, 4))}, FOUR
    ),
    "names in other scripts": safetensors({"層.0.重み": entry(), "вес": entry(offsets=(4, 8))}, FOUR * 2),
    "name empty": safetensors({"": entry()}, FOUR),
    "name like a path": safetensors({"../../etc/passwd": entry()}, FOUR),
    "name of 1024 characters": safetensors({"n" * 1024: entry()}, FOUR),
}


@pytest.mark.parametrize("name", BENIGN)
def test_unusual_but_sound_files_load_as_the_reference_loads_them(name, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(BENIGN[name])
    expected, found = load_file(path), load(path)
    assert {k: bits(v) for k, v in found.items()} == {k: bits(v.numpy()) for k, v in expected.items()}


def test_a_dtype_not_known_is_listed_but_not_read(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors({"a": entry("F4", (4, 2))} | {"b": entry(offsets=(4, 8))}, FOUR * 2))
    with open_checkpoint(path) as checkpoint:
        unknown, known = checkpoint.tensors
        assert (unknown.name, unknown.dtype, unknown.nbytes) == ("a", "F4", 4)
        assert bits(checkpoint.read(known)) == FOUR
        with pytest.raises(CheckpointError, match="F4, a dtype that is not known"):
            checkpoint.read(unknown)


def test_a_file_cut_short_after_its_header_was_read(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors({"a": entry(shape=(1000,), offsets=(0, 4000))}, bytes(4000)))
    with open_checkpoint(path) as checkpoint:
        os.truncate(path, 1000)
        with pytest.raises(CheckpointError, match="ends at byte 1000"):
            checkpoint.read(checkpoint.tensors[0])


@pytest.mark.parametrize("ending", ["safetensors", "npy", "npz", "safetensors.index.json"])
def test_what_is_no_regular_file_is_refused_without_waiting(ending, tmp_path):
    pipe, link = tmp_path / f"pipe.{ending}", tmp_path / f"device.{ending}"
    os.mkfifo(pipe)
    link.symlink_to("/dev/zero")
    for path in (pipe, link):
        with pytest.raises(CheckpointError, match="not a regular file"):
            load(path)


def test_a_pipe_put_in_place_of_a_checked_file_does_not_block(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors({}))
    sound = path.stat()
    path.unlink()
    os.mkfifo(path)
    monkeypatch.setattr(type(path), "stat", lambda self, **_: sound)
    with pytest.raises(CheckpointError, match="not a regular file"):
        base.open_regular(path)


@pytest.mark.parametrize("path", ["missing.safetensors", "a\0b.safetensors", "\ud800.safetensors", "dangling.npz"])
def test_a_path_to_nothing_is_a_usage_error(path, tmp_path):
    (tmp_path / "dangling.npz").symlink_to("nowhere")
    with pytest.raises(UsageError):
        load(f"{tmp_path}/{path}")


def test_a_path_too_long_is_an_access_error(tmp_path):
    with pytest.raises(FileAccessError):
        load(tmp_path / ("x" * 5000 + ".safetensors"))


@pytest.mark.parametrize("ending", ["safetensors", "npy", "npz", "safetensors.index.json"])
def test_a_file_without_permission_is_an_access_error(ending, tmp_path, monkeypatch):
    path = tmp_path / f"secret.{ending}"
    path.write_bytes(b"")

    def denied(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(base.os, "open", denied)
    with pytest.raises(FileAccessError, match=f"secret.{ending}: cannot be read: Permission denied"):
        load(path)


def test_a_disk_that_fails_is_an_access_error(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors({"a": entry()}, FOUR))

    def broken(*_):
        raise OSError(5, "Input/output error")

    with open_checkpoint(path) as checkpoint:
        monkeypatch.setattr(base, "_read_into", broken)
        with pytest.raises(FileAccessError, match="Input/output error"):
            checkpoint.read(checkpoint.tensors[0])


def test_a_tensor_larger_than_memory_is_an_access_error(tmp_path, monkeypatch):
    def full(*_, **__):
        raise MemoryError

    monkeypatch.setattr(base.np, "empty", full)
    with pytest.raises(FileAccessError, match="more than memory has"):
        base.allocate(tmp_path / "model.safetensors", 1 << 50)


@pytest.mark.parametrize("name", ["model.gguf", "model", "model.SAFETENSORS.bak", "model.onnx", "model.h5"])
def test_other_formats_are_refused_unread(name, tmp_path):
    (tmp_path / name).write_bytes(b"\x80\x02.")
    with pytest.raises(CheckpointError, match="no known format"):
        load(tmp_path / name)
