"""Caps on files: the true norms of what is written, every other byte as it was, and nothing left behind."""

import json
import math
import os
import stat
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
import safetensors.torch
import torch
from safetensors.numpy import load_file, save_file

import opnorm
import opnorm.constraint.files.capping as files_module
from opnorm.constraint.files.capping import cap_file
from opnorm.constraint.finalize.certificate import Certificate
from opnorm.errors import BoundMissed, CheckpointError, FileAccessError, UsageError
from opnorm.frameworks.convolution import convolution

F32, BF16 = np.float32, ml_dtypes.bfloat16


def draw(rng, *shape, dtype=F32):
    return rng.standard_normal(shape).astype(dtype)


def norm(matrix):
    return float(np.linalg.norm(np.asarray(matrix, dtype=np.float64), 2))


@pytest.fixture
def weights():
    rng = np.random.default_rng(0)
    return {
        "embed_tokens.weight": draw(rng, 50, 12),
        "layers.0.mlp.up.weight": draw(rng, 24, 12),
        "layers.0.mlp.up.bias": draw(rng, 24),
        "layers.0.mlp.down.weight": draw(rng, 12, 24, dtype=BF16),
        "layers.0.norm.weight": draw(rng, 12),
        "layers.1.small.weight": (0.01 * draw(rng, 8, 12)).astype(np.float16),
        "layers.1.wide.weight": draw(rng, 10, 12, dtype=np.float64),
        "position_ids": np.arange(12)[None],
    }


@pytest.fixture
def model(tmp_path, weights):
    path = tmp_path / "model.safetensors"
    save_file(weights, path, {"format": "pt", "note": "kept"})
    return path


def matrices(path):
    return {name: array for name, array in load_file(path).items() if array.ndim == 2 and array.dtype.kind != "i"}


def left_in(folder):
    return sorted(p.name for p in folder.iterdir())


def test_every_weight_is_under_the_cap_and_the_rest_is_untouched(model, weights, tmp_path):
    target = tmp_path / "capped.safetensors"
    certificate = cap_file(model, target, max=2.0)
    assert certificate.holds
    after = load_file(target)
    for name, array in matrices(target).items():
        assert norm(array) <= 2.0
        row = certificate[name]
        assert row.lower <= norm(array) * (1 + 1e-12)
        assert norm(array) <= row.upper * (1 + 1e-12)
        assert row.upper <= 2.0
        assert row.before >= norm(weights[name]) * (1 - 1e-12)
        assert row.changed == (norm(weights[name]) > 2.0)
        if not row.changed:
            assert after[name].tobytes() == weights[name].tobytes()
        else:
            u, s, vt = np.linalg.svd(np.asarray(weights[name], dtype=np.float64), full_matrices=False)
            nearest = (u * np.minimum(s, 2.0)) @ vt
            unit = float(ml_dtypes.finfo(weights[name].dtype).eps)
            assert (
                np.linalg.norm(np.asarray(array, dtype=np.float64) - nearest) <= unit * np.linalg.norm(nearest) + 1e-9
            )
    for name in ("layers.0.mlp.up.bias", "layers.0.norm.weight", "position_ids"):
        assert after[name].tobytes() == weights[name].tobytes()
    assert left_in(tmp_path) == ["capped.safetensors", "model.safetensors"]


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.bfloat16, torch.float16])
def test_narrow_formats_as_torch_reads_them(tmp_path, dtype):
    weight = torch.randn(10, 14, generator=torch.Generator().manual_seed(1)).to(dtype)
    safetensors.torch.save_file({"a.weight": weight}, tmp_path / "m.safetensors")
    cap_file(tmp_path / "m.safetensors", tmp_path / "o.safetensors", max=1.0)
    after = safetensors.torch.load_file(tmp_path / "o.safetensors")["a.weight"]
    assert after.dtype is dtype
    assert 0.8 < norm(after.double()) <= 1.0


def test_header_and_metadata_are_byte_for_byte(model, tmp_path):
    target = tmp_path / "capped.safetensors"
    cap_file(model, target, max=1.0, only="*mlp*")
    old, new = model.read_bytes(), target.read_bytes()
    header = 8 + int.from_bytes(old[:8], "little")
    assert old[:header] == new[:header]
    assert json.loads(new[8:header])["__metadata__"]["note"] == "kept"
    assert len(old) == len(new)
    changed = {n for n, a in load_file(model).items() if load_file(target)[n].tobytes() != a.tobytes()}
    assert changed == {"layers.0.mlp.up.weight", "layers.0.mlp.down.weight"}


