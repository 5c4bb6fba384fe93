"""Penalties and the differentiable norm: values and gradients in closed form, by SVD, by finite differences."""

import math

import pytest
import torch

from opnorm.constraint.losses.jacobian import jacobian_penalty
from opnorm.constraint.losses.norms import differentiable_spectral_norm
from opnorm.constraint.losses.penalties import SpectralPenalty, orthogonality_penalty, penalty_of, spectral_penalty
from opnorm.constraint.losses.warm import WarmTop
from opnorm.constraint.rules import penalize
from opnorm.errors import UndefinedNorm, UnsupportedInput, UsageError


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def orthonormal(rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    return torch.linalg.qr(normal(rows, columns, seed=seed)).Q


def planted(values: list[float], m: int, n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    u, v = orthonormal(m, len(values), seed), orthonormal(n, len(values), seed + 1)
    return (u * torch.tensor(values, dtype=torch.float64)) @ v.mT, u, v


def gradient(function, weight: torch.Tensor) -> torch.Tensor:
    leaf = weight.clone().requires_grad_()
    (found,) = torch.autograd.grad(function(leaf), leaf)
    return found


@pytest.mark.parametrize("shape", [(5, 5), (4, 7), (7, 4), (1, 6), (6, 1)])
def test_first_and_second_derivatives(shape):
    weight = normal(*shape, seed=3).requires_grad_()
    top = min(2, *shape)
    functions = [
        differentiable_spectral_norm,
        lambda w: differentiable_spectral_norm(w, 2),
        lambda w: spectral_penalty(w, above=0.5, top=top),
        lambda w: spectral_penalty(w, kind="norm"),
        lambda w: spectral_penalty(w, kind="linear"),
        orthogonality_penalty,
    ]
    for function in functions:
        assert torch.autograd.gradcheck(function, weight)
        assert torch.autograd.gradgradcheck(function, weight)


def test_the_gradient_is_autograds_through_an_svd_where_values_are_distinct():
    weight = normal(9, 6)

    def reference(w):
        return (torch.linalg.svdvals(w)[:3] - 1.0).clamp_min(0).square().sum()

    torch.testing.assert_close(
        gradient(lambda w: spectral_penalty(w, above=1.0, top=3), weight), gradient(reference, weight)
    )
    torch.testing.assert_close(
        gradient(lambda w: differentiable_spectral_norm(w) ** 3, weight),
        gradient(lambda w: torch.linalg.matrix_norm(w, 2) ** 3, weight),
    )


def test_repeated_values_take_the_mean_over_their_space():
    weight, u, v = planted([2.0, 2.0, 2.0, 0.5], 6, 8)
    torch.testing.assert_close(gradient(differentiable_spectral_norm, weight), u[:, :3] @ v[:, :3].mT / 3)
    krylov = gradient(lambda w: differentiable_spectral_norm(w, method="krylov"), weight)
    torch.testing.assert_close(krylov, u[:, :3] @ v[:, :3].mT / 3, atol=1e-6, rtol=0)
    eye = torch.eye(5, dtype=torch.float64)
    torch.testing.assert_close(gradient(differentiable_spectral_norm, eye), eye / 5)


def test_the_hinge_is_exact_at_repeated_values():
    weight, u, v = planted([3.0, 2.0, 2.0, 0.5], 6, 8)
    found = gradient(lambda w: spectral_penalty(w, above=1.5, top=3), weight)
    torch.testing.assert_close(found, 2 * (u[:, :3] * torch.tensor([1.5, 0.5, 0.5], dtype=torch.float64)) @ v[:, :3].mT)
    step = 1e-5
    for seed in range(4):
        e = normal(6, 8, seed=seed)
        both = [float(spectral_penalty(weight + t * e, above=1.5, top=3)) for t in (step, -step)]
        assert math.isclose((both[0] - both[1]) / (2 * step), float((found * e).sum()), rel_tol=1e-6, abs_tol=1e-8)
    leaf = weight.requires_grad_()
    assert torch.autograd.gradgradcheck(lambda w: spectral_penalty(w, above=1.5, top=3), leaf)


def test_zeros_have_norm_zero_and_gradient_zero():
    for function in (differentiable_spectral_norm, lambda w: spectral_penalty(w, above=0.0), orthogonality_penalty):
        assert not gradient(function, torch.zeros(3, 4)).any()
    assert float(differentiable_spectral_norm(torch.zeros(3, 4))) == 0
    assert float(differentiable_spectral_norm(torch.zeros(3, 4), method="krylov")) == 0


@pytest.mark.parametrize("scale", [1e-30, 1e30])
@pytest.mark.parametrize("method", ["svd", "krylov"])
def test_far_scales(scale, method):
    weight = normal(20, 30, dtype=torch.float32)
    found = float(differentiable_spectral_norm(weight * scale, method=method)) / scale
    assert math.isclose(found, float(torch.linalg.matrix_norm(weight.double(), 2)), rel_tol=1e-5)


@pytest.mark.parametrize("shape", [(200, 300), (300, 120), (64, 64)])
def test_krylov_agrees_with_the_svd(shape):
    weight = normal(*shape, seed=5)
    exact = torch.linalg.svdvals(weight)
    found = differentiable_spectral_norm(weight, 4, method="krylov")
    torch.testing.assert_close(found, exact[:4], rtol=2e-5, atol=0)
    assert (found <= exact[:4] * (1 + 1e-12)).all()
    error = gradient(lambda w: differentiable_spectral_norm(w, method="krylov"), weight) - gradient(
        differentiable_spectral_norm, weight
    )
    assert float(torch.linalg.vector_norm(error)) < 0.02


def test_low_precision_is_worked_in_float32():
    weight = normal(12, 9, dtype=torch.bfloat16)
    found = differentiable_spectral_norm(weight.requires_grad_())
    assert found.dtype == torch.float32
    assert math.isclose(found.item(), torch.linalg.matrix_norm(weight.double(), 2).item(), rel_tol=1e-6)
    found.backward()
    assert weight.grad.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("settings", "shape", "size"),
    [
        ({"stride": 1, "padding": 1}, (3, 2, 3, 3), (2, 5, 4)),
        ({"stride": 2, "padding": 1, "groups": 2}, (4, 1, 3, 3), (2, 6, 6)),
        ({"padding": 1, "padding_mode": "reflect"}, (2, 3, 3), (3, 7)),
        ({"stride": 2, "padding": 1, "transposed": True}, (2, 3, 4), (2, 5)),
    ],
)
def test_a_convolution_is_its_true_operator(settings, shape, size):
    import opnorm

    kernel = normal(*shape, seed=2)
    matrix = torch.from_numpy(_dense(opnorm.Convolution(kernel.numpy(), size, **settings)))
    found = differentiable_spectral_norm(kernel, settings=settings, input_shape=size)
    assert math.isclose(float(found), float(torch.linalg.matrix_norm(matrix, 2)), rel_tol=1e-6)

    def exact(k):
        return float(torch.linalg.matrix_norm(torch.from_numpy(_dense(opnorm.Convolution(k, size, **settings))), 2))

    e = normal(*shape, seed=9)
    slope = (exact((kernel + 1e-5 * e).numpy()) - exact((kernel - 1e-5 * e).numpy())) / 2e-5
    gradients = gradient(lambda k: differentiable_spectral_norm(k, settings=settings, input_shape=size), kernel)
    assert math.isclose(float((gradients * e).sum()), slope, rel_tol=1e-2, abs_tol=1e-3)


def _dense(operator):
    import numpy as np

    return operator.matmat64(np.eye(operator.shape[1]))


def test_orthogonality_looks_at_the_short_side():
    tall = orthonormal(9, 4)
    for weight in (tall, tall.mT):
        assert float(orthogonality_penalty(weight)) < 1e-28
        assert math.isclose(float(orthogonality_penalty(2 * weight)), 4 * 3.0**2)
        assert float(orthogonality_penalty(2 * weight, scale=2.0)) < 1e-26
    long_side = (tall @ tall.mT - torch.eye(9, dtype=torch.float64)).square().sum()
    assert float(long_side) > 4.9  # the trap: the long side cannot fall below the difference of the sides
    weight = normal(4, 6)
    torch.testing.assert_close(
        gradient(orthogonality_penalty, weight), 4 * (weight @ weight.mT - torch.eye(4, dtype=torch.float64)) @ weight
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_warm_directions_follow_a_moving_weight(dtype):
    weight = normal(80, 60, dtype=dtype)
    warm = WarmTop((80, 60), 4)
    for step in range(8):
        values, u, v = warm.top(weight)
        exact = torch.linalg.svdvals(weight.double())[:4]
        assert (values <= exact * (1 + 1e-5)).all()
        assert float(values[0]) > 0.98 * float(exact[0])
        torch.testing.assert_close(u.mT @ u, torch.eye(4).to(u), atol=2e-3, rtol=0)
        torch.testing.assert_close(v.mT @ v, torch.eye(4).to(v), atol=2e-3, rtol=0)
        weight = (weight.double() + 0.02 * normal(80, 60, seed=step + 1)).to(dtype)


def test_warm_values_have_the_svds_gradient_once_converged():
    weight = normal(30, 20)
    warm = WarmTop((30, 20), 3)
    for _ in range(20):
        warm.top(weight)
    found = gradient(lambda w: (warm.top(w)[0] - 1.0).clamp_min(0).square().sum(), weight)
    torch.testing.assert_close(
        found, gradient(lambda w: spectral_penalty(w, above=1.0, top=3), weight), atol=1e-4, rtol=0
    )


def test_one_poisoned_step_leaves_warm_directions_alone():
    weight = normal(10, 12)
    warm, other = WarmTop((10, 12), 2), WarmTop((10, 12), 2)
    warm.top(weight * math.nan)
    warm.top(weight)
    other.top(weight)
    before = warm.right.clone()
    assert warm.top(weight * math.inf)[0].isnan().all()
    assert torch.equal(warm.right, before)
    assert math.isclose(float(warm.top(weight)[0][0]), float(torch.linalg.matrix_norm(weight, 2)), rel_tol=1e-6)


def test_a_resumed_penalty_continues_bit_by_bit():
    model = torch.nn.Sequential(torch.nn.Linear(9, 8), torch.nn.Conv2d(2, 3, 3))
    one, other = SpectralPenalty(model, above=0.1), SpectralPenalty(model, above=0.1)
    values = []
    for penalty in (one, other):
        penalty()
        model[0].weight.data.mul_(1.01)
    state = one.state_dict()
    other.load_state_dict(state)
    for penalty in (one, other):
        values.append(penalty().item())
    assert values[0] == values[1] > 0
    with pytest.raises(UsageError, match="another model"):
        other.load_state_dict({})


@pytest.mark.parametrize("kind", ["hinge", "norm", "linear"])
def test_the_warm_penalty_is_the_exact_one(kind):
    model = torch.nn.Sequential(torch.nn.Linear(30, 40), torch.nn.Linear(40, 20)).double()
    warm = SpectralPenalty(model, kind=kind, above=0.3, top=3)
    assert math.isclose(warm().item(), spectral_penalty(model, kind=kind, above=0.3, top=3).item(), rel_tol=1e-4)


def test_a_penalty_lowers_the_norm():
    model = torch.nn.Linear(16, 10)
    penalty = SpectralPenalty(model, above=0.3, top=10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    for _ in range(60):
        optimizer.zero_grad()
        penalty().backward()
        optimizer.step()
    assert float(torch.linalg.matrix_norm(model.weight.detach(), 2)) < 0.32


@pytest.mark.parametrize("kind", ["hinge", "norm", "orthogonality"])
def test_a_rules_term(kind):
    weight = normal(5, 8)
    rule = penalize("w", above=0.7, weight=0.1, top=2, kind=kind)
    exact = {
        "hinge": lambda s: (s[:2] - 0.7).clamp_min(0).square().sum(),
        "norm": lambda s: s[0] ** 2 / 2,
        "orthogonality": lambda s: (s**2 - 1).square().sum(),
    }[kind](torch.linalg.svdvals(weight))
    assert math.isclose(float(penalty_of(weight, rule, 0.7)), 0.1 * float(exact), rel_tol=1e-9)
    assert math.isclose(float(penalty_of(weight, rule, 0.7, WarmTop((5, 8), 2))), 0.1 * float(exact), rel_tol=1e-5)


def test_the_jacobian_of_a_linear_map():
    linear = torch.nn.Linear(6, 4).double()
    inputs = normal(3, 6)
    exact = torch.linalg.svdvals(linear.weight.detach())
    spectral = jacobian_penalty(linear, inputs, norm="spectral", iterations=60)
    assert math.isclose(spectral.item(), float(exact[0]) ** 2, rel_tol=1e-6)
    source = torch.Generator().manual_seed(1)
    estimates = torch.stack([jacobian_penalty(linear, inputs, generator=source).detach() for _ in range(600)])
    deviation = float(estimates.std()) / math.sqrt(600)
    assert abs(float(estimates.mean()) - float(exact.square().sum())) < 4 * deviation


def test_the_jacobians_gradient_by_central_differences():
    torch_model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3)).double()
    inputs = normal(4, 5)
    weight = torch_model[0].weight
    for norm, settings in (("frobenius", {"projections": 2}), ("spectral", {"iterations": 80})):
        value = jacobian_penalty(torch_model, inputs, norm=norm, **settings)
        (found,) = torch.autograd.grad(value, weight)
        e = normal(7, 5, seed=3)
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                weight += sign * 1e-5 * e
            ends.append(float(jacobian_penalty(torch_model, inputs, norm=norm, **settings).detach()))
            with torch.no_grad():
                weight -= sign * 1e-5 * e
        assert math.isclose((ends[0] - ends[1]) / 2e-5, float((found * e).sum()), rel_tol=1e-5)


def test_the_spectral_jacobian_is_each_examples_own():
    model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3)).double()
    inputs = normal(4, 5)
    exact = [torch.linalg.matrix_norm(torch.func.jacrev(model)(x), 2).square() for x in inputs]
    found = jacobian_penalty(model, inputs, norm="spectral", iterations=100)
    torch.testing.assert_close(found, torch.stack(exact).mean(), rtol=1e-6, atol=0)


