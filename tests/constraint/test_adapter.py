"""The cap on W + s·B·A while B and A are trained: against explicit matrices and independent least squares."""

import copy

import pytest
import torch
from adapters import explicit, norm, site

from opnorm.constraint.kernels.adapter import AdapterClip
from opnorm.constraint.kernels.adapter_algebra import Adapted, Ritz, change, clipped, newton
from opnorm.constraint.outcome import read

SHAPES = [(24, 24, 3), (40, 17, 5), (17, 40, 5), (64, 64, 1), (6, 6, 6), (5, 30, 8)]


def held(layer, kernel, moves, hi=1.0):
    return [read(kernel.hold(layer.weight(), 0.0, hi)) for _ in range(moves)]


def in_algebra(layer):
    base, b, a = (p.detach().double() for p in layer.parameters)
    return Adapted(base.T if layer.transposed else base, b, a, layer.scale)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("size", [0.3, 1.0, 10.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_sum_comes_under_the_cap_and_the_base_stays(shape, size, transposed):
    layer = site(*shape, size=size, transposed=transposed)
    base, before = layer.parameters[0].clone(), norm(layer)
    outcomes = held(layer, AdapterClip(layer), 12)
    assert torch.equal(layer.parameters[0], base)
    assert norm(layer) <= (1.02 if before > 1 else before + 1e-6)
    assert outcomes[0]["top"] == pytest.approx(before, rel=0.05)
    assert outcomes[-1]["after"] <= norm(layer) * (1 + 1e-5)
    assert all(o["skipped"] == 0 for o in outcomes)


def test_one_move_of_a_warm_kernel_undoes_a_step_of_training():
    torch.manual_seed(0)
    layer = site(96, 80, 4, size=0.5)
    kernel = AdapterClip(layer)
    held(layer, kernel, 10)
    worst = 0.0
    for _ in range(20):
        for p in layer.parameters[1:]:
            p.data += p.detach() * 0.02 + 0.02 * p.detach().norm() * torch.randn_like(p) / p.numel() ** 0.5
        assert norm(layer) > 1.01
        held(layer, kernel, 1)
        worst = max(worst, norm(layer))
    assert worst <= 1.005


def test_a_move_is_the_least_change_that_clips_to_first_order():
    layer = site(9, 7, 3)
    now = in_algebra(layer)
    u, s, vt = torch.linalg.svd(explicit(layer))
    found = Ritz(s, u[:, :7].T, vt)
    ceiling = (s[1] + s[2]) / 2
    after = newton(now, found, ceiling)
    hot = 2
    rows = [
        torch.cat([(now.scale * torch.outer(u[:, i], now.a @ vt[j])).reshape(-1),
                   (now.scale * torch.outer(now.b.T @ u[:, i], vt[j])).reshape(-1)])
        for i in range(hot) for j in range(hot)
    ]  # fmt: skip
    wanted = -torch.diag(s[:hot] - ceiling).reshape(-1)
    least = torch.linalg.pinv(torch.stack(rows)) @ wanted
    moved = torch.cat([(after.b - now.b).reshape(-1), (after.a - now.a).reshape(-1)])
    assert torch.allclose(moved, least, atol=1e-6)


def test_the_gauge_of_the_factors_is_kept():
    layer = site(20, 15, 4)
    now = in_algebra(layer)
    turn = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64))[0]
    turned = Adapted(now.base, now.b @ turn, turn.T @ now.a, now.scale)
    block = torch.eye(15, dtype=torch.float64)[:8]
    ceiling = torch.tensor(1.0, dtype=torch.float64)
    one, _, _ = clipped(now, block, ceiling, 2)
    other, _, _ = clipped(turned, block, ceiling, 2)
    assert torch.allclose(one.b @ turn, other.b, atol=1e-9)
    assert torch.allclose(turn.T @ one.a, other.a, atol=1e-9)


def test_what_is_reported_is_what_happened():
    layer = site(30, 20, 4)
    before, start = norm(layer), explicit(layer)
    kernel = AdapterClip(layer, warm=20)  # the whole space: Ritz values are singular values
    outcome = held(layer, kernel, 1)[0]
    assert outcome["top"] == pytest.approx(before, rel=1e-5)
    assert outcome["after"] == pytest.approx(norm(layer), rel=1e-5)
    assert outcome["removed"] == pytest.approx(float((explicit(layer) - start).norm()), rel=1e-4)
    assert outcome["active"] == int((torch.linalg.svdvals(start) > 1).sum())
    left, right = kernel.normal()
    hot = left.norm(dim=0) > 0
    seen = (left.T.double() @ explicit(layer) @ right.double()).diagonal()[hot]
    assert 1 <= hot.sum() < 20
    assert torch.allclose(seen, torch.ones_like(seen), atol=0.01)


def test_under_the_cap_nothing_changes():
    layer = site(30, 20, 4)
    kept = [p.clone() for p in layer.parameters]
    outcome = held(layer, AdapterClip(layer), 3, hi=norm(layer) * 1.001)[-1]
    assert all(torch.equal(p, k) for p, k in zip(layer.parameters, kept, strict=True))
    assert outcome["active"] == outcome["removed"] == 0
    read(AdapterClip(layer).look(layer.weight()))
    assert all(torch.equal(p, k) for p, k in zip(layer.parameters, kept, strict=True))


