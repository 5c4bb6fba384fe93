"""What PyTorch's own tests ask of a spectral norm and of any parametrization, asked of ours, in our own words.

Not asked: that served numbers are those of torch's algorithm, one power iteration from its own start vectors.
"""

import copy
import pickle
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations as torchs
from torch.nn.utils import parametrize

from opnorm.constraint.normalize import normalize
from opnorm.parametrize import spectral_norm


@pytest.fixture(params=[False, True], ids=["set", "swap"])
def swap(request):
    """Both ways in which torch moves new entries into a parameter."""
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(request.param)
    yield
    torch.__future__.set_swap_module_params_on_conversion(before)


def linear(rows: int, columns: int, dtype: torch.dtype = torch.float32) -> nn.Linear:
    torch.manual_seed(rows * 100 + columns)
    return nn.Linear(columns, rows, dtype=dtype)


def test_registration_and_removal(swap):
    module = linear(5, 7)
    plain = module.weight
    spectral_norm(module)
    scale = module.parametrizations.weight[0]
    assert scale._u.shape == (5,)
    assert scale._v.shape == (7,)
    assert {"_u", "_v"} <= set(dict(scale.named_buffers()))
    assert "weight" not in module._parameters
    assert "weight" not in module._buffers
    assert module.parametrizations.weight.original is plain
    assert isinstance(plain, nn.Parameter)
    served = module.weight.detach().clone()
    parametrize.remove_parametrizations(module, "weight")
    assert isinstance(module._parameters["weight"], nn.Parameter)
    assert module.weight is plain
    torch.testing.assert_close(module.weight.detach(), served, rtol=0, atol=0)
    assert type(module) is nn.Linear


def test_removal_may_leave_the_original():
    module = linear(5, 7)
    before = module.weight.detach().clone()
    spectral_norm(module)
    parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
    assert torch.equal(module.weight, before)


def test_stacking():
    module = spectral_norm(spectral_norm(linear(5, 7)))
    assert len(module.parametrizations.weight) == 2
    torch.testing.assert_close(torch.linalg.matrix_norm(module.weight, 2), torch.tensor(1.0), atol=1e-5, rtol=0)
    parametrize.remove_parametrizations(module, "weight")
    assert type(module) is nn.Linear


def test_training_moves_the_state_and_evaluation_does_not():
    module = spectral_norm(linear(6, 6))
    scale = module.parametrizations.weight[0]
    with torch.no_grad():
        module.parametrizations.weight.original.add_(torch.randn(6, 6, generator=torch.Generator().manual_seed(0)))
    before = scale._u.clone()
    module(torch.ones(1, 6))
    assert not torch.equal(scale._u, before)
    module.eval()
    before = scale._u.clone()
    one, two = module(torch.ones(1, 6)), module(torch.ones(1, 6))
    assert torch.equal(one, two)
    assert torch.equal(scale._u, before)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("grad", [True, False])
def test_gradients_through_two_forwards(training, grad):
    module = spectral_norm(linear(3, 4, torch.float64)).train(training)
    module.parametrizations.weight.original.requires_grad_(grad)
    inputs = torch.randn(2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: module(x) * module(x).sum(), inputs, check_batched_grad=False)
    loss = module(inputs + 1).sum() - module(inputs - 1).square().sum()
    loss.backward()
    assert (module.parametrizations.weight.original.grad is not None) == grad


def test_gradcheck_in_the_weight():
    module = spectral_norm(linear(4, 3, torch.float64)).eval()
    scale = module.parametrizations.weight[0]

    def served(weight):
        left, right = scale._u.clone(), scale._v.clone()
        from opnorm.constraint.normalization.scaled import _Divide

        return _Divide.apply(weight, scale.operator.values(weight, left[None], right[None])[0])

    weight = module.parametrizations.weight.original
    assert torch.equal(served(weight), module.weight)
    assert torch.autograd.gradcheck(served, weight)
    assert torch.autograd.gradgradcheck(served, weight)


def test_the_state_dict_has_torchs_keys_and_both_load_each_others():
    ours, theirs = spectral_norm(linear(5, 7)), torchs.spectral_norm(linear(5, 7))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    theirs.eval()
    torch.testing.assert_close(theirs.weight, ours.weight, atol=1e-6, rtol=0)
    other = spectral_norm(nn.Linear(7, 5))
    other.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(other.weight, theirs.weight, atol=1e-4, rtol=0)


