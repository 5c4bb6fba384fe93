"""When the state of a normalized layer moves, and when it must not; beside it what torch's own does."""

import copy
import math

import pytest
import torch
from normalized import OURS, linear, norm, original, same, state, stepped
from torch.nn.utils import parametrizations as torchs
from torch.nn.utils import parametrize
from torch.utils.checkpoint import checkpoint

from opnorm.constraint.normalize import normalize
from opnorm.parametrize import spectral_norm


@pytest.mark.parametrize(("wrap", "still"), [(spectral_norm, True), (normalize, True), (torchs.spectral_norm, False)])
def test_reading_for_a_log_moves_nothing(wrap, still):
    one = wrap(linear(30, 20))
    other = copy.deepcopy(one)
    inputs = torch.ones(2, 20)
    stepped(one, inputs, 3)
    optimizer = torch.optim.SGD(other.parameters(), lr=0.1)
    for _ in range(3):
        other.weight, other.weight  # noqa: B018
        optimizer.zero_grad()
        other(inputs).square().mean().neg().backward()
        optimizer.step()
        other.weight  # noqa: B018
    assert torch.equal(original(one), original(other)) == still


@pytest.mark.parametrize(("wrap", "still"), [(spectral_norm, True), (normalize, True), (torchs.spectral_norm, False)])
@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing_gives_the_same_gradients(wrap, still, reentrant):
    inputs = torch.randn(4, 20, generator=torch.Generator().manual_seed(2)).requires_grad_()
    gradients = []
    for recompute in (False, True):
        torch.manual_seed(0)
        module = wrap(linear(30, 20))
        with torch.no_grad():
            original(module).copy_(linear(30, 20, seed=9).weight)  # far from the vectors
        before = state(module)
        outputs = checkpoint(module, inputs, use_reentrant=reentrant) if recompute else module(inputs)
        outputs.square().sum().backward()
        gradients.append(original(module).grad)
        assert not same(before, state(module))
    assert torch.equal(*gradients) == still


def test_two_forwards_serve_one_weight_and_backward_passes_both():
    module = normalize(linear(12, 10), cap=0.7)
    a, b = torch.ones(3, 10), torch.randn(3, 10, generator=torch.Generator().manual_seed(0))
    loss = module(a).square().sum() - module(b).sum()
    assert torch.equal(module.weight, module.weight)
    loss.backward()
    assert torch.isfinite(original(module).grad).all()


@pytest.mark.parametrize("wrap", OURS)
@pytest.mark.parametrize("make", [lambda: linear(5, 4), lambda: torch.nn.Conv2d(2, 3, 3)])
def test_backward_again_after_a_step(wrap, make):
    module = wrap(make())
    inputs = torch.ones(2, 4) if isinstance(module, torch.nn.Linear) else torch.ones(2, 2, 5, 5)
    loss = module(inputs).square().sum()
    loss.backward(retain_graph=True)
    first = original(module).grad.clone()
    with torch.no_grad():
        original(module).add_(1.0)
    original(module).grad = None
    loss.backward()
    torch.testing.assert_close(original(module).grad, first)


def test_torchs_own_raises_there():
    module = torchs.spectral_norm(linear(5, 4))
    loss = module(torch.ones(2, 4)).square().sum()
    loss.backward(retain_graph=True)
    with torch.no_grad():
        original(module).add_(1.0)
    with pytest.raises(RuntimeError, match="inplace"):
        loss.backward()


@pytest.mark.parametrize("change", ["assign", "in place", "data", "load"])
@pytest.mark.parametrize("wrap", OURS)
def test_evaluation_is_never_stale(wrap, change):
    module = wrap(linear(64, 64))
    module.eval()
    module(torch.ones(1, 64))
    new = linear(64, 64, 3.0, seed=5).weight.detach()
    if change == "assign":
        module.weight = new
    elif change == "in place":
        with torch.no_grad():
            original(module).copy_(new)
    elif change == "data":
        original(module).data.copy_(new)
    else:
        module.load_state_dict({"weight": new, "bias": torch.zeros(64)})
    assert math.isclose(norm(module.weight), 1.0, rel_tol=1e-5)
    assert torch.equal(module.weight, module.weight)


def test_torchs_own_row_is_stale():
    module = torchs.spectral_norm(linear(64, 64)).eval()
    module.weight = linear(64, 64, 3.0, seed=5).weight.detach()
    assert norm(module.weight) > 2


def test_entering_evaluation_converges_without_being_read():
    module = spectral_norm(linear(40, 40))
    original(module).data.copy_(linear(40, 40, seed=8).weight)
    copied = copy.deepcopy(module)
    for each in (module, copied):
        each.eval()
        scale = each.parametrizations.weight[0]
        found = scale._u @ original(each) @ scale._v
        assert math.isclose(found.item(), norm(original(each)), rel_tol=1e-5)