def test_capping_again_changes_no_byte(model, tmp_path):
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    cap_file(model, first, max=1.5)
    again = cap_file(first, second, max=1.5)
    assert first.read_bytes() == second.read_bytes()
    assert not any(row.changed for row in again.rows)


def test_in_place_and_existing_targets(model, tmp_path):
    before = model.read_bytes()
    with pytest.raises(UsageError, match="overwrite"):
        cap_file(model, model, max=1.0)
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"mine")
    with pytest.raises(UsageError, match="exists"):
        cap_file(model, other, max=1.0)
    assert other.read_bytes() == b"mine"
    assert model.read_bytes() == before
    os.chmod(model, 0o600)
    cap_file(model, model, max=1.0, overwrite=True)
    assert stat.S_IMODE(model.stat().st_mode) == 0o600
    assert all(norm(m) <= 1.0 for m in matrices(model).values())
    assert left_in(tmp_path) == ["model.safetensors", "other.safetensors"]


def test_parts_of_one_tensor_are_capped_apart(tmp_path):
    rng, path = np.random.default_rng(1), "model.layers.0.mlp.experts"
    arrays = {
        f"{path}.gate_up_proj": draw(rng, 3, 24, 8),
        f"{path}.down_proj": draw(rng, 3, 8, 12),
        "rnn.weight_ih_l0": draw(rng, 20, 6),
        "rnn.weight_hh_l0": draw(rng, 20, 5),
        "rnn.bias_ih_l0": draw(rng, 20),
        "rnn.bias_hh_l0": draw(rng, 20),
        "attn.in_proj_weight": draw(rng, 12, 4) * np.repeat([9, 0.1, 3], 4)[:, None].astype(F32),
    }
    source, target = tmp_path / "m.safetensors", tmp_path / "o.safetensors"
    save_file(arrays, source)
    certificate = cap_file(source, target, max=1.5)
    after = load_file(target)
    for expert in after[f"{path}.gate_up_proj"]:
        assert norm(expert[:12]) <= 1.5
        assert norm(expert[12:]) <= 1.5
    assert all(norm(e) == pytest.approx(1.5, rel=1e-6) for e in after[f"{path}.down_proj"])
    assert all(norm(gate) <= 1.5 for gate in after["rnn.weight_hh_l0"].reshape(4, 5, 5))
    q, k, v = after["attn.in_proj_weight"].reshape(3, 4, 4)
    assert norm(q) == pytest.approx(1.5, rel=1e-6)
    assert norm(v) == pytest.approx(1.5, rel=1e-6)
    assert k.tobytes() == arrays["attn.in_proj_weight"][4:8].tobytes()
    assert not certificate["attn.in_proj_weight[k]"].changed
    assert certificate["rnn.weight_ih_l0[cell]"].holds


def test_equal_tensors_stay_equal_and_a_parting_is_told(tmp_path):
    rng = np.random.default_rng(2)
    table = draw(rng, 30, 8)
    source = tmp_path / "m.safetensors"
    save_file({"wte.weight": table, "lm_head.weight": table.copy(), "x.weight": draw(rng, 30, 8)}, source)
    both = tmp_path / "both.safetensors"
    assert cap_file(source, both, max=1.0).notes == ()
    after = load_file(both)
    assert after["wte.weight"].tobytes() == after["lm_head.weight"].tobytes()
    one = cap_file(source, tmp_path / "one.safetensors", max=1.0, only="wte*")
    assert one.notes == ("lm_head.weight held the same bytes as wte.weight, and was not chosen: they differ now.",)


def test_kernels_of_unknown_settings_are_scaled(tmp_path):
    kernel = draw(np.random.default_rng(3), 6, 3, 3, 3)
    source, target = tmp_path / "m.safetensors", tmp_path / "o.safetensors"
    save_file({"conv1.weight": kernel}, source)
    row = cap_file(source, target, max=2.0)["conv1.weight"]
    after = load_file(target)["conv1.weight"]
    factor = after.ravel() @ kernel.ravel() / (kernel.ravel() @ kernel.ravel())
    assert np.allclose(after, factor * kernel, rtol=1e-6)
    assert row.lower is None
    for settings in ({}, {"padding": 1}, {"stride": 2}, {"dilation": 2, "padding": 2}):
        measured = opnorm.spectral_norm(convolution(after, (3, 7, 7), **settings), evidence="proved")
        assert measured.bracket("proved").lower <= 2.0


