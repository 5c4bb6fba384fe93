"""Dense kernels against explicit singular values: what is held, what is found, what is left alone."""

import math

import pytest
import torch

from opnorm.constraint.kernels.band import BandClip
from opnorm.constraint.kernels.clipping import target
from opnorm.constraint.kernels.dense import Watch, choose
from opnorm.constraint.kernels.exact import ExactClip
from opnorm.constraint.kernels.krylov import KrylovClip
from opnorm.constraint.kernels.orthogonal import Orthogonal
from opnorm.constraint.kernels.pace import SLACK
from opnorm.constraint.outcome import read
from opnorm.constraint.projection import project

SHAPES = [(1, 1), (1, 7), (9, 1), (10, 300), (49, 49), (64, 300), (300, 64), (200, 200)]
CAPS = [lambda shape: KrylovClip(shape, min(8, min(shape)), restful=False), lambda shape: choose(shape, "cap", 3)]


def gaussian(shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def spectrum(values, shape, seed=0, dtype=torch.float32):
    left = torch.linalg.qr(gaussian((shape[0], shape[0]), seed, torch.float64))[0]
    right = torch.linalg.qr(gaussian((shape[1], shape[1]), seed + 1, torch.float64))[0]
    k = len(values)
    return ((left[:, :k] * torch.tensor(values, dtype=torch.float64)) @ right[:, :k].mT).to(dtype)


def norms(weight):
    return torch.linalg.svdvals(weight.double())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("make", CAPS)
def test_a_cap_is_reached_and_what_is_below_stays(shape, dtype, make):
    count = min(*shape, 40)
    values = torch.linspace(0.1, 2.0, count).tolist() if count > 1 else [2.0]
    weight = spectrum(values, shape, dtype=dtype)
    kernel, before = make(shape), norms(weight)
    for _ in range(25):
        kernel.hold(weight, 0.0, 1.0)
    after = norms(weight)
    coarse = {torch.bfloat16: 2e-2}.get(dtype, SLACK + 1e-3)
    assert after[0] <= 1 + coarse
    below = before < 0.5
    assert torch.allclose(after[: len(before)][below], before[below], atol=2e-2)


@pytest.mark.parametrize("turned", [False, True])
def test_one_move_without_relaxation_is_the_exact_projection_once_warm(turned):
    values = [3.0, 2.0, 1.5] + [0.5 * 0.97**i for i in range(97)]
    start = spectrum(values, (120, 100), dtype=torch.float64)
    start = start.mT.contiguous().mT if turned else start
    kernel = KrylovClip((120, 100), 8, relax=0.0, restful=False)
    for _ in range(6):
        kernel.look(start)
    weight = start.clone(memory_format=torch.preserve_format)
    told = read(kernel.hold(weight, 0.0, 1.0))
    exact = project(start, 0.0, 1.0)
    assert torch.linalg.matrix_norm(weight - exact) < 1e-9
    assert told["top"] == pytest.approx(3.0, rel=1e-6)
    assert told["after"] == pytest.approx(1.0, rel=1e-6)
    assert told["active"] == 3
    assert told["removed"] == pytest.approx(math.sqrt(4 + 1 + 0.25), rel=1e-6)


def test_ritz_values_come_from_below():
    for seed in range(20):
        weight = gaussian((90, 130), seed, torch.float64)
        kernel = KrylovClip((90, 130), 8, seed=seed)
        for _ in range(4):
            assert read(kernel.look(weight))["top"] <= float(norms(weight)[0]) * (1 + 1e-6)


@pytest.mark.parametrize("relax", [0.0, 0.5, 1.0])
def test_no_move_leads_away_from_a_matrix_under_the_cap(relax):
    """Fejér monotonicity, with triplets as inexact as a cold block gives them."""
    for seed in range(20):
        weight = gaussian((80, 100), seed, torch.float64) / 8
        inside = project(gaussian((80, 100), seed + 100, torch.float64) / 8, 0.0, 1.0)
        kernel = KrylovClip((80, 100), 8, relax=relax, seed=seed, restful=False)
        for _ in range(5):
            before = torch.linalg.matrix_norm(weight - inside)
            told = read(kernel.hold(weight, 0.0, 1.0))
            assert told["active"] > 0
            assert torch.linalg.matrix_norm(weight - inside) <= before * (1 + 1e-12)


def test_targets_reflect_small_excess_and_take_jumps_to_the_ceiling():
    assert target(1.1, 1.0, 1.0) == pytest.approx(0.9)
    assert target(1.1, 1.0, 0.0) == 1.0
    assert target(1.25, 1.0, 1.0) == pytest.approx(0.75)
    assert target(1.5, 1.0, 1.0) == 1.0
    assert target(80.0, 1.0, 1.0) == 1.0
    assert all(0.75 <= target(1 + i / 100, 1.0, 1.0) <= 1.0 for i in range(300))


def test_a_new_top_direction_orthogonal_to_the_whole_warm_block_is_found():
    """W couples the planted pair to nothing, and the warm rows have exact zeros there: only noise can find it."""
    for seed in range(5):
        weight = torch.zeros(200, 200, dtype=torch.float64)
        weight[:-1, :-1] = spectrum([0.99] * 60 + [0.3] * 100, (199, 199), seed, torch.float64)
        kernel = KrylovClip((200, 200), 8, seed=seed)
        for _ in range(6):
            kernel.hold(weight, 0.0, 1.0)
        assert kernel.rows is not None
        kernel.rows[:, -1] = 0.0
        kernel.rows = torch.linalg.qr(kernel.rows.mT)[0].mT.contiguous()
        assert float(kernel.rows[:, -1].abs().max()) == 0.0
        weight[-1, -1] = 3.0
        for _ in range(20):
            kernel.hold(weight, 0.0, 1.0)
        assert float(norms(weight)[0]) < 1.01


def test_a_weight_replaced_from_outside_is_brought_back_within_a_few_moves():
    weight = spectrum([0.9] * 50, (100, 120))
    kernel = choose((100, 120), "cap", 0)
    for _ in range(30):
        kernel.hold(weight, 0.0, 1.0)
    weight.copy_(spectrum([8.0, 4.0, 2.0] + [0.9] * 40, (100, 120), seed=9))
    for _ in range(18):
        kernel.hold(weight, 0.0, 1.0)
    assert float(norms(weight)[0]) < 1.01


def test_a_ceiling_not_in_reach_leaves_the_weight_bit_for_bit_and_mostly_unread():
    weight = gaussian((128, 128)) / 30
    kernel, before = choose((128, 128), "cap", 0), weight.clone()
    moves = 0
    for _ in range(100):
        rows = kernel.rows
        kernel.hold(weight, 0.0, 4.0)
        moves += kernel.rows is not rows
    assert torch.equal(weight, before)
    assert moves <= 20


def test_slow_growth_is_held_while_resting():
    kernel, weight = choose((100, 100), "cap", 0), spectrum([0.98] * 30, (100, 100))
    push = spectrum([1.0, 0.5], (100, 100), seed=5)
    for _ in range(300):
        weight += 0.001 * push
        kernel.hold(weight, 0.0, 1.0)
        assert float(norms(weight)[0]) <= 1.012


@pytest.mark.parametrize("shape", [(30, 20), (40, 60), (128, 128)])
def test_orthogonal_weights_stay_orthogonal_and_are_made_so_from_far_away(shape):
    kernel, weight = Orthogonal(restful=False), gaussian(shape)
    kernel.hold(weight, 2.0, 2.0)
    assert torch.allclose(norms(weight), torch.tensor(2.0, dtype=torch.float64), rtol=1e-4)
    for step in range(20):
        weight += 0.1 * spectrum([1.0, 0.4, 0.2], shape, seed=step)
        near = torch.linalg.svd(weight.double(), full_matrices=False)
        kernel.hold(weight, 2.0, 2.0)
        assert torch.allclose(norms(weight), torch.tensor(2.0, dtype=torch.float64), rtol=5e-3)
        assert torch.linalg.matrix_norm(weight.double() - 2 * near[0] @ near[2]) < 1e-2


def test_one_cubic_step_squares_the_defect():
    weight = spectrum([1.05, 1.0, 0.96] + [1.0] * 37, (40, 50), dtype=torch.float64)
    Orthogonal().hold(weight, 1.0, 1.0)
    expected = sorted((x * (3 - x * x) / 2 for x in [1.05, 0.96] + [1.0] * 38), reverse=True)
    assert norms(weight).tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("shape", [(20, 31), (100, 80)])
def test_a_band_is_exact_at_its_repairs_and_capped_between(shape):
    kernel, weight = choose(shape, "band", 0), gaussian(shape) / 8
    period = kernel.period if isinstance(kernel, BandClip) else 1
    for call in range(2 * period):
        weight += 0.01 * gaussian(shape, call) / 8
        kernel.hold(weight, 0.5, 1.5)
        assert float(norms(weight)[0]) <= (2.5 if call < 8 else 1.53)
    assert float(norms(weight)[-1]) == pytest.approx(0.5, rel=1e-3)


def test_watching_changes_nothing_and_comes_near():
    for shape in [(1, 5), (60, 300), (200, 200)]:
        weight = gaussian(shape)
        kernel, before = choose(shape, "watch", 0), weight.clone()
        for _ in range(12):
            told = read(kernel.look(weight))
        assert torch.equal(weight, before)
        assert 0.97 < told["top"] / float(norms(weight)[0]) <= 1 + 1e-5
    watch = Watch((200, 200))
    assert read(watch.hold(weight, 0.0, 0.1))["active"] == 0
    assert torch.equal(weight, before)


@pytest.mark.parametrize("kernel", [KrylovClip((60, 80), 8, relax=0.0), ExactClip(relax=0.0)])
def test_outward_directions_are_singular_vectors_at_the_ceiling(kernel):
    weight = spectrum([2.0, 1.5] + [0.5] * 30, (60, 80), dtype=torch.float64)
    u, _, vh = torch.linalg.svd(weight)
    assert kernel.normal() is None
    for _ in range(5):
        kernel.look(weight)
    kernel.hold(weight, 0.0, 1.0)
    left, right = kernel.normal()
    used = left.norm(dim=0) > 0
    assert int(used.sum()) == 2
    for found, true in ((left, u[:, :2]), (right, vh[:2].mT)):
        assert torch.allclose(found @ found.mT, true @ true.mT, atol=1e-6)
    assert torch.allclose((left * (weight @ right)).sum(0)[used], torch.ones(2, dtype=torch.float64), atol=1e-6)


@pytest.mark.parametrize("technique", ["cap", "band", "orthogonal", "watch"])
@pytest.mark.parametrize("shape", [(12, 20), (100, 70)])
def test_a_resumed_run_is_the_same_bit_by_bit(technique, shape, tmp_path):
    lo, hi = {"cap": (0.0, 1.0), "band": (0.4, 1.0), "orthogonal": (1.0, 1.0), "watch": (0.0, 1.0)}[technique]

    def go(kernel, weight, steps):
        for step in steps:
            weight += 0.02 * gaussian(shape, step) / 8
            kernel.hold(weight, lo, hi)

    weight, kernel = gaussian(shape) / 8, choose(shape, technique, 5)
    go(kernel, weight, range(11))
    torch.save({"weight": weight, "kernel": kernel.state_dict()}, tmp_path / "state.pt")
    go(kernel, weight, range(11, 25))
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    other, again = choose(shape, technique, 5), state["weight"]
    other.load_state_dict(state["kernel"])
    go(other, again, range(11, 25))
    assert torch.equal(weight, again)
    assert torch.equal(kernel.look(weight), other.look(again))


def test_no_global_random_state_is_used():
    before = torch.random.get_rng_state()
    for technique in ("cap", "orthogonal", "watch"):
        choose((80, 80), technique, 1).hold(gaussian((80, 80)), 0.0, 1.0)
    assert torch.equal(before, torch.random.get_rng_state())
