"""`opnorm.project` beside what it replaces, and polar factors by Newton–Schulz beside an SVD's, on one thread.

`python benchmarks/control/projection.py [--repeats 5] [--largest 1024]` prints Markdown: medians in milliseconds
of interleaved calls, the ratio to torch's own float32 SVD, and the error against a float64 SVD, relative to the scale.
Weights: float32 Gaussian of unit norm with a tenth of the singular values above the ceiling, as a trained layer has.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

import opnorm
from opnorm.constraint.kernels.exact import ExactClip
from opnorm.constraint.polar import polar

SHAPES = ((256, 256), (768, 768), (1024, 1024), (1024, 256))
Way = Callable[[Tensor, float, float], Tensor]


def svd_clip(weight: Tensor, lo: float, hi: float) -> Tensor:
    u, s, vh = torch.linalg.svd(weight, full_matrices=False)
    return (u * s.clamp(lo, hi)) @ vh


def svd_clip_in_float64(weight: Tensor, lo: float, hi: float) -> Tensor:
    return svd_clip(weight.double(), lo, hi).to(weight.dtype)


def svd_alone(weight: Tensor, _lo: float, _hi: float) -> Tensor:
    torch.linalg.svd(weight, full_matrices=False)
    return weight


def kernel(weight: Tensor, lo: float, hi: float) -> Tensor:
    """The move of the gate, in place, of a copy; to the ceiling, where the gate goes beyond it."""
    moved = weight.clone()
    ExactClip(relax=0.0, restful=False).hold(moved, lo, hi)
    return moved


def svd_polar(weight: Tensor, _lo: float, _hi: float) -> Tensor:
    u, _, vh = torch.linalg.svd(weight, full_matrices=False)
    return u @ vh


def newton_schulz(method: str, floor: float) -> Way:
    return lambda weight, _lo, _hi: polar(weight, method, floor=floor).factor  # type: ignore[arg-type]


CLIPS: dict[str, Way] = {
    "torch SVD, float32, alone": svd_alone,
    "SVD clip, float32": svd_clip,
    "SVD clip, float64": svd_clip_in_float64,
    "**opnorm.project**": lambda weight, lo, hi: opnorm.project(weight, lo, hi),
    "the gate's exact kernel": kernel,
}
POLARS: dict[str, Way] = {
    "SVD polar, float32": svd_polar,
    "opnorm polar, minimax, floor 1e-3": newton_schulz("minimax", 1e-3),
    "opnorm polar, contracting, floor 1e-3": newton_schulz("contracting", 1e-3),
    "opnorm polar, cubic, floor 1e-3": newton_schulz("cubic", 1e-3),
    "opnorm polar, Muon's five steps": newton_schulz("muon", 1e-3),
}


def drawn(shape: tuple[int, int], floor: float = 0.0) -> tuple[Tensor, float]:
    """A weight with σ₁ = 1, and the value that a tenth of its singular values exceed; floor: the least of them."""
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)
    u, s, vh = torch.linalg.svd(weight, full_matrices=False)
    s = (s / s[0]).clamp(min=floor)
    return ((u * s) @ vh).float(), float(s[len(s) // 10])


def timed(ways: dict[str, Way], weight: Tensor, lo: float, hi: float, repeats: int) -> dict[str, float]:
    """Median milliseconds of each way, called in turn."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name, way in ways.items():
            began = time.perf_counter()
            way(weight, lo, hi)
            if turn:
                times[name].append(1e3 * (time.perf_counter() - began))
    return {name: statistics.median(found) for name, found in times.items()}


def error(result: Tensor, truth: Tensor) -> float:
    return float(torch.linalg.matrix_norm(result.double() - truth, 2) / torch.linalg.matrix_norm(truth, 2))


def table(title: str, ways: dict[str, Way], shapes: list[tuple[int, int]], repeats: int) -> None:
    """lo = hi = 1 for polar factors: the projection onto orthogonal matrices."""
    first = next(iter(ways))
    print(f"## {title}\n\n| | " + " | ".join(f"{m}×{n}" for m, n in shapes) + " |\n" + "|---" * (len(shapes) + 1) + "|")
    cells: dict[str, list[str]] = {name: [] for name in ways}
    for shape in shapes:
        weight, hi = drawn(shape, 2e-2 if ways is POLARS else 0.0)
        lo, hi = (1.0, 1.0) if ways is POLARS else (0.0, hi)
        truth = svd_clip(weight.double(), lo, hi)
        found = timed(ways, weight, lo, hi, repeats)
        for name, way in ways.items():
            accuracy = "" if way is svd_alone else f", {error(way(weight, lo, hi), truth):.0e}"
            cells[name].append(f"{found[name]:.1f} ms, ×{found[name] / found[first]:.2f}{accuracy}")
    for name, row in cells.items():
        print(f"| {name} | " + " | ".join(row) + " |")
    print(flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--largest", type=int, default=1024)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    shapes = [s for s in SHAPES if max(s) <= chosen.largest]
    table("A cap that a tenth of the singular values exceed", CLIPS, shapes, chosen.repeats)
    table("Polar factors", POLARS, shapes, chosen.repeats)


if __name__ == "__main__":
    main()
