"""Five convolutions under a cap of 2 on their true operators: descent, radial scaling and torch's `spectral_norm`.

`python benchmarks/control/convolutions.py [--steps 300] [--seeds 3] [--only NAME ...]`: each contender interleaved with
a plain twin (`interleaved`), batch 64 of 32×32 images with random labels, Kaiming start, Adam 1e-3. Hold is the worst
Lanczos lower bound on the true operator (width 1 %) over the cap; losses are read after a final scaling to the cap.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import interleaved
import torch
from torch import nn

from opnorm.bound import Evidence
from opnorm.constraint.cadence import due
from opnorm.constraint.kernels.convolution import ConvolutionDescent
from opnorm.constraint.kernels.convolution_products import Products, working_geometry
from opnorm.constraint.settle import settle
from opnorm.frameworks.convolution import convolution
from opnorm.linalg.measure import measure_operator
from opnorm.linalg.request import Request

CAP = 2.0
CHANNELS = (3, 64, 128, 256, 256, 256)
STRIDES = (2, 2, 1, 2, 1)
SIZES = (32, 16, 8, 8, 4)
IMAGES, BATCH, CLASSES = 1024, 64, 10


class Case:
    """What `interleaved` trains: the network, its data and its true norms."""

    def model(self, seed: int) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            layers: list[nn.Module] = []
            for inner, outer, stride in zip(CHANNELS, CHANNELS[1:], STRIDES, strict=False):
                conv = nn.Conv2d(inner, outer, 3, stride, 1)
                nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
                layers += [conv, nn.ReLU()]
            return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(CHANNELS[-1], CLASSES))

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(model.parameters(), 1e-3)

    def batch(self, seed: int, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        data = torch.Generator().manual_seed(1000 + seed)
        images = torch.randn(IMAGES, 3, SIZES[0], SIZES[0], generator=data)
        labels = torch.randint(0, CLASSES, (IMAGES,), generator=data)
        chosen = torch.randint(0, IMAGES, (BATCH,), generator=torch.Generator().manual_seed(seed * 100_003 + index))
        return images[chosen], labels[chosen]

    def loss(self, model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        if not model.training and hasattr(model, "capped"):
            model = scaled_under_cap(model)
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    def norms(self, model: nn.Module) -> list[float]:
        return [top(conv, size) for conv, size in zip(convolutions(model), SIZES, strict=True)]


def convolutions(model: nn.Module) -> list[nn.Conv2d]:
    return [module for module in model.modules() if isinstance(module, nn.Conv2d)]


def settings(conv: nn.Conv2d) -> Any:
    return {"stride": conv.stride, "padding": conv.padding}


def top(conv: nn.Conv2d, size: int) -> float:
    """The lower end of a bracket of the true operator: Lanczos from random vectors, never power iteration."""
    operator = convolution(conv.weight.detach(), (conv.in_channels, size, size), **settings(conv))
    return measure_operator(operator, Request(Evidence.ESTIMATE, 0.01)).bracket(Evidence.ESTIMATE).lower or 0.0


_SCALED: dict[int, nn.Module] = {}


def scaled_under_cap(model: nn.Module) -> nn.Module:
    """A copy whose kernels are scaled to the cap where they exceed it; made once a model."""
    if id(model) not in _SCALED:
        copy = _SCALED[id(model)] = deepcopy(model)
        with torch.no_grad():
            for conv, size in zip(convolutions(copy), SIZES, strict=True):
                conv.weight.mul_(min(1.0, CAP / top(conv, size)))
    return _SCALED[id(model)]


def descent(every: int, **options: Any) -> Callable[[Case, nn.Module], interleaved.Hook]:
    """As a gate does: settled at first, at each of the first steps, then every so many."""

    @torch.no_grad()
    def arm(case: Case, model: nn.Module) -> interleaved.Hook:
        model.capped = True
        layers = convolutions(model)
        parts = list(zip(layers, SIZES, range(len(layers)), strict=True))
        kernels = [ConvolutionDescent(settings(c), (n, n), seed=i, restful=True, **options) for c, n, i in parts]
        for conv, kernel in zip(layers, kernels, strict=True):
            settle("convolution", conv.weight, kernel, 0.0, CAP)

        def hook(index: int) -> None:
            for number, (conv, kernel) in enumerate(zip(layers, kernels, strict=True)):
                if due(index, every, number, index, capped=True):
                    kernel.hold(conv.weight, 0.0, CAP)

        return hook

    return arm


def radial(case: Case, model: nn.Module) -> interleaved.Hook:
    """One warm power step on the true operator a training step, then the whole kernel is scaled."""
    model.capped = True
    layers = convolutions(model)
    geometries = [
        working_geometry(c.weight.shape, settings(c), (n, n), None) for c, n in zip(layers, SIZES, strict=True)
    ]
    products = [Products(known, torch.device("cpu")) for known in geometries]
    vectors = [torch.randn(1, c.in_channels, n, n) for c, n in zip(layers, SIZES, strict=True)]

    @torch.no_grad()
    def hook(index: int, rounds: int = 1) -> None:
        for number, (conv, made) in enumerate(zip(layers, products, strict=True)):
            for _ in range(rounds):
                image = made.forward(conv.weight, vectors[number] / vectors[number].norm())
                vectors[number] = made.adjoint(conv.weight, image)
            conv.weight.mul_((CAP / image.norm()).clamp(max=1))

    hook(0, rounds=100)
    return hook


def parametrized(case: Case, model: nn.Module) -> None:
    """torch's `spectral_norm` (of the flattened kernel, to 1), times the cap."""
    model.capped = True
    for layer in [*model]:
        if isinstance(layer, nn.Conv2d):
            nn.utils.parametrizations.spectral_norm(layer)
            nn.utils.parametrize.register_parametrization(layer, "weight", _Times(), unsafe=True)


class _Times(nn.Module):
    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return CAP * weight


CONTENDERS = {
    "descent every 2": (descent(2), CAP),
    "descent every 3": (descent(3), CAP),
    "descent every 4": (descent(4), CAP),
    "descent every 5": (descent(5), CAP),
    "krylov every 4": (descent(4, method="krylov"), CAP),
    "radial": (radial, CAP),
    "torch spectral_norm": (parametrized, CAP),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sample", type=int, default=13)
    parser.add_argument("--only", nargs="*", choices=CONTENDERS, default=list(CONTENDERS))
    chosen = parser.parse_args()
    for name in chosen.only:
        arm, ceiling = CONTENDERS[name]
        contender = interleaved.Contender(name, arm, ceiling)
        runs = [interleaved.run(Case(), contender, seed, chosen.steps, chosen.sample) for seed in range(chosen.seeds)]
        for label, value in (("ratio", "ratio"), ("median ratio", "median_ratio"), ("hook share", "share")):
            print(f"{name:20} {label:13}", spread([getattr(run, value) for run in runs]))
        print(f"{name:20} {'hold':13}", spread([run.hold for run in runs]))
        losses, plain = spread([run.loss for run in runs]), spread([run.plain_loss for run in runs])
        print(f"{name:20} {'loss':13} {losses}   plain {plain}", flush=True)


def spread(values: list[float]) -> str:
    return f"{statistics.fmean(values):.3f} [{min(values):.3f}, {max(values):.3f}]"


if __name__ == "__main__":
    main()
