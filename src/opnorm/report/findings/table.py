"""Every code there is: one line each. Codes are stable: never renumbered, never given another meaning."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from opnorm.report.document import Report
from opnorm.report.findings import changed, heads, loose, refused, scale, shape, tied, training, undefined, units
from opnorm.report.findings.found import Found
from opnorm.report.findings.thresholds import Thresholds

Judge = Callable[[Report, Thresholds], Iterable[Found]]


@dataclass(frozen=True, slots=True)
class Kind:
    """title: in a few words; severity: the gravest it can have; needs: beyond a row's own figures; judge: None where
    it comes from a gate.
    """  # fmt: skip

    title: str
    severity: str
    needs: str
    judge: Judge | None


CODES: Mapping[str, Kind] = MappingProxyType({
    "ON101": Kind("NaN or Inf", "serious", "", undefined.undefined),
    "ON102": Kind("exploding layer", "serious", "", scale.exploding),
    "ON103": Kind("vanishing layer", "serious", "", scale.vanishing),
    "ON104": Kind("rank collapse", "serious", "spectrum", shape.collapsed),
    "ON105": Kind("one direction carries the norm", "warning", "", shape.spiked),
    "ON106": Kind("attention head that is off", "warning", "circuits", heads.heads_off),
    "ON107": Kind("tied weights that differ", "serious", "", tied.untied),
    "ON108": Kind("normalization by the batch", "warning", "live module", training.in_training),
    "ON109": Kind("dead units", "warning", "spectrum", units.dead),
    "ON110": Kind("duplicate units", "warning", "spectrum", units.duplicate),
    "ON111": Kind("over-penalized layer", "warning", "gate", None),
    "ON112": Kind("quantization changed the layer", "serious", "comparison", changed.quantized),
    "ON113": Kind("large drift", "serious", "comparison", changed.drifted),
    "ON114": Kind("new top directions", "note", "comparison", changed.intruded),
    "ON115": Kind("loose product of norms", "note", "interaction", loose.loose),
    "ON116": Kind("weights that were not measured", "serious", "", refused.refused),
})  # fmt: skip
"""Code → what it is."""
