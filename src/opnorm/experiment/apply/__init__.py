"""The lines of Python that apply an arm, with the setting that was chosen: what a trial's winner is used by.

Data: an arm's name and setting → text that runs. A table with the built-in MLP: a scikit-learn pipeline that ends in
`SpectralClassifier` or `SpectralRegressor`, where those have the technique (`pipeline`). Else lines for a torch model
and loop, in the order in which they go (`loops`), which name the layers that the trial held (`places`). Whatever won is
said plainly: for L2 that is an optimizer's option.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from opnorm.experiment.apply.loops import written
from opnorm.experiment.apply.pipeline import OPTIONS, pipeline
from opnorm.experiment.apply.places import Places, places_in
from opnorm.experiment.document import AGAIN
from opnorm.experiment.subject import Task

if TYPE_CHECKING:
    import torch

    from opnorm.experiment.data.examples import Columns


def apply_lines(
    arm: str,
    setting: Mapping[str, float],
    *,
    builtin: bool,
    task: Task,
    model: torch.nn.Module | None = None,
    own_fit: bool = False,
    hidden: Sequence[int] = (64, 64),
    epochs: int = 30,
    batch: int = 64,
    columns: Columns | None = None,
) -> str:
    """The lines for this arm at this setting, each ended.

    builtin: a table with the built-in MLP, of these `hidden` layers. model: a fresh one, for its kinds of layers; None:
    all are taken for linear. own_fit: the user's loop, with a learning rate `lr` of its own. epochs, batch: of the
    built-in loop. columns: of the table, that the trial used. Lines for a loop use the names `model`, `loss` and
    `inputs` of a step, `train_and_validate` of an epoch.
    """
    from opnorm.experiment.arms import ARMS
    from opnorm.experiment.training.loop import BASE_RATE

    parts = sorted(arm.removesuffix(f"@{AGAIN}").split("+"), key=list(ARMS).index)
    factor = setting.get("rate", 1.0)
    rate = float(f"{BASE_RATE * factor:.6g}")
    if builtin and all(part in OPTIONS for part in parts):
        training = {"learning_rate": rate, "max_epochs": epochs, "batch_size": batch, "random_state": 0}
        return pipeline(parts, setting, task, tuple(hidden), training, columns)
    places = Places() if model is None else places_in(model)
    return written(parts, setting, places, f"lr * {factor:g}" if own_fit else repr(rate), epochs)
