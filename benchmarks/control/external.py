"""Two published tasks with layers held at Lipschitz constants: does holding by a gate reach what others reach?

`python benchmarks/control/external.py [moons|wave] [--seeds 3] [--epochs N]` prints Markdown.

moons: the classifier of deel-torchlip's notebook on two moons: 2-256-128-64-1 with sorting activations, loss of hinge
and Kantorovich–Rubinstein distance (α = 0.98, margin 0.29), Adam 0.01, batch 256, 10 epochs. The notebook prints, as
averages over the last epoch, an accuracy of 0.9996 and a KR of 0.806. deel-torchlip itself is run beside where it is
installed; it is no dependency.

wave: a square wave on [−2, 2], 300 random points, 10 layers of width 128 with ReLU, mean squared error, Adam with a
rate up to 0.01 and down, batch 50, 200 epochs (the settings of Wang and Manchester, *Direct Parameterization of
Lipschitz-Bounded Deep Networks*, 2023). Each layer is held at γ^(1/10). The Lipschitz constant met is the largest slope
between neighbors of 40,001 points; its share of γ says how much of the bound is used.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import opnorm

ALPHA, MARGIN = 0.98, 0.29
NOTEBOOK = "| the notebook, as printed there | 0.9996 | | 0.806 | | | |"
DEPTH, WIDTH = 10, 128
Arm = Callable[[nn.Sequential], Any]


@dataclass(frozen=True)
class Trained:
    """What one run came to, by column."""

    values: tuple[float, ...]


class FullSort(nn.Module):
    """Coordinates in ascending order: an isometry almost everywhere."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sort(dim=-1).values


class MaxMin(nn.Module):
    """Each pair of coordinates in order: an isometry almost everywhere."""

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, 2)).sort(dim=-1).values.flatten(-2)


def seeded(seed: int, make: Callable[[], nn.Sequential]) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def perceptron(sizes: Sequence[int], between: Callable[[], nn.Module], scale: float = 1.0) -> nn.Sequential:
    """Orthogonal weights at the start, and no biases, as deel-torchlip begins."""
    layers = [part for i, o in pairwise(sizes) for part in (nn.Linear(i, o), between())]
    for layer in layers[::2]:
        nn.init.orthogonal_(layer.weight, scale)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers[:-1])


def batches(count: int, size: int, epochs: int, seed: int) -> Iterator[tuple[float, Tensor]]:
    """(epochs done after it, indices) of each batch."""
    generator = torch.Generator().manual_seed(seed)
    steps = math.ceil(count / size)
    for epoch in range(epochs):
        order = torch.randperm(count, generator=generator)
        for step in range(steps):
            yield epoch + (step + 1) / steps, order[step * size : (step + 1) * size]


def gated(*rules: Any) -> Arm:
    return lambda model: opnorm.control(model, list(rules))


def free(model: nn.Sequential) -> None:
    """No control."""


def bound(model: nn.Module) -> float:
    """The product of PROVED upper bounds of the layers' norms."""
    weights = [m.weight.detach() for m in model.modules() if isinstance(m, nn.Linear)]
    found = [opnorm.spectral_norm(w, evidence="proved", width=1e-6).bracket("proved").upper for w in weights]
    return math.prod(float(upper) for upper in found if upper is not None)


# Two moons


def moons(seed: int) -> tuple[Tensor, Tensor]:
    from sklearn.datasets import make_moons

    points, labels = make_moons(n_samples=5000, noise=0.05, random_state=seed)
    return torch.tensor(points, dtype=torch.float32), torch.tensor(1.0 - 2.0 * labels, dtype=torch.float32)


def distance(scores: Tensor, labels: Tensor) -> Tensor:
    """Kantorovich–Rubinstein: mean score of one class less that of the other."""
    return scores[labels > 0].mean() - scores[labels < 0].mean()


