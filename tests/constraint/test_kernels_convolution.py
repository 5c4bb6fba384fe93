"""Convolutions under a cap, against explicit matrices."""

import math

import pytest
import torch
from drawn_convolutions import LAYERS, drawn, explicit, norm

from opnorm.constraint.kernels.convolution import ConvolutionDescent
from opnorm.constraint.kernels.convolution_products import Products, working_geometry
from opnorm.constraint.outcome import read
from opnorm.errors import UsageError


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def settled(kernel, size, settings, cap, moves=30, **options):
    descent = ConvolutionDescent(settings, size, largest=None, **options)
    for _ in range(moves):
        found = descent.hold(kernel, 0.0, cap)
    return read(found)


def test_products_and_gradients_of_all_settings():
    assert len(LAYERS) >= 110
    for seed in LAYERS:
        kernel, size, settings = drawn(seed)
        known = working_geometry(kernel.shape, settings, size, None)
        products, dense = Products(known, kernel.device), explicit(kernel, size, **settings)
        dense = dense.T if settings.get("transposed") else dense  # the forward convolution whose adjoint it is
        generator = torch.Generator().manual_seed(seed)
        inner, outer = (kernel.shape[1] * known.groups, *known.size), (kernel.shape[0], *known.output)
        v = torch.randn(2, *inner, generator=generator, dtype=torch.float64)
        u = torch.randn(2, *outer, generator=generator, dtype=torch.float64)
        wide = kernel.double()
        torch.testing.assert_close(products.forward(wide, v).flatten(1), v.flatten(1) @ dense.T)
        torch.testing.assert_close(products.adjoint(wide, u).flatten(1), u.flatten(1) @ dense)
        gradient = products.gradient(wide, u, v)
        assert gradient.shape == kernel.shape
        torch.testing.assert_close((gradient * wide).sum(), (u.flatten(1) * (v.flatten(1) @ dense.T)).sum())


@pytest.mark.parametrize("part", range(3))
def test_descent_holds_the_true_norm_under_the_cap(part):
    """And leaves a kernel under the cap that was scaled no further away: moves lead nearer to every such kernel."""
    for seed in LAYERS[part::9]:
        kernel, size, settings = drawn(seed)
        before, start = norm(kernel, size, settings), kernel.clone()
        cap = 0.6 * before
        if before == 0:  # every output sees padding only
            continue
        found = settled(kernel, size, settings, cap, method="krylov")
        after = norm(kernel, size, settings)
        assert after <= cap * 1.03, (seed, settings)
        assert found["top"] <= after * (1 + 1e-5)
        scaled = start * (cap / before)
        assert torch.linalg.vector_norm(kernel - scaled) <= torch.linalg.vector_norm(start - scaled)
        assert torch.linalg.vector_norm(kernel - start) <= torch.linalg.vector_norm(scaled - start) * 1.1