VIT = {
    "cls_token": (1, 1, 8),
    "patch_embed.proj.weight": (8, 3, 4, 4),
    "blocks.0.attn.qkv.weight": (24, 8),
    "blocks.0.attn.proj.weight": (8, 8),
}


def test_kernels_of_known_settings_are_capped_as_operators(tmp_path):
    rng = np.random.default_rng(4)
    source, target = tmp_path / "m.safetensors", tmp_path / "o.safetensors"
    save_file({name: draw(rng, *shape) for name, shape in VIT.items()}, source)
    certificate = cap_file(source, target, max=2.0)
    after = load_file(target)
    truth = norm(after["patch_embed.proj.weight"].reshape(8, -1))  # windows do not meet: the flat kernel is the layer
    assert truth <= 2.0
    assert truth > 1.9
    assert certificate["patch_embed.proj.weight"].upper <= 2.0
    assert all(norm(part) <= 2.0 for part in after["blocks.0.attn.qkv.weight"].reshape(3, 8, 8))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<f2"])
def test_npy(tmp_path, order, dtype):
    matrix = np.asarray(np.random.default_rng(5).standard_normal((9, 7)), order=order).astype(dtype)
    np.save(tmp_path / "w.npy", matrix)
    certificate = cap_file(tmp_path / "w.npy", tmp_path / "v.npy", max=1.0)
    after = np.load(tmp_path / "v.npy")
    assert after.dtype == matrix.dtype
    assert after.flags.f_contiguous == matrix.flags.f_contiguous
    u, s, vt = np.linalg.svd(matrix.astype(float), full_matrices=False)
    assert np.allclose(after.astype(float), (u * np.minimum(s, 1)) @ vt, atol=2e-3 if dtype == "<f2" else 1e-6)
    assert norm(after) <= 1.0
    assert [row.name for row in certificate.rows] == ["v"]
    assert certificate.verify(tmp_path / "v.npy")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path, save):
    rng = np.random.default_rng(6)
    arrays = {"a": draw(rng, 9, 7), "b": np.asfortranarray(draw(rng, 5, 6)), "small": 0.01 * draw(rng, 4, 4)}
    arrays |= {"bias": draw(rng, 9), "ids": np.arange(5)}
    save(tmp_path / "w.npz", **arrays)
    certificate = cap_file(tmp_path / "w.npz", tmp_path / "v.npz", max=1.0)
    assert certificate.verify(tmp_path / "v.npz")
    with np.load(tmp_path / "v.npz") as after:
        assert set(after) == set(arrays)
        assert norm(after["a"]) <= 1.0
        assert norm(after["b"]) <= 1.0
        assert norm(after["a"]) == pytest.approx(1.0, rel=1e-6)
        for name in ("small", "bias", "ids"):
            assert after[name].tobytes() == arrays[name].tobytes()
    first, second = np.load(tmp_path / "w.npz"), np.load(tmp_path / "v.npz")
    assert first.zip.namelist() == second.zip.namelist()
    assert [i.compress_type for i in first.zip.infolist()] == [i.compress_type for i in second.zip.infolist()]


@pytest.fixture
def folder(tmp_path):
    rng, path = np.random.default_rng(7), tmp_path / "model"
    path.mkdir()
    shards = {
        "model-1.safetensors": {"a.weight": draw(rng, 9, 7), "a.bias": draw(rng, 9)},
        "model-2.safetensors": {"b.weight": 0.01 * draw(rng, 6, 9), "c.weight": draw(rng, 5, 6)},
    }
    for name, arrays in shards.items():
        save_file(arrays, path / name)
    index = {"weight_map": {t: name for name, arrays in shards.items() for t in arrays}}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    (path / "config.json").write_text("{}")
    (path / "tokenizer.json").write_text("{}")
    (path / "pytorch_model.bin").write_bytes(b"the weights as they were")
    return path


