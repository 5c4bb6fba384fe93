"""From a live model's modules to layers: each by its rule, what is left by dtype and shape, no tensor without a row.

Modules are taken in the order of `named_modules`, outer ones first, so that a rule may take tensors of the modules
inside (an adapter around a dense layer). Then BatchNorms are folded into what feeds them, computed weights are
replaced by their sources (`computed`), and tied ones point to the first (`ties`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from typing import Any

from opnorm.errors import UnsupportedInput
from opnorm.layers.folding import folded_batch_norm
from opnorm.layers.module_rest import of_unknown_use, packed
from opnorm.layers.module_rules import RULES, gives_channels, is_batch_norm, most_padding
from opnorm.layers.modules import Held, Site, find_rule, qualified
from opnorm.layers.plan import Entry, Layer
from opnorm.layers.vectors import refused
from opnorm.readers.checkpoint import Tensor
from opnorm.readers.live.computed import Computed, resolved
from opnorm.readers.live.families import families
from opnorm.readers.live.tensors import Stored, dtype_words, joined_path
from opnorm.readers.live.ties import tied
from opnorm.readers.live.trace import Sizes

HOOKS = "the module has hooks, which are not seen: measured as it is without them"
FOLDABLE = ("linear", "convolution", "transposed convolution")
"""Kinds of rows that a BatchNorm after them is folded into."""


class Walk:
    """From modules to layers, in the order of `named_modules`."""

    def __init__(self, model: Any, stored: list[Stored], tensors: list[Tensor], sizes: Sizes) -> None:
        self.frameworks = import_module("opnorm.frameworks.torch_modules")
        self.stored, self.sizes = {s.name: s for s in stored}, sizes
        self.modules: dict[str, Any] = dict(model.named_modules(remove_duplicate=False))
        self.families = families(self.modules, tensors, self.frameworks.unknown_hooks)
        self.paths = {id(module): path for path, module in reversed(self.modules.items())}
        self.computed: dict[str, Computed] = {}
        self.problems: dict[str, str] = {}
        own: dict[str, dict[str, Held]] = {}
        for s in stored:
            own.setdefault(s.path, {})[s.role] = Held(s.name, s.shape, s.dtype)
            if s.problem:
                self.problems.setdefault(s.path, s.problem)
        self.sites = {path: self._site(path, module, own.get(path, {})) for path, module in self.modules.items()}

    def layers(self) -> list[Layer]:
        """The whole way."""
        plans = {path: self._entries(site) for path, site in self.sites.items()}
        claimed: dict[str, str] = {}
        for path, entries in plans.items():
            plans[path] = [e for e in entries if e.derived or not claimed.keys() & self._sources(e)]
            claimed |= {name: path for e in plans[path] if not e.derived for name in self._sources(e)}
        parts = self.families.parts()
        for name in (n for n in self.stored if n not in claimed):
            plans[self.stored[name].path] += parts.get(name) or [self._unknown(self.stored[name])]
        for path, entries in plans.items():
            plans[path] = [part for e in entries for part in self._split(e, parts)]
        for path, entries in plans.items():
            plans[path] = [self._with_readers(path, e) for e in entries]
        for path, entry in [*self._folded(plans), *self._of_family(plans)]:
            plans.setdefault(path, []).append(entry)
        found = [
            Layer(path, tuple(resolved(e, self.computed) for e in entries))
            for path, entries in plans.items()
            if entries
        ]
        makers = {e.name: self._maker(path, e) for path, entries in plans.items() for e in entries}
        return tied(found, {s.name: s.first for s in self.stored.values() if s.first}, makers)

    def _maker(self, path: str, entry: Entry) -> object:
        """None for a row over stored tensors; else the module that computes its weight, in its own way."""
        return self.paths[id(self.modules[path])] if self.computed.keys() & set(entry.tensors) else None

    def _with_readers(self, path: str, entry: Entry) -> Entry:
        """The row with a word about other code that reads its tensors."""
        if entry.status != "weight" or path not in self.modules:
            return entry
        inside = [s for s in (self.stored.get(name) for name in entry.tensors) if s is not None]
        names = [joined_path(self.paths[id(self.modules[s.path])], s.role) for s in inside]
        found = next((words for name in names if (words := self.sizes.reader(name))), "")
        return replace(entry, reason="; ".join(p for p in (entry.reason, found) if p)) if found else entry

    def _unknown(self, s: Stored) -> Entry:
        return of_unknown_use(Held(s.name, s.shape, s.dtype), self.modules[s.path])

    def _split(self, entry: Entry, parts: dict[str, list[Entry]]) -> list[Entry]:
        """The parts of a dense row that a known family fuses, such as q, k and v; else the row."""
        found = parts.get(entry.name, []) if entry.kind == "linear" and entry.tensors == (entry.name,) else []
        return found if len(found) > 1 else [entry]

    def _of_family(self, plans: dict[str, list[Entry]]) -> Iterator[tuple[str, Entry]]:
        """Rows that span layers in a known family's own way, but those that the modules' rules gave already."""
        entries = [e for entries in plans.values() for e in entries]
        names = {e.name for e in entries}
        measured = {t for e in entries if e.status == "weight" and not e.derived for t in e.tensors}
        return ((path, e) for path, e in self.families.spanning(measured) if e.name not in names)

    def _site(self, path: str, module: Any, own: dict[str, Held]) -> Site:
        held = dict(own)
        for role, served in self.frameworks.served(module).items():
            sources = tuple(joined_path(path, source) for source in served.sources)
            for source in served.sources:
                held.pop(source, None)
            made = Computed(sources, served.make)
            self.computed[joined_path(path, role)] = made
            shape, dtype, problem = self._made(made)
            held[role] = Held(joined_path(path, role), shape, dtype)
            if problem:
                self.problems.setdefault(path, problem)
        size = self.sizes.of(self.paths[id(module)])
        return Site(module, path, held, size.input, size.output, size.why)

    def _made(self, computed: Computed) -> tuple[tuple[int, ...], str, str]:
        """Shape and dtype of a computed weight, or what is in the way."""
        problem = next((self.stored[name].problem for name in computed.sources if self.stored[name].problem), "")
        if problem:
            return (), "", problem
        try:
            weight = computed.make()
        except UnsupportedInput as error:
            return (), "", str(error)
        return tuple(weight.shape), dtype_words(weight), ""

    def _entries(self, site: Site) -> list[Entry]:
        hidden = list(packed(site.path, site.module))
        problem = self.problems.get(site.path, "")
        if problem:
            return hidden + self._refused(site, problem)
        rule, reason = find_rule(site.module, RULES)
        if rule is None:
            return hidden + (self._refused(site, reason) if reason else [])
        try:
            entries = rule(replace(site, below=self._below(site)))
        except (AttributeError, KeyError) as error:
            return self._refused(site, f"not as {qualified(type(site.module))} should be: {error!r} is missing")
        if not self.frameworks.unknown_hooks(site.module):
            return list(entries)
        return [replace(e, reason="; ".join(p for p in (e.reason, HOOKS) if p)) for e in entries]

    def _below(self, site: Site) -> dict[str, Site]:
        """The sites inside a module, by their paths from it."""
        start = f"{site.path}." if site.path else ""
        inside = self.sites.items() if site.module._modules else ()
        return {path[len(start) :]: s for path, s in inside if path.startswith(start) and path != site.path}

    def _refused(self, site: Site, reason: str) -> list[Entry]:
        names = [s for held in site.held.values() for s in self._sources_of(held.name)]
        return [refused(s.name, s.shape, s.dtype, "tensor", reason) for s in (self.stored[n] for n in names)]

    def _sources(self, entry: Entry) -> set[str]:
        return {source for name in entry.tensors for source in self._sources_of(name)}

    def _sources_of(self, name: str) -> tuple[str, ...]:
        return self.computed[name].sources if name in self.computed else (name,)

    def _folded(self, plans: dict[str, list[Entry]]) -> Iterator[tuple[str, Entry]]:
        """A row for each BatchNorm that is fed by one layer and nothing else."""
        for path, producer in self.sizes.calls.feeds.items():
            site, source = self.sites.get(path), self.sites.get(producer)
            if site is None or source is None or not is_batch_norm(site) or path in self.problems:
                continue
            weights = [e for e in plans[producer] if e.status == "weight" and not e.derived and e.kind in FOLDABLE]
            if len(weights) == 1 and gives_channels(source):
                yield path, folded_batch_norm(
                    weights[0], site.names(), eps=float(site.module.eps), label=path.rpartition(".")[2],
                    padding=most_padding(source), transposed=weights[0].kind == "transposed convolution",
                )  # fmt: skip
