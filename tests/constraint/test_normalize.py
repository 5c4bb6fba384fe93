"""What a normalized layer serves: at every scale, in training, through faults; beside it what torch's own serves."""

import math

import pytest
import torch
from normalized import OURS, linear, norm, original
from torch.nn.utils import parametrizations as torchs

from opnorm.constraint.normalize import normalize
from opnorm.parametrize import spectral_norm


@pytest.mark.parametrize("shape", [(40, 30), (30, 40), (1, 9), (9, 1), (3, 2)])
def test_a_weight_above_the_cap_is_served_at_it_and_one_below_as_it_is(shape):
    module = normalize(linear(*shape), cap=0.5)
    assert math.isclose(norm(module.weight), 0.5, rel_tol=1e-5)
    small = linear(*shape, scale=1e-3)
    before = small.weight.detach().clone()
    assert torch.equal(normalize(small, cap=0.5).weight, before)
    assert math.isclose(norm(normalize(linear(*shape, 1e-3), cap=0.5, always=True).weight), 0.5, rel_tol=1e-5)
    torchs_small = torchs.spectral_norm(linear(*shape, scale=1e-3))
    assert norm(torchs_small.weight) > 0.9  # torch's scales up, whatever was there


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e-15, 1.0, 1e15, 1e20, 1e30])
@pytest.mark.parametrize("wrap", OURS)
def test_every_scale(scale, wrap):
    module = wrap(linear(64, 64, scale))
    for _ in range(20):
        module(torch.ones(2, 64))
    assert math.isclose(
        norm(module.weight), min(norm(original(module)), 1.0) if wrap is normalize else 1.0, rel_tol=1e-4
    )


@pytest.mark.parametrize("scale", [0.0, 1e-15, 1e-20, 1e-30, 1e20, 1e30])
def test_torchs_own_row_at_these_scales(scale):
    module = torchs.spectral_norm(linear(64, 64, scale))
    for _ in range(20):
        module(torch.ones(2, 64))
    assert not torch.isfinite(module.weight).all()


@pytest.mark.parametrize("wrap", OURS)
def test_zeros_stay_zeros_and_train_away_from_there(wrap):
    module = wrap(linear(6, 5, 0.0))
    assert not module.weight.any()
    target = torch.randn(7, 6, generator=torch.Generator().manual_seed(1))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
    for _ in range(30):
        optimizer.zero_grad()
        (module(torch.eye(7, 5)) - target).square().mean().backward()
        optimizer.step()
    assert torch.isfinite(original(module)).all()
    assert original(module).any()
    assert norm(module.weight) <= 1.02


@pytest.mark.parametrize(
    ("wrap", "survives"), [(spectral_norm, True), (normalize, True), (torchs.spectral_norm, False)]
)
@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_one_poisoned_step_does_not_last(wrap, survives, poison):
    module = wrap(linear(8, 7))
    module(torch.ones(1, 7))
    kept = original(module).detach().clone()
    with torch.no_grad():
        original(module)[2, 3] = poison
    for mode in (True, False, True):
        module.train(mode)
        module(torch.ones(1, 7))
    with torch.no_grad():
        original(module).copy_(kept)
    module(torch.ones(1, 7))
    assert torch.isfinite(module.weight).all() == survives
    if survives:
        assert math.isclose(norm(module.weight), 1.0, rel_tol=1e-4)


def test_a_rank_one_weight_and_tied_values():
    for entries in (torch.ones(20, 30), torch.eye(20, 30), torch.eye(20, 30) * 5):
        module = normalize(linear(20, 30))
        module.weight = entries.clone()
        for _ in range(3):
            with torch.no_grad():
                original(module).mul_(1.01)
            module(torch.ones(1, 30))
        assert math.isclose(norm(module.weight), 1.0, rel_tol=1e-4)


@pytest.mark.parametrize("wrap", OURS)
def test_gradients_are_those_of_the_exact_normalization(wrap):
    module = wrap(linear(7, 5, dtype=torch.float64)).eval()
    weight = original(module)
    target = torch.randn(7, 5, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    (found,) = torch.autograd.grad((module.weight * target).sum(), weight)
    exact = weight / torch.linalg.matrix_norm(weight, 2)
    (expected,) = torch.autograd.grad((exact * target).sum(), weight)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_an_inactive_cap_passes_gradients_through():
    module = normalize(linear(7, 5), cap=100.0)
    (found,) = torch.autograd.grad(module.weight.sum(), original(module))
    assert torch.equal(found, torch.ones(7, 5))


@pytest.mark.parametrize("wrap", OURS)
def test_derivatives_in_numbers(wrap):
    module = wrap(linear(4, 5, dtype=torch.float64)).eval()
    scale = module.parametrizations.weight[0]
    left, right = scale._u.clone(), scale._v.clone()

    def served(weight):
        return weight / torch.dot(left, weight @ right)

    def ours(weight):
        scale._mark.copy_(torch.zeros_like(scale._mark))
        scale.training = True
        found = torch.func.functional_call(scale, {"_u": left, "_v": right}, (weight,))
        scale.training = False
        return found

    weight = original(module).detach().clone().requires_grad_()
    e = torch.ones(4, 5, dtype=torch.float64).tril()

    def twice(function):
        (once,) = torch.autograd.grad((function(weight) * e).square().sum(), weight, create_graph=True)
        (again,) = torch.autograd.grad((once * e.flip(0)).sum(), weight)
        return once.detach(), again

    for mine, plain in zip(twice(lambda w: scale(w)), twice(served), strict=True):
        torch.testing.assert_close(mine, plain)


def test_training_holds_the_cap_within_a_percent_or_so():
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        normalize(torch.nn.Linear(20, 64)), torch.nn.Tanh(), normalize(torch.nn.Linear(64, 64)), torch.nn.Linear(64, 3)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    inputs, labels = torch.randn(100, 20), torch.randint(3, (100,))
    worst, first, last = 0.0, 0.0, 0.0
    for step in range(60):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(inputs), labels)
        worst = max(worst, norm(model[0].weight), norm(model[2].weight))
        loss.backward()
        optimizer.step()
        first, last = (loss.item() if step == 0 else first), loss.item()
    assert worst < 1.03
    assert last < 0.8 * first


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_keeps_its_dtype_and_comes_close(dtype):
    module = spectral_norm(linear(64, 64, dtype=dtype))
    assert module.weight.dtype == dtype
    assert abs(norm(module.weight) - 1) < 2e-3
    module(torch.ones(2, 64, dtype=dtype)).sum().backward()
    assert original(module).grad.dtype == dtype


def test_autocast_estimates_in_full_precision():
    module = normalize(linear(64, 64))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = module(torch.ones(2, 64))
        assert outputs.dtype == torch.bfloat16
        with torch.no_grad():
            original(module).mul_(1.5)
        assert math.isclose(norm(module.weight), 1.0, rel_tol=1e-5)
    outputs.sum().backward()
    assert torch.isfinite(original(module).grad).all()
