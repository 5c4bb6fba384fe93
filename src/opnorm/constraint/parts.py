"""From a row of a model's plan and a rule to sites: whole matrices, parts of fused ones, kernels, adapted layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch

from opnorm.constraint.rules import Rule
from opnorm.constraint.sites import Index, Site
from opnorm.errors import UnsupportedInput, UsageError
from opnorm.layers.plan import ConvolutionPart, Entry, Part

Parameters = Mapping[str, torch.nn.Parameter]


def parts_of(path: str, module: Any, entry: Entry, rule: Rule, parameters: Parameters) -> Iterator[Site]:
    """The sites of one row; none where nothing of it can be written."""
    if entry.kind == "adapted linear" and entry.build is not None:
        yield _adapted(path, module, entry, rule, parameters)
    elif isinstance(entry.part, Part):
        yield from _dense(path, entry, entry.part, rule, parameters)
    elif isinstance(entry.part, ConvolutionPart):
        yield _convolution(path, entry, entry.part, rule, parameters)


def _dense(path: str, entry: Entry, part: Part, rule: Rule, parameters: Parameters) -> Iterator[Site]:
    parameter = parameters[part.tensor]
    if rule.split is None:
        yield _matrix(entry.name, path, part, part.index, parameter, rule)
        return
    if part.index:
        raise UsageError(
            f"{rule}: {part.tensor} is already known as parts, such as {entry.name}; leave split away, and each part "
            "is held by itself"
        )
    axis = len(parameter.shape) - 1 if part.transposed else 0
    start = 0
    for number, size in enumerate(_sizes(rule, parameter.shape[axis], entry.name)):
        index = (*(slice(None),) * axis, slice(start, start + size))
        yield _matrix(f"{entry.name}[{number}]", path, part, index, parameter, rule)
        start += size


def _sizes(rule: Rule, outputs: int, name: str) -> list[int]:
    split = rule.split
    sizes = [outputs // split] * split if isinstance(split, int) else list(split or ())
    if sum(sizes) != outputs:
        raise UsageError(f"{rule}: the {outputs} outputs of {name} do not split into {split!r}: sizes must add up")
    return sizes


def _matrix(name: str, path: str, part: Part, index: Index, parameter: torch.nn.Parameter, rule: Rule) -> Site:
    stored = _shape(parameter, index)
    shape = stored[::-1] if part.transposed else stored
    return Site(name, path, "dense", (part.tensor,), (parameter,), rule, shape, rule.factor(*shape), index)


def _shape(parameter: torch.nn.Parameter, index: Index) -> tuple[int, int]:
    rows, columns = torch.empty(parameter.shape, device="meta")[index].shape
    return rows, columns


def _convolution(path: str, entry: Entry, kernel: ConvolutionPart, rule: Rule, parameters: Parameters) -> Site:
    parameter = parameters[kernel.tensor]
    if kernel.settings is None:
        raise UnsupportedInput(f"{rule} names {entry.name}, a kernel of unknown settings: its operator is not known")
    if rule.technique in ("band", "orthogonal"):
        raise UsageError(
            f"{rule} names {entry.name}, a convolution: only a ceiling can be held within a kernel's support; use "
            "opnorm.cap, or layers that are orthogonal by construction, such as those of orthogonium"
        )
    if rule.split is not None:
        raise UsageError(f"{rule} names {entry.name}, a convolution, which has no split: its groups are known")
    shape = tuple(parameter.shape)
    if rule.norm != "spectral":
        raise UsageError(f"{rule} names {entry.name}, a convolution: its norm is 'spectral' only")
    return Site(
        entry.name, path, "convolution", (kernel.tensor,), (parameter,), rule, shape, 1.0, (),
        dict(kernel.settings), kernel.input_shape,
    )  # fmt: skip


def _adapted(path: str, module: Any, entry: Entry, rule: Rule, parameters: Parameters) -> Site:
    if rule.technique not in ("cap", "watch") or rule.split is not None:
        raise UsageError(f"{rule} names {entry.name}: a layer with an adapter can be capped or watched as a whole only")
    rows, columns = entry.shape
    site = Site(
        entry.name, path, "adapted", entry.tensors, tuple(parameters[n] for n in entry.tensors), rule,
        (rows, columns), rule.factor(rows, columns),
    )  # fmt: skip
    scale = float(module.scaling[next(iter(module.active_adapters))])
    return replace(site, scale=scale, transposed=bool(getattr(module, "fan_in_fan_out", False)))