def test_old_and_plain_checkpoints_load():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        old = torch.nn.utils.spectral_norm(linear(5, 7))
    old(torch.ones(1, 7))
    for model in (old, linear(5, 7)):
        module = nn.Sequential(spectral_norm(nn.Linear(7, 5)), nn.ReLU())
        module.load_state_dict({f"0.{name}": value for name, value in model.state_dict().items()})
        expected = getattr(model, "weight_orig", None)
        expected = model.weight if expected is None else expected
        assert torch.equal(module[0].parametrizations.weight.original, expected)
        torch.testing.assert_close(torch.linalg.matrix_norm(module[0].weight, 2), torch.tensor(1.0), atol=1e-5, rtol=0)
    with pytest.raises(RuntimeError, match="Missing key"):
        torchs.spectral_norm(linear(5, 7)).load_state_dict(linear(5, 7).state_dict())


def test_torchs_checkpoint_of_a_convolution_loads():
    torch.manual_seed(0)
    theirs = torchs.spectral_norm(nn.Conv2d(2, 3, 3))
    ours = spectral_norm(nn.Conv2d(2, 3, 3))
    ours.load_state_dict(theirs.state_dict())
    assert torch.equal(ours.parametrizations.weight.original, theirs.parametrizations.weight.original)
    flat = spectral_norm(nn.Conv2d(2, 3, 3), dim=0)
    flat.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(flat.eval().weight, theirs.eval().weight, atol=1e-4, rtol=0)
    theirs.load_state_dict(ours.state_dict(), strict=False)


def test_wrapping_again_gives_the_same_outputs():
    one = spectral_norm(linear(5, 7))
    inputs = torch.ones(2, 7)
    saved = copy.deepcopy(one.state_dict())
    before = one(inputs)
    parametrize.remove_parametrizations(one, "weight", leave_parametrized=False)
    spectral_norm(one)
    one.load_state_dict(saved)
    torch.testing.assert_close(one(inputs), before, atol=1e-5, rtol=0)


def test_loading_is_strict_about_all_else():
    module = spectral_norm(linear(5, 7))
    state = module.state_dict()
    with pytest.raises(RuntimeError, match="Unexpected"):
        module.load_state_dict({**state, "more": torch.zeros(1)})
    del state["parametrizations.weight.original"]
    with pytest.raises(RuntimeError, match="Missing"):
        module.load_state_dict(state)
    state = module.state_dict()
    del state["parametrizations.weight.0._u"]
    module.load_state_dict(state)


@pytest.mark.parametrize("assign", [False, True])
def test_loading_by_assignment(assign):
    module = spectral_norm(linear(5, 7))
    new = {"weight": torch.randn(5, 7, generator=torch.Generator().manual_seed(3)), "bias": torch.zeros(5)}
    module.load_state_dict(new, assign=assign)
    torch.testing.assert_close(torch.linalg.matrix_norm(module.weight, 2), torch.tensor(1.0), atol=1e-5, rtol=0)


def test_dim_of_a_transposed_convolution():
    module = spectral_norm(nn.ConvTranspose2d(3, 8, 4), dim=1)
    scale = module.parametrizations.weight[0]
    assert scale._u.shape == (8,)
    assert scale._v.shape == (3 * 16,)
    flat = module.weight.transpose(0, 1).flatten(1)
    torch.testing.assert_close(torch.linalg.matrix_norm(flat, 2), torch.tensor(1.0), atol=1e-5, rtol=0)
    assert spectral_norm(nn.ConvTranspose2d(3, 8, 4), dim=-3).parametrizations.weight[0]._u.shape == (8,)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64, torch.complex128])
def test_values_real_and_complex(dtype):
    module = linear(4, 3, dtype)
    module.weight.data.zero_().fill_diagonal_(2.0 if not dtype.is_complex else 1.2 + 1.6j)
    spectral_norm(module)
    torch.testing.assert_close(module.weight.detach(), module.parametrizations.weight.original.detach() / 2)
    general = spectral_norm(linear(4, 3, dtype))
    torch.testing.assert_close(
        torch.linalg.matrix_norm(general.weight, 2), torch.ones((), dtype=general.weight.real.dtype), atol=1e-5, rtol=0
    )
    target = torch.randn(4, 3, dtype=dtype, generator=torch.Generator().manual_seed(0))
    weight = general.parametrizations.weight.original

    def loss(served):
        return (served * target).real.sum()

    (found,) = torch.autograd.grad(loss(general.eval().weight), weight)
    (expected,) = torch.autograd.grad(loss(weight / torch.linalg.matrix_norm(weight, 2)), weight)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_a_vector_is_divided_by_its_length():
    module = nn.LayerNorm(9)
    spectral_norm(module)
    torch.testing.assert_close(torch.linalg.vector_norm(module.weight), torch.tensor(1.0))
    assert list(module.state_dict()) == list(torchs.spectral_norm(nn.LayerNorm(9)).state_dict())


