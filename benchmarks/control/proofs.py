"""Does `finalize` ever prove what is not so? Short training runs of random models, rules and formats, each checked.

`python benchmarks/control/proofs.py [--runs 1000] [--first 0]` prints Markdown. Every run: a random model (linear,
recurrent, attention, embedding, convolutions of one to three axes, strided, dilated, grouped, transposed, of any
padding), random rules, an optimizer, a few steps at a rate large enough to leave the band, `gate.finalize(dtype)`. Then
every certified operator is made an explicit float64 matrix, a convolution's by unit impulses through PyTorch's own
layer, and decomposed: a bound is missed where σ₁ lies above what was proved or asked for, or σ_min below. Refusals
(`BoundMissed`: the format is too coarse) are counted apart: nothing was claimed then, and the model must be as it was.
"""

from __future__ import annotations

import argparse
import copy
import math
import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import opnorm

SVD_ERROR = 1e-12
"""Relative error that an SVD in float64 is granted at these sizes."""

TOLERANCE = {"float64": 1e-7, "float32": 1e-6, "bfloat16": 2.0**-7, "float16": 2.0**-10}
"""Of bands, as docs/control.md promises it; caps have none."""

FORMATS = (None, torch.float64, torch.float32, torch.bfloat16, torch.float16)
OPTIMIZERS: tuple[Callable[[Any], torch.optim.Optimizer], ...] = (
    lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    lambda p: torch.optim.Adam(p, lr=0.03),
    lambda p: torch.optim.AdamW(p, lr=0.1),
    lambda p: torch.optim.RMSprop(p, lr=0.03),
)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
FAMILIES = ("linear", "convolution", "recurrent", "attention", "embedding")
SHARES = (0.4, 0.3, 0.1, 0.1, 0.1)
SIZES = {1: (9,), 2: (6, 5), 3: (3, 4, 3)}


@dataclass
class Outcome:
    """One run. kinds: of the operators certified. missed: what was claimed and is not so, in words."""

    kinds: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    refused: str = ""
    diverged: bool = False
    tightest: float = math.inf
    seconds: float = 0.0
    operators: int = 0


def drawn(rng: np.random.Generator, dtype: torch.dtype) -> tuple[nn.Module, tuple[int, ...], str]:
    """A random model, the shape of its input without batch, and its family."""
    family = str(
        rng.choice(["linear", "convolution", "recurrent", "attention", "embedding"], p=[0.4, 0.3, 0.1, 0.1, 0.1])
    )
    width, side = (int(n) for n in rng.integers(1, 24, 2))
    if family == "linear":
        sizes = [int(n) for n in rng.integers(1, 40, rng.integers(2, 5))]
        layers = [nn.Linear(i, o, bias=bool(rng.integers(2))) for i, o in pairwise(sizes)]
        return nn.Sequential(*layers).to(dtype), (sizes[0],), family
    if family == "convolution":
        model, shape = convolutions(rng)
        return model.to(dtype), shape, family
    if family == "recurrent":
        kind = (nn.LSTM, nn.GRU, nn.RNN)[int(rng.integers(3))]
        return kind(side, width, num_layers=int(rng.integers(1, 3)), batch_first=True).to(dtype), (4, side), family
    if family == "attention":
        heads = int(rng.integers(1, 4))
        return nn.MultiheadAttention(4 * heads, heads, batch_first=True).to(dtype), (5, 4 * heads), family
    return nn.Sequential(nn.Embedding(side + 2, width), nn.Linear(width, 3)).to(dtype), (side + 2,), family


def convolutions(rng: np.random.Generator) -> tuple[nn.Module, tuple[int, ...]]:
    """One convolution of any kind."""
    axes = int(rng.integers(1, 4))
    groups = int(rng.choice([1, 1, 2]))
    inner, outer = (groups * int(n) for n in rng.integers(1, 4, 2))
    numbers = {n: tuple(int(v) for v in rng.integers(1, 3, axes)) for n in ("stride", "dilation")}
    taps = tuple(int(v) for v in rng.integers(1, 4, axes))
    shape = (inner, *SIZES[axes])
    if rng.integers(4) == 0:
        return TRANSPOSED[axes - 1](inner, outer, taps, **numbers, padding=0, groups=groups), shape
    mode = str(rng.choice(["zeros", "circular", "reflect", "replicate"]))
    pad = tuple(int(v) for v in rng.integers(0, 2, axes))
    numbers["dilation"] = tuple(
        1 if d * (k - 1) + 1 > n else d for d, k, n in zip(numbers["dilation"], taps, SIZES[axes], strict=True)
    )
    return CONVOLUTIONS[axes - 1](inner, outer, taps, **numbers, padding=pad, padding_mode=mode, groups=groups), shape


def rule(rng: np.random.Generator, family: str) -> Any:
    """One rule for the whole model; only caps for convolutions."""
    hi = float(10.0 ** (rng.uniform(-9, 5) if rng.integers(6) == 0 else rng.uniform(-1, 0.7)))
    norm: Any = "rms" if rng.integers(4) == 0 and family != "convolution" else "spectral"
    every = int(rng.integers(1, 4))
    kind = int(rng.integers(4)) if family != "convolution" else int(rng.integers(2))
    if kind <= 1:
        method: Any = "scale" if kind and rng.integers(2) else "clip"
        return opnorm.cap("*", hi, norm=norm, every=every, method=method)
    if kind == 2:
        return opnorm.band("*", hi * float(rng.uniform(0.05, 1)), hi, norm=norm, every=every)
    return opnorm.orthogonalize("*", hi, norm=norm, every=every)


