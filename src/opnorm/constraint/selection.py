"""From rules and a live model to sites: what each rule names, as the operators that the layer rules know.

The way: `readers.live.open_model` plans the model's rows without reading an entry → each rule takes the rows that it
names → parts of one parameter become sites; W + s·B·A takes the place of its three parts → two rules on one weight,
a rule that names nothing, or a layer whose operator is not known are errors that name the layers.
"""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.utils import parametrize

from opnorm.constraint.parts import parts_of
from opnorm.constraint.rules import Rule
from opnorm.constraint.sharded import is_sharded
from opnorm.constraint.sites import Site
from opnorm.errors import UnsupportedInput, UsageError
from opnorm.layers.plan import ConvolutionPart, Entry, Layer
from opnorm.readers.live import open_model
from opnorm.readers.live.trace import sizes_of

_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the model's plan, with the module that it belongs to."""

    path: str
    module: Any
    entry: Entry

    @property
    def names(self) -> tuple[str, ...]:
        """By which a pattern may name it: its own, its tensors', and the paths above them."""
        own = dict.fromkeys((self.entry.name, *self.entry.tensors, self.path))
        return tuple(dict.fromkeys(p for name in own for p in (name, *_parents(name))))


@dataclass(frozen=True, slots=True)
class Selection:
    """Sites, and the rows that a rule named which nothing can hold, each with the reason."""

    sites: tuple[Site, ...]
    unheld: tuple[tuple[str, str], ...]


def select(
    model: torch.nn.Module, rules: Sequence[Rule], exclude: Sequence[str | type] = (), input_shape: Any = None
) -> Selection:
    """The sites of `rules` in `model`, in the order of its modules. `UsageError` for what cannot be meant."""
    plan = open_model(model, input_shape, sharded=True).plan
    _require_traced(model, plan, input_shape)
    modules = dict(model.named_modules(remove_duplicate=False))
    rows = [Row(layer.path, modules.get(layer.path), e) for layer in plan for e in layer.entries]
    parameters = dict(model.named_parameters(remove_duplicate=False))
    _require_each(exclude, rows, "exclude")
    sites: list[Site] = []
    unheld: dict[str, str] = {}
    for rule in rules:
        named = [row for row in rows if _is_named(row, rule.where) and not _is_named(row, exclude)]
        _require_matches(rule, named, rows)
        found = list(_sites(rule, named, rows, parameters, unheld))
        if not found:
            raise UsageError(
                f"{rule} names nothing that can be held: {_listed(_reasons(named, unheld))}. Name layers with a matrix "
                "or a kernel, as opnorm.measure(model) lists them"
            )
        sites += found
    sites = _without_needless_watches(sites)
    order = {row.entry.name: i for i, row in enumerate(rows)}
    sites.sort(key=lambda s: order.get(s.name, order.get(s.tensors[0], 0)))
    held = {name for site in sites for name in (site.name, *site.tensors)}
    return Selection(tuple(sites), tuple((n, why) for n, why in unheld.items() if n not in held))


def _sites(
    rule: Rule, named: list[Row], rows: list[Row], parameters: Mapping[str, torch.nn.Parameter], unheld: dict[str, str]
) -> Iterator[Site]:
    """Each site of a rule; what is no weight is left out, what cannot be held is noted in `unheld`."""
    originals = {row.entry.name: row for row in rows}
    taken = _parts_of_adapted(named)
    seen: set[str] = set()
    for row in named:
        while row.entry.same_as and row.entry.same_as in originals:
            row = originals[row.entry.same_as]
        spans = row.entry.derived and row.entry.kind != "adapted linear"  # repeats weights that have rows of their own
        if spans or row.entry.name in seen | taken:
            continue
        seen.add(row.entry.name)
        if row.entry.status == "refused":
            if rule.technique != "watch":
                raise UnsupportedInput(f"{rule} names {row.entry.name}, of unknown operator: {row.entry.reason}")
            unheld[row.entry.name] = row.entry.reason
        elif row.entry.status == "weight":
            yield from _held(rule, row, parameters, unheld, seen)


def _held(
    rule: Rule, row: Row, parameters: Mapping[str, torch.nn.Parameter], unheld: dict[str, str], seen: set[str]
) -> Iterator[Site]:
    if 0 in row.entry.shape:
        unheld[row.entry.name] = "it has no entries"
        return
    missing = [name for name in row.entry.tensors if name not in parameters]
    writable = row.entry.part is not None or row.entry.kind == "adapted linear"
    found = tuple(parts_of(row.path, row.module, row.entry, rule, parameters)) if writable and not missing else ()
    for site in found:
        if site.rule.split is not None:
            seen.add(site.name)
        yield site
    if not found and not row.entry.derived:
        unheld[row.entry.name] = _why_not(row, missing if writable else [])


