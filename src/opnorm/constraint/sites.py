"""A site: one linear operator inside a live model's parameters, with the rule that holds it.

A matrix is a view of its parameter that shares its memory, so that what is written there is what the model serves and
the optimizer sees; a convolution is its kernel with its settings; an adapted layer is W + s·B·A, of which A and B move.
Parameters are looked up each time: what moves a model to another device moves its sites.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import torch

from opnorm.constraint.rules import Rule
from opnorm.constraint.schedule import Warmup
from opnorm.constraint.sharded import gathered, is_sharded, whole

Index: TypeAlias = tuple[int | slice, ...]
Kind: TypeAlias = Literal["dense", "convolution", "adapted"]


@dataclass(frozen=True, eq=False)
class Site:
    """name: of the row that `opnorm.measure` prints. path: of its module. tensors: the parameters' names, for an
    adapted layer those of W, B and A. index: where its matrix lies in its one parameter. shape: (outputs, inputs), of
    a convolution the kernel's. factor: what σ is multiplied by to give the norm that the rule speaks of. settings,
    input_shape: of a convolution; scale, transposed: of an adapted layer. frozen: no gradient is asked for.
    """  # fmt: skip

    name: str
    path: str
    kind: Kind
    tensors: tuple[str, ...]
    parameters: tuple[torch.nn.Parameter, ...]
    rule: Rule
    shape: tuple[int, ...]
    factor: float = 1.0
    index: Index = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    input_shape: tuple[int, ...] | None = None
    scale: float = 1.0
    transposed: bool = False

    @property
    def frozen(self) -> bool:
        """Whether nothing of it may move."""
        moving = self.parameters[1:] if self.kind == "adapted" else self.parameters
        return not any(p.requires_grad for p in moving)

    def weight(self) -> torch.Tensor:
        """The matrix, or a convolution's kernel: a view that shares the parameter's memory, untracked.

        Of a sharded parameter (DTensor) a gathered copy: write through `sharded.opened`.
        """
        entries = gathered(self.parameters[0])
        return entries[self.index] if self.index else entries

    def tracked(self) -> torch.Tensor:
        """The same, tracked by autograd, for losses."""
        entries = whole(self.parameters[0])
        return entries[self.index] if self.index else entries

    def gradient(self) -> torch.Tensor | None:
        """The gradient's matrix, where there is one; None where it is sharded, as it is only looked at."""
        gradient = self.parameters[0].grad
        if gradient is None or gradient.is_sparse or is_sharded(gradient):
            return None
        return gradient[self.index] if self.index else gradient

    def band(self, step: int, warmup: Warmup | None = None, first: float = 0.0) -> tuple[float, float]:
        """(lo, hi) on σ at a step; first: σ₁ when the gate first acted."""
        lo, hi = (level / self.factor for level in self.rule.levels(step))
        return (lo, hi) if warmup is None else warmup(step, lo, hi, first)

    def in_other(self, parameters: Mapping[str, torch.nn.Parameter]) -> Site:
        """The same site in another model of the same names, such as a moving average of this one."""
        from dataclasses import replace

        return replace(self, parameters=tuple(parameters[name] for name in self.tensors))

    def __str__(self) -> str:
        size = "x".join(map(str, self.shape))
        return f"{self.name} ({self.kind} {size}): {self.rule}"
