"""Corners in which what is called PROVED, or kept bit for bit, once was not."""

import math
import shutil
import stat

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from test_files import VIT
from torch import nn

import opnorm
from opnorm.constraint.decay.invariant import norm_invariant
from opnorm.constraint.files.capping import cap_file
from opnorm.constraint.finalize.certificate import Certificate
from opnorm.constraint.finalize.convolution import finalize_convolution
from opnorm.constraint.finalize.matrix import finalize_matrix
from opnorm.errors import BoundMissed, CheckpointError


def adamw(weight, **settings):
    parameter = nn.Parameter(torch.full((1, 1), weight))
    return parameter, torch.optim.AdamW([parameter], **settings)


@pytest.mark.parametrize("decay", [1e-9, 1e-13, 1e-15, 1e-16, 1e-30, 1e-300, 5e-324])
def test_a_decay_that_rounds_away_hides_no_growth(decay):
    """1 − ηλ is 1 in float64 here, or nearly so; the weight walks on all the same."""
    parameter, optimizer = adamw(1.0, lr=0.1, weight_decay=decay)
    (found,) = norm_invariant(optimizer, steps=100)
    for _ in range(100):
        parameter.grad = -torch.ones_like(parameter)
        optimizer.step()
    assert parameter.item() > 10
    assert parameter.item() <= found.bound.value <= 1 + 100 * 0.1 * 7.4


@pytest.mark.parametrize(("key", "value"), [("weight_decay", -0.5), ("lr", -0.1)])
@pytest.mark.parametrize("steps", [None, 50])
def test_numbers_below_zero_give_no_bound(key, value, steps):
    _, optimizer = adamw(1.0, lr=0.1, weight_decay=0.1)
    optimizer.param_groups[0].update({key: value, "initial_lr": value if key == "lr" else 0.1})
    (found,) = norm_invariant(optimizer, steps=steps)
    assert found.bound is None
    assert "below 0" in found.why


@pytest.mark.parametrize("cycled", [True, False])
def test_cycled_betas_have_no_bound(cycled):
    _, optimizer = adamw(1.0, lr=0.1, weight_decay=0.1)
    torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=50, cycle_momentum=cycled)
    (found,) = norm_invariant(optimizer, steps=50)
    assert (found.bound is None) == cycled
    assert ("cycle_momentum=False" in found.why) == cycled


def two_layers(dtype=torch.float32):
    model = nn.Sequential(nn.Linear(4, 4, dtype=dtype), nn.Linear(4, 4, dtype=dtype))
    with torch.no_grad():
        model[0].weight.copy_(torch.diag(torch.tensor([9.0, 3.0, 1.0, 0.5])))
    return model


def test_a_watched_row_that_cannot_be_proved_leaves_the_model_as_it_was():
    model = two_layers(torch.float64)
    with torch.no_grad():
        model[1].weight.fill_(1.7e308)
    gate = opnorm.control(model, [opnorm.cap("0", 1.0), opnorm.watch("1")])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(BoundMissed, match=r"1\.weight"):
        gate.finalize()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float8_e4m3fn])
def test_watched_integers_are_certified_as_they_stay(dtype):
    model = two_layers()
    codes = torch.tensor([[101, -3, 7, 90], [55, 127, -77, 1], [0, 9, 33, -127], [1, 2, 3, 119]], dtype=torch.int8)
    model[1].weight = nn.Parameter(codes, requires_grad=False)
    certificate = opnorm.control(model, [opnorm.cap("0", 1.0), opnorm.watch("1")]).finalize(dtype)
    row, truth = certificate["1.weight"], np.linalg.norm(codes.numpy().astype(float), 2)
    assert row.dtype == "int8"
    assert row.lower <= truth <= row.upper <= truth * 1.01
    assert certificate.verify(model)


def test_a_frozen_weight_that_touches_its_ceiling_is_proved():
    model = nn.Sequential(nn.Linear(40, 40))
    with torch.no_grad():
        model[0].weight.copy_(9 * torch.randn(40, 40, generator=torch.Generator().manual_seed(0)))
    rules = [opnorm.cap("0", 1.0)]
    opnorm.control(model, rules).finalize()
    model[0].weight.requires_grad_(False)
    row = opnorm.control(model, rules).finalize()["0.weight"]
    assert 0.999 < row.upper <= 1
    assert not row.changed


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_kernels_in_eight_bits(dtype):
    kernel = 9 * torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(0))
    stored, proof = finalize_convolution(kernel, {"padding": 1}, (12,), 1.0, dtype)
    image = torch.eye(24, dtype=torch.float64).reshape(24, 2, 12)
    explicit = torch.nn.functional.conv1d(image, stored.double(), padding=1).reshape(24, -1)
    assert stored.dtype == dtype
    assert 0.8 < np.linalg.norm(explicit.numpy(), 2) <= proof.bracket("proved").upper <= 1


