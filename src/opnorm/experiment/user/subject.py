"""The `Subject` of a user's own model and data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from opnorm.errors import UsageError
from opnorm.experiment.arms.arm import Applied
from opnorm.experiment.data.conditions import apply_condition
from opnorm.experiment.subject import Split, Subject, Task
from opnorm.experiment.training.seeds import isolated
from opnorm.experiment.user.calling import called
from opnorm.experiment.user.parts import Loaded, copied, handed, loaded
from opnorm.experiment.user.source import Script, Source
from opnorm.experiment.user.usable import require_like_first
from opnorm.experiment.user.watched import Watched

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

CONDITIONS = ("full", "small", "noise", "looser")
"""There is no linear or deeper version of a model that is only known by its function."""


@dataclass(frozen=True, slots=True)
class UserSubject:
    """See `Subject`. settings: 'epochs' and 'batch' of the file, if it names them. tensors: whether
    its data are such. notes: for the report.
    """

    origin: Source
    task: Task
    classes: int
    metric: str
    source: str
    tensors: bool = False
    facts: Mapping[str, str | int | float] = field(default_factory=dict)
    settings: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def describe(self) -> Mapping[str, str | int | float]:
        """In words and numbers."""
        return dict(self.facts)

    def split(self, seed: int, condition: str) -> Split:
        """load_data(seed); 'small' and 'noise' change its training part."""
        whole = copied(_loaded(self.origin, seed).split)
        require_like_first(whole, self.task, self.classes, seed)
        return replace(whole, train=apply_condition(whole.train, self.task, condition, seed, self.classes))

    def model(self, seed: int, condition: str, split: Split) -> torch.nn.Module:  # noqa: ARG002
        """build_model(seed)."""
        return built(self.origin, seed)

    def fit(self, model: torch.nn.Module, split: Split, arm: Applied, seed: int) -> torch.nn.Module | None:  # noqa: ARG002
        """fit(model, train, validation, arm), where there is one; it must use all that the arm consists of."""
        function = self.origin.functions().fit
        if function is None:
            return None
        watched, what = Watched(arm), f"fit of {self.origin.name}"
        own = copied(split)  # a loop may change them in place; the next setting is tried on what the first one saw
        given = (model, handed(own.train, self.tensors), handed(own.validation, self.tensors), watched)
        with self.origin.at_home():
            trained = called(function, *given, what=what, where=_file(self.origin), numbers=True)
        watched.require_used(what)
        return model if trained is None else require_module(trained, what)

    def conditions(self) -> tuple[str, ...]:
        """See `CONDITIONS`."""
        return CONDITIONS


def guarded(subject: Subject, what: str, function: Callable[..., T], *given: Any) -> T:
    """`function`, which runs the model: what a user's own raises becomes one message, what it prints no result."""
    if not isinstance(subject, UserSubject):
        return function(*given)
    origin = subject.origin
    with origin.at_home():
        found: T = called(function, *given, what=f"{origin.name} ({what})", where=_file(origin))
    return found


def built(origin: Source, seed: int) -> torch.nn.Module:
    """build_model(seed), its random numbers drawn from the seed."""
    what = f"build_model({seed}) of {origin.name}"
    with isolated(seed), origin.at_home():
        found = called(origin.functions().build_model, seed, what=what, where=_file(origin))
    return require_module(found, what)


def require_module(found: Any, what: str) -> torch.nn.Module:
    """Raises `UsageError` for anything else."""
    import torch

    if not isinstance(found, torch.nn.Module):
        raise UsageError(f"{what} returned {type(found).__name__}; it must return a torch.nn.Module")
    return found


def read(origin: Source, seed: int) -> Loaded:
    """load_data(seed), its random numbers drawn from the seed."""
    with isolated(seed), origin.at_home():
        given = called(
            origin.functions().load_data, seed, what=f"load_data({seed}) of {origin.name}", where=_file(origin)
        )
    return loaded(given)


_loaded = lru_cache(maxsize=2)(read)
"""The cells of a seed come one after another, and data may be slow to load; copies are handed out."""


def _file(origin: Source) -> str:
    return origin.path if isinstance(origin, Script) else ""