@pytest.mark.parametrize("settings", [{"padding": 1}, {"padding": 1, "stride": 2}, {"padding": 2, "dilation": 2}])
@pytest.mark.parametrize("groups", [1, 4, 8])
def test_the_symbol_holds_every_size(settings, groups):
    kernel = torch.randn(8, 8 // groups, 3, 3, generator=torch.Generator().manual_seed(3))
    settings = settings | {"groups": groups}
    before = norm(kernel, (10, 10), settings)
    settled(kernel, None, settings, 0.6 * before, method="symbol")
    assert norm(kernel, (6, 6), settings) <= norm(kernel, (10, 10), settings) <= 0.6 * before * 1.03


def test_symbol_is_exact_on_its_grid():
    """A circular convolution of 8 positions an axis has just the frequencies of the grid of a 3-tap kernel."""
    kernel = torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    settings = {"padding": 1, "padding_mode": "circular"}
    dense = explicit(kernel, (8, 8), padding=((1, 1), (1, 1)), padding_mode="circular")
    seen = read(ConvolutionDescent(settings, None, method="symbol").look(kernel))["top"]
    assert seen == pytest.approx(float(torch.linalg.matrix_norm(dense, 2)), rel=1e-6)


@pytest.mark.parametrize("method", ["symbol", "krylov"])
def test_each_move_leads_nearer_to_every_kernel_under_the_cap(method):
    kernel = torch.randn(8, 6, 3, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    settings, size = {"padding": 1, "padding_mode": "circular"}, (8, 8)
    true = {"padding": ((1, 1), (1, 1)), "padding_mode": "circular"}
    others = [torch.randn(kernel.shape, generator=torch.Generator().manual_seed(s)).double() for s in range(5)]
    cap = 0.5 * norm(kernel, size, true)
    inside = [other * (cap / norm(other, size, true)) for other in others] + [kernel / 2]
    descent = ConvolutionDescent(settings, size, method=method, rank=2)
    for _ in range(12):
        before = kernel.clone()
        descent.hold(kernel, 0.0, cap)
        for other in inside:
            assert torch.linalg.vector_norm(kernel - other) <= torch.linalg.vector_norm(before - other) * (1 + 1e-12)


@pytest.mark.parametrize("method", ["symbol", "krylov"])
def test_what_a_move_says_it_left_is_no_less_than_its_aim(method):
    """Of what offended, weighted by how much, the mean is brought to the aim: something is still there."""
    flat = torch.zeros(6, 6, 3, 3, dtype=torch.float64)
    flat[:, :, 1, 1] = 2 * torch.eye(6, dtype=torch.float64)  # every singular value is 2
    flat[0, 0] += 0.01
    descent = ConvolutionDescent({"padding": 1}, (9, 9), method=method, aim=1.0)
    for _ in range(5):
        found = read(descent.hold(flat, 0.0, 1.0))
        if found["active"]:
            assert found["after"] >= 1 - 1e-12
            assert found["after"] <= found["top"]


def test_a_depthwise_move_touches_only_offending_groups():
    kernel = torch.full((6, 1, 3, 3), 0.01)
    kernel[2] = 1.0
    start = kernel.clone()
    found = settled(kernel, (16, 16), {"padding": 1, "groups": 6}, 1.0, moves=30)
    assert torch.equal(kernel[[0, 1, 3, 4, 5]], start[[0, 1, 3, 4, 5]])
    assert norm(kernel[2:3], (16, 16), {"padding": 1}) <= 1.005
    assert found["top"] <= 1.001


@pytest.mark.parametrize("method", ["symbol", "krylov"])
def test_under_the_cap_nothing_moves(method):
    kernel = torch.randn(8, 8, 3, 3, generator=torch.Generator().manual_seed(1))
    start = kernel.clone()
    descent = ConvolutionDescent({"padding": 1}, (9, 9), method=method)
    for cap in (1000.0, math.inf):
        found = read(descent.hold(kernel, 0.0, cap))
        assert (found["active"], found["removed"], found["skipped"]) == (0, 0, 0)
    descent.look(kernel)
    assert torch.equal(kernel, start)


def test_a_sized_cap_is_not_held_at_a_smaller_norm_than_asked():
    kernel = torch.randn(12, 12, 3, 3, generator=torch.Generator().manual_seed(2))
    cap = 0.5 * norm(kernel, (4, 4), {"padding": 1})
    settled(kernel, (4, 4), {"padding": 1}, cap)
    assert norm(kernel, (4, 4), {"padding": 1}) == pytest.approx(cap, rel=0.02)


def test_refusals():
    kernel = torch.zeros(2, 2, 3, 3)
    with pytest.raises(UsageError, match="on a convolution"):
        ConvolutionDescent({}, (8, 8)).hold(kernel, 0.5, 1.0)
    for wrong in ({"rank": 0}, {"aim": 0.0}, {"aim": 1.5}, {"method": "fft"}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            ConvolutionDescent({}, (8, 8), **wrong)


def grown(kernel: ConvolutionDescent, moves: int) -> list[float]:
    """Tops, in caps, seen by `kernel` where an optimizer adds 0.3 of a cap between two moves."""
    torch.manual_seed(0)
    weight = torch.randn(6, 4, 3, 3, dtype=torch.float64)
    tops = []
    for _ in range(moves):
        tops.append(read(kernel.hold(weight, 0.0, 1.0))["top"])
        weight.mul_(1 + 0.3 / read(kernel.look(weight))["top"])
    return tops[-10:]


def test_a_move_leaves_room_for_the_growth_between_two():
    roomy, fixed = (ConvolutionDescent({"padding": 1}, (12, 12), aim=aim) for aim in (None, 1.0))
    assert max(grown(roomy, 60)) < max(grown(fixed, 60)) - 0.05


def test_what_is_known_of_the_growth_is_part_of_the_state():
    first = ConvolutionDescent({"padding": 1}, (12, 12))
    grown(first, 20)
    second = ConvolutionDescent({"padding": 1}, (12, 12))
    second.load_state_dict(first.state_dict())
    torch.manual_seed(1)
    weight = torch.randn(6, 4, 3, 3, dtype=torch.float64)
    other = weight.clone()
    assert torch.equal(first.hold(weight, 0.0, 1.0), second.hold(other, 0.0, 1.0))
    assert torch.equal(weight, other)
