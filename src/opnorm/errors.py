"""What can go wrong, as one tree. Every message says what was given, what is allowed, what to do next.

OpnormError
├── UndefinedNorm        a NaN or an Inf among the entries: the norm does not exist
├── UnsupportedInput     an array, dtype or object that has no spectral norm here
├── UsageError           options or a path that make no sense               (exit code 2)
├── CheckpointError      a file refused: corrupt, hostile, unsupported      (exit code 3)
├── FileAccessError      reading or writing failed                          (exit code 4)
├── BoundMissed          a weight cannot be proved to lie in its band
├── Contradiction        two bounds exclude each other: a bug in opnorm     (exit code 70)
└── MissingExtra         an optional dependency is not installed
"""

from __future__ import annotations


class OpnormError(Exception):
    """Base of every exception that opnorm raises on purpose."""


class UndefinedNorm(OpnormError, ValueError):
    """The matrix holds a NaN or an infinity, so it has no spectral norm."""

    def __init__(self, nan: int, inf: int) -> None:
        self.nan = nan
        self.inf = inf
        counts = [f"{n} {name}" for n, name in ((nan, "NaN"), (inf, "Inf")) if n]
        super().__init__(
            f"the matrix holds {' and '.join(counts)}: its spectral norm is undefined. "
            "Only finite entries have one; find the step that produced these and repair it first."
        )


class UnsupportedInput(OpnormError, TypeError):
    """The object given is not a matrix or operator that can be measured."""


class UsageError(OpnormError, ValueError):
    """An option, argument or path that cannot be meant."""


class CheckpointError(OpnormError):
    """A file is corrupt, hostile or of an unsupported kind, and was refused."""

    def __init__(self, path: object, problem: str, remedy: str = "") -> None:
        self.path = str(path)
        self.problem = problem
        super().__init__(f"{path}: {problem}" + (f". {remedy}" if remedy else ""))


class FileAccessError(OpnormError, OSError):
    """The operating system refused to read or write a file."""


class NotFinite(UndefinedNorm):
    """A weight, given by name, holds NaN or Inf."""

    def __init__(self, name: str, nan: int, inf: int) -> None:
        super().__init__(nan, inf)
        counts = " and ".join(f"{n} {word}" for n, word in ((nan, "NaN"), (inf, "Inf")) if n)
        self.args = (f"{name} holds {counts}: it has no spectral norm; load weights from before the step that did it",)


class BoundMissed(OpnormError, ArithmeticError):
    """A weight could not be finished within its band: the message names it and says what was reached."""


class Contradiction(OpnormError, ArithmeticError):
    """A lower bound lies above an upper bound. One of them is wrong: this is a bug in opnorm."""


class MissingExtra(OpnormError, ImportError):
    """An optional dependency is needed and not installed."""

    def __init__(self, extra: str, purpose: str) -> None:
        super().__init__(f'{purpose} needs an extra that is not installed: pip install "opnorm[{extra}]"')