def _why_not(row: Row, missing: list[str]) -> str:
    if missing:
        return f"{', '.join(missing)} is no parameter"
    if row.module is not None and parametrize.is_parametrized(row.module):
        return "its weight is made by a parametrization, which holds it or hides it: use one or the other"
    return f"of kind '{row.entry.kind}', which no rule holds"


def _parts_of_adapted(named: list[Row]) -> set[str]:
    """The rows of W, A and B where W + s·B·A is held instead."""
    whole = [row.entry for row in named if row.entry.kind == "adapted linear" and row.entry.status == "weight"]
    return {name for entry in whole for name in entry.tensors}


def _require_matches(rule: Rule, named: list[Row], rows: list[Row]) -> None:
    _require_each(rule.where, rows, str(rule))
    if not named:
        raise UsageError(f"{rule} names only layers that are excluded; drop the rule or the exclusion")


def _require_traced(model: torch.nn.Module, plan: Sequence[Layer], input_shape: Any) -> None:
    """A shape that was given is one that the model takes. A sharded model is never traced."""
    parts = [entry.part for layer in plan for entry in layer.entries if isinstance(entry.part, ConvolutionPart)]
    if input_shape is None or all(p.input_shape for p in parts) or any(is_sharded(p) for p in model.parameters()):
        return
    problem = sizes_of(model, input_shape).calls.problem
    if problem:
        raise UsageError(
            f"input_shape={input_shape!r}: the model could not be run at it ({problem}); give the shape of one example "
            "without the batch, or none: convolutions are then held for any size"
        )


def _require_each(places: Sequence[str | type], rows: list[Row], what: str) -> None:
    """Every pattern and type names something, so that no typing error goes unseen."""
    weights = [row for row in rows if row.entry.status == "weight" and not row.entry.derived]
    for place in places:
        if any(_is_named(row, (place,)) for row in rows):
            continue
        if isinstance(place, str):
            near = _nearest(place, weights)
            raise UsageError(f"{what}: the pattern {place!r} matches no layer; nearest: {_listed(near)}")
        kinds = sorted({type(row.module).__name__ for row in weights})
        raise UsageError(f"{what}: no layer is of type {place.__name__}; layers with weights are: {_listed(kinds)}")


def _reasons(named: list[Row], unheld: Mapping[str, str]) -> list[str]:
    return [f"{row.entry.name} ({unheld.get(row.entry.name) or row.entry.reason or row.entry.kind})" for row in named]


def _nearest(pattern: str, rows: list[Row]) -> list[str]:
    names = list(dict.fromkeys(name for row in rows for name in row.names))
    return difflib.get_close_matches(pattern.replace("*", ""), names, n=_SHOWN, cutoff=0.3) or names[:_SHOWN]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _without_needless_watches(sites: list[Site]) -> list[Site]:
    """No entry of a parameter under two sites; what another rule holds is looked at anyway."""
    kept: list[Site] = []
    by_parameter: dict[int, list[Site]] = {}
    for site in sorted(sites, key=lambda s: s.rule.technique == "watch"):
        before = [s for p in _moving(site) for s in by_parameter.get(id(p), ())]
        other = next((s for s in before if _overlap(site, s)), None)
        if other is not None and site.rule.technique == "watch":
            continue
        if other is not None:
            same = "by two rules" if other.rule is not site.rule else "twice by one rule"
            raise UsageError(
                f"{site.name} is held {same}: {other.rule} (as {other.name}) and {site.rule}; narrow one of the "
                "patterns, or exclude the layer from one"
            )
        kept.append(site)
        for p in _moving(site):
            by_parameter.setdefault(id(p), []).append(site)
    return kept


def _overlap(a: Site, b: Site) -> bool:
    """Of two sites of one parameter."""
    return a.kind != "dense" or b.kind != "dense" or _meet(a, b)


def _moving(site: Site) -> tuple[torch.nn.Parameter, ...]:
    return site.parameters[1:] if site.kind == "adapted" else site.parameters


def _meet(a: Site, b: Site) -> bool:
    """Whether two parts of one parameter share an entry."""
    shape = a.parameters[0].shape
    for axis, size in enumerate(shape):
        x, y = (_positions(s.index[axis] if axis < len(s.index) else slice(None), size) for s in (a, b))
        if not set(x) & set(y):
            return False
    return True


def _positions(where: int | slice, size: int) -> range:
    return range(where, where + 1) if isinstance(where, int) else range(*where.indices(size))


def _is_named(row: Row, places: Sequence[str | type]) -> bool:
    return any(
        any(fnmatch.fnmatchcase(name, place) for name in row.names)
        if isinstance(place, str)
        else isinstance(row.module, place)
        for place in places
    )


def _parents(name: str) -> Iterator[str]:
    while "." in name:
        name = name.rpartition(".")[0]
        yield name