# Any parametrization


@pytest.mark.parametrize("wrap", [spectral_norm, normalize])
def test_a_module_with_it_is_not_pickled_and_its_state_is(wrap, swap):
    module = wrap(linear(5, 7))
    with pytest.raises(RuntimeError, match="state_dict"):
        pickle.dumps(module)
    other = pickle.loads(pickle.dumps(module.parametrizations.weight[0]))  # noqa: S301
    assert torch.equal(other._v, module.parametrizations.weight[0]._v)
    other.eval()


@pytest.mark.parametrize("wrap", [spectral_norm, normalize])
def test_assignment_and_registration_leave_the_parameter_its_identity(wrap, swap):
    module = linear(5, 7)
    parameter = module.weight
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    wrap(module)
    assert optimizer.param_groups[0]["params"][0] is module.parametrizations.weight.original is parameter
    module.weight = torch.eye(5, 7) * 0.5
    assert module.parametrizations.weight.original is parameter
    torch.testing.assert_close(parameter.detach(), torch.eye(5, 7) * 0.5)
    with pytest.raises((RuntimeError, ValueError)):
        module.weight = torch.eye(5, 7, dtype=torch.float64)
    assert torch.equal(parameter, torch.eye(5, 7) * 0.5)


@pytest.mark.parametrize("wrap", [spectral_norm, normalize])
def test_caching_computes_once(wrap):
    module = wrap(linear(5, 7))
    with parametrize.cached():
        assert module.weight is module.weight
    assert module.weight is not module.weight


def test_the_mode_of_the_module_is_taken_over():
    for mode in (True, False):
        module = linear(5, 7).train(mode)
        assert spectral_norm(module).parametrizations.weight[0].training == mode


def test_type_before():
    module = spectral_norm(linear(5, 7))
    assert type(module) is not nn.Linear
    assert isinstance(module, nn.Linear)
    assert parametrize.type_before_parametrizations(module) is nn.Linear


@pytest.mark.parametrize("wrap", [spectral_norm, normalize])
def test_a_deep_copy_is_equal_and_its_own(wrap, swap):
    module = wrap(linear(5, 7))
    module(torch.ones(1, 7))
    other = copy.deepcopy(module)
    assert torch.equal(other.weight, module.weight)
    assert other.parametrizations.weight.original is not module.parametrizations.weight.original
    with torch.no_grad():
        other.parametrizations.weight.original.normal_(generator=torch.Generator().manual_seed(0)).mul_(9)
    other.eval()
    torch.testing.assert_close(torch.linalg.matrix_norm(other.weight, 2), torch.tensor(1.0), atol=1e-5, rtol=0)
    torch.testing.assert_close(module.weight, wrap(linear(5, 7)).weight, atol=1e-6, rtol=0)


def test_transfer_to_another_module():
    module, other = spectral_norm(linear(5, 7)), linear(5, 7)
    parametrize.transfer_parametrizations_and_params(module, other)
    assert parametrize.is_parametrized(other, "weight")
    assert torch.equal(other.weight, module.weight)


def test_a_frozen_weight():
    module = linear(5, 7)
    module.weight.requires_grad_(False)
    normalize(module, cap=0.1)
    assert not module.weight.requires_grad
    assert not module.parametrizations.weight.original.requires_grad
    with pytest.raises(ValueError, match="does not have a parametrization"):
        parametrize.remove_parametrizations(module, "bias")


@pytest.mark.parametrize("wrap", [spectral_norm, normalize])
def test_moving_to_another_dtype(wrap, swap):
    module = wrap(linear(5, 7)).double()
    assert module.weight.dtype == torch.float64
    module(torch.ones(1, 7, dtype=torch.float64)).sum().backward()
    module = wrap(linear(5, 7)).eval().bfloat16()
    assert module.weight.dtype == torch.bfloat16
    assert torch.linalg.matrix_norm(module.weight.detach().float(), 2) < 1.005
    module.train()(torch.ones(1, 7, dtype=torch.bfloat16)).sum().backward()


def test_in_data_parallel_training_buffers_are_moved_in_place():
    module = normalize(linear(5, 7))
    held = [buffer.data_ptr() for buffer in module.buffers()]
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    for _ in range(3):
        module(torch.ones(1, 7)).square().sum().backward()
        optimizer.step()
    module.eval()
    module(torch.ones(1, 7))
    assert [buffer.data_ptr() for buffer in module.buffers()] == held
