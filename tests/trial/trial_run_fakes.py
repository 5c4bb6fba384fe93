"""A subject that is real and small, and cells that cost nothing, for tests of what runs them."""

import hashlib
import time
from dataclasses import dataclass, field

import numpy as np
import torch

from opnorm.experiment.document import Cell, Design, Point, Record, Tried
from opnorm.experiment.run.declare import Wishes, declared
from opnorm.experiment.run.hold import Running, held
from opnorm.experiment.user import from_callables

EXAMPLES, FEATURES = 40, 4


def build_model(seed):
    return torch.nn.Sequential(torch.nn.Linear(FEATURES, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))


def load_data(seed):
    draw = np.random.default_rng(seed)
    inputs = draw.normal(size=(3 * EXAMPLES, FEATURES))
    targets = (inputs[:, 0] + 0.5 * draw.normal(size=len(inputs)) > 0).astype(int)
    return tuple((inputs[i::3], targets[i::3]) for i in range(3))


def small_subject():
    return from_callables(build_model, load_data)


def small_declared(subject, **wishes):
    return declared(subject, Wishes(**({"arms": ("none", "cap", "l2"), "seeds": 9, "budget": 1, "epochs": 1} | wishes)))


def small_trial(subject=None, asked=None, **running):
    subject = subject or small_subject()
    return held(subject, asked or small_declared(subject), Running(**({"jobs": 1, "cost": False} | running)))


GAINS = {"cap": 0.08, "l2": -0.08}
"""Planted: what an arm adds to the test score."""


@dataclass
class FakeCells:
    """In place of run_cell: counts, waits if told to, and gives scores that follow from the cell alone."""

    wait: float = 0.0
    calls: list[Cell] = field(default_factory=list)
    chosen: list = field(default_factory=list)

    def __call__(self, subject, design: Design, cell: Cell, chosen) -> Record:
        self.calls.append(cell)
        self.chosen.append(chosen)
        time.sleep(self.wait)
        return fake_record(cell)


def fake_record(cell: Cell) -> Record:
    def draw(*key):
        digest = hashlib.sha256(repr(key).encode()).digest()
        return int.from_bytes(digest[:6], "big") / 2**48

    arm = cell.arm.partition("@")[0]
    test = 0.7 + 0.05 * draw(cell.seed) + 0.004 * draw(cell) + GAINS.get(arm, 0.0)
    scores = {"test": test, "train": test + 0.1 / 3, "validation": test - 1e-9, "attack": None}
    return Record(
        cell.arm, cell.seed, cell.condition, {"rate": 1.0 + cell.seed / 7, "cap": 2.0},
        (Tried({"rate": 1.0}, test / 3, None), Tried({"rate": 2.0}, None, None, "diverged \x1b[2J")),
        scores=scores, spectrum={"0.weight": (draw(cell, 1), 1 / 3), "none": ()},
        curve=(Point(1, None, test, {"0.weight": 0.1}), Point(2, 0.5, None)),
        examples=(40, 40), test=hashlib.sha256(bytes([cell.seed])).hexdigest(), steps=3, seconds=draw(cell, 2),
        notes=("a", "b"),
    )  # fmt: skip
