"""The public functions, each a few lines over the rooms below."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import opnorm
from opnorm.bound import Evidence, Measurement
from opnorm.errors import UnsupportedInput
from opnorm.frameworks import aslinearoperator
from opnorm.linalg.algebra import BlockDiagonal
from opnorm.linalg.measure import measure_operator
from opnorm.linalg.operator import LinearOperator
from opnorm.linalg.request import Request
from opnorm.linalg.start import fresh_seed
from opnorm.readers import open_checkpoint
from opnorm.readers.checkpoint import Checkpoint
from opnorm.readers.memory import MemoryCheckpoint
from opnorm.report.document import Report
from opnorm.report.survey import Progress, Selection, Survey, require_jobs

if TYPE_CHECKING:
    from opnorm.experiment.subject import Subject
    from opnorm.report.insight import Insight
    from opnorm.report.trial.result import TrialResult


def spectral_norm(
    A: Any,
    *,
    evidence: Evidence | str = Evidence.PROBABLE,
    width: float = 0.01,
    seed: int | None = None,
    warm: Any = None,
) -> Measurement:
    """Bounds on the spectral norm σ₁ = ‖A‖₂ of a matrix or operator.

    A: two-dimensional NumPy, PyTorch or JAX array (rows, columns) of any real dtype, on any device; a SciPy
    sparse matrix; a `LinearOperator`. evidence: the least to reach ('estimate', 'probable', 'proved').
    width: the relative width (upper − lower)/lower to reach. seed: of the random start block; None draws
    fresh entropy and records it in the result; give one only for matrices that do not depend on earlier
    results of the same seed. warm: (short side, k) vectors near the top singular space.

    Guarantee: each bound in the result states its own. Failure probability of a probable bound: 1e-12.
    Raises `UndefinedNorm` for NaN or Inf, `UnsupportedInput` for what is no real matrix.
    Cost: `opnorm explain lanczos` and `opnorm explain gram`.
    """
    request = Request(Evidence.parse(evidence), width, fresh_seed() if seed is None else seed)
    return measure_operator(aslinearoperator(A), request, warm)


def measure(
    target: Any,
    *,
    input_shape: Any = None,
    evidence: Evidence | str = Evidence.PROBABLE,
    width: float = 0.01,
    only: str | Sequence[str] = (),
    skip: str | Sequence[str] = (),
    seed: int = 0,
    jobs: int = 1,
    insight: bool = False,
    tokenizer: str | Path | None = None,
    features: str | Path | Sequence[str] | None = None,
    batch: Any = None,
    progress: Progress = lambda *_: None,
) -> Report:
    """Measure every layer of a model as the linear operator it is.

    target: a path to a file or folder of weights; a dictionary of named arrays; a PyTorch module, which is not
    run, changed or moved. input_shape: of the model's input, without batch, such as (3, 224, 224); convolutions
    are then measured at their own sizes, else for any size. only, skip: patterns of names or module paths; `*`
    crosses dots. jobs: layers at a time. insight: also spectra, top directions and how layers feed one another
    (a decomposition a layer). tokenizer, features, batch: a tokenizer.json, the names of the inputs, and inputs of one
    layer (examples, …), by which directions are then told; each asks for insight. Options else as in `spectral_norm`.
    Raises `UsageError`, `CheckpointError` or `FileAccessError` where nothing can be read; a single tensor or shard
    that is refused becomes a row or a finding.
    """
    survey = Survey(
        Request(Evidence.parse(evidence), width, seed),
        Selection(_patterns(only), _patterns(skip)),
        require_jobs(jobs),
        _insight(insight, tokenizer, features, batch),
    )
    with _open(target, input_shape) as checkpoint:
        if checkpoint.problems and not checkpoint.files:
            raise checkpoint.problems[0]
        survey.add(checkpoint, progress)
    return survey.report(opnorm.__version__)


def compare(
    base: Any,
    tuned: Any,
    *,
    input_shape: Any = None,
    evidence: Evidence | str = Evidence.PROBABLE,
    width: float = 0.01,
    only: str | Sequence[str] = (),
    skip: str | Sequence[str] = (),
    seed: int = 0,
    jobs: int = 1,
    progress: Progress = lambda *_: None,
) -> Report:
    """What changed from `base` to `tuned`, layer by layer: ‖ΔW‖, its rank, shifts of singular values, new directions.

    base, tuned: targets as in `measure`, two checkpoints of one model or a base and a LoRA adapter. The report has no
    rows; `.comparison.changes` has a `Change` a layer. Options and errors as in `measure`; `UsageError` where nothing
    in one matches the other.
    """
    from opnorm.report.comparing import comparison_report

    request = Request(Evidence.parse(evidence), width, seed)
    selection = Selection(_patterns(only), _patterns(skip))
    with _open(base, input_shape) as before, _open(tuned, input_shape) as after:
        for checkpoint in (before, after):
            if checkpoint.problems and not checkpoint.files:
                raise checkpoint.problems[0]
        version = opnorm.__version__
        return comparison_report(before, after, request, selection, version, progress, require_jobs(jobs))


def _insight(
    wanted: bool, tokenizer: str | Path | None, features: str | Path | Sequence[str] | None, batch: Any
) -> Insight | None:
    if not wanted and tokenizer is None and features is None and batch is None:
        return None
    from opnorm.report.insight import Insight
    from opnorm.spectrum.directions.labels import Labels

    return Insight(Labels.read(tokenizer=tokenizer, features=features, batch=batch))


def _patterns(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _open(target: Any, input_shape: Any) -> Checkpoint:
    if isinstance(target, str | Path):
        return open_checkpoint(target, input_shape)
    if isinstance(target, Mapping):
        return MemoryCheckpoint(target, input_shape)
    if hasattr(target, "named_modules") and hasattr(target, "state_dict"):
        from opnorm.readers.live import open_model

        return open_model(target, input_shape)
    raise UnsupportedInput(
        f"cannot measure a {type(target).__name__}: give a path, a dictionary of named arrays or a PyTorch module"
    )


def block_diagonal(*parts: Any) -> LinearOperator:
    """diag(A₁, A₂, …), whose norm is the largest of theirs; parts as in `aslinearoperator`."""
    return BlockDiagonal(*(aslinearoperator(p) for p in parts))


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
) -> TrialResult:
    """Whether a technique improves a model, by a fair experiment: *helps*, *hurts*, *practically the same*, or open.

    Either build_model(seed) → torch module and load_data(seed) → (train, validation, test), each (X, y), with an own
    loop fit(model, train, validation, arm) or without, or the path of a Python file that defines them; or data: a CSV,
    TSV or Parquet file, the name of a built-in set, or a subject of `experiment.data.from_arrays`, with the target
    column and the name of a built-in model.
    arms: see `opnorm trial --help`; 'none' is always among them. seeds: how many, or which, 20 by default; minutes:
    plan as many as fit. metric, margin: of the test score, and the difference below which it does not matter. claims:
    the first is primary. budget: settings tried an arm and seed. journal: a file by which a stopped trial is resumed.
    Raises `UsageError` before the first training where the input or the design makes no sense.
    """
    from opnorm.experiment.run.declare import Wishes, declared
    from opnorm.experiment.run.given import subject_from, with_settings
    from opnorm.experiment.run.hold import Running, held
    from opnorm.experiment.run.progress import shown
    from opnorm.report.trial.result import TrialResult

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
        return TrialResult.of(held(subject, asked, running))
