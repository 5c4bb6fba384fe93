"""Forms of PyTorch's files that today's torch.save does not write, and files too large to hold."""

import io
import os
import pickle
import zipfile

import pytest
import torch
from hostile import load, npz
from torch_made import DATA, pickled, state, storage, tensor, torch_legacy, torch_zip, whole

from opnorm.errors import CheckpointError
from opnorm.readers import open_checkpoint


def test_old_pickles(tmp_path):
    """An OrderedDict of pairs, byte strings and storages in parts, as written by Python 2."""
    pair = b"](U\1w" + tensor() + b"e"
    old = pickled(b"ccollections\nOrderedDict\n](" + pair + b"e\x85R")
    (tmp_path / "old.pt").write_bytes(torch_legacy(old))
    assert load(tmp_path / "old.pt")["w"].tolist() == [[0, 1], [2, 3]]
    part = storage()[:-2] + b"(" + b"U\1v" + whole(1) + whole(3) + b"ttQ"
    (tmp_path / "part.pt").write_bytes(torch_legacy(pickled(state(w=tensor((2,), (1,), 1, part)))))
    assert load(tmp_path / "part.pt")["w"].tolist() == [2, 3]


def test_storages_of_other_devices(tmp_path):
    old = pickled(state(w=tensor())).replace(b"ctorch\nFloatStorage", b"ctorch.cuda\nFloatStorage")
    (tmp_path / "gpu.pt").write_bytes(torch_zip(old.replace(b"cpu", b"gpu")))
    assert load(tmp_path / "gpu.pt")["w"].tolist() == [[0, 1], [2, 3]]


def test_an_archive_without_byte_order_or_checksums(tmp_path):
    (tmp_path / "w.pt").write_bytes(
        npz({"m/data.pkl": pickled(state(w=tensor())), "m/version": b"3\n", "m/data/0": DATA})
    )
    assert load(tmp_path / "w.pt")["w"].tolist() == [[0, 1], [2, 3]]
    compute = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"w": torch.arange(3.0)}, tmp_path / "w.pt")
    finally:
        torch.serialization.set_crc32_options(compute)
    assert load(tmp_path / "w.pt")["w"].tolist() == [0, 1, 2]


def test_a_checksum_is_looked_at_when_a_part_of_a_storage_is_read(tmp_path):
    base = torch.arange(100.0)
    torch.save({"w": base[:3]}, tmp_path / "w.pt")
    data = bytearray((tmp_path / "w.pt").read_bytes())
    data[bytes(data).index(base.numpy().tobytes()) + 300] ^= 1
    (tmp_path / "w.pt").write_bytes(data)
    with open_checkpoint(tmp_path / "w.pt") as checkpoint, pytest.raises(CheckpointError, match="checksum"):
        checkpoint.read(checkpoint.tensors[0])


def test_no_more_is_read_than_asked_for(tmp_path):
    """A checkpoint larger than memory: a sparse file of 32 GB in the legacy form."""
    count = 2**33
    big = state(big=tensor((count,), (1,), 0, storage("1", count=count)), w=tensor())
    head = torch_legacy(pickled(big), storages={}, keys=pickle.dumps(["1", "0"], 2))
    path = tmp_path / "big.pt"
    with path.open("wb") as file:
        file.write(head + count.to_bytes(8, "little"))
        file.seek(4 * count, os.SEEK_CUR)
        file.write((4).to_bytes(8, "little") + DATA)
    with open_checkpoint(path) as checkpoint:
        assert [t.nbytes for t in checkpoint.tensors] == [4 * count, 16]
        assert checkpoint.read(checkpoint.tensors[1]).tolist() == [[0, 1], [2, 3]]


def test_64_bit_archives(tmp_path):
    """What zipfile writes when told that a member may be large."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in {"m/data.pkl": pickled(state(w=tensor())), "m/version": b"3\n", "m/data/0": DATA}.items():
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as member:
                member.write(data)
    (tmp_path / "w.pt").write_bytes(file.getvalue())
    assert load(tmp_path / "w.pt")["w"].tolist() == [[0, 1], [2, 3]]


def test_a_stride_that_is_never_taken_may_be_anything(tmp_path):
    (tmp_path / "w.pt").write_bytes(torch_zip(pickled(state(w=tensor((1, 4), (2**61, 1))))))
    assert load(tmp_path / "w.pt")["w"].tolist() == [[0, 1, 2, 3]]