def test_a_folder_of_shards(folder, tmp_path):
    target = tmp_path / "capped"
    certificate = cap_file(folder, target, max=1.0)
    assert {row.name for row in certificate.rows} == {"a.weight", "b.weight", "c.weight"}
    names = ["config.json", "model-1.safetensors", "model-2.safetensors", "model.safetensors.index.json"]
    assert left_in(target) == [*names, "tokenizer.json"]
    for shard in names[1:3]:
        assert all(norm(m) <= 1.0 for m in matrices(target / shard).values())
    assert load_file(target / names[2])["b.weight"].tobytes() == load_file(folder / names[2])["b.weight"].tobytes()
    assert certificate.verify(target)
    assert not certificate.verify(folder)
    assert certificate.differing(folder) == ("a.weight", "c.weight")
    assert left_in(tmp_path) == ["capped", "model"]
    with pytest.raises(UsageError, match="exists"):
        cap_file(folder, target, max=1.0)
    assert opnorm.measure(target, evidence="proved")["a.weight"].upper <= 1.01


def test_a_folder_in_place(folder):
    before = left_in(folder)
    cap_file(folder, folder, max=1.0, overwrite=True)
    assert left_in(folder) == before
    assert all(norm(m) <= 1.0 for name in before if name.startswith("model-") for m in matrices(folder / name).values())


def test_a_folder_with_other_weights_is_not_written_into(folder, tmp_path):
    target = tmp_path / "there"
    target.mkdir()
    (target / "old.safetensors").write_bytes(b"")
    with pytest.raises(UsageError, match=r"old\.safetensors"):
        cap_file(folder, target, max=1.0, overwrite=True)
    assert left_in(target) == ["old.safetensors"]
    with pytest.raises(UsageError, match="give the folder"):
        cap_file(folder / "model.safetensors.index.json", tmp_path / "x", max=1.0)


def test_what_cannot_be_capped_is_named_and_nothing_written(tmp_path):
    rng = np.random.default_rng(8)
    broken = draw(rng, 6, 6)
    broken[0, 0] = np.nan
    arrays = {
        "ok.weight": draw(rng, 6, 6),
        "broken.weight": broken,
        "codes.weight": np.full((8, 8), 100, np.int8),
        "codes.weight_scale": np.ones((8, 1), F32),
        "mystery": draw(rng, 2, 3, 4),
    }
    source, target = tmp_path / "m.safetensors", tmp_path / "o.safetensors"
    save_file(arrays, source)
    with pytest.raises(CheckpointError, match=r"codes\.weight: .*mystery: ") as caught:
        cap_file(source, target, max=1.0)
    assert "--skip" in str(caught.value)
    with pytest.raises(CheckpointError, match=r"broken\.weight holds 1 NaN"):
        cap_file(source, target, max=1.0, skip=("codes*", "mystery"))
    assert left_in(tmp_path) == ["m.safetensors"]
    certificate = cap_file(source, target, max=1.0, skip=("codes*", "mystery", "broken*"))
    assert [row.name for row in certificate.rows] == ["ok.weight"]
    generous = cap_file(source, tmp_path / "p.safetensors", max=1000.0, only="codes*")
    assert generous["codes.weight"].upper == pytest.approx(800, rel=0.02)
    assert not generous["codes.weight"].changed


def test_patterns_that_match_nothing_name_the_nearest(model, tmp_path):
    with pytest.raises(UsageError, match=r"layers\.0\.mlp\.up"):
        cap_file(model, tmp_path / "o.safetensors", max=1.0, only="layers.0.mlp.upp")
    with pytest.raises(UsageError, match="no weight matches"):
        cap_file(model, tmp_path / "o.safetensors", max=1.0, skip="zzz*")
    with pytest.raises(UsageError, match="left out"):
        cap_file(model, tmp_path / "o.safetensors", max=1.0, skip="*")


@pytest.mark.parametrize("ceiling", [0.0, -1.0, math.inf, math.nan, True, "2"])
def test_impossible_ceilings(model, tmp_path, ceiling):
    with pytest.raises(UsageError, match="max="):
        cap_file(model, tmp_path / "o.safetensors", max=ceiling)


