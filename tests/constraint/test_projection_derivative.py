"""Derivatives of the projection: central differences, self-adjointness, torch's own autograd, three frameworks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from spectra import BANDS, INF, SHAPES, SPECTRA, defined, matrix

import opnorm
from gallery import haar, with_spectrum
from opnorm.constraint.projection import project, project_derivative

DIFFERENTIABLE = [(spectrum, band) for spectrum in SPECTRA for band in BANDS if defined(spectrum, band[0])]


def central(w, e, lo, hi):
    """Central differences, extrapolated once (Richardson): a floor far above σ bends the projection sharply."""
    coarse, fine = ((project(w + h * e, lo, hi) - project(w - h * e, lo, hi)) / (2 * h) for h in (2e-5, 1e-5))
    return (4 * fine - coarse) / 3


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("spectrum", "band"), DIFFERENTIABLE)
def test_central_differences(spectrum, shape, band):
    """Simple, repeated and zero singular values, above, inside and below, wide, tall, square, a row, a column."""
    lo, hi = band
    rng = np.random.default_rng(0)
    w, e = matrix(spectrum, shape), rng.standard_normal(shape)
    gap = np.abs(SPECTRA[spectrum](min(shape))[:, None] - [b for b in band if 0 < b < INF])
    assert not gap.size or gap.min() > 1e-3 or lo == hi  # none of these lies on an edge
    np.testing.assert_allclose(project_derivative(w, e, lo, hi), central(w, e, lo, hi), atol=1e-8, rtol=0)


@pytest.mark.parametrize("shape", SHAPES)
def test_self_adjoint_and_linear(shape):
    rng = np.random.default_rng(1)
    for spectrum in SPECTRA:
        for lo, hi in BANDS:
            w, e, g = matrix(spectrum, shape), rng.standard_normal(shape), rng.standard_normal(shape)
            forward, back = project_derivative(w, e, lo, hi), project_derivative(w, g, lo, hi)
            assert np.vdot(forward, g) == pytest.approx(np.vdot(e, back), rel=1e-9, abs=1e-9)
            np.testing.assert_allclose(
                project_derivative(w, 2 * e - g, lo, hi), 2 * forward - back, atol=1e-9 * np.abs(forward).max()
            )


def test_a_cap_never_lengthens():
    rng = np.random.default_rng(2)
    for seed in range(50):
        w, e = matrix("simple", (6, 9), seed), rng.standard_normal((6, 9))
        assert np.linalg.norm(project_derivative(w, e, 0.0, 1.0)) <= np.linalg.norm(e) * (1 + 1e-12)


def test_against_autograd_through_the_svd():
    """Where singular values are distinct torch's own derivative of U clip(Σ)Vᵀ is right, and the same."""
    for shape in SHAPES:
        for lo, hi in BANDS:
            w = torch.from_numpy(matrix("simple", shape)).requires_grad_()
            weight = torch.from_numpy(np.random.default_rng(3).standard_normal(shape))
            (ours,) = torch.autograd.grad((project(w, lo, hi) * weight).sum(), w)
            u, s, vt = torch.linalg.svd(w, full_matrices=False)
            (theirs,) = torch.autograd.grad(((u * s.clip(lo, hi)) @ vt * weight).sum(), w)
            torch.testing.assert_close(ours, theirs, atol=1e-11, rtol=1e-10)


def test_autograd_through_the_svd_breaks_where_ours_does_not():
    w = torch.from_numpy(matrix("all equal", (6, 6))).requires_grad_()
    (ours,) = torch.autograd.grad(project(w, 0, 1).pow(3).sum(), w)
    np.testing.assert_allclose(
        ours.numpy(), project_derivative(w.detach().numpy(), 3 * project(w.detach(), 0, 1).numpy() ** 2, 0, 1)
    )
    assert torch.isfinite(ours).all()
    hadamard = torch.from_numpy(np.kron([[1.0, 1], [1, -1]], np.eye(2))).requires_grad_()
    u, s, vt = torch.linalg.svd(hadamard, full_matrices=False)
    (theirs,) = torch.autograd.grad(((u * s.clip(0, 1)) @ vt).pow(3).sum(), hadamard)
    (right,) = torch.autograd.grad(project(hadamard, 0, 1).pow(3).sum(), hadamard)
    assert not torch.allclose(theirs, right, atol=1e-6)


@pytest.mark.parametrize(("spectrum", "band"), DIFFERENTIABLE)
def test_frameworks_agree(spectrum, band):
    lo, hi = band
    rng = np.random.default_rng(4)
    for shape in SHAPES[:2]:
        w, e = matrix(spectrum, shape), rng.standard_normal(shape)
        ours = project_derivative(w, e, lo, hi)
        t, d = torch.from_numpy(w), torch.from_numpy(e)
        _, back = torch.func.vjp(lambda x: project(x, lo, hi), t)
        _, forward = torch.func.jvp(lambda x: project(x, lo, hi), (t,), (d,))
        np.testing.assert_allclose(back(d)[0].numpy(), ours, atol=1e-10 * (1 + np.abs(ours).max()))
        np.testing.assert_allclose(forward.numpy(), ours, atol=1e-10 * (1 + np.abs(ours).max()))
        if shape != SHAPES[0]:
            continue  # JAX compiles for every shape
        x, y = jnp.asarray(w), jnp.asarray(e)
        _, moved = jax.jvp(lambda x: project(x, lo, hi), (x,), (y,))
        _, pulled = jax.vjp(lambda x: project(x, lo, hi), x)
        np.testing.assert_allclose(moved, ours, atol=3e-4)
        np.testing.assert_allclose(pulled(y)[0], ours, atol=3e-4)