def test_no_global_randomness_is_used():
    state = torch.random.get_rng_state()
    model = torch.nn.Linear(5, 4)
    torch.random.set_rng_state(state)
    SpectralPenalty(model)()
    jacobian_penalty(model, torch.ones(2, 5))
    differentiable_spectral_norm(model.weight, method="krylov")
    assert torch.equal(torch.random.get_rng_state(), state)


def test_refusals():
    with pytest.raises(UnsupportedInput, match="settings"):
        differentiable_spectral_norm(torch.zeros(2, 3, 3))
    with pytest.raises(UnsupportedInput):
        orthogonality_penalty(torch.zeros(2, 3, 3))
    for method in ("svd", "krylov"):
        with pytest.raises(UndefinedNorm):
            differentiable_spectral_norm(torch.full((3, 3), math.nan), method=method)
    with pytest.raises(UsageError, match="lanczos"):
        differentiable_spectral_norm(torch.eye(3), method="lanczos")
    with pytest.raises(UsageError, match="k=0"):
        differentiable_spectral_norm(torch.eye(3), 0)
    with pytest.raises(UsageError, match="ReLU"):
        spectral_penalty(torch.nn.ReLU())
    with pytest.raises(UsageError, match="nuclear"):
        jacobian_penalty(torch.nn.Linear(2, 2), torch.ones(1, 2), norm="nuclear")
    with pytest.raises(UsageError, match="one output an example"):
        jacobian_penalty(lambda x: x.sum(0), torch.ones(3, 2))
