"""A time series: winter or summer, from one day's electrical power demand? (ItalyPowerDemand, 1,096 days of 24 hours)

From the UCR archive (Keogh et al. 2006), as it ships with aeon. The archive's own split has 67 days to train on; here
the days are pooled and drawn anew for each seed (657 to train, 219 to choose, 220 to test), so that the answer is not
about one split. Each day is scaled by itself, in the archive.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn

DATA = Path(__file__).resolve().parents[2] / ".cache/data"
task, metric, epochs, batch = "binary", "accuracy", 20, 32


def days(part):
    """(days, 1, 24) values, and which half of the year: October to March or April to September."""
    text = (DATA / f"ItalyPowerDemand_{part}.ts").read_text()
    lines = [line.split(":") for line in text.split("@data\n")[1].split()]
    values = np.array([[float(number) for number in line[0].split(",")] for line in lines], dtype=np.float32)
    return values[:, None, :], np.array([int(line[1]) - 1 for line in lines])


def load_data(seed):
    """The pool, cut in three at random."""
    (first, second), (one, two) = zip(days("TRAIN"), days("TEST"), strict=True)
    inputs, targets = np.concatenate([first, second]), np.concatenate([one, two])
    parts = np.split(np.random.default_rng(seed).permutation(len(targets)), [657, 876])
    return tuple((inputs[part], targets[part]) for part in parts)


def build_model(seed):
    """Three convolutions over the hours."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv1d(1, 16, 5, padding=2),
        nn.ReLU(),
        nn.Conv1d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv1d(32, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 6, 2),
    )
