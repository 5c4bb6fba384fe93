"""Two checkpoints → what changed in each layer.

Pairs are found by name; each is read once, and where both hold the same bytes that is all. Else their operators and
that of ΔW are measured as `opnorm measure` would. An adapter is compared with the base that it adapts; two adapters, by
what they add. Rows made of several tensors (circuits, folded layers) are not compared: their parts are. Memory: the
tensors of a pair and ΔW in float64, for as many pairs as are measured at a time and one more.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from opnorm.errors import CheckpointError, Contradiction, FileAccessError, OpnormError, UsageError
from opnorm.layers.plan import Entry
from opnorm.linalg.request import Request
from opnorm.readers.checkpoint import Checkpoint
from opnorm.readers.naming import plan
from opnorm.spectrum.comparison.adapters import Update, homes, is_adapter, updates_of
from opnorm.spectrum.comparison.contents import Contents, Source
from opnorm.spectrum.comparison.document import Change, Comparison
from opnorm.spectrum.comparison.matching import Matching, matched
from opnorm.spectrum.comparison.pairs import AdaptedPair, EntryPair, Pair
from opnorm.spectrum.comparison.vectors import Vectors

Select = Callable[..., bool]
"""Whether one of the names given is selected."""

Progress = Callable[[str, int, int], None]
"""Called before each pair with its name, its number and how many there are."""

Problem = Callable[[str, OpnormError], None]
"""Called with a layer's name and why a file could not be read for it, or how two bounds contradict each other."""

_SHOWN = 3


def compare(
    base: Checkpoint,
    tuned: Checkpoint,
    request: Request,
    select: Select = lambda *_: True,
    progress: Progress = lambda *_: None,
    jobs: int = 1,
    problem: Problem = lambda *_: None,
) -> Comparison:
    """What changed from `base` to `tuned`, a change for every pair of selected layers, in the order of `tuned`.

    select: as `opnorm.report.survey.Selection`, given both names of a pair. Raises `UsageError` where the two have no
    layer in common, or none that is selected.
    """
    notes = [*_same_file_notes(base, tuned), *_layout_notes(base, tuned)]
    entries, tuned_entries = _entries(base, tuned), _entries(tuned, base)
    updates = updates_of(tuned, tuned_entries)
    if updates and any(is_adapter(e) for e in entries):
        updates = []
    matching, pairs = _entry_pairs(entries, tuned_entries, whole=not updates)
    adapted, left = _adapted_pairs(base, updates, entries, matching)
    if not pairs and not adapted:
        raise UsageError(_nothing_common(base, tuned, entries, tuned_entries))
    chosen = [p for p in (*pairs, *adapted) if select(p.name, p.tuned_name)]
    if not chosen:
        raise UsageError("no layer that both have is selected; run without --only and --skip to see the names")
    sources = Source(base), Source(tuned)
    maps = [p for p in chosen if p.is_map]
    changes = tuple(_told(p, c, problem) for p, c in _changes(maps, sources, request, progress, jobs))
    vectors = _vectors([p for p in chosen if not p.is_map], sources)
    only_base = tuple(n for n in matching.only_base if select(n))
    if updates and not pairs:
        notes.append(f"an adapter: the {len(only_base)} other tensors of BASE are as they were")
        only_base = ()
    return Comparison(
        path_of(base),
        path_of(tuned),
        changes,
        only_base,
        tuple(n for n in (*matching.only_tuned, *left) if select(n)),
        (*notes, *matching.notes, *vectors.notes()),
        math.fsum(c.failure_probability for c in changes),
    )


_Outcome = tuple[Change, OpnormError | None]


def _changes(
    pairs: list[Pair], sources: tuple[Source, Source], request: Request, progress: Progress, jobs: int
) -> Iterator[tuple[Pair, _Outcome]]:
    """Read in this thread, measured in `jobs` others, in order."""
    with ThreadPoolExecutor(jobs) as pool:
        window: list[tuple[Pair, Future[_Outcome]]] = []
        for number, pair in enumerate(pairs):
            progress(pair.tuned_name, number, len(pairs))
            contents = pair.read(*sources)
            if jobs == 1:
                yield pair, _outcome(pair, contents, request)
                continue
            window.append((pair, pool.submit(_outcome, pair, contents, request)))
            if len(window) > jobs:
                first, future = window.pop(0)
                yield first, future.result()
        for pair, future in window:
            yield pair, future.result()


