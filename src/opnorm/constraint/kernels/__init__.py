"""Moves made while training, one file a technique, each holding one operator's singular values in a band.

Kernels work on torch tensors where they live, in their own precision, and steer by estimates. They promise one thing
only: a finite weight is never made non-finite. That the band holds is proved at the end (`constraint.finalize.matrix`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch


class Kernel(Protocol):
    """One operator's warm state and how it moves the weight."""

    def hold(self, weight: torch.Tensor, lo: float, hi: float) -> torch.Tensor:
        """Move `weight`, in place, towards lo ≤ σ ≤ hi; returns an `outcome`."""

    def look(self, weight: torch.Tensor) -> torch.Tensor:
        """Refresh what is known of `weight`, which is not changed; returns an `outcome`."""

    def normal(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Left (rows, k) and right (columns, k) singular directions at the ceiling, as last seen; None before.

        Columns that are not at the ceiling are zero.
        """

    def state_dict(self) -> dict[str, Any]:
        """Tensors and numbers from which a run resumes bit by bit."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what `state_dict` gave."""
