"""Where a user's functions come from: a file, known by its path and hash and run where it is needed, or callables."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from types import MethodType, ModuleType, NoneType
from typing import Any, TypeAlias

from opnorm.errors import FileAccessError, UsageError
from opnorm.experiment.data.words import listed, nearest, shown
from opnorm.experiment.training.seeds import isolated
from opnorm.experiment.user.calling import called

TEMPLATE = (
    "a trial needs build_model(seed), which returns a torch.nn.Module, and load_data(seed), which returns "
    "(train, validation, test), each a pair (X, y)"
)
SETTINGS = ("task", "metric", "batch", "epochs")


@dataclass(frozen=True, slots=True)
class Functions:
    """What an experiment consists of. settings: those of `SETTINGS` that it names."""

    build_model: Callable[[int], Any]
    load_data: Callable[[int], Any]
    fit: Callable[..., Any] | None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Script:
    """A file, by its absolute path and the SHA-256 of its bytes."""

    path: str
    digest: str

    @property
    def name(self) -> str:
        """For messages and reports: without its folders."""
        return Path(self.path).name

    def functions(self) -> Functions:
        """Of the file, run once a process."""
        return _functions_in(self)

    @contextmanager
    def at_home(self) -> Iterator[None]:
        """Modules beside the file can be imported meanwhile, as if it were run by Python itself."""
        folder = str(Path(self.path).parent)
        sys.path.insert(0, folder)
        try:
            yield
        finally:
            if folder in sys.path:
                sys.path.remove(folder)


@dataclass(frozen=True, slots=True)
class Callables:
    """Functions of a running program."""

    build_model: Callable[[int], Any]
    load_data: Callable[[int], Any]
    fit: Callable[..., Any] | None = None

    @property
    def name(self) -> str:
        """For messages and reports."""
        return "the functions given"

    @property
    def digest(self) -> str:
        """Of their texts and of the plain values that they hold (defaults, closures, globals, arguments of a partial).
        Other objects are not in it, but the data and the model of the first seed are (`trying`).
        """  # fmt: skip
        texts = "\0".join(_text(f) for f in (self.build_model, self.load_data, self.fit) if f is not None)
        return hashlib.sha256(texts.encode()).hexdigest()

    def functions(self) -> Functions:
        """Themselves."""
        _require_callable(self.build_model, "build_model", 1, self.name)
        _require_callable(self.load_data, "load_data", 1, self.name)
        if self.fit is not None:
            _require_callable(self.fit, "fit", 4, self.name)
        return Functions(self.build_model, self.load_data, self.fit)

    @contextmanager
    def at_home(self) -> Iterator[None]:
        """Nothing is needed."""
        yield


Source: TypeAlias = Script | Callables


def script_of(path: str | Path) -> Script:
    """A file that is there. It is not run yet."""
    place = Path(path)
    if not place.is_file():
        what = "is a folder" if place.is_dir() else "there is no such file"
        raise UsageError(f"{shown(path)}: {what}; give a Python file: {TEMPLATE}")
    if place.suffix != ".py":
        raise UsageError(f"{shown(path)}: is no Python file (.py); for a table use --data {shown(place.name)}")
    return Script(str(place.resolve()), hashlib.sha256(_bytes(place)).hexdigest())


def _bytes(place: Path) -> bytes:
    try:
        return place.read_bytes()
    except OSError as error:
        raise FileAccessError(f"{shown(place.name)}: cannot be read: {error.strerror or error}") from error


@lru_cache(maxsize=8)
def _functions_in(script: Script) -> Functions:
    if not Path(script.path).is_file():
        raise UsageError(f"{shown(script.name)} is not there any more, or not where this worker looks for it")
    if hashlib.sha256(_bytes(Path(script.path))).hexdigest() != script.digest:
        raise UsageError(f"{shown(script.name)} was changed while its trial ran; start the trial anew")
    names = vars(_module(script))
    for name, count in (("build_model", 1), ("load_data", 1)):
        if name not in names:
            own = [n for n, value in names.items() if inspect.isfunction(value) and not n.startswith("_")]
            has = f"it defines {listed(own)}" if own else "it defines no function"
            raise UsageError(f"{shown(script.name)} has no {name}: {has}.{nearest(name, own)} Here {TEMPLATE}")
        _require_callable(names[name], name, count, script.name)
    fit = names.get("fit")
    if fit is not None:
        _require_callable(fit, "fit", 4, script.name)
    settings = {name: names[name] for name in SETTINGS if names.get(name) is not None}
    return Functions(names["build_model"], names["load_data"], fit, settings)


def _module(script: Script) -> ModuleType:
    """The file, run as a module of its own, which is never `__main__`."""
    name = f"opnorm_trial_{script.digest[:16]}"
    spec = importlib.util.spec_from_file_location(name, script.path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{shown(script.name)}: cannot be run as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickles inside look themselves up there
    try:
        with isolated(0), script.at_home():  # what it draws while it is run is the same in every worker
            called(spec.loader.exec_module, module, what="running it", where=script.path)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _require_callable(function: object, name: str, count: int, where: str) -> None:
    if not callable(function):
        raise UsageError(f"{name} of {where} is no function but {shown(type(function).__name__)}: {TEMPLATE}")
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError as error:
        wanted = "one argument, the seed" if count == 1 else "four: model, train, validation, arm"
        raise UsageError(f"{name} of {where} must take {wanted}: {error}") from error
    except ValueError:  # of a built-in: it does not say
        return


def _text(function: Callable[..., Any]) -> str:
    """What the function does, as far as it can be said in words that are the same in every process."""
    if isinstance(function, partial):
        return f"partial {_plain(function.args)} {_plain(function.keywords)} {_text(function.func)}"
    if isinstance(function, MethodType):
        return f"of {_plain(vars(function.__self__))} {_text(function.__func__)}"
    code = getattr(function, "__code__", None)
    if code is None:  # an object that can be called
        return f"of {_plain(getattr(function, '__dict__', {}))} {_source_of(type(function))}"
    around = inspect.getclosurevars(function)
    held = (function.__defaults__, function.__kwdefaults__, around.nonlocals, around.globals)
    return f"{_source_of(function)} {code.co_code.hex()} {code.co_names} {' '.join(map(_plain, held))}"


def _source_of(thing: Any) -> str:
    try:
        return inspect.getsource(thing)
    except (OSError, TypeError):
        return str(getattr(thing, "__qualname__", ""))


def _plain(value: Any) -> str:
    """Numbers, texts and what is made of them; of anything else its type alone, as addresses differ."""
    if isinstance(value, bool | int | float | complex | str | bytes | NoneType):
        return repr(value)
    if isinstance(value, tuple | list | range):
        return f"({', '.join(map(_plain, value))})"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_plain(k)}: {_plain(v)}' for k, v in value.items())}}}"
    return type(value).__qualname__