def _outcome(pair: Pair, contents: Contents, request: Request) -> _Outcome:
    """What became of a pair, and what the caller must hear of besides: unread files, contradictions."""
    try:
        grave = contents.error if isinstance(contents.error, CheckpointError | FileAccessError) else None
        return pair.change(contents, request), grave
    except Contradiction as error:
        return replace(pair.blank, status="refused", reason=str(error)), error


def _told(pair: Pair, outcome: _Outcome, problem: Problem) -> Change:
    change, error = outcome
    if error is not None:
        problem(pair.tuned_name, error)
    return change


def _vectors(pairs: list[Pair], sources: tuple[Source, Source]) -> Vectors:
    vectors = Vectors()
    for pair in pairs:
        vectors.add(pair.name, pair.read(*sources))
    return vectors


def _entries(checkpoint: Checkpoint, other: Checkpoint) -> list[Entry]:
    """The rows to compare: each tensor's own, and what adapters add; by the other's configuration where it has none."""
    borrow = _borrows(checkpoint, other)
    layers = plan(checkpoint.tensors, other.config, checkpoint.input_shape) if borrow else checkpoint.plan
    rows = [entry for layer in layers for entry in layer.entries]
    return [e for e in rows if e.status != "optimizer" and not e.same_as and (not e.derived or is_adapter(e))]


def _borrows(checkpoint: Checkpoint, other: Checkpoint) -> bool:
    from_files = type(checkpoint).plan is Checkpoint.plan
    return (
        from_files and checkpoint.config is None and other.config is not None and "adapter_config" not in other.config
    )


def _same_file_notes(base: Checkpoint, tuned: Checkpoint) -> list[str]:
    one, other = ([os.path.realpath(f.path) for f in c.files if os.path.exists(f.path)] for c in (base, tuned))
    return ["BASE and TUNED are the same file: is one of them meant to be another?"] if one and one == other else []


def _layout_notes(base: Checkpoint, tuned: Checkpoint) -> list[str]:
    sides = (("BASE", base, "TUNED", tuned), ("TUNED", tuned, "BASE", base))
    return [
        f"{name} has no config.json: that of {whose} says how its tensors are laid out"
        for name, checkpoint, whose, other in sides
        if _borrows(checkpoint, other)
    ]


def _entry_pairs(base: list[Entry], tuned: list[Entry], *, whole: bool) -> tuple[Matching, list[Pair]]:
    """Rows of the same name; where both are adapters (`whole`), their updates and not their factors."""

    def compared(entry: Entry) -> bool:
        return not is_adapter(entry) or (whole and entry.derived and entry.kind == "adapter")

    before = {e.name: e for e in base if compared(e)}
    after = {e.name: e for e in tuned if compared(e)}
    matching = matched({n: e.shape for n, e in before.items()}, {n: e.shape for n, e in after.items()})
    return matching, [EntryPair(before[b], after[t]) for b, t in matching.pairs]


def _adapted_pairs(
    base: Checkpoint, updates: list[Update], entries: list[Entry], matching: Matching
) -> tuple[list[Pair], list[str]]:
    """Updates beside the weights they adapt, and the names of those that have none."""
    found, how = homes(base, updates)
    tensors = {t.name: t for t in base.tensors}
    rows = {e.name: e for e in entries}
    pairs: list[Pair] = []
    for update in updates:
        if name := found.get(update.weight, ""):
            pairs.append(AdaptedPair(update, tensors[name], rows.get(name)))
    matching.notes += [] if not updates else how.notes
    inside = dict.fromkeys(p.name for p in pairs)
    matching.only_base = [n for n in matching.only_base if n not in inside]
    return pairs, [u.entry.name for u in updates if u.weight not in found]


def _nothing_common(base: Checkpoint, tuned: Checkpoint, entries: list[Entry], tuned_entries: list[Entry]) -> str:
    def first(rows: list[Entry]) -> str:
        names = ", ".join(repr(e.name[:80]) for e in rows[:_SHOWN])
        return f"{names}, …" if len(rows) > _SHOWN else names or "nothing"

    if updates_of(base, entries) and not updates_of(tuned, tuned_entries):
        remedy = "The first is an adapter: give the base first, then the adapter"
    else:
        remedy = "Give two checkpoints of one model, or a base and its adapter"
    return (
        f"{path_of(base)} and {path_of(tuned)} have no layer in common: the first holds {first(entries)}; the second "
        f"{first(tuned_entries)}. {remedy}"
    )


def path_of(checkpoint: Checkpoint) -> str:
    """The file of a checkpoint, or the folder of its files."""
    paths = [file.path for file in checkpoint.files]
    if len(paths) == 1:
        return paths[0]
    return os.path.dirname(paths[0]) if paths else "nothing"