def test_assignment_and_loading_converge_in_training_too():
    module = spectral_norm(linear(64, 64))
    module.weight = linear(64, 64, seed=5).weight.detach()
    assert math.isclose(norm(module.weight), 1.0, rel_tol=1e-5)
    module.load_state_dict({"weight": linear(64, 64, seed=6).weight.detach(), "bias": torch.zeros(64)})
    assert math.isclose(norm(module.weight), 1.0, rel_tol=1e-5)


@pytest.mark.parametrize("wrap", OURS)
def test_reset_parameters_resets_what_is_stored(wrap):
    module = wrap(linear(30, 20, 100.0))
    module.reset_parameters()
    assert original(module).abs().max() <= 1 / math.sqrt(20) + 1e-6
    assert norm(module.weight) <= 1 + 1e-5
    parametrize.remove_parametrizations(module, "weight")
    module.weight.data.zero_()
    module.reset_parameters()
    assert module.weight.any()


@pytest.mark.parametrize("wrap", OURS)
def test_made_on_the_meta_device(wrap):
    with torch.device("meta"):
        module = wrap(torch.nn.Linear(20, 30))
    module.to_empty(device="cpu")
    for buffer in module.buffers():
        buffer.data.fill_(math.nan) if buffer.is_floating_point() else buffer.zero_()
    module.reset_parameters()
    assert 0.1 < norm(module.weight) <= 1 + 1e-5
    module.train()(torch.ones(1, 20))
    assert torch.isfinite(module.weight).all()


@pytest.mark.parametrize("ratio", [1.05, 1.1, 1.2])
def test_no_seed_fools_it_for_good(ratio):
    """The weight is built from the start vectors so that all of them miss its largest singular vector."""
    module = normalize(linear(64, 64))
    scale = module.parametrizations.weight[0]
    block = torch.cat([scale._v[None], scale._block]).double()
    basis = torch.linalg.qr(torch.cat([block.mT, torch.eye(64, dtype=torch.float64)], 1)).Q[:, :64]
    held = len(block)
    values = torch.cat([1 - 0.01 * torch.arange(held), torch.tensor([ratio]), torch.full((63 - held,), 0.5)]).double()
    with torch.no_grad():
        original(module).copy_((basis * values) @ basis.mT)
    for _ in range(40):
        with torch.no_grad():
            original(module).mul_(1.0 + 2**-20)  # a step of the optimizer: the state moves
        module(torch.ones(1, 64))
    assert norm(module.weight) < 1.001


@pytest.mark.parametrize(
    "make", [lambda: linear(12, 9), pytest.param(lambda: torch.nn.Conv2d(2, 3, 3), marks=pytest.mark.slow)]
)
def test_compiled_is_eager(make):
    torch._dynamo.reset()
    eager = spectral_norm(make())
    twin = copy.deepcopy(eager)
    compiled = torch.compile(twin, fullgraph=True, backend="aot_eager")
    inputs = torch.ones(2, 9) if isinstance(eager, torch.nn.Linear) else torch.ones(2, 2, 6, 6)
    for model, module in ((eager, eager), (compiled, twin)):
        optimizer = torch.optim.SGD(module.parameters(), lr=0.3)
        for _ in range(3):
            optimizer.zero_grad()
            model(inputs).square().mean().neg().backward()
            optimizer.step()
        module.eval()
    torch.testing.assert_close(original(eager), original(twin))
    torch.testing.assert_close(compiled(inputs), eager(inputs))


def test_a_resumed_run_is_the_uninterrupted_one_bit_by_bit():
    inputs = torch.randn(8, 20, generator=torch.Generator().manual_seed(0))
    whole = normalize(linear(30, 20))
    half = copy.deepcopy(whole)
    stepped(whole, inputs, 8)
    stepped(half, inputs, 4)
    resumed = normalize(linear(30, 20, seed=77))
    resumed.load_state_dict(half.state_dict())
    stepped(resumed, inputs, 4)
    assert torch.equal(original(resumed), original(whole))
    assert same(state(resumed), state(whole))


def test_a_state_that_does_not_fit_its_weight_is_not_believed():
    module = normalize(linear(64, 64))
    saved = module.state_dict()
    saved["parametrizations.weight.original"] = linear(64, 64, seed=5).weight.detach()
    other = normalize(linear(64, 64, seed=1))
    other.load_state_dict(saved)
    assert math.isclose(norm(other.weight), 1.0, rel_tol=1e-5)


def test_under_transforms_of_torch_func():
    module = spectral_norm(linear(4, 3))
    before = state(module)
    parameters = dict(module.named_parameters())
    found = torch.func.grad(lambda p: torch.func.functional_call(module, p, (torch.ones(3),)).square().sum())(
        parameters
    )
    assert torch.isfinite(found["parametrizations.weight.original"]).all()
    assert same(before, state(module))


def test_no_global_randomness_is_used():
    module = linear(5, 4)
    before = torch.random.get_rng_state()
    normalize(module)
    module(torch.ones(1, 4))
    module.eval()
    assert torch.equal(torch.random.get_rng_state(), before)
