"""Convolutions chosen to break the symbol's bounds, beside explicit matrices; the symbol is used at every size."""

import math

import numpy as np
import pytest

from opnorm.bound import Evidence
from opnorm.linalg.convolution import at_size
from opnorm.linalg.convolution.operator import Convolution
from opnorm.linalg.measure import measure_operator
from opnorm.linalg.request import Request
from symbol_cases import explicit, random_case

TOGETHER = 1 + 1e-12
RNG = np.random.default_rng(3)
MODES = ("zeros", "circular", "reflect", "replicate")


@pytest.fixture
def symbol_only(monkeypatch):
    """The general plan is never the cheaper one."""
    for name, value in (("GRAM_SIDE", 0), ("IMPLICIT_SIDE", 0), ("_GRAM_WORK", -1.0)):
        monkeypatch.setattr(at_size, name, value)


def case(kernel, size, stride=1, padding=0, dilation=1, groups=1, mode="zeros"):
    axes = len(size)
    pads = tuple((padding, padding) for _ in size) if isinstance(padding, int) else padding
    settings = {
        "stride": (stride,) * axes if isinstance(stride, int) else stride,
        "dilation": (dilation,) * axes if isinstance(dilation, int) else dilation,
        "padding": pads,
        "groups": groups,
        "padding_mode": mode,
    }
    return np.asarray(kernel, dtype=np.float64), size, settings


def comb(degree, gap=1):
    """|1 + e^{iDω}|: the equality case of theorem K, whose maxima any grid may miss."""
    kernel = np.zeros((1, 1, degree * gap + 1))
    kernel[0, 0, [0, -1]] = 1
    return kernel


def turned(frequency, taps):
    """Two channels that turn by `frequency` a tap: the symbol peaks there and nowhere near a grid."""
    angles = frequency * np.arange(taps)
    return np.array([[np.cos(angles), -np.sin(angles)], [np.sin(angles), np.cos(angles)]])


TINY_GROUP = RNG.standard_normal((3, 1, 3)) * np.array([1e-300, 1.0, 1e-8])[:, None, None]
IDLE = np.array([[[1e300, 2.0, -1.0, 0.5]]])
CASES = {
    "comb": case(comb(5), (17,), padding=5),
    "comb, dilated by the stride": case(comb(3), (19,), stride=2, dilation=2, padding=4),
    "dilation and stride share a factor": case(RNG.standard_normal((2, 3, 4)), (23,), 4, 3, 6),
    "turned": case(turned(1.0, 4), (21,), padding=3),
    "turned, even kernel": case(turned(math.pi / 7, 2), (30,), padding=((1, 0),)),
    "one axis without degree": case(RNG.standard_normal((2, 2, 1, 5)), (4, 9), (3, 2), 2),
    "kernel beyond the input": case(RNG.standard_normal((1, 2, 7, 6)), (2, 3), 1, 5),
    "kernel beyond the input, circular": case(RNG.standard_normal((2, 2, 7)), (3,), 1, 3, mode="circular"),
    "circular, stride not dividing": case(RNG.standard_normal((2, 1, 4)), (11,), 3, ((2, 1),), mode="circular"),
    "circular, padded by the size": case(RNG.standard_normal((1, 1, 3)), (2,), 1, 2, mode="circular"),
    "reflect, size 2": case(RNG.standard_normal((2, 2, 2, 3)), (2, 2), 1, 1, mode="reflect"),
    "replicate, size 1": case(RNG.standard_normal((1, 2, 3, 3, 2)), (1, 1, 1), 1, 2, mode="replicate"),
    "tiny group": case(TINY_GROUP, (9,), 1, 1, groups=3),
    "repeated": case(np.eye(3)[:, :, None] * np.ones(3), (8,), 1, 1),
    "3-D": case(RNG.standard_normal((2, 1, 2, 3, 2)), (3, 4, 3), (1, 2, 1), 1),
}


def scaled(kernel):
    exponent = math.frexp(float(np.abs(kernel).max()))[1]
    return np.ldexp(kernel.astype(np.float64), -exponent), exponent


def check(kernel, size, settings, evidence, width):
    near_one, exponent = scaled(kernel)
    mode, others = settings["padding_mode"], {k: v for k, v in settings.items() if k != "padding_mode"}
    matrix = explicit(near_one, size, **others, mode=mode)
    truth = float(np.linalg.norm(matrix, 2))
    sized = Convolution(kernel, (kernel.shape[1] * settings["groups"], *size), **settings)
    measurement = measure_operator(sized, Request(Evidence.parse(evidence), width))
    least = 2.0**-1060 if exponent < 0 else 0.0
    for bound in measurement.bounds:
        value = math.ldexp(bound.value, -exponent)
        assert value <= truth * TOGETHER + least if bound.side == "lower" else truth <= value * TOGETHER, bound
    return measurement, truth


@pytest.mark.parametrize("evidence", ["probable", "proved"])
@pytest.mark.parametrize("name", CASES)
def test_the_symbol_at_one_size_encloses(symbol_only, name, evidence):
    check(*CASES[name], evidence, 0.05)


def test_taps_that_meet_only_padding_may_have_any_size(symbol_only):
    """Beside them the others underflowed, and no step was made."""
    kernel, size, settings = case(IDLE, (2,), 1, ((2, 1),))
    found = measure_operator(Convolution(kernel, (1, 2), **settings), Request(Evidence.PROVED, 0.05))
    truth = np.linalg.norm(explicit(np.where(kernel > 1e200, 0, kernel), size, (1,), ((2, 1),), (1,)), 2)
    bracket = found.bracket("proved")
    assert 0 < bracket.lower <= truth * TOGETHER
    assert truth <= bracket.upper * TOGETHER <= truth * 1.5


@pytest.mark.parametrize("name", CASES)
def test_the_general_plan_encloses(name):
    check(*CASES[name], "proved", 0.01)


def test_random_convolutions_are_enclosed_by_the_symbol(symbol_only):
    rng, methods = np.random.default_rng(17), []
    for _ in range(150):
        kernel, size, settings = random_case(rng, MODES)
        measurement, _ = check(kernel, size, settings, rng.choice(["probable", "proved"]), 0.1)
        methods.append(measurement.method)
    assert methods.count("symbol") > 30
