"""`python benchmarks/spectrum.py [--repeats 3]`: `opnorm.describe` of MiniLM's matrices, beside WeightWatcher.

Both get the same 40 float32 matrices in memory and run in turn; medians and their ratio. opnorm: the norm, all
singular values with proved brackets, 14 quantities, density, noise edge with its proved count, power-law tail with
its rivals, dead and duplicate units. WeightWatcher 0.7.7: `analyze()`, singular values, a power-law tail and its
metrics. Then what costs what.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import logging
import os
import time
import warnings
from collections.abc import Callable

import numpy as np
from models import matrices

import opnorm
from opnorm.frameworks import aslinearoperator
from opnorm.linalg.request import Request
from opnorm.spectrum.describe import describe
from opnorm.spectrum.magnitude import METRICS
from opnorm.spectrum.singular import singular_values
from opnorm.spectrum.tail import tail_of
from opnorm.spectrum.units import units_of


def seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def weightwatcher_over(weights: list[np.ndarray]) -> Callable[[], object] | None:
    if importlib.util.find_spec("weightwatcher") is None:
        return None
    import torch
    import weightwatcher

    logging.getLogger("weightwatcher").setLevel(logging.CRITICAL)
    layers = torch.nn.ModuleList()
    for weight in weights:
        layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        layer.weight.data = torch.from_numpy(weight)
        layers.append(layer)

    def analyze() -> object:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            return weightwatcher.WeightWatcher(model=layers, log_level=logging.CRITICAL).analyze()

    return analyze


def ours(weights: list[np.ndarray], evidence: str = "probable") -> Callable[[], object]:
    return lambda: [describe(weight, evidence=evidence, seed=0) for weight in weights]


def shares(weights: list[np.ndarray]) -> None:
    operators = [aslinearoperator(weight) for weight in weights]
    found = [singular_values(operator, Request()) for operator in operators]
    parts = {
        "all values, proved": lambda: [singular_values(aslinearoperator(weight), Request()) for weight in weights],
        "tails": lambda: [tail_of(values) for values in found],
        "units": lambda: [units_of(operator) for operator in operators],
    }
    for name, action in parts.items():
        print(f"  of which {name:20} {1e3 * float(np.median([seconds(action) for _ in range(3)])):8.0f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    weights = list(matrices().values())
    arms = {"opnorm describe": ours(weights), "opnorm describe, estimate": ours(weights, "estimate")}
    peer = weightwatcher_over(weights)
    if peer is not None:
        arms["WeightWatcher analyze"] = peer
    for action in arms.values():
        action()
    times: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(repeats):
        for name, action in arms.items():
            times[name].append(seconds(action))
    print(
        f"opnorm {opnorm.__version__}, {len(weights)} matrices, {len(METRICS)} metrics, load {os.getloadavg()[0]:.1f}"
    )
    yardstick = float(np.median(times.get("WeightWatcher analyze", times["opnorm describe"])))
    for name, found in times.items():
        middle = float(np.median(found))
        print(
            f"  {name:26} {1e3 * middle:8.0f} ms  ratio {middle / yardstick:.2f}"
            f"  ({min(found):.2f} to {max(found):.2f} s)"
        )
    shares(weights)


if __name__ == "__main__":
    main()
