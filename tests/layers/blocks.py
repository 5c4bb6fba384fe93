"""Made-up transformer blocks: names to shapes, and their circuits and folded matrices multiplied out."""

import math

import numpy as np

D, HEADS, SIDE = 12, 3, 20
SIZE = D // HEADS


def linear(name, rows, columns, bias=True):
    return {f"{name}.weight": (rows, columns), **({f"{name}.bias": (rows,)} if bias else {})}


def norm(name, bias=True, size=D):
    return linear(name, size, 0, bias) | {f"{name}.weight": (size,)}


def wide(arrays, name):
    return arrays[name].astype(np.float64)


def centered(weight, scale):
    """W·diag(γ)(I − 11ᵀ/n)."""
    scaled = weight * scale
    return scaled - scaled.mean(axis=1, keepdims=True)


def check_circuits(planned, path, q, k, v, o, heads=HEADS, kv_heads=HEADS, size=SIZE, score=True):
    """Upright matrices against every circuit of `path`."""
    for h in range(heads):
        mine, shared = slice(h * size, (h + 1) * size), h // (heads // kv_heads)
        their = slice(shared * size, (shared + 1) * size)
        if score:
            planned.check(f"{path}[qk head {h}]", q[mine].T @ k[their] / math.sqrt(size))
        planned.check(f"{path}[ov head {h}]", o[:, mine] @ v[their])
    assert len(planned.named(f"{path}[")) == heads * (2 if score else 1)
