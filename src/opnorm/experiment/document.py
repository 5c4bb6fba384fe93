"""What a trial is asked and what it answers, as frozen data; no framework is needed to read it.

Every mapping goes from a name to plain numbers, so that a record is a line of JSON and comes back the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

SCHEMA = "opnorm.trial/1"


class Answer(StrEnum):
    """The four verdicts."""

    HELPS = "helps"
    HURTS = "hurts"
    SAME = "practically the same"
    OPEN = "not enough evidence"


@dataclass(frozen=True, slots=True)
class Design:
    """What is declared before the run, and never changed by what it finds.

    arms: names as on the command line, such as 'cap+l2', the baseline among them. seeds: each draws split, order and
    initialization, the same in every arm. conditions: see `CONDITIONS`. claims: names of the claims asked, of which
    `primary` is the one that answers the title's question. metric: of the test score, the higher the better. margin:
    half-width of the region of practical equivalence, in units of the metric. level: of all errors within a claim.
    budget: settings tried an arm and seed, the same for each arm. tuner: 'grid' or 'optuna'. epochs: at most.
    """

    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    metric: str
    margin: float
    baseline: str = "none"
    conditions: tuple[str, ...] = ("full",)
    claims: tuple[str, ...] = ()
    primary: str = "generalization"
    level: float = 0.05
    budget: int = 4
    tuner: str = "grid"
    epochs: int = 30
    batch: int = 64


CONDITIONS: Mapping[str, str] = {
    "full": "all training examples",
    "small": "a fifth of the training examples",
    "noise": "a fifth of the training labels replaced by others of the same set",
    "linear": "a linear model in place of the model",
    "deep": "a model of twice as many hidden layers",
    "looser": "the ceiling of spectral arms doubled",
}
"""'full' is tuned; the others train once, with the setting that 'full' chose for this arm and seed."""

AGAIN = "again"
"""Suffix of the control of nothing: 'none@again' is the baseline on the same split with another start and order."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One unit of work: everything in a record follows from these three and the subject."""

    arm: str
    seed: int
    condition: str = "full"


@dataclass(frozen=True, slots=True)
class Tried:
    """One training while tuning: its setting, its scores, and why it failed, if it did."""

    setting: Mapping[str, float]
    validation: float | None
    train: float | None
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Point:
    """Of a training curve: after `epoch` epochs. norms: estimates of σ₁, layer by layer."""

    epoch: int
    loss: float | None
    validation: float | None
    norms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Record:
    """What one cell gave.

    setting: the one chosen on validation data. failure: why no model came out ('' where one did): such a record stays
    in every count. scores: measures by name (`claims`), None where a measure does not apply. spectrum: values by name
    that stability is judged by. examples: numbers of training and test examples; held: of validation examples. test:
    SHA-256 of the test part, by which it is known whether splits are drawn anew. seconds, steps: of the chosen
    training.
    """

    arm: str
    seed: int
    condition: str
    setting: Mapping[str, float]
    tried: tuple[Tried, ...] = ()
    failure: str = ""
    scores: Mapping[str, float | None] = field(default_factory=dict)
    spectrum: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    curve: tuple[Point, ...] = ()
    examples: tuple[int, int] = (0, 0)
    test: str = ""
    steps: int = 0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    held: int = 0


@dataclass(frozen=True, slots=True)
class Pair:
    """Both arms' values of one measure under one seed; the higher the better."""

    seed: int
    baseline: float
    arm: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """One arm against the baseline in one measure.

    difference: mean of arm − baseline, in `unit`. interval: of it, at `confidence`, in accordance with the tests.
    bootstrap: BCa, for comparison. p_differs: of 'the true difference lies within the margin', p_same: of 'it lies
    outside', both two-sided and not corrected; level: what Holm's procedure held them against. better, same, worse:
    probabilities under the correlated t posterior. needed: seeds that would decide at the spread seen, None where
    none can be said. left_out: seeds in which one of the two failed, by arm: reported, never dropped silently.
    """

    claim: str
    measure: str
    title: str
    condition: str
    arm: str
    baseline: str
    pairs: tuple[Pair, ...]
    margin: float
    unit: str
    difference: float | None
    interval: tuple[float, float] | None
    confidence: float
    bootstrap: tuple[float, float] | None
    p_differs: float | None
    p_same: float | None
    level: float | None
    better: float | None
    same: float | None
    worse: float | None
    answer: Answer
    needed: int | None = None
    left_out: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One claim answered: `sentence` says it in words, `lead` is the measure it speaks of."""

    claim: str
    title: str
    question: str
    lead: str
    sentence: str
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one arm: whole training steps against the baseline's, and memory above it. None: not measured."""

    arm: str
    step_ratio: float | None
    spread: tuple[float, float] | None
    memory_bytes: int | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class TrialReport:
    """The answer. subject: what was tried, in words and numbers. untested: what this trial says nothing of.

    controls: the comparison of the baseline with itself (`AGAIN`), where it ran. apply: lines of code that use the
    winner, '' without one. environment: versions and threads. complete: False where cells are missing.
    """

    version: str
    command: str
    subject: Mapping[str, str | int | float]
    design: Design
    verdicts: tuple[Verdict, ...]
    controls: tuple[Comparison, ...]
    costs: tuple[Cost, ...]
    records: tuple[Record, ...]
    winner: str = ""
    apply: str = ""
    untested: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    complete: bool = True
    spectral: tuple[str, ...] | None = None
    """Names of the arms that hold a spectral technique: those that the title's question is about. None: not said."""
