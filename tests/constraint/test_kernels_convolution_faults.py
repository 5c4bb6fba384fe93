"""Convolutions under a cap when weights are zero, huge, tiny, coarse or not finite; and resumed runs."""

import math

import pytest
import torch

from opnorm.constraint.kernels.convolution import ConvolutionDescent
from opnorm.constraint.outcome import FIELDS, read

METHODS = ["symbol", "krylov"]
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]


def made(method="krylov", **options):
    return ConvolutionDescent({"padding": 1}, (8, 8), method=method, **options)


def drawn(dtype=torch.float32, seed=0):
    return torch.randn(6, 5, 3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_is_held(method, dtype):
    kernel, descent = drawn(dtype), made(method)
    for _ in range(25):
        values = descent.hold(kernel, 0.0, 2.0)
    assert values.shape == (len(FIELDS),)
    assert values.dtype == torch.float32
    assert kernel.dtype == dtype
    fresh = made("krylov", seed=7)
    for _ in range(15):
        seen = read(fresh.look(kernel))["top"]
    assert seen <= 2.0 * 1.02
    assert read(values)["skipped"] == 0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
def test_a_poisoned_step_is_skipped_and_recovered_from(method, poison):
    kernel, descent = drawn(), made(method)
    descent.hold(kernel, 0.0, 2.0)
    saved, state = kernel.clone(), descent.state_dict()
    kernel[1, 2, 0, 1] = poison
    wrong = kernel.clone()
    found = read(descent.hold(kernel, 0.0, 2.0))
    assert found["skipped"] == 1
    assert found["removed"] == found["active"] == 0
    assert all(math.isfinite(v) for v in found.values())
    assert torch.equal(kernel.nan_to_num(nan=7.0), wrong.nan_to_num(nan=7.0))
    assert read(descent.look(kernel))["skipped"] == 1
    assert torch.equal(descent.state_dict()["block"], state["block"])
    kernel.copy_(saved)
    assert read(descent.hold(kernel, 0.0, 2.0))["skipped"] == 0
    assert torch.isfinite(kernel).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("exponent", [-120, -100, 0, 60, 100, 120])
def test_any_scale_moves_alike(method, exponent):
    """Scaling kernel and cap by a power of two scales the result: nothing over- or underflows on the way."""
    plain, away = drawn(), torch.ldexp(drawn(), torch.tensor(exponent // 2))
    away = torch.ldexp(away, torch.tensor(exponent - exponent // 2))
    first, second = made(method), made(method)
    for _ in range(4):
        one = read(first.hold(plain, 0.0, 2.0))
        other = read(second.hold(away, 0.0, math.ldexp(2.0, exponent)))
    assert math.ldexp(other["top"], -exponent) == pytest.approx(one["top"], rel=1e-4)
    half = torch.tensor(-exponent // 2)
    torch.testing.assert_close(torch.ldexp(torch.ldexp(away, half), -exponent - half), plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scale", [1e30, 1e-30, 0.0])
def test_extreme_scales_under_an_ordinary_cap(method, scale):
    kernel, descent = drawn() * scale, made(method)
    start = kernel.clone()
    for _ in range(40):
        found = read(descent.hold(kernel, 0.0, 2.0))
        assert torch.isfinite(kernel).all()
    assert found["skipped"] == 0
    if scale > 1:
        assert 1.0 < found["top"] <= 2.1
    else:
        assert torch.equal(kernel, start)


@pytest.mark.parametrize("method", METHODS)
def test_zero_weights_leave_the_start_usable(method):
    descent, kernel = made(method), torch.zeros(6, 5, 3, 3)
    descent.hold(kernel, 0.0, 2.0)
    kernel = drawn()
    for _ in range(10):
        found = read(descent.hold(kernel, 0.0, 2.0))
    assert found["top"] <= 2.2


@pytest.mark.parametrize("method", METHODS)
def test_rank_one_kernels(method):
    kernel = torch.einsum("o,i,h,w->oihw", torch.ones(6), torch.ones(5), torch.ones(3), torch.ones(3))
    descent = made(method)
    for _ in range(30):
        found = read(descent.hold(kernel, 0.0, 2.0))
    assert torch.isfinite(kernel).all()
    assert found["top"] <= 2.05


@pytest.mark.parametrize("method", METHODS)
def test_a_resumed_run_is_the_same_bit_by_bit(method):
    kernel, descent = drawn(), made(method)
    descent.hold(kernel, 0.0, 3.0)
    state, copy = descent.state_dict(), kernel.clone()
    resumed = made(method, seed=5)
    resumed.load_state_dict(state)
    for _ in range(3):
        expected, found = descent.hold(kernel, 0.0, 2.0), resumed.hold(copy, 0.0, 2.0)
        assert torch.equal(expected, found)
        assert torch.equal(kernel, copy)


def test_no_global_state_is_touched():
    before = torch.get_rng_state()
    made().hold(drawn(), 0.0, 2.0)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_parameter_is_moved_in_place():
    layer = torch.nn.Conv2d(5, 6, 3, padding=1)
    where = layer.weight.data_ptr()
    made().hold(layer.weight, 0.0, 0.3)
    assert layer.weight.data_ptr() == where
    assert layer.weight.requires_grad
    assert layer.weight.is_leaf
    memory = layer.weight.detach().to(memory_format=torch.channels_last)
    assert read(made().hold(memory, 0.0, 0.2))["active"] > 0


def test_fp16_overflow_is_skipped():
    """Entries that the dtype cannot hold after a move are not written."""
    kernel = torch.full((1, 1, 1), 60000.0, dtype=torch.float16)
    found = read(ConvolutionDescent({}, (4,)).hold(kernel, 0.0, 1e5))
    assert found["skipped"] == 0
    assert torch.isfinite(kernel).all()
