"""A gate's numbers in a tracker: one function a tracker, each of (metrics, step).

    log_wandb(gate.metrics(), step)

`Gate.metrics` is a plain dictionary, which any other tracker takes as it is. Nothing is imported before it is used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from opnorm.errors import UsageError
from opnorm.integrations.mount import required


def log_tensorboard(metrics: Mapping[str, float], step: int, writer: Any) -> None:
    """To a `SummaryWriter` (of torch or tensorboardX), one scalar a number."""
    for name, value in metrics.items():
        writer.add_scalar(name, value, step)


def log_wandb(metrics: Mapping[str, float], step: int, run: Any = None) -> None:
    """To a run of Weights & Biases, or the one that is open."""
    run = run or required("wandb", "wandb", "log_wandb").run
    if run is None:
        raise UsageError("no run of Weights & Biases is open: call wandb.init() first, or give run=")
    run.log(dict(metrics), step=step)


def log_trackio(metrics: Mapping[str, float], step: int, run: Any = None) -> None:
    """To a run of trackio, or the one that is open; `trackio.init` comes first."""
    (run or required("trackio", "trackio", "log_trackio")).log(dict(metrics), step=step)


def log_mlflow(metrics: Mapping[str, float], step: int, run_id: str | None = None) -> None:
    """To a run of MLflow, or the one that is open; characters that MLflow refuses in names become `_`."""
    allowed = {re.sub(r"[^\w\-. :/]", "_", name, flags=re.ASCII): value for name, value in metrics.items()}
    required("mlflow", "mlflow", "log_mlflow").log_metrics(allowed, step=step, run_id=run_id)
