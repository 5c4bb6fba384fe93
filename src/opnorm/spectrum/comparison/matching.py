"""Which names of two checkpoints mean the same layer.

In this order, each step for the names that are left: (1) alike; (2) alike once the wrappers of training are taken off
(`module.` of data parallelism, `_orig_mod.` of `torch.compile`, `base_model.model.` and `.base_layer` of PEFT);
(3) alike once one prefix, the same for all, is taken off the names of one side, such as `model.` or `bert.`. A prefix
is believed where most of the layers that it pairs have equal shapes, and no other prefix pairs the same layers as well.
Names with two readings are not matched. Two layers that match by name are paired even where their shapes differ: the
pair is then reported as such, never dropped and never matched to another.

Cost: linear in the number of names, times at most 128 prefixes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

Shapes = Mapping[str, tuple[int, ...]]
"""Name → shape."""

Key = Callable[[str], str | None]
"""What a name is matched by; None: by nothing."""

FRONTS = ("module.", "_orig_mod.", "base_model.model.")
INSIDE = ("._orig_mod.", ".base_layer.")

_DEEPEST = 3
"""Parts of a name that a prefix has at most."""

_MOST_PREFIXES = 64
"""Prefixes tried on either side, the most frequent first: a file of a few bytes may not ask for time without end."""

_RIVAL = 0.5
"""A second prefix that pairs this share of what the first does makes both unbelievable."""


@dataclass(slots=True)
class Matching:
    """pairs: (name in base, name in tuned), in the order of tuned. notes: how they were found, in sentences."""

    pairs: list[tuple[str, str]] = field(default_factory=list)
    only_base: list[str] = field(default_factory=list)
    only_tuned: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def plain(name: str) -> str:
    """A name without the wrappers of training."""
    while front := next((f for f in FRONTS if name.startswith(f) and len(name) > len(f)), ""):
        name = name[len(front) :]
    for wrapper in INSIDE:
        name = name.replace(wrapper, ".")
    return name


def matched(base: Shapes, tuned: Shapes) -> Matching:
    """The pairs of two checkpoints' names, each name in at most one."""
    partner = {name: name for name in tuned if name in base}
    notes = []
    unwrapped = _by_key(_left(base, partner.values()), _left(tuned, partner), plain, plain)
    if unwrapped:
        notes.append(f"{_names(len(unwrapped))} matched without the prefixes of wrappers ({', '.join(FRONTS)})")
    partner |= unwrapped
    shifted, said = _shifted(base, tuned, _left(base, partner.values()), _left(tuned, partner))
    partner |= shifted
    taken = set(partner.values())
    return Matching(
        [(partner[name], name) for name in tuned if name in partner],
        [name for name in base if name not in taken],
        [name for name in tuned if name not in partner],
        notes + said,
    )


def _left(names: Shapes, taken: Iterable[str]) -> list[str]:
    gone = set(taken)
    return [name for name in names if name not in gone]


def _by_key(base: Sequence[str], tuned: Sequence[str], of_base: Key, of_tuned: Key) -> dict[str, str]:
    """tuned → base for names whose keys agree and are the key of one name on either side; None is no key."""
    homes, guests = _unique(base, of_base), _unique(tuned, of_tuned)
    return {guest: homes[key] for key, guest in guests.items() if key in homes}


def _unique(names: Sequence[str], key: Key) -> dict[str, str]:
    keys = {name: key(name) for name in names}
    often = Counter(keys.values())
    return {k: name for name, k in keys.items() if k is not None and often[k] == 1}


def _shifted(
    base: Shapes, tuned: Shapes, left_base: Sequence[str], left_tuned: Sequence[str]
) -> tuple[dict[str, str], list[str]]:
    """Matches after one prefix is taken off one side, and how that went."""
    candidates = []
    for side, holders in (("TUNED", left_tuned), ("BASE", left_base)):
        for prefix in _prefixes(holders):
            pairs = _without(prefix, side, left_base, left_tuned)
            fits = sum(base[b] == tuned[t] for t, b in pairs.items())
            if 2 * fits > len(pairs):
                candidates.append((fits, side, prefix, pairs))
    if not candidates:
        return {}, []
    candidates.sort(key=lambda c: (-c[0], c[1], len(c[2]), c[2]))
    fits, side, prefix, pairs = candidates[0]
    rivals = [
        p for n, s, p, other in candidates[1:] if n >= _RIVAL * fits and s == side and _overlap(side, pairs, other)
    ]
    if rivals:
        named = ", ".join(repr(p[:80]) for p in (prefix, *rivals[:3]))
        return {}, [
            f"names of {side} match under several prefixes ({named}), so under none; give a file with one of them"
        ]
    return pairs, [f"{_names(len(pairs))} of {side} matched without the prefix {prefix[:80]!r}"]


def _prefixes(names: Sequence[str]) -> list[str]:
    """Leading parts of names up to a dot, none with a layer's number in it, the most frequent first."""
    found: Counter[str] = Counter()
    for name in names:
        parts = plain(name).split(".")[:-1][:_DEEPEST]
        for depth in range(1, len(parts) + 1):
            if any(c.isdigit() for c in parts[depth - 1]):
                break
            found[".".join(parts[:depth]) + "."] += 1
    return [prefix for prefix, _ in found.most_common(_MOST_PREFIXES)]


def _without(prefix: str, side: str, base: Sequence[str], tuned: Sequence[str]) -> dict[str, str]:
    def cut(name: str) -> str | None:
        short = plain(name)
        return short[len(prefix) :] if short.startswith(prefix) else None

    return _by_key(base, tuned, cut if side == "BASE" else plain, cut if side == "TUNED" else plain)


def _overlap(side: str, first: Mapping[str, str], second: Mapping[str, str]) -> bool:
    """Whether two readings give the partners of one side to different names of the other."""
    if side == "TUNED":
        return bool(set(first.values()) & set(second.values()))
    return bool(first.keys() & second.keys())


def _names(number: int) -> str:
    return f"{number} name" + "s" * (number != 1)
