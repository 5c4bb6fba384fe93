"""What a trial run of a model's copy without weights saw, as plain data: sizes, and who feeds whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a module: the shapes of its first input and its first output, batch included."""

    input: tuple[int, ...]
    output: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Calls:
    """calls: module path → its calls. feeds: module path → the module whose output is its only input, where that
    output goes nowhere else and both were called once. outside: name of a parameter → the module, not its own, whose
    code reads it. hooked: the modules whose hooks were left out. problem: why there is nothing here, else empty.
    """  # fmt: skip

    calls: Mapping[str, tuple[Call, ...]] = field(default_factory=dict)
    feeds: Mapping[str, str] = field(default_factory=dict)
    outside: Mapping[str, str] = field(default_factory=dict)
    hooked: tuple[str, ...] = ()
    problem: str = ""

    def below(self, path: str) -> Calls:
        """The same, seen from a module that holds the model as `path`."""

        def joined(inner: str) -> str:
            return f"{path}.{inner}" if inner else path

        return Calls(
            {joined(p): met for p, met in self.calls.items()},
            {joined(a): joined(b) for a, b in self.feeds.items()},
            {joined(name): joined(reader) for name, reader in self.outside.items()},
            tuple(joined(p) for p in self.hooked),
            self.problem,
        )
