"""Which kernel holds a site."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from opnorm.constraint.kernels import Kernel
from opnorm.constraint.kernels.adapter import AdapterClip
from opnorm.constraint.kernels.convolution import ConvolutionDescent
from opnorm.constraint.kernels.dense import choose
from opnorm.constraint.kernels.scale import Scale
from opnorm.constraint.sites import Site

if TYPE_CHECKING:
    from opnorm.linalg.convolution.geometry import Settings


def kernel_for(site: Site, seed: int) -> Kernel:
    """The kernel of the site's kind, technique and size; seed: of its start vectors."""
    kernel = _of_kind(site, seed)
    return Scale(kernel) if site.rule.method == "scale" else kernel


def _of_kind(site: Site, seed: int) -> Kernel:
    if site.kind == "adapted":
        return AdapterClip(site, seed)
    if site.kind == "convolution":
        size = None if site.input_shape is None else site.input_shape[1:]
        return ConvolutionDescent(cast("Settings", dict(site.settings)), size, restful=True, seed=seed)
    return choose(tuple(site.weight().shape), site.rule.technique, seed)
