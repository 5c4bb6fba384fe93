"""Measure the rows of a live model, and the explicit matrices of its layers, for tests of the rules."""

from __future__ import annotations

import math

import numpy as np
import torch

from opnorm.linalg.request import Request
from opnorm.readers.live import open_model
from opnorm.report.survey import Survey


def report_of(model, input_shape=None, **request):
    survey = Survey(Request(**request))
    checkpoint = open_model(model, input_shape)
    survey.add(checkpoint)
    report = survey.report("test")
    every = {t.name for t in checkpoint.tensors}
    covered = {t for layer in checkpoint.plan for e in layer.entries if not e.derived for t in e.tensors}
    assert covered == every, every ^ covered
    assert report.coverage["bytes"] == sum(t.nbytes for t in checkpoint.tensors)
    assert report.coverage["bytes"] == sum(n for kind, n in report.coverage.items() if kind != "bytes")
    names = [row.name for row in report.rows]
    assert len(names) == len(set(names))
    return report


def rows_of(model, input_shape=None, **request):
    return {row.name: row for row in report_of(model, input_shape, **request).rows}


def jacobian(function, *shape):
    """The explicit matrix of an affine map of tensors without a batch, in float64: its images of unit impulses."""
    size = math.prod(shape)
    with torch.no_grad():
        inputs = torch.cat([torch.zeros(1, size), torch.eye(size)]).double().reshape(-1, *shape)
        images = function(inputs).reshape(size + 1, -1)
    return (images[1:] - images[0]).T.numpy()


def norm(matrix):
    return float(np.linalg.norm(np.asarray(matrix, dtype=np.float64), 2))


def assert_brackets(row, truth, width=0.01, slack=1e-12):
    assert row.status == "measured", row
    assert row.lower <= truth * (1 + slack), row
    assert truth <= row.upper * (1 + slack), row
    assert row.upper <= row.lower * (1 + 1.02 * width), row
