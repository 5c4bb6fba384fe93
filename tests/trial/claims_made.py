"""Records with planted effects and a subject that needs no training, for the tests of claims."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from opnorm.experiment.document import Design, Record
from opnorm.experiment.subject import Part, Split, Task


@dataclass(frozen=True)
class MadeSubject:
    """A few rows of noise; `inputs` may be tokens."""

    task: Task = Task.BINARY
    classes: int = 2
    metric: str = "accuracy"
    source: str = "made"
    tokens: bool = False
    movable: tuple[int, ...] | None = None

    def describe(self) -> Mapping[str, str | int | float]:
        return {"data": "made"}

    def split(self, seed: int, condition: str) -> Split:
        draw = np.random.default_rng(seed)
        parts = []
        for size in (60, 20, 20):
            inputs = draw.integers(0, 9, (size, 6)) if self.tokens else draw.normal(size=(size, 6)).astype(np.float32)
            targets = (inputs[:, 0] > np.median(inputs[:, 0])).astype(np.int64)
            targets[:2] = 0, 1
            wanted = targets if self.task.classifies else inputs[:, 0].astype(np.float32)
            parts.append(Part(inputs, wanted))
        return Split(*parts, movable=self.movable)

    def model(self, seed: int, condition: str, split: Split) -> torch.nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            last = [torch.nn.Linear(16, self.classes)] + ([] if self.task.classifies else [torch.nn.Flatten(0)])
            if self.tokens:
                return torch.nn.Sequential(torch.nn.Embedding(9, 4), torch.nn.Flatten(), torch.nn.Linear(24, 2))
            return torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.ReLU(), *last)

    def fit(self, model, split, arm, seed):
        return None

    def conditions(self) -> tuple[str, ...]:
        return ("full", "small", "noise", "linear", "deep", "looser")


def design(**changed) -> Design:
    plain = {"arms": ("none", "cap"), "seeds": tuple(range(10)), "metric": "accuracy", "margin": 0.01}
    return Design(**{**plain, **changed})


BASE: Mapping[str, float | None] = {
    "test": 0.80, "train": 0.90, "brier": 0.12, "calibration": 0.05, "tail": None, "attacked": 0.50, "corrupted": 0.70,
}  # fmt: skip


def record(arm: str, seed: int, condition: str = "full", *, redrawn: bool = False, **changed) -> Record:
    """A small wobble by the seed, shared by all arms; `scores` are added to it, `failure` and others replace."""
    wobble = 0.02 * np.sin(1.7 * seed + 0.3)
    plus = changed.pop("plus", {})
    scores = {
        name: None if value is None else round(value + wobble + plus.get(name, 0.0), 9) for name, value in BASE.items()
    }
    failure = changed.pop("failure", "")
    spectrum = changed.pop("spectrum", {})
    return Record(
        arm, seed, condition, {}, failure=failure, scores={} if failure else scores, spectrum=spectrum,
        examples=changed.pop("examples", (60, 20)), held=20, test=f"hash{seed}" if redrawn else "hash", **changed,
    )  # fmt: skip


def trial(effects: Mapping[str, Mapping[str, float]], seeds=range(10), conditions=("full",), **more) -> list[Record]:
    """Of every arm, seed and condition: `effects` by arm, on top of the baseline; a jitter keeps spreads above zero."""
    found = []
    for arm, plus in effects.items():
        for condition in conditions:
            for seed in seeds:
                jitter = 0.001 * np.cos(2.9 * seed + len(arm))
                found.append(record(arm, seed, condition, plus={k: v + jitter for k, v in plus.items()}, **more))
    return found
