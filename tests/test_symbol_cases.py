"""Proved brackets of random small convolutions against the singular values of their explicit matrices.

`forced` cases have no Gram matrix to fall back on: their bounds come from symbols, twisted circulants and padding norms
at sizes where these are wide, which must still be bounds.
"""

import numpy as np
import pytest

from opnorm.bound import Evidence
from opnorm.linalg.convolution import at_size, by_groups
from opnorm.linalg.measure import measure_operator
from opnorm.linalg.request import Request
from symbol_cases import matrix, operator, random_case

MODES = ("zeros", "zeros", "zeros", "circular", "reflect", "replicate")


def truth(kernel, size, case):
    """σ₁ and how far LAPACK may be from it."""
    explicit = matrix(kernel, size, case)
    values = np.linalg.svd(explicit, compute_uv=False)
    return values[0], 1e-13 * len(values) * values[0]


def proved(kernel, size, case, width=0.01):
    return measure_operator(operator(kernel, size, case), Request(Evidence.PROVED, width)).bracket("proved")


def holds(bracket, sigma, slack):
    return bracket.lower <= sigma + slack and bracket.upper >= sigma - slack


def run_natural(count, seed):
    """Violations, and per padding mode how many cases there were and how many reached 1 %."""
    rng, violations = np.random.default_rng(seed), []
    reached = {mode: [0, 0] for mode in MODES}
    for _ in range(count):
        kernel, size, case = random_case(rng, MODES)
        bracket = proved(kernel, size, case)
        if not holds(bracket, *truth(kernel, size, case)):
            violations.append((kernel, size, case, bracket))
        reached[case["padding_mode"]][0] += 1
        reached[case["padding_mode"]][1] += bracket.upper <= 1.01 * bracket.lower
    return violations, reached


def run_forced(count, seed, monkeypatch):
    """No Gram matrix: violations among bounds at a size, and for any size."""
    for name, value in (("GRAM_SIDE", 0), ("IMPLICIT_SIDE", 0), ("_GRAM_WORK", 0)):
        monkeypatch.setattr(at_size, name, value)
    monkeypatch.setattr(by_groups, "GRAM_SIDE", -1)
    rng, violations = np.random.default_rng(seed), []
    for _ in range(count):
        kernel, size, case = random_case(rng, MODES)
        sigma, slack = truth(kernel, size, case)
        bracket = proved(kernel, size, case)
        if not holds(bracket, sigma, slack):
            violations.append((kernel, size, case, bracket))
    return violations


def run_any_size(count, seed):
    """Violations of the bound for any size by one size, and widths where padding costs nothing."""
    rng, violations, widths = np.random.default_rng(seed), [], []
    for _ in range(count):
        kernel, size, case = random_case(rng, MODES)
        sigma, slack = truth(kernel, size, case)
        bracket = proved(kernel, None, case)
        if bracket.upper < sigma - slack:
            violations.append((kernel, size, case, bracket))
        if case["padding_mode"] == "zeros":
            widths.append(bracket.width)
    return violations, np.array(widths)


def check(natural, forced, anywhere, seed, monkeypatch):
    violations, reached = run_natural(natural, seed)
    assert not violations, violations[0]
    for mode in ("zeros", "circular"):
        assert reached[mode][1] >= 0.99 * reached[mode][0], reached
    violations, widths = run_any_size(anywhere, seed + 1)
    assert not violations, violations[0]
    assert (widths <= 0.01).mean() >= 0.99
    violations = run_forced(forced, seed + 2, monkeypatch)
    assert not violations, violations[0]
    print(f"cases, and how many reached 1 %: {reached}")  # noqa: T201


def test_two_thousand_cases(monkeypatch):
    check(1200, 400, 400, 0, monkeypatch)


@pytest.mark.slow
def test_twenty_thousand_cases(monkeypatch):
    check(12000, 4000, 4000, 1000, monkeypatch)


@pytest.mark.parametrize(
    ("shape", "size", "stride", "dilation"),
    [
        ((36, 40, 3), (20,), 1, 1),
        ((40, 34, 4), (30,), 2, 1),
        ((34, 33, 3, 3), (5, 4), 1, 1),
        ((70, 33, 2), (18,), 1, 2),
    ],
)
def test_many_channels_by_symbol(shape, size, stride, dilation, monkeypatch):
    """Sides beyond the stacked ones: single factorizations, estimates by Lanczos."""
    for name, value in (("GRAM_SIDE", 0), ("IMPLICIT_SIDE", 0), ("_GRAM_WORK", 0)):
        monkeypatch.setattr(at_size, name, value)
    kernel = np.random.default_rng(shape[0]).standard_normal(shape).astype(np.float32)
    axes = len(size)
    case = {
        "stride": (stride,) * axes,
        "dilation": (dilation,) * axes,
        "padding": ((1, 1),) * axes,
        "padding_mode": "zeros",
        "groups": 1,
    }
    sigma, slack = truth(kernel, size, case)
    bracket = proved(kernel, size, case)
    assert holds(bracket, sigma, slack)
    assert bracket.width < 0.08
    anywhere = proved(kernel, None, case)
    assert anywhere.upper >= sigma
    assert anywhere.width <= 0.01


@pytest.mark.parametrize("width", [3.0, 1e-9, 1e-15])
@pytest.mark.parametrize(("size", "mode"), [(None, "zeros"), ((30, 30), "circular")])
def test_any_width_is_answered(size, mode, width):
    """Wider than the norm, and beyond float64: what was reached is said."""
    kernel = np.random.default_rng(0).standard_normal((3, 4, 3, 3))
    settings = {"padding": 1, "padding_mode": mode}
    found = measure_operator(operator(kernel, size, settings), Request(Evidence.PROVED, width))
    bracket = found.bracket("proved")
    assert found.method == "symbol"
    assert bracket.width <= max(width, 1e-9)
    assert ("reached" in found.note) == (bracket.width > width)