def test_sources_and_targets_that_cannot_be(model, tmp_path):
    torch.save({"w": torch.ones(3, 3)}, tmp_path / "m.pt")
    with pytest.raises(CheckpointError, match="save_file"):
        cap_file(tmp_path / "m.pt", tmp_path / "o.pt", max=1.0)
    with pytest.raises(UsageError, match="no such file"):
        cap_file(tmp_path / "none.safetensors", tmp_path / "o.safetensors", max=1.0)
    with pytest.raises(UsageError, match="folder does not exist"):
        cap_file(model, tmp_path / "no" / "o.safetensors", max=1.0)
    with pytest.raises(UsageError, match="ends in"):
        cap_file(model, tmp_path / "o.npz", max=1.0)
    (tmp_path / "dir").mkdir()
    with pytest.raises(UsageError, match="same kind"):
        cap_file(model, tmp_path / "dir", max=1.0, overwrite=True)
    (tmp_path / "bin").mkdir()
    torch.save({"w": torch.ones(3, 3)}, tmp_path / "bin" / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="never written"):
        cap_file(tmp_path / "bin", tmp_path / "o", max=1.0)
    (tmp_path / "bad.safetensors").write_bytes(b"\0" * 40)
    with pytest.raises(CheckpointError):
        cap_file(tmp_path / "bad.safetensors", tmp_path / "o.safetensors", max=1.0)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("disk full"), BoundMissed("no")])
@pytest.mark.parametrize("step", ["place", "prove"])
def test_failures_leave_nothing(model, tmp_path, monkeypatch, error, step):
    before = model.read_bytes()

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(files_module, step, fail)
    kind = error if isinstance(error, type) else type(error)
    for target in (tmp_path / "o.safetensors", model):
        with pytest.raises(kind):
            cap_file(model, target, max=1.0, overwrite=True)
    assert left_in(tmp_path) == ["model.safetensors"]
    assert model.read_bytes() == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(model, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    with pytest.raises(FileAccessError):
        cap_file(model, locked / "o.safetensors", max=1.0)


def test_a_full_disk_is_an_access_error(model, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(FileAccessError, match="No space left"):
        cap_file(model, tmp_path / "o.safetensors", max=1.0)
    assert left_in(tmp_path) == ["model.safetensors"]


def test_a_certificate_is_of_the_bytes_on_disk(model, tmp_path):
    target = tmp_path / "o.safetensors"
    certificate = cap_file(model, target, max=1.0)
    certificate.save(tmp_path / "c.json")
    again = Certificate.load(tmp_path / "c.json")
    assert again == certificate
    assert again.verify(target)
    assert again.verify(load_file(target))
    changed = load_file(target)
    changed["layers.1.wide.weight"][3, 4] = np.nextafter(changed["layers.1.wide.weight"][3, 4], 9)
    save_file(changed, target)
    assert again.differing(target) == ("layers.1.wide.weight",)
    assert not again.verify(target)


def test_dense_weights_need_no_torch(model, tmp_path):
    code = (
        "import sys; from opnorm.constraint.files.capping import cap_file;"
        f"c = cap_file({str(model)!r}, {str(tmp_path / 'o.safetensors')!r}, max=1.0);"
        "assert c.holds and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_a_pattern_of_vectors_says_what_they_are(model, tmp_path):
    with pytest.raises(UsageError, match=r"no linear map: layers\.0\.mlp\.up\.bias"):
        cap_file(model, tmp_path / "o.safetensors", max=1.0, only="*bias")


def test_a_folder_is_not_given_a_files_name(model, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    model.rename(source / "model.safetensors")
    with pytest.raises(UsageError, match="is a folder, which gives a folder"):
        cap_file(source, tmp_path / "o.safetensors", max=1.0)


def test_what_was_not_moved_was_no_larger_before(model, tmp_path):
    certificate = cap_file(model, tmp_path / "o.safetensors", max=1e3)
    assert not any(row.changed for row in certificate.rows)
    assert all(row.before <= row.upper for row in certificate.rows)


def test_a_kernel_that_was_scaled_is_noted(tmp_path):
    save_file({"conv.weight": draw(np.random.default_rng(0), 4, 3, 3, 3)}, tmp_path / "k.safetensors")
    certificate = cap_file(tmp_path / "k.safetensors", tmp_path / "o.safetensors", max=1.0)
    assert "conv.weight was scaled as a whole" in str(certificate)
