"""A gate in Lightning, as one callback, for `lightning` and `pytorch_lightning` alike.

    Trainer(callbacks=[GateCallback(opnorm.cap("*.mlp.*", 4.0), finalize=True)])

The way: training starts → a gate on the trainer's optimizers → numbers to its loggers as often as they are asked for →
its state inside each checkpoint, as any callback's → at the end, if asked, `Gate.finalize`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from opnorm.constraint.finalize.certificate import Certificate
from opnorm.constraint.gate import Gate
from opnorm.constraint.rules import Rule
from opnorm.errors import MissingExtra
from opnorm.integrations.mount import Mount, add_penalty_gradients

NAMES = ("lightning.pytorch", "pytorch_lightning")
"""The two packages; one that is imported already is what the user means."""


def _package() -> Any:
    for name in sorted(NAMES, key=lambda n: n not in sys.modules):
        with suppress(ImportError):
            return import_module(name)
    raise MissingExtra("lightning", "GateCallback")


_Base: Any = _package().Callback


class GateCallback(_Base):
    """rules and options: as for `opnorm.control`; names are those of the LightningModule's parameters.

    finalize: prove when training ends, and raise where a bound is missed; dtype: of the model then. certificate: the
    file for it. After training: `gate`, `proved`.
    """

    def __init__(
        self,
        rules: Rule | Sequence[Rule],
        *,
        finalize: bool = False,
        dtype: torch.dtype | None = None,
        certificate: str | Path | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.mount = Mount(rules, options, finalize, dtype, certificate)
        self._loaded: dict[str, Any] | None = None
        self._logged = 0

    @property
    def gate(self) -> Gate | None:
        """The gate of the last training."""
        return self.mount.gate

    @property
    def proved(self) -> Certificate | None:
        """What `finalize` proved."""
        return self.mount.proved

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Make the gate, with the state that a checkpoint brought."""
        self.mount.begin(pl_module, trainer.optimizers, self._loaded)
        self._loaded = None

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:  # noqa: ARG002
        """Add the gradients of a penalty, which are unscaled by now."""
        if self.gate is not None and self.mount.penalizes:
            add_penalty_gradients(self.gate)

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """Hand the numbers to the loggers."""
        step = trainer.global_step
        if self.gate is None or step == self._logged or step % trainer.log_every_n_steps:
            return
        self._logged = step
        if trainer.loggers and trainer.is_global_zero:
            metrics = self.gate.metrics()
            for logger in trainer.loggers:
                logger.log_metrics(metrics, step=step)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
        """Let go of the optimizers; prove, if asked."""
        self.mount.end(writes=trainer.is_global_zero)

    def state_dict(self) -> dict[str, Any]:
        """Of the gate, into the checkpoint."""
        if self.gate is None:
            return dict(self._loaded or {})
        return self.gate.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Kept until there is a gate to take it up."""
        self._loaded = dict(state_dict)
