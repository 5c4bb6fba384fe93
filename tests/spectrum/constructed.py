"""Matrices of known singular triplets, and checkpoints of them, for tests of directions and interaction."""

import numpy as np

from opnorm.bound import Evidence
from opnorm.linalg.request import Request
from opnorm.readers.live import open_model
from opnorm.readers.memory import MemoryCheckpoint
from opnorm.report.survey import Survey
from opnorm.spectrum.interaction import interaction_of


def orthonormal(rows, columns, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((rows, columns)))[0]


def with_triplets(left, values, right):
    return left @ np.diag(values) @ right.T


def made(rows, columns, values, seed=0):
    """A matrix of these singular values, and its vectors."""
    left, right = orthonormal(rows, len(values), seed), orthonormal(columns, len(values), seed + 1)
    return with_triplets(left, values, right), left, right


def norms_of(checkpoint, evidence="probable"):
    survey = Survey(Request(Evidence.parse(evidence)))
    survey.add(checkpoint)
    return {row.name: row.bracket() for row in survey.rows if row.status == "measured"}


def of_file(arrays, config=None, select=lambda name: True, input_shape=None):
    checkpoint = MemoryCheckpoint(arrays, input_shape)
    checkpoint.config = config
    return interaction_of(checkpoint, norms_of(checkpoint) if input_shape is None else {}, select)


def of_model(model, input_shape=None, measured=True):
    checkpoint = open_model(model, input_shape)
    return interaction_of(checkpoint, norms_of(checkpoint) if measured else {}, lambda name: True)


def spectral(matrix):
    return float(np.linalg.norm(np.asarray(matrix, dtype=np.float64), 2))