def test_a_base_above_the_cap_is_not_canceled():
    layer = site(40, 40, 4, base=2.0, size=0.5)
    kernel = AdapterClip(layer)
    outcomes = held(layer, kernel, 30)
    assert norm(layer) == pytest.approx(2.0, rel=0.01)
    assert all(p.abs().max() < 2 for p in layer.parameters[1:])
    assert outcomes[-1]["after"] > 1.9  # and the number says so
    with torch.no_grad():
        layer.parameters[0].mul_(0.4)  # a base that was written is looked at again
    held(layer, kernel, 12)
    assert norm(layer) == pytest.approx(1.0, rel=0.01)


def test_a_new_direction_that_the_warm_block_cannot_see_is_found_at_once():
    layer = site(64, 64, 2, size=0.01)
    kernel = AdapterClip(layer)
    held(layer, kernel, 5)
    seen = torch.linalg.qr(torch.cat([kernel.state_dict()["block"], torch.eye(64)[:20]]).T)[0]
    new = torch.linalg.qr(torch.cat([seen, torch.randn(64, 2)], dim=1))[0][:, -2:]
    layer.parameters[2].data[:] = new.T
    layer.parameters[1].data[:] = 5 * torch.linalg.qr(torch.randn(64, 2))[0]
    assert norm(layer) > 9
    outcome = held(layer, kernel, 1)[0]
    assert outcome["top"] > 9
    assert norm(layer) < 1.1


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_what_is_not_finite_is_left_alone_and_forgotten(place, poison):
    layer = site(20, 15, 3)
    kernel = AdapterClip(layer)
    held(layer, kernel, 2)
    good = [p.clone() for p in layer.parameters]
    layer.parameters[place].data[0, 0] = poison
    kept = [p.clone() for p in layer.parameters]
    outcome = held(layer, kernel, 1)[0]
    assert outcome["skipped"] == 1
    assert all(torch.equal(p.nan_to_num(), k.nan_to_num()) for p, k in zip(layer.parameters, kept, strict=True))
    for p, k in zip(layer.parameters, good, strict=True):
        p.data.copy_(k)
    outcome = held(layer, kernel, 10)[-1]
    assert outcome["skipped"] == 0
    assert norm(layer) == pytest.approx(1.0, rel=0.01)


@pytest.mark.parametrize(
    ("b", "a"), [(1e30, 1e-30), (1e-30, 1e30), (1e-30, 1e-30), (1e25, 1.0), (0.0, 1.0), (0.0, 0.0)]
)
def test_extreme_factors_stay_finite(b, a):
    layer = site(20, 15, 3, base=0.5)
    layer.parameters[1].data *= b
    layer.parameters[2].data *= a
    held(layer, AdapterClip(layer), 12)
    assert all(torch.isfinite(p).all() for p in layer.parameters)


@pytest.mark.parametrize("exponent", [-100, 100])
def test_scales_do_not_matter(exponent):
    one, other = site(20, 15, 3), site(20, 15, 3)
    with torch.no_grad():
        other.parameters[0].mul_(2.0**exponent)
        other.parameters[1].mul_(2.0**exponent)
    held(one, AdapterClip(one), 8)
    held(other, AdapterClip(other), 8, hi=2.0**exponent)
    assert norm(other) / 2.0**exponent == pytest.approx(norm(one), rel=0.02)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_dtypes(dtype):
    layer = site(40, 30, 4, dtype=dtype)
    held(layer, AdapterClip(layer), 12)
    assert all(p.dtype is dtype for p in layer.parameters)
    assert norm(layer) <= (1.03 if dtype is not torch.float64 else 1.001)


def test_resume_is_exact():
    layer = site(40, 30, 4)
    kernel = AdapterClip(layer, seed=7)
    held(layer, kernel, 3)
    other, again = copy.deepcopy(layer), AdapterClip(layer, seed=8)
    again.site = other
    again.load_state_dict(copy.deepcopy(kernel.state_dict()))
    for one, two in zip(held(layer, kernel, 3), held(other, again, 3), strict=True):
        assert one == two
    assert all(torch.equal(p, q) for p, q in zip(layer.parameters, other.parameters, strict=True))


def test_the_global_random_state_is_not_used():
    layer = site(20, 15, 3)
    before = torch.get_rng_state()
    held(layer, AdapterClip(layer), 2)
    assert torch.equal(before, torch.get_rng_state())


def test_the_distance_is_that_of_the_products():
    layer, moved = in_algebra(site(12, 9, 3)), in_algebra(site(12, 9, 3, seed=1))
    moved = Adapted(layer.base, moved.b, moved.a, layer.scale)
    truth = (layer.scale * (moved.b @ moved.a - layer.b @ layer.a)).norm()
    assert float(change(layer, moved)) == pytest.approx(float(truth), rel=1e-12)
