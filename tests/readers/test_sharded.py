"""Shards: none outside the folder, none unaccounted for, and a bad one does not take the others with it."""

import json
import os

import numpy as np
import pytest
from hostile import FOUR, SHARD_NAMES, entry, load, safetensors
from safetensors.numpy import save_file

from opnorm.errors import CheckpointError, UsageError
from opnorm.readers import open_checkpoint, sharded


@pytest.fixture
def folder(tmp_path):
    """A folder for a checkpoint, with a sound file `outside` it holding the tensor `w`."""
    save_file({"w": np.ones((2, 2))}, tmp_path / "outside.safetensors")
    inner = tmp_path / "parent" / "model"
    inner.mkdir(parents=True)
    save_file({"w": np.ones((2, 2))}, tmp_path / "parent" / "outside.safetensors")
    return inner


def index(folder, weight_map, **more):
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": weight_map} | more))
    return path


def problems(path):
    """What was refused, and the names of the tensors that were not."""
    with open_checkpoint(path) as checkpoint:
        return [str(p) for p in checkpoint.problems], [t.name for t in checkpoint.tensors]


@pytest.mark.parametrize("name", SHARD_NAMES)
def test_a_shard_named_outside_its_folder_is_refused_and_the_rest_is_read(name, folder):
    save_file({"v": np.ones((2, 2))}, folder / "good.safetensors")
    (folder / "sub").mkdir()
    save_file({"w": np.ones((2, 2))}, folder / "sub" / "inside.safetensors")
    save_file({"w": np.ones((2, 2))}, folder / "inside.safetensors")
    found, names = problems(index(folder, {"w": SHARD_NAMES[name], "v": "good.safetensors"}))
    assert names == ["v"]
    assert len(found) == 1
    assert "not a plain file name" in found[0]
    assert found[0].isprintable()


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize("target", ["../outside.safetensors", "../../outside.safetensors", "/etc/passwd"])
def test_a_link_that_leaves_the_folder_is_refused(target, indexed, folder):
    (folder / "w.safetensors").symlink_to(target)
    if indexed:
        index(folder, {"w": "w.safetensors"})
    found, names = problems(folder)
    assert not names
    assert "link that leaves the folder" in found[0]


def test_a_link_through_a_linked_folder_is_refused(folder):
    (folder / "sub").symlink_to("../..")
    (folder / "w.safetensors").symlink_to("sub/outside.safetensors")
    found, names = problems(folder)
    assert not names
    assert "link that leaves the folder" in found[0]


@pytest.mark.parametrize("name", ["array.npy", "model.safetensors.index.json"])
def test_an_array_or_index_that_links_out_of_its_folder_is_refused(name, folder):
    np.save(folder.parent / "array.npy", np.ones(3))
    index(folder.parent, {"w": "outside.safetensors"})
    (folder / name).symlink_to(folder.parent / name)
    with pytest.raises(CheckpointError, match="link that leaves the folder"):
        load(folder)


def test_a_link_within_the_folder_is_read(folder):
    save_file({"w": np.ones((2, 2))}, folder / "real.bin")
    (folder / "w.safetensors").symlink_to("real.bin")
    assert list(load(index(folder, {"w": "w.safetensors"}))) == ["w"]


@pytest.mark.parametrize("blobs", ["blobs", "elsewhere"])
def test_links_of_a_download_cache_are_read_and_no_others(blobs, tmp_path):
    model = tmp_path / "models--a--b"
    snapshot = model / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    (model / blobs).mkdir()
    save_file({"w": np.ones((2, 2))}, model / blobs / "cafe")
    (snapshot / "w.safetensors").symlink_to(f"../../{blobs}/cafe")
    found, names = problems(index(snapshot, {"w": "w.safetensors"}))
    assert (len(found), names) == ((0, ["w"]) if blobs == "blobs" else (1, []))


