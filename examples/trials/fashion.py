"""Images: Fashion-MNIST, small (Xiao, Rasul and Vollgraf 2017; Debian package dataset-fashion-mnist).

For each seed 2,000 of the official 60,000 training images to train on and 1,000 others to choose by; the test images
are always the first 2,000 of the official 10,000. Few enough images that regularization has something to do.
"""

import gzip
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

CACHE = Path(__file__).resolve().parents[2] / ".cache/data/fashion-mnist"
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
task, metric, epochs, batch = "multiclass", "accuracy", 12, 64


@cache
def images(part):
    """(n, 1, 28, 28) bytes, and their classes; headers of 16 and 8 bytes."""
    folder = CACHE if CACHE.exists() else DEBIAN
    pixels = np.frombuffer(gzip.decompress((folder / f"{part}-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    classes = np.frombuffer(gzip.decompress((folder / f"{part}-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8)
    return pixels.reshape(-1, 1, 28, 28), classes


def scaled(part):
    """Floats of mean about 0 and deviation about 1, by the figures of the whole training set; classes as int64."""
    return (part[0].astype(np.float32) / 255 - 0.286) / 0.353, part[1].astype(np.int64)


def load_data(seed):
    """Training images drawn by seed, the test images fixed."""
    pixels, classes = images("train")
    drawn = np.random.default_rng(seed).permutation(len(classes))[:3000]
    train, validation = drawn[:2000], drawn[2000:]
    test = tuple(array[:2000] for array in images("t10k"))
    return scaled((pixels[train], classes[train])), scaled((pixels[validation], classes[validation])), scaled(test)


def build_model(seed):
    """Two convolutions with stride 2 and two dense layers: 55,000 weights."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 49, 32),
        nn.ReLU(),
        nn.Linear(32, 10),
    )
