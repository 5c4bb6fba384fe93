"""The norm of a model's Jacobian at data, as a loss: how far the outputs move with the inputs, here and now.

Frobenius: E‖Jᵀg‖² = ‖J‖²_F for g of independent standard normals, so that the mean over a few projections is unbiased,
gradient included (after Hoffman, Roberts and Yaida, *Robust learning with Jacobian regularization*, 2019). Its relative
deviation is at most √(2/projections) an example. Spectral: power iteration on each example's JᵀJ, from below; the
gradient, with the direction constant, is exact at convergence.
Cost: a forward pass, and for each projection a backward pass that is itself differentiated; each iteration of the
spectral norm takes two more passes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch

from opnorm.errors import UsageError


def jacobian_penalty(
    model: Callable[[torch.Tensor], torch.Tensor],
    inputs: torch.Tensor,
    *,
    norm: Literal["frobenius", "spectral"] = "frobenius",
    projections: int = 1,
    iterations: int = 6,
    generator: torch.Generator | int = 0,
) -> torch.Tensor:
    """The mean over the batch of ‖J‖²_F, estimated, or of σ₁(J)², from below; a scalar, differentiable in the model.

    model: maps a batch (b, …) to a batch (b, …), each example by itself: batch statistics must be off. generator: the
    source of directions; one that is kept from step to step makes the estimate unbiased over training, a number gives
    the same directions at every call. torch's global generator is not used.
    """
    if norm not in ("frobenius", "spectral"):
        raise UsageError(f"norm={norm!r} is not known; choose 'frobenius' or 'spectral'")
    for value, word in ((projections, "projections"), (iterations, "iterations")):
        if type(value) is not int or value < 1:
            raise UsageError(f"{word}={value!r} is not possible: give a whole number of at least 1")
    if not inputs.is_floating_point() or inputs.ndim < 1 or inputs.numel() == 0:
        raise UsageError(
            f"inputs of shape {tuple(inputs.shape)} and dtype {inputs.dtype}: give a batch of real numbers"
        )
    with torch.enable_grad():
        points = inputs.detach().requires_grad_()
        outputs = model(points)
        if outputs.ndim < 1 or len(outputs) != len(inputs):
            raise UsageError(
                f"the model made {tuple(outputs.shape)} of {tuple(inputs.shape)}: give one output an example"
            )
        source = _generator(generator, inputs.device)
        if norm == "spectral":
            return _spectral(points, outputs, iterations, source)
        total = torch.stack([_pulled(points, outputs, _normal(outputs, source)) for _ in range(projections)])
        return total.square().sum() / (projections * len(inputs))


def _spectral(points: torch.Tensor, outputs: torch.Tensor, iterations: int, source: torch.Generator) -> torch.Tensor:
    right = _unit(_normal(points, source))
    for _ in range(iterations):
        left = _unit(_pushed(points, outputs, right).detach())
        right = _unit(_pulled(points, outputs, left).detach())
    return _pushed(points, outputs, right).square().sum() / len(points)


def _pulled(points: torch.Tensor, outputs: torch.Tensor, left: torch.Tensor) -> torch.Tensor:
    """Jᵀ·left for each example."""
    found = torch.autograd.grad(outputs, points, left, create_graph=True, allow_unused=True, materialize_grads=True)
    return found[0]


def _pushed(points: torch.Tensor, outputs: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """J·right for each example: the derivative of w ↦ ⟨Jᵀw, right⟩, which is linear in w."""
    probe = torch.zeros_like(outputs).requires_grad_()
    pulled = _pulled(points, outputs, probe)
    found = torch.autograd.grad(pulled, probe, right, create_graph=True, allow_unused=True, materialize_grads=True)
    return found[0]


def _unit(batch: torch.Tensor) -> torch.Tensor:
    norms = torch.linalg.vector_norm(batch.flatten(1), dim=1)
    norms = torch.where(norms > 0, norms, torch.ones_like(norms))
    return batch / norms.reshape(-1, *[1] * (batch.ndim - 1))


def _normal(like: torch.Tensor, source: torch.Generator) -> torch.Tensor:
    dtype = like.dtype if like.dtype in (torch.float32, torch.float64) else torch.float32
    drawn = torch.randn(like.shape, generator=source, dtype=dtype, device=source.device)
    return drawn.to(device=like.device, dtype=like.dtype)


def _generator(given: torch.Generator | int, device: torch.device) -> torch.Generator:
    if isinstance(given, torch.Generator):
        return given
    made = torch.Generator(device=device if device.type in ("cpu", "cuda") else "cpu")
    made.manual_seed(given)
    return made
