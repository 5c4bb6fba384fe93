"""`opnorm.trial`: subject and wishes → design, declared → cells run → judged → `TrialReport`.

The design is complete before the first training. Cost: arms × seeds × (budget + further conditions) trainings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opnorm.experiment.document import TrialReport

if TYPE_CHECKING:
    from opnorm.experiment.subject import Subject


def trial(
    build_model: Callable[[int], Any] | str | Path | None = None,
    load_data: Callable[[int], Any] | None = None,
    *,
    fit: Callable[..., Any] | None = None,
    data: str | Path | Subject | None = None,
    target: str | None = None,
    model: str | None = None,
    arms: Sequence[str] | None = None,
    seeds: int | Iterable[int] | None = None,
    minutes: float | None = None,
    metric: str | None = None,
    margin: float | None = None,
    task: str | None = None,
    drop: Sequence[str] = (),
    rows: int | None = None,
    time: str | None = None,
    group: str | None = None,
    conditions: Sequence[str] | None = None,
    claims: Sequence[str] | None = None,
    level: float = 0.05,
    budget: int = 4,
    tuner: str = "grid",
    epochs: int | None = None,
    batch: int | None = None,
    engine: str = "joblib",
    jobs: int | None = None,
    journal: str | Path | None = None,
    restart: bool = False,
    control: bool = True,
    cost: bool = True,
    progress: bool = True,
) -> TrialReport:
    """Whether a technique improves a model, by a fair experiment: *helps*, *hurts*, *practically the same*, or open.

    Either build_model(seed) → torch module and load_data(seed) → (train, validation, test), each (X, y), with an own
    loop fit(model, train, validation, arm) or without, or the path of a Python file that defines them; or data: a CSV,
    TSV or Parquet file, the name of a built-in set, or a subject of `experiment.data.from_arrays`, with the target
    column and the name of a built-in model.
    arms: see `opnorm trial --help`; 'none' is always among them. seeds: how many, or which; minutes: plan as many as
    fit. metric, margin: of the test score, and the difference below which it does not matter. claims: the first is
    primary. budget: settings tried an arm and seed. journal: a file by which a stopped trial is resumed.
    Raises `UsageError` before the first training where the input or the design makes no sense.
    """
    from opnorm.experiment.run.declare import Wishes, declared
    from opnorm.experiment.run.given import subject_from, with_settings
    from opnorm.experiment.run.hold import Running, held
    from opnorm.experiment.run.progress import shown

    subject = subject_from(
        build_model, load_data, fit=fit, data=data, target=target, model=model, metric=metric, task=task, drop=drop,
        rows=rows, time=time, group=group,
    )  # fmt: skip
    wishes = Wishes(
        arms, seeds, conditions, claims, margin, level, budget, tuner, epochs, batch, timed=minutes is not None
    )
    asked = declared(subject, with_settings(wishes, subject))
    with shown(progress) as told:
        running = Running(engine, jobs, journal, restart, minutes, control, cost, progress=told)
        return held(subject, asked, running)
