"""The largest singular values of a weight in training, with directions kept from step to step.

One block iteration each time the weight has changed: two passes over it with k + 2 vectors. The values are Ritz
values, below the true ones by little once warm, never above but for rounding. The first call converges.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from opnorm.constraint.normalization.iteration import advance, chirp, sharpen
from opnorm.constraint.normalization.operators import Matrix, Operator, working
from opnorm.errors import UsageError


class WarmTop:
    """Warm state of the k largest singular triplets of one weight; k is cut to the short side.

    shape: of the weight. operator: what it is, a matrix by default. seed: of the new directions.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        k: int,
        seed: int = 0,
        device: torch.device | str = "cpu",
        *,
        operator: Operator | None = None,
    ) -> None:
        self.operator = Matrix() if operator is None else operator
        rows, columns = self.operator.shape(torch.empty(shape, device="meta"))
        self.k, self.rank, self.columns = min(k, rows, columns), min(k + 2, rows, columns), columns
        self.seed, self.device, self.count = seed % (1 << 31), torch.device(device), 0
        self.block: torch.Tensor | None = None
        self.left: torch.Tensor | None = None
        self.right: torch.Tensor | None = None

    def top(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(σ (k,), U (outputs, k), V (inputs, k)): σ_j = u_jᵀWv_j differentiable in the weight, U and V constant.

        The gradient of a function of σ is that of the exact singular values at convergence. A weight that is not
        finite changes no state.
        """
        with torch.no_grad(), torch.autocast(weight.device.type, enabled=False):
            self._move(self.operator.prepared(weight))
        assert self.left is not None
        assert self.right is not None
        left, right = self.left.clone(), self.right.clone()  # what a later call moves in place is not kept by autograd
        with torch.autocast(weight.device.type, enabled=False):
            return self.operator.values(weight, left, right), left.mT, right.mT

    def state_dict(self) -> dict[str, Any]:
        """Tensors and numbers from which a run resumes bit by bit."""
        return {"count": self.count, "block": self.block, "left": self.left, "right": self.right}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what `state_dict` gave; `UsageError` where it is of another shape."""
        block = state["block"]
        if block is not None and tuple(block.shape) != (self.rank, self.columns):
            raise UsageError(f"a state of shape {tuple(block.shape)} does not fit {(self.rank, self.columns)}")
        self.count = int(state["count"])
        self.block, self.left, self.right = (
            None if state[name] is None else state[name].to(self.device).clone() for name in ("block", "left", "right")
        )

    def _move(self, prepared: torch.Tensor) -> None:
        self.count += 1
        if self.block is None:
            self._begin(prepared)
            return
        noise = chirp(self.columns, self.seed + self.count, prepared.device, prepared.dtype)
        left, right, block = advance(self.operator, prepared, self.block, noise, ordered=True)
        left, right = left[: self.k], right[: self.k]
        finite = torch.isfinite(left).all() & torch.isfinite(right).all() & torch.isfinite(block).all()
        for held, new in ((self.block, block), (self.left, left), (self.right, right)):
            assert held is not None
            held.copy_(torch.where(finite, new, held))

    def _begin(self, prepared: torch.Tensor) -> None:
        parts = [chirp(self.columns, self.seed - i, prepared.device, prepared.dtype) for i in range(self.rank)]
        start = torch.cat(parts)
        values, left, block = sharpen(self.operator, prepared, start)
        if bool(torch.isfinite(values).all()):
            self.block, self.left, self.right = block, left[: self.k].clone(), block[: self.k].clone()
            return
        right = working(start)[: self.k]
        left = prepared.new_zeros((self.k, self.operator.shape(prepared)[0]))
        if self.left is None:  # nothing is known yet: the next call begins again
            self.left, self.right = left, right
