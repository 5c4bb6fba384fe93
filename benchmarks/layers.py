"""Layers as the operators they are: time beside the singular values of the 32×32 FFT symbol, and whole models.

`python benchmarks/layers.py convolutions|models [--quick]`. It is what most tools print for a convolution; for a
strided, zero-padded one it is not a bound.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
from architectures import Conv, ResNet50, gpt2_small, resnet18_convolutions

import opnorm


def symbol_svd(kernel: np.ndarray, share: int, grid: int = 32) -> tuple[float, float]:
    """Largest singular value of the symbol on a grid, as in Sedghi, Gupta and Long (2019), and seconds.

    With `share` k only every k-th row of frequencies is decomposed, and the time multiplied by k.
    """
    began = time.perf_counter()
    symbol = np.fft.fft2(kernel, (grid, grid), axes=(2, 3)).transpose(2, 3, 0, 1)
    transformed = time.perf_counter()
    value = float(np.linalg.svd(symbol[::share], compute_uv=False).max())
    return value, transformed - began + share * (time.perf_counter() - transformed)


def timed(action):
    began = time.perf_counter()
    value = action()
    return value, time.perf_counter() - began


def convolutions(quick: bool, share: int) -> None:
    if share > 1:
        print(f"above 128 channels FFT+SVD is timed on every {share}th row of frequencies, and multiplied by {share}")
    totals = np.zeros(4)
    print(f"{'':16} {'FFT+SVD':>17} {'probable, at its size':>34} {'proved, any size':>34}")
    for conv in resnet18_convolutions():
        if quick and conv.outputs > 128:
            continue
        totals += _row(conv, share)
    svd, probable, proved, count = totals
    print(
        f"{count:.0f} convolutions: FFT+SVD {svd:.1f} s; probable {probable:.1f} s, {svd / probable:.1f} times faster;",
        end="",
    )
    print(f" proved, any size, {proved:.1f} s, {svd / proved:.1f} times faster")


def _row(conv: Conv, share: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    shape = (conv.outputs, conv.inputs, conv.kernel, conv.kernel)
    kernel = (rng.standard_normal(shape) * np.sqrt(2 / (conv.outputs * conv.kernel**2))).astype(np.float32)
    fft, svd = symbol_svd(kernel, share if conv.outputs > 128 else 1)
    settings = {"stride": conv.stride, "padding": conv.padding}
    sized = opnorm.Convolution(kernel, (conv.inputs, conv.size, conv.size), **settings)
    found, probable = timed(lambda: opnorm.spectral_norm(sized, seed=0))
    anysize, proved = timed(
        lambda: opnorm.spectral_norm(opnorm.Convolution(kernel, **settings), evidence="proved", seed=0)
    )
    print(f"{conv.name:16} {fft:8.3f} {svd:7.2f}s {_said(found, probable)} {_said(anysize, proved)}", flush=True)
    return np.array([svd, probable, proved, 1])


def _said(found: opnorm.Measurement, seconds: float) -> str:
    bracket = found.bracket(found.best(0.01))
    return f"{bracket.lower:8.3f} {bracket.upper:8.3f} {found.best(0.01).label:>8} {seconds:6.2f}s"


def models() -> None:
    import torch

    torch.manual_seed(0)
    resnet = ResNet50()
    before = _peak()
    report, seconds = timed(lambda: opnorm.measure(resnet, input_shape=(3, 224, 224)))
    _model("ResNet-50, random weights, 224²", report, seconds, before)
    state = gpt2_small()
    before = _peak()
    report, seconds = timed(lambda: opnorm.measure(state))
    _model("GPT-2 small, random weights", report, seconds, before)


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _model(name: str, report: opnorm.Report, seconds: float, before: int) -> None:
    rows = [row for row in report.rows if row.status == "measured"]
    wide = [row for row in rows if row.width is None or row.width > 0.01]
    refused = sum(row.status == "refused" for row in report.rows)
    print(
        f"{name}: {seconds:.1f} s, {(_peak() - before) / 2**20:.0f} MiB above the model; {len(rows)} measured rows, ",
        end="",
    )
    print(f"{sum(r.derived for r in rows)} of them derived; {len(wide)} wider than 1 %, {refused} refused")
    for row in sorted(rows, key=lambda r: -r.seconds)[:5]:
        print(f"  {row.seconds:6.2f} s {row.name} {row.operator} {row.evidence} by {row.method}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["convolutions", "models"])
    parser.add_argument("--quick", action="store_true", help="leave out the widest convolutions")
    parser.add_argument("--share", type=int, default=1, help="time FFT+SVD on every N-th row of frequencies only")
    options = parser.parse_args()
    if options.what == "convolutions":
        convolutions(options.quick, options.share)
    else:
        models()


if __name__ == "__main__":
    main()
