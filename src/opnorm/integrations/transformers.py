"""A gate in Hugging Face's `Trainer`, as one callback.

    trainer = Trainer(model, args, ..., callbacks=[GateCallback(opnorm.cap("*.mlp.*", 4.0), finalize=True)])

The way: training begins → a gate on the optimizer inside accelerate's → numbers with every log → its state beside each
checkpoint → found there again on resume → at the end, if asked, `Gate.finalize`, before the Trainer's own `save_model`.
Cost: that of the gate; nothing is read from the device but for logs and checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from opnorm.constraint.finalize.certificate import Certificate
from opnorm.constraint.gate import Gate
from opnorm.constraint.rules import Rule
from opnorm.errors import UsageError
from opnorm.integrations.mount import Mount, add_penalty_gradients, required

STATE_FILE = "opnorm_gate.pt"
"""In each checkpoint's folder."""

_Base: Any = required("transformers", "transformers", "GateCallback").TrainerCallback


class GateCallback(_Base):
    """rules and options: as for `opnorm.control`.

    log: called with the numbers and the step at each of the Trainer's logs, such as one of `integrations.trackers`;
    they also join `trainer.state.log_history`. finalize: prove at the end, and raise where a bound is missed; dtype:
    of the model then. certificate: the file for it. resume: take up the state beside the checkpoint that training
    resumes from; False begins a new gate there. After training: `gate`, `proved`.
    """

    def __init__(
        self,
        rules: Rule | Sequence[Rule],
        *,
        log: Callable[[Mapping[str, float], int], None] | None = None,
        finalize: bool = False,
        dtype: torch.dtype | None = None,
        certificate: str | Path | None = None,
        resume: bool = True,
        **options: Any,
    ) -> None:
        self.mount = Mount(rules, options, finalize, dtype, certificate)
        self.log, self.resume = log, resume

    @property
    def gate(self) -> Gate | None:
        """The gate of the last training."""
        return self.mount.gate

    @property
    def proved(self) -> Certificate | None:
        """What `finalize` proved."""
        return self.mount.proved

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:  # noqa: ARG002
        """Make the gate, resumed where training is."""
        model = given["model"]
        found = self._state(args, state, next(model.parameters()).device) if self.resume else None
        self.mount.begin(model, [given["optimizer"]], found)
        if self.mount.penalizes and getattr(args, "fp16", False) and not args.max_grad_norm:
            raise UsageError(
                "penalize with fp16 and max_grad_norm=0 meets gradients that are still scaled: set max_grad_norm, use "
                "bf16, or add gate.penalty() to the loss yourself"
            )

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **given: Any) -> None:  # noqa: ARG002
        """Add the gradients of a penalty."""
        if self.gate is not None and self.mount.penalizes:
            add_penalty_gradients(self.gate)

    def on_log(self, args: Any, state: Any, control: Any, **given: Any) -> None:  # noqa: ARG002
        """Hand on the numbers."""
        if self.gate is None or not self.gate.steps:
            return
        metrics = self.gate.metrics()
        if state.log_history:
            state.log_history[-1].update(metrics)
        if self.log is not None and state.is_world_process_zero:
            self.log(metrics, state.global_step)

    def on_save(self, args: Any, state: Any, control: Any, **given: Any) -> None:  # noqa: ARG002
        """Save the gate's state beside the checkpoint."""
        folder = _folder(args, state)
        if self.gate is not None and state.is_world_process_zero and folder.is_dir():
            torch.save(self.gate.state_dict(), folder / STATE_FILE)

    def on_train_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:  # noqa: ARG002
        """Let go of the optimizer; prove, if asked."""
        self.mount.end(writes=state.is_world_process_zero)

    def _state(self, args: Any, state: Any, device: torch.device) -> dict[str, Any] | None:
        if not state.global_step:
            return None
        named = getattr(args, "resume_from_checkpoint", None)
        folders = [_folder(args, state), *([Path(named)] if isinstance(named, str) else [])]
        file = next((f / STATE_FILE for f in folders if (f / STATE_FILE).is_file()), None)
        if file is None:
            raise UsageError(
                f"training resumes at step {state.global_step} and {folders[0] / STATE_FILE} is not there: the "
                "checkpoint was made without this gate; give resume=False to begin a new one here"
            )
        loaded: dict[str, Any] = torch.load(file, map_location=device, weights_only=True)
        return loaded


def _folder(args: Any, state: Any) -> Path:
    return Path(args.output_dir) / f"checkpoint-{state.global_step}"
