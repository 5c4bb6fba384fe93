"""Sound npy and npz files load bit for bit as NumPy loads them."""

import io
import os
import warnings
import zipfile

import numpy as np
import pytest
from hostile import FOUR, NPY, load, npy, npy_header, saved

from opnorm.errors import CheckpointError
from opnorm.readers import open_checkpoint

DTYPES = ["?", "i1", "u1", "<i2", ">i2", "<u4", ">i8", "<f2", ">f2", "<f4", ">f4", "<f8", ">f8", "<c8", ">c16", "g"]
SHAPES = [(), (1,), (7,), (3, 5), (0,), (0, 4), (4, 0), (2, 3, 4)]


def sample(dtype, shape, order):
    values = np.random.default_rng(5).integers(0, 2 if dtype == "?" else 100, size=shape)
    return np.asarray(values, dtype=dtype, order=order)


def same(found, expected):
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_npy_of_every_dtype_order_and_byte_order(dtype, order, tmp_path):
    for number, shape in enumerate(SHAPES):
        path = tmp_path / f"array{number}.npy"
        np.save(path, sample(dtype, shape, order))
        same(load(path)[f"array{number}"], np.load(path))


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_npy_of_every_version(version, tmp_path):
    path = tmp_path / "array.npy"
    with path.open("wb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        np.lib.format.write_array(file, np.arange(6.0).reshape(2, 3), version=version)
    same(load(path)["array"], np.load(path))


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }",
        "{'shape': (1,), 'fortran_order': False, 'descr': '<f4'}",
        '{"descr": "<f4", "fortran_order": False, "shape": (1,)}',
        "{'descr':'<f4','fortran_order':False,'shape':(1,)}",
        "{'descr': '<f4', 'fortran_order': True, 'shape': (1, 1)}   \n",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1L,), }",
        "{'descr': 'f4', 'fortran_order': False, 'shape': (), }",
    ],
)
def test_npy_headers_of_other_writers(header, tmp_path):
    path = tmp_path / "array.npy"
    path.write_bytes(npy_header(header) + b"\0\0\x80?")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        same(load(path)["array"], np.load(path))


def test_void_entries_are_listed_by_size(tmp_path):
    path = tmp_path / "array.npy"
    path.write_bytes(npy(FOUR, descr="'<V2'", shape="(2,)"))
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.tensors[0].dtype == "V2"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_of_every_dtype(save, tmp_path):
    path = tmp_path / "arrays.npz"
    arrays = {f"{d}{i}": sample(d, s, "F") for d in DTYPES for i, s in enumerate(SHAPES)}
    save(path, **arrays)
    found = load(path)
    with np.load(path) as expected:
        assert sorted(found) == sorted(expected.files)
        for name in expected.files:
            same(found[name], expected[name])


def test_npz_without_arrays(tmp_path):
    path = tmp_path / "arrays.npz"
    np.savez(path)
    assert load(path) == {}


def test_npz_names_are_only_names(tmp_path):
    path = tmp_path / "arrays.npz"
    np.savez(path, **{"../../a": np.ones(1), "/b": np.ones(2), "дом": np.ones(3), "c.npy": np.ones(4)})
    assert {n: a.size for n, a in load(path).items()} == {"../../a": 1, "/b": 2, "дом": 3, "c.npy": 4}


def test_npz_written_to_a_stream(tmp_path):
    """A writer that cannot seek puts sizes behind the data, where zip's flag 8 says so."""

    class Stream(io.RawIOBase):
        def __init__(self):
            self.parts = []

        def writable(self):
            return True

        def write(self, data):
            self.parts.append(bytes(data))
            return len(data)

    stream = Stream()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", saved(np.arange(100.0)))
        archive.writestr("b.npy", saved(np.arange(3)))
    path = tmp_path / "arrays.npz"
    path.write_bytes(b"".join(stream.parts))
    same(load(path)["a"], np.arange(100.0))
    same(load(path)["b"], np.arange(3))


def test_npz_of_thousands_of_members(tmp_path):
    path = tmp_path / "arrays.npz"
    np.savez(path, **{f"layer.{n}": np.float32(n) for n in range(3000)})
    assert load(path)["layer.2999"] == 2999


@pytest.mark.parametrize("ending", ["npy", "npz"])
def test_a_file_cut_short_after_its_header_was_read(ending, tmp_path):
    path = tmp_path / f"array.{ending}"
    (np.save if ending == "npy" else np.savez)(path, np.zeros(100_000))
    with open_checkpoint(path) as checkpoint:
        os.truncate(path, 50_000)
        with pytest.raises(CheckpointError, match=f"array.{ending}"):
            checkpoint.read(checkpoint.tensors[0])


@pytest.mark.parametrize("name", NPY)
def test_a_hostile_npy_is_as_hostile_inside_an_npz(name, tmp_path):
    path = tmp_path / "arrays.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", NPY[name][1]())
    with pytest.raises(CheckpointError, match=r"arrays\.npz.*a\.npy"):
        load(path)
