"""An arm as lines of a torch training, in the order in which they go: before the loop, in each step, at the end.

Each technique is a function in `TECHNIQUES` that adds its lines (`Lines`); what is more than a few lines of torch, or
names layers that no type names, is the trial's own implementation (`experiment.arms`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from opnorm.experiment.apply.places import Places, one

IN_EACH_STEP = "# in each step, before loss.backward():"
UNTIL = "# in place of a fixed number of epochs:"
WHEN_DONE = "# when training is done:"

_LAYERS = "layers = [m for m in model.modules() if isinstance(m, (torch.nn.Linear, torch.nn.modules.conv._ConvNd))]"
_KERNEL_WIDTH = "width=0.01"
"""Of the proof of a convolution, as in the trial (`arms.held`)."""


@dataclass
class Lines:
    """By place, `end` in reverse order of parts. decay: of the optimizer. patience: None for all epochs."""

    imports: set[str] = field(default_factory=lambda: {"torch"})
    before: list[str] = field(default_factory=list)
    decay: float = 0.0
    after: list[str] = field(default_factory=list)
    step: list[str] = field(default_factory=list)
    patience: int | None = None
    end: list[str] = field(default_factory=list)


Technique: TypeAlias = Callable[[Lines, Mapping[str, float], Places], None]


def written(parts: Sequence[str], setting: Mapping[str, float], places: Places, rate: str, epochs: int) -> str:
    """The lines of several techniques together. rate: the learning rate, as Python text."""
    lines = Lines()
    for part in parts:
        TECHNIQUES[part](lines, setting, places)
    optimizer = f"optimizer = torch.optim.AdamW(model.parameters(), lr={rate}, weight_decay={lines.decay!r})"
    text = [
        *(f"import {name}" for name in sorted(lines.imports)),
        "",
        *dict.fromkeys(lines.before),
        optimizer,
        *lines.after,
        *_under(IN_EACH_STEP, lines.step),
        *_under(UNTIL, [] if lines.patience is None else _until(lines.patience, epochs)),
        *_under(WHEN_DONE, lines.end),
    ]
    return "\n".join(text) + "\n"


def _under(comment: str, lines: list[str]) -> list[str]:
    return [comment, *lines] if lines else []


def _until(patience: int, epochs: int) -> list[str]:
    return [
        "best, waited = -math.inf, 0",
        f"for epoch in range({epochs}):",
        "    score = train_and_validate(epoch)  # yours: one epoch, then the score on validation data",
        "    waited += 1",
        "    if score > best:",
        "        best, waited, kept = score, 0, copy.deepcopy(model.state_dict())",
        f"    if waited >= {patience}:",
        "        break",
        "model.load_state_dict(kept)",
    ]


def _nothing(lines: Lines, setting: Mapping[str, float], places: Places) -> None:
    """No technique: the optimizer is all."""


def _decay(lines: Lines, setting: Mapping[str, float], _: Places) -> None:
    lines.decay = setting["decay"]


def _stopping(lines: Lines, setting: Mapping[str, float], _: Places) -> None:
    lines.imports |= {"copy", "math"}
    lines.patience = max(1, round(setting["patience"]))


def _l1(lines: Lines, setting: Mapping[str, float], places: Places) -> None:
    if not places.plain:
        _as_tried(lines, "l1", "l1", setting["l1"])
        lines.step.append("loss = loss + l1.penalty(model, inputs)")
        return
    lines.before.append(_LAYERS)
    lines.step.append(f"loss = loss + {setting['l1']!r} * sum(layer.weight.abs().sum() for layer in layers)")


def _jacobian(lines: Lines, setting: Mapping[str, float], _: Places) -> None:
    lines.imports.add("opnorm")
    lines.before.append("generator = torch.Generator().manual_seed(0)")
    term = f"{setting['jacobian']!r} * opnorm.jacobian_penalty(model, inputs, generator=generator)"
    lines.step.append(f"loss = loss + {term}")


def _penalty(lines: Lines, setting: Mapping[str, float], places: Places) -> None:
    lines.imports.add("opnorm")
    rule = f"opnorm.penalize({places.all}, {setting['above']!r}, {setting['penalty']!r})"
    lines.after.append(f"gate = opnorm.control(model, {rule})")
    lines.step.append("loss = loss + gate.penalty()")


def _cap(lines: Lines, setting: Mapping[str, float], places: Places) -> None:
    _held(lines, f"opnorm.cap({places.all}, {setting['cap']!r})", places)


def _band(lines: Lines, setting: Mapping[str, float], places: Places) -> None:
    low, high = setting["low"], setting["high"]
    _held(lines, _with_kernels("opnorm.band", f"{low!r}, {high!r}", places, high), places)


def _orthogonal(lines: Lines, setting: Mapping[str, float], places: Places) -> None:
    scale = setting["scale"]
    _held(lines, _with_kernels("opnorm.orthogonalize", f"{scale!r}", places, scale), places)


def _with_kernels(rule: str, levels: str, places: Places, ceiling: float) -> str:
    """A rule for matrices, where there are any, and a cap for convolutions, which have no floor."""
    matrices = [f"{rule}({one(places.matrices)}, {levels})"] if places.matrices else []
    kernels = [f"opnorm.cap({one(places.kernels)}, {ceiling!r})"] if places.kernels else []
    return one([*matrices, *kernels])


def _held(lines: Lines, rules: str, places: Places) -> None:
    lines.imports.add("opnorm")
    lines.after.append(f"gate = opnorm.control(model, {rules}, every=4).attach(optimizer)")
    lines.end.insert(0, f"certificate = gate.finalize({_KERNEL_WIDTH if places.kernels else ''})")


def _normalize(lines: Lines, setting: Mapping[str, float], places: Places) -> None:
    if not places.plain:
        _as_tried(lines, "normalize", "ceiling", setting["ceiling"])
        return
    lines.imports.add("opnorm")
    ceiling, width = setting["ceiling"], _KERNEL_WIDTH if places.kernels else ""
    lines.before += [_LAYERS, "for layer in layers:", f"    opnorm.normalize(layer, cap={ceiling!r})"]
    lines.end[:0] = [
        "for layer in layers:",
        '    torch.nn.utils.parametrize.remove_parametrizations(layer, "weight")',
        f"certificate = opnorm.control(model, opnorm.cap({places.all}, {ceiling!r})).finalize({width})",
    ]


def _dropout(lines: Lines, setting: Mapping[str, float], _: Places) -> None:
    _as_tried(lines, "dropout", "dropout", setting["dropout"])


def _torch_spectral_norm(lines: Lines, setting: Mapping[str, float], _: Places) -> None:
    _as_tried(lines, "torch_spectral_norm", "factor", setting["factor"])


def _as_tried(lines: Lines, name: str, strength: str, value: float) -> None:
    """The trial's own implementation."""
    lines.imports.add("opnorm.experiment.arms")
    started = f'opnorm.experiment.arms.arm_of("{name}").start({{"{strength}": {value!r}}}, 0)'
    lines.before += [f"{name} = {started}", f"model = {name}.prepare(model)"]
    lines.end.insert(0, f"model = {name}.finish(model)")


TECHNIQUES: Mapping[str, Technique] = {
    "none": _nothing, "l2": _decay, "same_norm": _decay, "l1": _l1, "dropout": _dropout, "early_stopping": _stopping,
    "torch_spectral_norm": _torch_spectral_norm, "cap": _cap, "band": _band, "normalize": _normalize,
    "orthogonal": _orthogonal, "penalty": _penalty, "jacobian": _jacobian,
}  # fmt: skip
"""A new arm has its line here too."""