def test_gradcheck_of_torch():
    w = torch.from_numpy(matrix("simple", (3, 4))).requires_grad_()
    checks = {"check_forward_ad": True, "check_batched_grad": True, "check_batched_forward_grad": True}
    assert torch.autograd.gradcheck(lambda x: project(x, 0.0, 1.0), (w,), **checks)
    stack = torch.stack([w.detach()[:2], w.detach()[1:] * 0.7]).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: project(x, 0.5, 1.5, stacked=True), (stack,), **checks)


def test_torch_func_and_vmap():
    stack = torch.from_numpy(np.stack([matrix("simple", (4, 6), seed) for seed in range(3)]))
    gradient = torch.func.grad(lambda x: project(x, 0.5, 1.5).pow(3).sum())
    together = torch.func.vmap(gradient)(stack)
    for one, w in zip(together, stack, strict=True):
        torch.testing.assert_close(one, gradient(w))
    moved = torch.func.vmap(lambda x: project(x, 0.5, 1.5), in_dims=1, out_dims=1)(stack.movedim(0, 1))
    torch.testing.assert_close(moved.movedim(1, 0), project(stack, 0.5, 1.5, stacked=True))


def test_a_second_derivative_is_refused_in_words():
    w = torch.from_numpy(matrix("simple", (3, 4))).requires_grad_()
    (gradient,) = torch.autograd.grad(project(w, 0, 1).pow(2).sum(), w, create_graph=True)
    with pytest.raises(opnorm.UnsupportedInput, match="first derivatives only"):
        gradient.sum().backward()


def test_double_backward_around_a_projected_weight():
    """A gradient penalty in the inputs of a layer differentiates the projection once only, and works."""
    w = torch.from_numpy(matrix("simple", (3, 4))).requires_grad_()
    x = torch.from_numpy(np.random.default_rng(5).standard_normal(4)).requires_grad_()
    (slope,) = torch.autograd.grad((project(w, 0, 1) @ x).pow(3).sum(), x, create_graph=True)
    (gradient,) = torch.autograd.grad(slope.pow(2).sum(), w)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_gradients_keep_their_dtype(dtype):
    w = torch.from_numpy(matrix("simple", (5, 8))).to(dtype).requires_grad_()
    project(w, 0, 1).sum().backward()
    exact = project_derivative(w.detach().double().numpy(), np.ones((5, 8)), 0, 1)
    assert w.grad.dtype == dtype
    np.testing.assert_allclose(w.grad.double().numpy(), exact, atol=torch.finfo(dtype).eps * np.abs(exact).max())


def test_on_the_edge_the_derivative_is_the_one_from_inside():
    rng = np.random.default_rng(6)
    edge = 0.7 * haar(5, 5, rng)
    e = rng.standard_normal((5, 5))
    np.testing.assert_allclose(project_derivative(edge, e, 0.0, 0.7), e, atol=1e-12)
    np.testing.assert_allclose(project_derivative(edge, e, 0.7, 2.0), e, atol=1e-12)
    w = with_spectrum(np.array([1.0, 0.6, 0.3]), 3, 5, rng)
    step = with_spectrum(np.array([0.01, 0.5, 0.1]), 3, 5, rng)
    inwards = step if np.vdot(*_top(w, step)) < 0 else -step
    one_sided = (project(w + 1e-6 * inwards, 0.0, 1.0) - project(w, 0.0, 1.0)) / 1e-6
    np.testing.assert_allclose(project_derivative(w, inwards, 0.0, 1.0), one_sided, atol=1e-5)


def _top(w, e):
    u, _, vt = np.linalg.svd(w)
    return np.outer(u[:, 0], vt[0]), e


def test_an_orthogonal_weight_moves_along_the_manifold():
    """lo = hi: the derivative at an orthogonal matrix is the projection onto its tangent space."""
    rng = np.random.default_rng(7)
    q, e = haar(6, 6, rng), rng.standard_normal((6, 6))
    np.testing.assert_allclose(project_derivative(q, e, 1.0, 1.0), (e - q @ e.T @ q) / 2, atol=1e-12)


def test_a_vanishing_singular_value_under_a_floor_is_finite():
    for spectrum in ("zeros", "rank one"):
        for shape in SHAPES:
            assert np.isfinite(project_derivative(matrix(spectrum, shape), np.ones(shape), 0.5, 1.0)).all()
    assert (project_derivative(np.zeros((3, 4)), np.ones((3, 4)), 0.5, 1.0) == 0).all()
    np.testing.assert_array_equal(project_derivative(np.zeros((3, 4)), np.ones((3, 4)), 0.0, 1.0), 1.0)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_derivatives_at_extreme_scales(scale):
    w, e = matrix("simple", (6, 9)), np.random.default_rng(8).standard_normal((6, 9))
    right = project_derivative(w, e, 0.5, 1.5)
    np.testing.assert_allclose(project_derivative(w * scale, e, 0.5 * scale, 1.5 * scale), right, atol=1e-12)
    t = torch.from_numpy((w * scale).astype(np.float32)).requires_grad_()
    project(t, 0.5 * scale, 1.5 * scale).backward(torch.from_numpy(e.astype(np.float32)))
    np.testing.assert_allclose(t.grad.numpy(), right, atol=1e-5)
    pull = jax.vjp(lambda x: project(x, 0.5 * scale, 1.5 * scale), jnp.asarray(w * scale))[1]
    np.testing.assert_allclose(pull(jnp.asarray(e))[0], right, atol=1e-4)


def test_a_direction_of_another_shape_is_refused():
    with pytest.raises(opnorm.UnsupportedInput, match=r"\(2, 3\)"):
        project_derivative(np.eye(3), np.zeros((2, 3)), 0, 1)