def loss_of(model: nn.Module, shape: tuple[int, ...], family: str, generator: torch.Generator) -> Tensor:
    dtype = next(model.parameters()).dtype
    if family == "embedding":
        given: Tensor = torch.randint(0, shape[0], (7,), generator=generator)
    else:
        given = torch.randn(3, *shape, generator=generator, dtype=torch.float64).to(dtype)
    output = model(given, given, given) if family == "attention" else model(given)
    result = output[0] if isinstance(output, tuple) else output
    return 10 * (result.float() - 3).square().mean()


def run(seed: int, steps: int = 5) -> Outcome:
    """One random training run and its checks."""
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        dtype = (torch.float32, torch.float32, torch.float64)[int(rng.integers(3))]
        model, shape, family = drawn(rng, dtype)
    target = FORMATS[int(rng.integers(len(FORMATS)))]
    input_shape = shape if family == "convolution" and rng.integers(4) else None
    gate = opnorm.control(model, rule(rng, family), input_shape=input_shape, seed=seed)
    optimizer = OPTIMIZERS[int(rng.integers(len(OPTIMIZERS)))](model.parameters())
    stepped: list[bool] = []
    optimizer.register_step_post_hook(lambda *_: stepped.append(finite(model)))  # runs before the gate's
    gate.attach(optimizer)
    outcome = Outcome()
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(model, shape, family, generator).backward()
        optimizer.step()
        if not stepped[-1]:
            return Outcome(diverged=True)
        if not finite(model):
            outcome.missed.append("the gate made weights that are not finite")
            return outcome
    before = copy.deepcopy(model.state_dict())
    began = time.perf_counter()
    try:
        certificate = gate.finalize(target)
    except opnorm.BoundMissed as error:
        outcome.refused = str(error)
        if not all(torch.equal(v, before[k]) for k, v in model.state_dict().items()):
            outcome.missed.append("a refused model was changed")
        return outcome
    outcome.seconds = time.perf_counter() - began
    if not (certificate.holds and certificate.verify(model)):
        outcome.missed.append("the certificate does not hold, or is of other bytes")
    if {p.dtype for p in model.parameters()} != {target or dtype} or set(model.state_dict()) != set(before):
        outcome.missed.append("formats or names changed")
    for held, row in zip(gate.held, certificate.rows, strict=True):
        check(outcome, explicit(model, held.site, shape), held.site, row)
    return outcome


def finite(model: nn.Module) -> bool:
    return all(bool(p.isfinite().all()) for p in model.parameters())


def explicit(model: nn.Module, site: Any, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """The operator as stored, a float64 matrix."""
    if site.kind == "dense":
        return site.weight().double().numpy()  # type: ignore[no-any-return]
    layer = copy.deepcopy(dict(model.named_modules())[site.path]).double()
    layer.bias = None
    count = math.prod(shape)
    with torch.no_grad():
        images = layer(torch.eye(count, dtype=torch.float64).reshape(count, *shape))
    return images.reshape(count, -1).T.numpy()  # type: ignore[no-any-return]


def check(outcome: Outcome, matrix: np.ndarray[Any, Any], site: Any, row: Any) -> None:
    """Against the rule as it was given, not as the certificate repeats it."""
    values = np.linalg.svd(matrix, compute_uv=False)
    rows, columns = matrix.shape
    factor = math.sqrt(columns / rows) if site.rule.norm == "rms" else 1.0  # no rule on a convolution has it
    tolerance = TOLERANCE[row.dtype] if site.rule.lo > 0 else 0.0
    asked = site.rule.hi / factor * (1 + tolerance)
    granted = 1 + SVD_ERROR
    if values[0] > asked * granted or values[0] > row.upper * granted:
        outcome.missed.append(f"{row.name}: σ₁ = {values[0]!r} > {min(asked, row.upper)!r}")
    if site.rule.lo > 0:
        floor = max(site.rule.lo / factor * (1 - tolerance), row.smallest)
        if values[-1] * granted < floor:
            outcome.missed.append(f"{row.name}: σ_min = {values[-1]!r} < {floor!r}")
    outcome.kinds.append(f"{site.kind}, {row.dtype}, {site.rule.technique}")
    outcome.operators += 1
    outcome.tightest = min(outcome.tightest, row.upper / values[0] - 1 if values[0] else math.inf)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    chosen = parser.parse_args()
    began = time.perf_counter()
    outcomes = {seed: run(seed) for seed in range(chosen.first, chosen.first + chosen.runs)}
    seconds = time.perf_counter() - began
    finished = [o for o in outcomes.values() if not o.refused and not o.diverged]
    kinds = Counter(kind for o in finished for kind in o.kinds)
    print(f"{chosen.runs} runs, {sum(o.operators for o in finished)} operators certified in {len(finished)} of them.\n")
    print(f"- bounds missed: **{sum(len(o.missed) for o in outcomes.values())}**")
    print(f"- refused, the format being too coarse: {sum(bool(o.refused) for o in outcomes.values())}")
    print(f"- not finished, an optimizer step having overflowed: {sum(o.diverged for o in outcomes.values())}")
    print(f"- least (proved upper bound / σ₁ − 1): {min(o.tightest for o in finished):.1e}")
    print(f"- a run: {1e3 * seconds / len(outcomes):.0f} ms, `finalize` in it (median) "
          f"{1e3 * statistics.median(o.seconds for o in finished):.0f} ms\n")  # fmt: skip
    print("| kind, format, rule | operators |\n|---|---|")
    for kind, count in sorted(kinds.items()):
        print(f"| {kind} | {count} |")
    for seed, outcome in outcomes.items():
        for words in (*outcome.missed, *([outcome.refused] if outcome.refused else ())):
            print(f"\nseed {seed}: {words}")


if __name__ == "__main__":
    main()
