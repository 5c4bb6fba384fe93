"""Grouped convolutions whose groups are small: measured group by group, against each group's explicit matrix."""

import numpy as np
import pytest

from opnorm.bound import Evidence
from opnorm.linalg.convolution import by_groups
from opnorm.linalg.convolution.operator import Convolution
from opnorm.linalg.measure import measure_operator
from opnorm.linalg.request import Request
from symbol_cases import explicit


def largest(kernel, size, groups, stride, padding, mode):
    each = len(kernel) // groups
    return max(
        np.linalg.norm(explicit(part, size, (stride,) * 2, ((padding, padding),) * 2, (1, 1), 1, mode), 2)
        for part in kernel.reshape(groups, each, *kernel.shape[1:])
    )


@pytest.mark.parametrize("evidence", [Evidence.PROVED, Evidence.PROBABLE])
@pytest.mark.parametrize(
    ("groups", "each", "inputs", "size", "stride", "mode"),
    [
        (200, 1, 1, 7, 1, "zeros"),
        (200, 1, 1, 9, 2, "reflect"),
        (60, 2, 1, 8, 1, "replicate"),
        (40, 4, 4, 6, 1, "zeros"),
    ],
)
def test_depthwise_and_grouped(groups, each, inputs, size, stride, mode, evidence):
    kernel = np.random.default_rng(groups).standard_normal((groups * each, inputs, 3, 3)).astype(np.float32)
    settings = {"stride": stride, "padding": 1, "groups": groups, "padding_mode": mode}
    conv = Convolution(kernel, (groups * inputs, size, size), **settings)
    found = measure_operator(conv, Request(evidence))
    value = largest(kernel, (size, size), groups, stride, 1, mode)
    assert found.method == "gram"
    bracket = found.bracket("proved")
    assert bracket.lower <= value * (1 + 1e-12)
    assert value * (1 - 1e-12) <= bracket.upper <= bracket.lower * 1.01


def test_a_group_that_hides_from_the_symbol(monkeypatch):
    """The group with the highest symbol has the smaller norm at this size: the other must still be found."""
    smooth, rough = np.zeros((1, 1, 3, 3)), np.zeros((1, 1, 3, 3))
    smooth[0, 0] = 1 / 9
    rough[0, 0, 1, 1] = 0.9
    kernel = np.concatenate([smooth, rough] * 40)
    conv = Convolution(kernel, (80, 3, 3), padding=1, groups=80)
    value = max(0.9, np.linalg.norm(explicit(smooth, (3, 3), (1, 1), ((1, 1),) * 2, (1, 1)), 2))
    assert value == 0.9
    bracket = measure_operator(conv, Request(Evidence.PROVED)).bracket("proved")
    assert bracket.lower <= 0.9 * (1 + 1e-12)
    assert bracket.upper >= 0.9 * (1 - 1e-12)
    # Sabotage: trusting the groups that the circulant left open loses the larger norm.
    monkeypatch.setattr(by_groups, "unsettled_groups", lambda symbol, counts, target: np.zeros(0, dtype=int))
    lost = measure_operator(conv, Request(Evidence.PROVED)).bracket("proved")
    assert lost.upper < 0.9
