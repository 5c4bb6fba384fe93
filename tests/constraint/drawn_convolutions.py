"""Random convolutions of every kind, and their explicit matrices made of unit impulses by PyTorch's own."""

import math
import warnings

import numpy as np
import torch
import torch.nn.functional as F

CONV = (F.conv1d, F.conv2d, F.conv3d)
CONV_TRANSPOSE = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)
SIZES = {1: (11,), 2: (7, 8), 3: (4, 5, 4)}
GROUPS = [(1, 3, 4), (2, 2, 3), (5, 1, 1), (1, 5, 2)]
"""(groups, output channels of one, input channels of one)."""


def explicit(kernel, size, *, padding=0, padding_mode="zeros", transposed=False, output_padding=0, **settings):
    """The matrix of the layer, columns of impulses, by PyTorch."""
    axes = kernel.ndim - 2
    channels = kernel.shape[0] if transposed else kernel.shape[1] * settings.get("groups", 1)
    count = channels * math.prod(size)
    impulses = torch.eye(count, dtype=torch.float64).reshape(count, channels, *size)
    weight = kernel.double()
    if transposed:
        images = CONV_TRANSPOSE[axes - 1](impulses, weight, padding=padding, output_padding=output_padding, **settings)
    elif isinstance(padding, tuple):
        flat = [side for pair in reversed(padding) for side in pair]
        mode = "constant" if padding_mode == "zeros" else padding_mode
        images = CONV[axes - 1](F.pad(impulses, flat, mode=mode), weight, **settings)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch warns of a copy for some paddings 'same'
            images = CONV[axes - 1](impulses, weight, padding=padding, **settings)
    return images.reshape(count, -1).T


def norm(kernel, size, settings):
    return float(torch.linalg.matrix_norm(explicit(kernel, size, **settings), 2))


def drawn(seed):
    """A random layer of any kind that PyTorch has: kernel, input size, settings."""
    rng = np.random.default_rng(seed)
    axes = seed % 3 + 1
    groups, rows, columns = GROUPS[seed // 3 % len(GROUPS)]
    kernel = torch.from_numpy(rng.standard_normal((groups * rows, columns, *rng.integers(1, 4, axes)))).float()
    settings = {
        "stride": tuple(map(int, rng.integers(1, 3, axes))),
        "dilation": tuple(map(int, rng.integers(1, 3, axes))),
        "groups": groups,
    }
    kind = seed // 12 % 6
    if kind == 4:
        top = [max(s, d) for s, d in zip(settings["stride"], settings["dilation"], strict=True)]
        extra = tuple(int(rng.integers(0, n)) for n in top)
        settings |= {"transposed": True, "padding": 1, "output_padding": extra}
        return kernel, tuple(max(2, n // 2) for n in SIZES[axes]), settings
    if kind == 5:
        return kernel, SIZES[axes], settings | {"stride": 1, "padding": "same"}
    mode = ("zeros", "circular", "reflect", "replicate")[kind]
    pads = tuple((int(a), int(b)) for a, b in rng.integers(0, 3, (axes, 2)))
    return kernel, SIZES[axes], settings | {"padding": pads, "padding_mode": mode}


def fits(kernel, size, settings):
    try:
        explicit(kernel, size, **settings)
    except RuntimeError:
        return False
    return True


LAYERS = [seed for seed in range(144) if fits(*drawn(seed))]
