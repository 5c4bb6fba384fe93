"""Names of arms to arms: 'cap', 'cap+l2' in any order, 'none@again'."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import partial

import torch

from opnorm.errors import UsageError
from opnorm.experiment.arms.arm import Applied, Arm
from opnorm.experiment.arms.technique import Together
from opnorm.experiment.document import AGAIN

SUFFIX = f"@{AGAIN}"

HOLDERS = frozenset({"torch_spectral_norm", "cap", "band", "normalize", "orthogonal", "penalty"})
"""Each decides the same norms."""

ALONE = {"none": "it is the arm without a technique", "same_norm": "it is a control, compared with the cap alone"}


def found(name: str, arms: Mapping[str, Arm]) -> Arm:
    """The arm of a name. `UsageError` for a name that is not known, and for techniques that do not go together."""
    plain = name.removesuffix(SUFFIX)
    parts = _parts(plain, arms)
    again = f", {AGAIN} from another start" if name != plain else ""
    if len(parts) == 1:
        return _renamed(parts[0], name, parts[0].title + again)
    ordered = sorted(parts, key=list(arms.values()).index)
    return Arm(
        name,
        " + ".join(part.title for part in ordered) + again,
        tuple(strength for part in ordered for strength in part.strengths),
        partial(_together, name, tuple(ordered)),
        any(part.spectral for part in parts),
        next((part.ceiling for part in ordered if part.ceiling), ""),
        "",
        partial(_remarks, tuple(ordered)),
    )


def _parts(name: str, arms: Mapping[str, Arm]) -> list[Arm]:
    words = name.split("+")
    for word in words:
        if word not in arms:
            near = difflib.get_close_matches(word[:40], arms, n=3, cutoff=0.4)
            hint = f"nearest: {', '.join(near)}" if near else f"there are: {', '.join(arms)}"
            raise UsageError(
                f"arm {word[:40]!r} is not known; {hint}. Join several with '+', such as cap+l2; '{SUFFIX}' after a "
                "name gives the same arm from another start"
            )
    repeated = next((word for word in words if words.count(word) > 1), None)
    if repeated is not None:
        raise UsageError(f"arm {name[:80]!r} names {repeated!r} twice; name each technique once")
    if len(words) > 1:
        _require_compatible(name, words)
    return [arms[word] for word in words]


def _require_compatible(name: str, words: list[str]) -> None:
    for word in words:
        if word in ALONE:
            raise UsageError(f"arm {name[:80]!r}: {word!r} goes with nothing, as {ALONE[word]}; leave it away")
    holders = [word for word in words if word in HOLDERS]
    if len(holders) > 1:
        raise UsageError(
            f"arm {name[:80]!r}: {' and '.join(holders)} each decide the norms of the same layers; choose one of them"
        )


def _renamed(arm: Arm, name: str, title: str) -> Arm:
    if name == arm.name:
        return arm
    return Arm(
        name, title, arm.strengths, partial(_together, name, (arm,)), arm.spectral, arm.ceiling, arm.matches,
        arm.remarks,
    )  # fmt: skip


def _together(name: str, arms: tuple[Arm, ...], setting: Mapping[str, float], seed: int) -> Applied:
    whole = {**{s.name: s.default for arm in arms for s in arm.strengths}, **setting}
    return Together(name, [arm.start(whole, seed) for arm in arms], whole, seed)


def _remarks(arms: tuple[Arm, ...], model: torch.nn.Module) -> tuple[str, ...]:
    return tuple(dict.fromkeys(remark for arm in arms for remark in arm.remarks(model)))