def test_a_link_to_itself_is_refused(folder):
    (folder / "w.safetensors").symlink_to("w.safetensors")
    found, _ = problems(index(folder, {"w": "w.safetensors"}))
    assert "w.safetensors" in found[0]


def test_a_hard_link_is_a_file_like_any_other(folder):
    os.link(folder.parent / "outside.safetensors", folder / "w.safetensors")
    assert load(folder)["w"].tolist() == [[1, 1], [1, 1]]


def test_the_same_file_under_two_names_is_refused(folder):
    save_file({"w": np.ones((2, 2))}, folder / "a.safetensors")
    os.link(folder / "a.safetensors", folder / "b.safetensors")
    with pytest.raises(CheckpointError, match=r"'w' in more than one shard: 'a.safetensors', 'b.safetensors'"):
        load(folder)


def test_an_index_and_shards_that_agree_are_read(folder):
    save_file({"a": np.arange(4.0), "b": np.arange(3)}, folder / "1.safetensors")
    save_file({"c": np.ones((2, 2), np.float16)}, folder / "2.safetensors")
    weight_map = {"a": "1.safetensors", "c": "2.safetensors", "b": "1.safetensors"}
    path = index(folder, weight_map, metadata={"total_size": 76.0, "note": "x"})
    for given in (path, folder):
        assert {k: v.tolist() for k, v in load(given).items()} == {
            "a": [0, 1, 2, 3],
            "b": [0, 1, 2],
            "c": [[1, 1], [1, 1]],
        }


@pytest.mark.parametrize(
    ("weight_map", "says"),
    [
        ({"a": "1.safetensors"}, "'b' is in the shard but not in the index"),
        ({"a": "1.safetensors", "b": "1.safetensors", "x": "1.safetensors"}, "'x' is in the index but not in the"),
        ({"a": "1.safetensors", "b": "2.safetensors"}, "disagrees with its index"),
        ({"a": "1.safetensors", "b": "3.safetensors"}, "3.safetensors"),
    ],
)
def test_an_index_that_disagrees_with_its_shards(weight_map, says, folder):
    save_file({"a": np.ones(2), "b": np.ones(2)}, folder / "1.safetensors")
    save_file({"c": np.ones(2)}, folder / "2.safetensors")
    found, names = problems(index(folder, weight_map | {"c": "2.safetensors"}))
    assert any(says in p for p in found)
    assert "a" not in names


def test_bad_shards_leave_the_good_ones(folder):
    good = {f"g{n}": f"g{n}.safetensors" for n in range(3)}
    for name, file in good.items():
        save_file({name: np.ones((2, 2))}, folder / file)
    (folder / "damaged.safetensors").write_bytes(safetensors({"d": entry()}, FOUR + b"more"))
    (folder / "folder.safetensors").mkdir()
    os.mkfifo(folder / "pipe.safetensors")
    bad = {n: f"{n}.safetensors" for n in ("damaged", "folder", "pipe", "missing")}
    found, names = problems(index(folder, good | bad))
    assert names == list(good)
    assert len(found) == len(bad)
    for name in bad:
        assert sum(f"{name}.safetensors" in p for p in found) == 1


def test_too_many_shards_are_refused_before_any_is_opened(folder, monkeypatch):
    monkeypatch.setattr(sharded, "SafetensorsFile", None)
    names = {str(n): f"{n}.safetensors" for n in range(sharded.MAX_SHARDS + 1)}
    with pytest.raises(CheckpointError, match="513 shards; 512 are allowed"):
        load(index(folder, names))


@pytest.mark.parametrize(
    "files",
    [[], ["a.npy", "b.npz"], ["a.safetensors.index.json", "b.safetensors.index.json"], ["model.bin"]],
)
def test_a_folder_that_is_not_one_checkpoint_is_a_usage_error(files, folder):
    for name in files:
        (folder / name).write_bytes(b"")
    with pytest.raises(UsageError, match="model"):
        load(folder)
