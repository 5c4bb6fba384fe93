"""The built-in training loop: AdamW, minibatches, the same for every arm.

Data flow: model and training part → `epochs` passes in orders keyed by (seed, epoch) → after each the validation score
→ the last epoch's model, or under a patience the best epoch's. The learning rate is constant, `BASE_RATE` times the
arm's factor; decay acts on all parameters. Layers' norms are estimated at about eight points.
A loss that is not finite ends the training: `Diverged`.
Cost: forward, backward and step for each batch, besides what the arm adds, and a forward pass of the validation part
for each point of the curve.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch

from opnorm.errors import OpnormError
from opnorm.experiment.arms.arm import Applied
from opnorm.experiment.arms.weights import Weight, norms
from opnorm.experiment.claims.measuring.outputs import device_of, evaluating, outputs_of
from opnorm.experiment.document import Design, Point
from opnorm.experiment.metrics import score
from opnorm.experiment.subject import Part, Split, Task
from opnorm.experiment.training.losses import loss_of
from opnorm.experiment.training.seeds import batches

BASE_RATE = 3e-3
POINTS, POINTS_WITH_NORMS = 15, 8


class Diverged(OpnormError, ArithmeticError):
    """A loss or outputs are not finite."""


@dataclass(frozen=True, slots=True)
class Data:
    """A part as tensors where the model is."""

    inputs: torch.Tensor
    targets: torch.Tensor

    @classmethod
    def of(cls, part: Part, device: torch.device) -> Data:
        """Copies nothing on the CPU."""
        arrays = (np.ascontiguousarray(part.inputs), np.ascontiguousarray(part.targets))
        inputs, targets = (torch.from_numpy(array).to(device) for array in arrays)
        return cls(inputs, targets)


@dataclass(slots=True)
class Course:
    """What became of a training: its curve, and the best epoch under a patience."""

    curve: list[Point] = field(default_factory=list)
    steps: int = 0
    best: float = -math.inf
    waited: int = 0
    state: dict[str, torch.Tensor] = field(default_factory=dict)

    def ends(self, validation: float, model: torch.nn.Module, patience: int) -> bool:
        """Keep the epoch if it is better than all before; whether so many in a row were not."""
        self.waited += 1
        if validation > self.best:
            self.best, self.waited = validation, 0
            self.state = {name: value.clone() for name, value in model.state_dict().items()}
        return self.waited >= patience


def train(
    model: torch.nn.Module,
    split: Split,
    arm: Applied,
    design: Design,
    task: Task,
    weights: tuple[Weight, ...],
    seed: int,
) -> Course:
    """Train a prepared model in place. weights: whose norms the curve shows; none where it is empty."""
    device = device_of(model)
    data = Data.of(split.train, device)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        parameters, lr=BASE_RATE * arm.rate, weight_decay=arm.weight_decay, fused=device.type in ("cpu", "cuda")
    )
    arm.attach(model, optimizer)
    course, shown = Course(), _spread(design.epochs, POINTS)
    with_norms = _spread(design.epochs, POINTS_WITH_NORMS)
    for epoch in range(1, design.epochs + 1):
        loss = _epoch(model, data, arm, optimizer, task, batches(seed, epoch, len(data.targets), design.batch), course)
        if not math.isfinite(loss):
            raise Diverged(f"the loss was {loss} in epoch {epoch}")
        if epoch not in shown and arm.patience is None:
            continue
        validation = validated(model, split.validation, design.metric)
        ends = arm.patience is not None and course.ends(validation, model, arm.patience)
        if epoch in shown or ends:
            found = _served(model, weights) if epoch in with_norms or ends else {}
            course.curve.append(Point(epoch, loss, validation, found))
        if ends:
            break
    if course.state:
        model.load_state_dict(course.state)
    return course


def validated(model: torch.nn.Module, part: Part, metric: str) -> float:
    """The metric on a part in evaluation mode; `Diverged` where outputs are not finite."""
    with evaluating(model):
        value = score(metric, part.targets, outputs_of(model, part.inputs))
    if not math.isfinite(value):
        raise Diverged("the model's outputs are not finite")
    return float(value)


def _epoch(
    model: torch.nn.Module,
    data: Data,
    arm: Applied,
    optimizer: torch.optim.Optimizer,
    task: Task,
    order: list[np.ndarray],
    course: Course,
) -> float:
    """The mean loss of an epoch's batches, without the arm's penalty."""
    loss_function, total = loss_of(task), torch.zeros((), device=data.targets.device)
    model.train()
    for chosen in order:
        index = torch.from_numpy(chosen).to(data.targets.device)
        inputs = data.inputs[index]
        optimizer.zero_grad(set_to_none=True)
        loss = loss_function(model(inputs), data.targets[index])
        (loss + arm.penalty(model, inputs)).backward()
        optimizer.step()
        total += loss.detach() * (len(index) / len(data.targets))
        course.steps += 1
    return float(total)


def _served(model: torch.nn.Module, weights: tuple[Weight, ...]) -> dict[str, float]:
    """In evaluation mode, as reading a parametrized weight in training moves its power iteration."""
    with evaluating(model):
        return norms(model, weights)


def _spread(epochs: int, points: int) -> frozenset[int]:
    """Evenly spread epochs, the last one among them."""
    count = min(epochs, points)
    return frozenset(round((i + 1) * epochs / count) for i in range(count))