def moons_loss(scores: Tensor, labels: Tensor) -> Tensor:
    hinge = F.relu(MARGIN / 2 - labels * scores).mean()
    return ALPHA * hinge - (1 - ALPHA) * distance(scores, labels)


def moons_model() -> nn.Sequential:
    return perceptron((2, 256, 128, 64, 1), FullSort)


def plain_start() -> nn.Sequential:
    """As PyTorch begins: small weights, and biases as large as the data."""
    model = moons_model()
    for layer in model[::2]:
        layer.reset_parameters()
    return model


def lip_model() -> nn.Sequential:
    lip = importlib.import_module("deel.torchlip")
    inner = [part for i, o in ((2, 256), (256, 128), (128, 64)) for part in (lip.SpectralLinear(i, o), lip.FullSort())]
    model: nn.Sequential = lip.Sequential(*inner, lip.FrobeniusLinear(64, 1))
    return model


def run_moons(make: Callable[[], nn.Sequential], arm: Arm, seed: int, epochs: int) -> Trained:
    """Accuracy on the data, on fresh data; KR; accuracy proved at radius 0.1; bound; seconds a step."""
    points, labels = moons(seed)
    model = seeded(seed, make)
    gate = arm(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    if gate is not None:
        gate.attach(optimizer)
    began, steps = time.perf_counter(), 0
    for _, chosen in batches(len(points), 256, epochs, seed):
        optimizer.zero_grad()
        moons_loss(model(points[chosen]).flatten(), labels[chosen]).backward()
        optimizer.step()
        steps += 1
    seconds = (time.perf_counter() - began) / steps
    if gate is not None:
        assert gate.finalize().holds
    model.eval()
    if hasattr(model, "vanilla_export"):
        model = model.vanilla_export()
    lipschitz = bound(model)
    fresh, truth = moons(seed + 10_000)
    with torch.no_grad():
        seen, unseen = model(points).flatten() * labels, model(fresh).flatten() * truth
        kr = float(distance(model(points).flatten(), labels))
    safe = (unseen > 0.1 * lipschitz).float().mean().item()
    accuracy = [(scores > 0).float().mean().item() for scores in (seen, unseen)]
    return Trained((*accuracy, kr, safe, lipschitz, 1e3 * seconds))


def print_moons(seeds: int, epochs: int) -> None:
    arms: list[tuple[str, Callable[[], nn.Sequential], Arm]] = [
        ("opnorm, orthogonalize at 1", moons_model, gated(opnorm.orthogonalize("*"))),
        ("opnorm, cap at 1", moons_model, gated(opnorm.cap("*", 1.0))),
        ("opnorm, orthogonalize at 1, PyTorch's start", plain_start, gated(opnorm.orthogonalize("*"))),
        ("opnorm, cap at 1, PyTorch's start", plain_start, gated(opnorm.cap("*", 1.0))),
        ("no control", moons_model, free),
    ]
    if importlib.util.find_spec("deel") is not None:
        arms.insert(4, ("deel-torchlip, run here", lip_model, free))
    columns = ("accuracy", "fresh data", "KR", "fresh, proved at radius 0.1", "proved Lipschitz bound", "ms a step")
    print(f"## Two moons, {epochs} epochs, mean of {seeds} seeds\n")
    heading(("", *columns))
    for name, make, arm in arms:
        row(name, [run_moons(make, arm, seed, epochs) for seed in range(seeds)], "4433g2")
    print(NOTEBOOK + "\n")


# Square wave


def wave(points: Tensor) -> Tensor:
    """1 on [−2, −1] and (0, 1], else 0."""
    return ((points <= -1) | ((points > 0) & (points <= 1))).float()


def rate(done: float, epochs: int, top: float = 0.01) -> float:
    """Piecewise linear: 0, top at 40 %, top / 20 at 80 %, 0."""
    return float(np.interp(done / epochs, [0, 0.4, 0.8, 1], [0, top, top / 20, 0]))


def steepest(model: nn.Module) -> float:
    """In float64, so that the rounding of differences does not pass for slope."""
    grid = torch.linspace(-2, 2, 40_001, dtype=torch.float64)[:, None]
    with torch.no_grad():
        values = model.double()(grid).flatten()
    return float((values.diff() / grid.flatten().diff()).abs().max())


def run_wave(between: Callable[[], nn.Module], arm: Arm, gamma: float, seed: int, epochs: int) -> Trained:
    """Mean squared error of training and test; slope met; that over γ; proved bound over γ; milliseconds a step."""
    points = 4 * torch.rand(300, 1, generator=torch.Generator().manual_seed(seed)) - 2
    grid = torch.linspace(-2, 2, 200)[:, None]
    scale = 1.0 if math.isnan(gamma) else gamma ** (1 / DEPTH)
    model = seeded(seed, lambda: perceptron((1, *[WIDTH] * (DEPTH - 1), 1), between, scale))
    gate = arm(model)
    optimizer = torch.optim.Adam(model.parameters())
    if gate is not None:
        gate.attach(optimizer)
    began, steps = time.perf_counter(), 0
    for done, chosen in batches(300, 50, epochs, seed):
        optimizer.param_groups[0]["lr"] = rate(done, epochs)
        optimizer.zero_grad()
        F.mse_loss(model(points[chosen]), wave(points[chosen])).backward()
        optimizer.step()
        steps += 1
    seconds = (time.perf_counter() - began) / steps
    if gate is not None:
        assert gate.finalize().holds
    with torch.no_grad():
        errors = [float(F.mse_loss(model(x), wave(x))) for x in (points, grid)]
    proved, slope = bound(model), steepest(model)
    return Trained((*errors, slope, slope / gamma, proved / gamma, 1e3 * seconds))


def print_wave(seeds: int, epochs: int, gammas: Sequence[float]) -> None:
    columns = ("γ", "training error", "test error", "slope met", "slope / γ", "proved bound / γ", "ms a step")
    print(f"## Square wave, {epochs} epochs, mean of {seeds} seeds\n")
    heading(("", *columns))
    for gamma in gammas:
        share = gamma ** (1 / DEPTH)
        held = [("cap", opnorm.cap("*", share)), ("orthogonalize", opnorm.orthogonalize("*", share))]
        for name, between in (("ReLU", nn.ReLU), ("pairs sorted", MaxMin), ("all sorted", FullSort)):
            for verb, rule in held:
                runs = [run_wave(between, gated(rule), gamma, seed, epochs) for seed in range(seeds)]
                row(f"{verb}, {name} | {gamma:g}", runs, "443332")
    row("no control, ReLU | ", [run_wave(nn.ReLU, free, math.nan, seed, epochs) for seed in range(seeds)], "443332")


def heading(columns: Sequence[str]) -> None:
    print("| " + " | ".join(columns) + " |")
    print("|" + "---|" * len(columns))


def row(name: str, runs: Sequence[Trained], digits: str) -> None:
    """Means over the runs; digits: after the point of each column, g for six significant."""
    means = [statistics.fmean(column) for column in zip(*(run.values for run in runs), strict=True)]
    shown = [f"{m:.6g}" if d == "g" else f"{m:.{d}f}" for m, d in zip(means, digits, strict=True)]
    print(f"| {name} | " + " | ".join("" if text == "nan" else text for text in shown) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", nargs="?", choices=("moons", "wave", "both"), default="both")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="of moons 10, of wave 200")
    parser.add_argument("--gammas", type=float, nargs="*", default=(1.0, 5.0, 10.0))
    chosen = parser.parse_args()
    if chosen.task != "wave":
        print_moons(chosen.seeds, chosen.epochs or 10)
    if chosen.task != "moons":
        print_wave(chosen.seeds, chosen.epochs or 200, chosen.gammas)


if __name__ == "__main__":
    main()
