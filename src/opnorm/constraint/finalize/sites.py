"""The end of a gate's work: every site's last projection, the cast, the proof; only then are the weights written.

The way: sites of the model → `finalize` (matrices), `conv_finalize` (convolutions), `adapted` (W + s·B·A), none of
which changes the model → all proved → the model cast → the finished values put in place → hashes of what is now stored.
Nothing is written before everything is proved: where one bound is missed the model is as it was.
Cost: memory of the held weights once more; time of their decompositions in float64.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

import opnorm
from opnorm.bound import Evidence, Measurement
from opnorm.constraint.finalize.adapted import AdaptedLayer, finish_adapter
from opnorm.constraint.finalize.certificate import Certificate, CertifiedRow, sha256
from opnorm.constraint.finalize.convolution import finalize_convolution
from opnorm.constraint.finalize.matrix import TOLERANCE, finalize_matrix
from opnorm.constraint.sharded import gathered, store
from opnorm.constraint.sites import Site
from opnorm.errors import BoundMissed, NotFinite, UndefinedNorm, UsageError
from opnorm.frameworks import aslinearoperator
from opnorm.frameworks.convolution import convolution
from opnorm.linalg.algebra import low_rank_update
from opnorm.linalg.measure import measure_operator
from opnorm.linalg.operator import LinearOperator
from opnorm.linalg.request import Request

if TYPE_CHECKING:
    from opnorm.constraint.gate import Gate


@dataclass(frozen=True, slots=True)
class Finished:
    """A site, the values for each of its parameters that moves (by name), and what is proved."""

    site: Site
    values: dict[str, torch.Tensor]
    measurement: Measurement
    smallest: float | None = None
    changed: bool = False


def finish(gate: Gate, dtype: torch.dtype | None, model: torch.nn.Module, width: float) -> Certificate:
    """See `Gate.finalize`."""
    sites = list(_sites_in(gate, model))
    done = [_finished(site, gate.steps, dtype, width) for site in sites]
    rows = [_row(finished, gate.steps, dtype) for finished in done]
    whole = _whole(done, dtype)
    if dtype is not None:
        model.to(dtype)
    own = dict(model.named_parameters(remove_duplicate=False))
    for name, values in whole.items():
        store(own[name], values)
    digests = {name: sha256(gathered(own[name])) for site in sites for name in site.tensors}
    hashed = tuple(replace(row, sha256=tuple(digests[name] for name in row.tensors)) for row in rows)
    notes = tuple(f"{name} is not held: {reason}" for name, reason in gate.unheld)
    return Certificate(hashed, opnorm.__version__, type(model).__name__, notes)


def _sites_in(gate: Gate, model: torch.nn.Module) -> Iterator[Site]:
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for held in gate.held:
        lacking = [name for name in held.site.tensors if name not in parameters]
        if lacking:
            raise UsageError(
                f"the model given has no parameter {lacking[0]!r}, which the gate holds: give the gate's own model, or "
                "one of the same names, such as AveragedModel(...).module"
            )
        yield held.site.in_other(parameters)


def _finished(site: Site, step: int, dtype: torch.dtype | None, width: float) -> Finished:
    try:
        if not site.rule.moves or site.frozen:
            return _measured(site, step, dtype, width)
        return _MOVES[site.kind](site, step, dtype, width)
    except UndefinedNorm as error:
        raise error if isinstance(error, NotFinite) else NotFinite(site.name, error.nan, error.inf) from error


def _dense(site: Site, step: int, dtype: torch.dtype | None, _: float) -> Finished:
    lo, hi = site.band(step)
    found = finalize_matrix(_matrix(site), lo, hi, dtype, name=site.name)
    smallest = None if found.smallest is None else found.smallest.lower
    return Finished(site, {site.tensors[0]: found.values}, found.measurement, smallest, found.changed)


def _convolution(site: Site, step: int, dtype: torch.dtype | None, width: float) -> Finished:
    kernel = gathered(site.parameters[0])
    size = None if site.input_shape is None else site.input_shape[1:]
    values, proof = finalize_convolution(kernel, dict(site.settings), size, site.band(step)[1], dtype, width=width)  # type: ignore[arg-type]
    changed = not torch.equal(values, kernel.to(values.dtype))
    return Finished(site, {site.tensors[0]: values}, proof, changed=changed)


def _adapted(site: Site, step: int, dtype: torch.dtype | None, _: float) -> Finished:
    base, b, a = (gathered(p) for p in site.parameters)
    hi = site.band(step)[1]
    layer = AdaptedLayer(_stored(base, dtype), site.scale, hi, site.transposed, name=site.name)
    found = finish_adapter(layer, b, a, dtype)
    values = dict(zip(site.tensors[1:], (found.b, found.a), strict=True))
    return Finished(site, values, found.measurement, None, found.changed)


_MOVES = {"dense": _dense, "convolution": _convolution, "adapted": _adapted}


def _measured(site: Site, step: int, dtype: torch.dtype | None, width: float) -> Finished:
    """What is not moved: watched and penalized layers as they are, frozen ones against their band."""
    lo, hi = site.band(step) if site.rule.moves else (0.0, math.inf)
    operator = _operator(site, dtype)
    for finer in (1.0, 1e-3):
        proof = measure_operator(operator, Request(Evidence.PROVED, finer * width, ceiling=hi))
        if proof.bracket(Evidence.PROVED).at_most(hi) is not None:
            break
    if site.rule.moves and (lo > 0 or not proof.bracket(Evidence.PROVED).at_most(hi)):
        raise BoundMissed(
            f"{site.name} is frozen, so that nothing moved it, and {proof} is not proved to lie in [{lo:g}, {hi:g}]: "
            "let it have a gradient, or leave it out of the rule"
        )
    return Finished(site, {}, proof)


def _operator(site: Site, dtype: torch.dtype | None) -> LinearOperator:
    tensors = [_stored(gathered(p), dtype) for p in site.parameters]
    if site.kind == "convolution":
        return convolution(tensors[0], site.input_shape, **site.settings)
    if site.kind == "dense":
        return aslinearoperator(tensors[0][site.index] if site.index else tensors[0])
    base, b, a = tensors
    return low_rank_update(
        aslinearoperator(base.T if site.transposed else base), aslinearoperator(b), aslinearoperator(a), site.scale
    )


def _stored(tensor: torch.Tensor, dtype: torch.dtype | None) -> torch.Tensor:
    """As a model cast to `dtype` holds it: integers stay what they are."""
    return tensor if dtype is None or not tensor.is_floating_point() else tensor.to(dtype)


def _matrix(site: Site) -> torch.Tensor:
    whole = gathered(site.parameters[0])
    return whole[site.index] if site.index else whole


def _whole(done: list[Finished], dtype: torch.dtype | None) -> dict[str, torch.Tensor]:
    """Each parameter that moves, all of its entries, with the finished parts in place."""
    whole: dict[str, torch.Tensor] = {}
    for finished in done:
        parameters = dict(zip(finished.site.tensors, finished.site.parameters, strict=True))
        for name, values in finished.values.items():
            if name not in whole:
                entries = gathered(parameters[name])
                whole[name] = entries.to(entries.dtype if dtype is None else dtype, copy=True)
            target = whole[name][finished.site.index] if finished.site.index else whole[name]
            target.copy_(values)
    return whole


def _row(finished: Finished, step: int, dtype: torch.dtype | None) -> CertifiedRow:
    """All but the hashes, which are of what is stored in the end; nothing is stored where this fails."""
    site, proof = finished.site, finished.measurement.bracket(Evidence.PROVED)
    lo, hi = site.band(step) if site.rule.moves else (0.0, math.inf)
    if proof.upper is None:
        raise BoundMissed(f"{site.name}: nothing is proved above {finished.measurement}; skip it, or report this")
    own = str(_stored(site.parameters[0].detach()[:0], dtype).dtype).removeprefix("torch.")
    size = "x".join(map(str, site.shape))
    return CertifiedRow(
        site.name, site.tensors, site.kind, f"{site.kind} {size}", site.shape, own, lo, hi, proof.lower, proof.upper,
        finished.smallest, TOLERANCE[own] if lo > 0 else 0.0, finished.measurement.method, (),
        round(finished.measurement.seconds, 6), None, finished.changed,
    )  # fmt: skip
