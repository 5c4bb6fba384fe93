"""`python benchmarks/control/run.py [mlp gpt sgd slow far orthogonal watch peers exact] [--steps 300] [--seeds 3]`

Prints one Markdown row a contender, each seed interleaved with a plain twin: whole-step ratio of means (of medians, and
the hook's mean time alone over the plain mean), hold, losses, and seconds before the first timed step. Denormals are
flushed, two threads by default. Run it on a quiet machine: two threads that wait for a busy core slow small products
twentyfold.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from typing import Any

import torch
from cases import gpt, mlp
from contenders import cap, exact, nothing, orthogonal, peers, torch_orthogonal, torch_spectral_norm, watch
from interleaved import Contender, Run, run

Row = tuple[Any, Contender, int]
"""Case, contender, and the divisor of the number of steps (the slow ones run fewer)."""


def rows() -> dict[str, Callable[[], list[Row]]]:
    adam, sgd, free = mlp(), mlp("sgd", 0.1), float("nan")
    return {
        "gpt": lambda: [(gpt(), Contender("cap 1, every step", cap(1.0, 1), 1.0, True), 1)],
        "mlp": lambda: [
            (adam, Contender("cap 1, every 2", cap(1.0, 2), 1.0, True), 1),
            (adam, Contender("cap 1, every 3", cap(1.0, 3), 1.0, True), 1),
        ],
        "slow": lambda: [(mlp("adam", 3e-4), Contender("cap 1, every 3", cap(1.0, 3), 1.0, True), 1)],
        "sgd": lambda: [(sgd, Contender("cap 1, every 4", cap(1.0, 4), 1.0, True), 1)],
        "far": lambda: [(adam, Contender("cap 12, not reached, every 3", cap(12.0, 3), 12.0), 1)],
        "orthogonal": lambda: [
            (gpt(), Contender("orthogonal, every 2", orthogonal(2)), 1),
            (adam, Contender("orthogonal, every 4", orthogonal(4)), 2),
        ],
        "watch": lambda: [
            (case, Contender(name, arm, free), 1)
            for case in (gpt(), adam) for name, arm in (("watch, every 50", watch()), ("nothing", nothing))
        ],
        "exact": lambda: [(adam, Contender("exact clip each step", exact(1.0), 1.0, True), 1)],
        "peers": lambda: [
            (adam, Contender("torch spectral_norm", torch_spectral_norm()), 1),
            (gpt(), Contender("torch spectral_norm", torch_spectral_norm()), 2),
            (adam, Contender("torch orthogonal", torch_orthogonal()), 40),
            (gpt(), Contender("torch orthogonal", torch_orthogonal()), 40),
            *((adam, Contender(name, arm), 40) for name, arm in peers()),
        ],
    }  # fmt: skip


def spread(values: list[float], digits: int = 3) -> str:
    """Mean, and least to largest where there are several."""
    mean = f"{statistics.fmean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def printed(case: Any, contender: Contender, found: list[Run]) -> str:
    cells = [
        case.name, contender.name,
        spread([r.ratio for r in found]), spread([r.median_ratio for r in found]), spread([r.share for r in found]),
        spread([r.hold for r in found]), spread([r.loss for r in found]), spread([r.plain_loss for r in found]),
        spread([r.attach for r in found], 1),
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def main() -> None:
    known = rows()
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=["gpt", "mlp", "slow", "sgd", "far", "orthogonal", "watch"])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sample", type=int, default=13)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.set_flush_denormal(True)
    print("| case | control | ratio | of medians | hook alone | hold | loss | plain loss | before, s |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in given.names:
        for case, contender, divisor in known[name]():
            steps = max(given.steps // divisor, 3)
            found = [run(case, contender, seed, steps, given.sample) for seed in range(given.seeds)]
            print(printed(case, contender, found), flush=True)


if __name__ == "__main__":
    main()