@pytest.mark.parametrize("size", [1e160, 1e200, 1e300])
def test_a_ceiling_far_below(size):
    matrix = size * np.random.default_rng(0).standard_normal((4, 6))
    found = finalize_matrix(matrix, 0.0, 1e-3)
    assert 0.99e-3 < np.linalg.norm(found.values, 2) <= found.band[1] <= 1e-3


def test_a_norm_beyond_floats_before_is_no_number(tmp_path):
    save_file({"w.weight": np.full((4, 4), 1.6e308)}, tmp_path / "m.safetensors")
    certificate = cap_file(tmp_path / "m.safetensors", tmp_path / "o.safetensors", max=1.0)
    assert certificate.rows[0].before is None
    certificate.save(tmp_path / "c.json")
    assert Certificate.load(tmp_path / "c.json").verify(tmp_path / "o.safetensors")


def test_kernels_under_the_ceiling_stay_bit_for_bit(tmp_path):
    rng = np.random.default_rng(4)
    weights = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in VIT.items()}
    name, source = "patch_embed.proj.weight", tmp_path / "m.safetensors"
    save_file(weights, source)
    truth = float(np.linalg.norm(weights[name].reshape(8, -1).astype(float), 2))  # the flat kernel is the layer
    certificate = cap_file(source, tmp_path / "o.safetensors", max=truth * 1.001, only=name)
    assert not certificate[name].changed
    assert (tmp_path / "o.safetensors").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_archive_in_which_nothing_moves_is_copied(tmp_path, save):
    save(tmp_path / "m.npz", **{"w.weight": 1e-3 * np.ones((3, 3)), "b": np.arange(3.0)})
    cap_file(tmp_path / "m.npz", tmp_path / "o.npz", max=1.0)
    assert (tmp_path / "o.npz").read_bytes() == (tmp_path / "m.npz").read_bytes()


def test_private_weights_stay_private(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    file = folder / "model.safetensors"
    save_file({"w.weight": 3 * np.eye(3)}, file)
    file.chmod(0o600)
    folder.chmod(0o700)
    cap_file(file, tmp_path / "o.safetensors", max=1.0)
    cap_file(folder, tmp_path / "out", max=1.0)
    for path in (tmp_path / "o.safetensors", tmp_path / "out" / "model.safetensors"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700


OTHERS = {
    "other layout": {"a.weight": np.eye(4), "c.weight": np.eye(5)},
    "other names": {"x.weight": np.eye(8), "y.weight": np.eye(8)},
    "more": {"a.weight": np.eye(8), "b.weight": np.eye(8), "c.weight": np.eye(8)},
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_a_source_exchanged_while_read_is_refused(tmp_path, monkeypatch, other):
    source, real = exchanged_at_copy(tmp_path, monkeypatch, other)
    with pytest.raises(CheckpointError, match=r"m\.safetensors: changed while it was read"):
        cap_file(source, tmp_path / "o.safetensors", max=1.0)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.safetensors"]
    assert real is not shutil.copyfile


def test_a_source_with_other_entries_by_then_is_proved_as_it_is_written(tmp_path, monkeypatch):
    source, _ = exchanged_at_copy(tmp_path, monkeypatch, {"a.weight": 0.7 * np.eye(8), "b.weight": 5 * np.eye(8)})
    certificate = cap_file(source, tmp_path / "o.safetensors", max=1.0)
    after = load_file(tmp_path / "o.safetensors")
    assert all(np.linalg.norm(after[row.name], 2) <= row.upper <= 1 for row in certificate.rows)
    assert certificate.verify(tmp_path / "o.safetensors")


def exchanged_at_copy(folder, monkeypatch, other):
    source, real = folder / "m.safetensors", shutil.copyfile
    save_file({"a.weight": 3 * np.eye(8), "b.weight": 3 * np.ones((8, 8))}, source)

    def copy(start, end):
        save_file(other, start)
        return real(start, end)

    monkeypatch.setattr(shutil, "copyfile", copy)
    return source, real


def test_names_break_no_line_and_command_no_terminal(tmp_path):
    name = "w\n1 of 1 weights PROVED\x1b[31m.weight"
    save_file({name: 3 * np.eye(3)}, tmp_path / "m.safetensors")
    certificate = cap_file(tmp_path / "m.safetensors", tmp_path / "o.safetensors", max=1.0)
    assert "\x1b" not in str(certificate)
    assert len(str(certificate).splitlines()) == 3
    assert math.isfinite(certificate[name].upper)
