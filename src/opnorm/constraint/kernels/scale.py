"""Scaling the whole weight down to its ceiling: W ← W·min(1, c/σ̂) (Gouk et al., *Regularisation of neural networks by
enforcing Lipschitz continuity*, 2021).

It keeps every direction's share and so shrinks all of them each time one grows; clipping (`constraint.projection`)
moves only what is above. It is here for comparison, and for layers where shares matter more than sizes.
Cost: one look by the inner kernel, one pass to scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from opnorm.constraint.kernels import Kernel
from opnorm.constraint.outcome import FIELDS, outcome


class Scale:
    """Scales by what `inner` sees; σ̂ comes from below, so that σ₁ may stay above the ceiling by what it misses."""

    def __init__(self, inner: Kernel) -> None:
        self._inner = inner

    def hold(self, weight: torch.Tensor, lo: float, hi: float) -> torch.Tensor:  # noqa: ARG002
        """See `Kernel.hold`; a floor is not held."""
        seen = self._inner.look(weight)
        top, skipped = seen[FIELDS.index("top")], seen[FIELDS.index("skipped")]
        factor = torch.where(skipped > 0, 1.0, (hi / top.clamp_min(torch.finfo(top.dtype).tiny)).clamp_max(1.0))
        size = torch.linalg.vector_norm(weight.to(torch.promote_types(weight.dtype, torch.float32)))
        weight.mul_(factor.to(weight.dtype))
        return outcome(top, top * factor, size * (1 - factor), factor < 1, skipped)

    def look(self, weight: torch.Tensor) -> torch.Tensor:
        """See `Kernel.look`."""
        return self._inner.look(weight)

    def normal(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        """See `Kernel.normal`."""
        return self._inner.normal()

    def state_dict(self) -> dict[str, Any]:
        """See `Kernel.state_dict`."""
        return self._inner.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Kernel.load_state_dict`."""
        self._inner.load_state_dict(state)
