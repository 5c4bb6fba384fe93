"""Random convolutions and their explicit matrices, built with numpy.pad and slices: nothing of opnorm's products."""

import itertools

import numpy as np

from opnorm.linalg.convolution.operator import Convolution

PAD_MODES = {"zeros": "constant", "circular": "wrap", "reflect": "reflect", "replicate": "edge"}


def explicit(kernel, size, stride, padding, dilation, groups=1, mode="zeros"):
    """The matrix of a forward convolution: outputs × inputs."""
    kernel = np.asarray(kernel, dtype=np.float64)
    channels, each, axes = kernel.shape[1] * groups, kernel.shape[0] // groups, len(size)
    columns = channels * int(np.prod(size))
    inputs = np.eye(columns).reshape(columns, channels, *size)
    padded = np.pad(inputs, [(0, 0), (0, 0), *padding], mode=PAD_MODES[mode])
    output = [
        (n + sum(p) - (k - 1) * d - 1) // s + 1
        for n, p, k, d, s in zip(size, padding, kernel.shape[2:], dilation, stride, strict=True)
    ]
    result = np.zeros((columns, kernel.shape[0], *output))
    for tap in itertools.product(*map(range, kernel.shape[2:])):
        window = tuple(
            slice(t * d, t * d + (out - 1) * s + 1, s)
            for t, d, s, out in zip(tap, dilation, stride, output, strict=True)
        )
        seen = padded[(slice(None), slice(None), *window)]
        for g in range(groups):
            weights = kernel[(slice(g * each, (g + 1) * each), slice(None), *tap)]
            part = seen[:, g * kernel.shape[1] : (g + 1) * kernel.shape[1]]
            result[:, g * each : (g + 1) * each] += np.einsum("oc,bc...->bo...", weights, part)
    assert axes == len(output)
    return result.reshape(columns, -1).T


def random_kernel(rng, shape):
    """Gaussian, integer, sparse, smooth, separable, rank one, badly scaled or nearly cancelling."""
    kind = int(rng.integers(8))
    kernel = rng.standard_normal(shape)
    if kind == 1:
        kernel = rng.integers(-2, 3, shape).astype(float)
    elif kind == 2:
        kernel *= rng.random(shape) < 0.4
    elif kind == 3:
        kernel = np.abs(kernel)
    elif kind == 4:
        kernel = np.broadcast_to(rng.standard_normal((shape[0], 1, *shape[2:])), shape).copy()
    elif kind == 5:
        kernel = np.broadcast_to(rng.standard_normal((*shape[:2], *[1] * (len(shape) - 2))), shape).copy()
    elif kind == 6:
        kernel *= 10.0 ** rng.integers(-4, 5, shape)
    elif kind == 7:
        kernel -= kernel.mean(axis=tuple(range(2, len(shape))), keepdims=True)
    if not kernel.any():
        kernel.flat[0] = 1.0
    return kernel.astype(rng.choice([np.float32, np.float64]))


def random_case(rng, modes=("zeros",)):
    """Keyword arguments of a small forward convolution and its size; the kernel fits."""
    while True:
        axes = int(rng.choice([1, 2, 3], p=[0.4, 0.5, 0.1]))
        most = {1: 14, 2: 7, 3: 4}[axes]
        groups = int(rng.choice([1, 1, 2, 3]))
        shape = (
            groups * int(rng.integers(1, 4)),
            int(rng.integers(1, 4)),
            *rng.integers(1, {1: 6, 2: 5, 3: 4}[axes], axes),
        )
        case = {
            "stride": tuple(int(x) for x in rng.integers(1, 4, axes)),
            "dilation": tuple(int(x) for x in rng.integers(1, 3, axes)),
            "padding": tuple((int(a), int(b)) for a, b in rng.integers(0, 4, (axes, 2))),
            "padding_mode": str(rng.choice(modes)),
            "groups": groups,
        }
        size = tuple(int(n) for n in rng.integers(1, most + 1, axes))
        if _fits(shape[2:], size, case):
            return random_kernel(rng, shape), size, case


def _fits(kernel, size, case):
    for k, n, d, (before, after) in zip(kernel, size, case["dilation"], case["padding"], strict=True):
        limit = {"reflect": n - 1, "circular": n}.get(case["padding_mode"], 99)
        if n + before + after < (k - 1) * d + 1 or max(before, after) > limit:
            return False
    return True


def operator(kernel, size, case):
    return Convolution(kernel, None if size is None else (kernel.shape[1] * case.get("groups", 1), *size), **case)


def matrix(kernel, size, case):
    mode = case["padding_mode"]
    return explicit(kernel, size, case["stride"], case["padding"], case["dilation"], case["groups"], mode)
