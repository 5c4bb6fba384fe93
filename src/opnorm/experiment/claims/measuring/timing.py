"""Steps of an arm and of the baseline, taken in turns and timed; see `claims.cost` for what counts."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import cycle
from typing import TypeAlias

import numpy as np
import torch

from opnorm.errors import OpnormError
from opnorm.experiment.arms import arm_of
from opnorm.experiment.claims.measuring.memory import kept_bytes, only_new_objects
from opnorm.experiment.document import Cost, Design
from opnorm.experiment.subject import Split, Subject
from opnorm.experiment.training.loop import BASE_RATE
from opnorm.experiment.training.losses import loss_of
from opnorm.experiment.training.seeds import isolated
from opnorm.experiment.user import guarded

Batch: TypeAlias = tuple[torch.Tensor, torch.Tensor]

BLOCK = 8
"""A turn is a multiple of so many steps, itself a multiple of the interval at which gates move."""

LEAST = 0.01
"""Seconds of a plain turn, about."""

TURNS = 25
SECONDS = 1.2
"""After which no further turn begins."""

BATCHES = 4


class Twin:
    """A training that goes on for as long as it is asked to."""

    def __init__(self, subject: Subject, design: Design, split: Split, batches: Sequence[Batch], name: str) -> None:
        seed = design.seeds[0]
        self.loss, self.arm = loss_of(subject.task), arm_of(name).start({}, seed)
        with isolated(seed):
            self.model = self.arm.prepare(subject.model(seed, "full", split)).train()
            self.optimizer = torch.optim.AdamW(
                self.model.parameters(), lr=BASE_RATE * self.arm.rate, weight_decay=self.arm.weight_decay, fused=True
            )
            self.arm.attach(self.model, self.optimizer)
        self.batches = cycle(batches)

    def step(self) -> None:
        """One whole training step."""
        inputs, targets = next(self.batches)
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(self.model(inputs), targets)
        (loss + self.arm.penalty(self.model, inputs)).backward()
        self.optimizer.step()

    def run(self, steps: int) -> float:
        """Processor seconds of so many: other programs' load is not in it."""
        start = time.process_time()
        for _ in range(steps):
            self.step()
        return time.process_time() - start


def _batches(split: Split, batch: int) -> list[Batch]:
    part = split.train
    starts = [(i * batch) % max(1, len(part) - batch + 1) for i in range(BATCHES)]
    inputs, targets = (torch.from_numpy(np.ascontiguousarray(a)) for a in (part.inputs, part.targets))
    return [(inputs[at : at + batch], targets[at : at + batch]) for at in starts]


def costs_of(subject: Subject, design: Design, names: Sequence[str]) -> Iterator[Cost]:
    """One after the other, beside one baseline that goes on; where an arm cannot start here, the reason."""
    split = subject.split(design.seeds[0], "full")
    batches = _batches(split, design.batch)
    with isolated(design.seeds[0]), only_new_objects():
        warm = partial(_warm_twin, subject, design, split, batches)
        try:
            plain, base = guarded(subject, "the cost of a step", kept_bytes, partial(warm, design.baseline))
        except OpnormError as error:
            yield from (Cost(name, None, None, None, str(error)) for name in names)
            return
        for name in names:
            try:
                twin, kept = guarded(subject, "the cost of a step", kept_bytes, partial(warm, name))
                ratios = guarded(subject, "the cost of a step", _ratios, plain, twin)
                yield _cost(name, ratios, kept - base, twin)
            except OpnormError as error:
                yield Cost(name, None, None, None, str(error))


def _cost(name: str, ratios: list[float], memory: int, twin: Twin) -> Cost:
    quartiles = statistics.quantiles(ratios, n=4) if len(ratios) > 2 else None
    spread = None if quartiles is None else (quartiles[0], quartiles[2])
    return Cost(name, statistics.median(ratios), spread, memory, _note(name, twin, len(ratios)))


def _warm_twin(subject: Subject, design: Design, split: Split, batches: Sequence[Batch], name: str) -> Twin:
    """Past what only first steps do."""
    twin = Twin(subject, design, split, batches, name)
    twin.run(2 * BLOCK)
    return twin


def _ratios(plain: Twin, twin: Twin) -> list[float]:
    found: list[float] = []
    start = time.perf_counter()
    steps = BLOCK * max(1, round(LEAST / max(plain.run(BLOCK), 1e-6)))
    while len(found) < TURNS and (not found or time.perf_counter() - start < SECONDS):
        first, second = (plain, twin) if len(found) % 2 == 0 else (twin, plain)
        times: dict[int, float] = {id(one): one.run(steps) for one in (first, second)}
        found.append(times[id(twin)] / times[id(plain)])
    return found


def _note(name: str, twin: Twin, turns: int) -> str:
    notes = [f"median of {turns} turns"]
    if twin.arm.patience is not None:
        notes.append("it stops early: the steps that it saves are not counted")
    if arm_of(name).matches:
        notes.append("the trainings that it needs to find its decay are not counted")
    return "; ".join(notes)
