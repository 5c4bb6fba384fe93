"""Calls that a convolution's kernel passes over, and what it keeps in sight meanwhile."""

import pytest
import torch

from opnorm.constraint.kernels.convolution import ConvolutionDescent
from opnorm.constraint.kernels.convolution_rest import EARLY, LONGEST, calls_to
from opnorm.constraint.outcome import read

SETTINGS, SIZE = {"padding": 1}, (6, 6)


def weight_of(seed: int) -> torch.Tensor:
    torch.manual_seed(seed)
    return torch.randn(8, 8, 3, 3, dtype=torch.float64)


def kernel(*, restful: bool = True, **options: float) -> ConvolutionDescent:
    return ConvolutionDescent(SETTINGS, SIZE, restful=restful, **options)


def train(descent: ConvolutionDescent, weight: torch.Tensor, calls: int, growth: float) -> list[bool]:
    """Which of the calls moved or looked, where an optimizer adds `growth` caps between two."""
    acted = []
    for _ in range(calls):
        before = descent._block.clone() if descent._block is not None else None
        descent.hold(weight, 0.0, 1.0)
        acted.append(before is None or not torch.equal(before, descent._block))
        norm = read(ConvolutionDescent(SETTINGS, SIZE).look(weight))["top"]
        weight.mul_(1 + growth / norm)
    return acted


@pytest.mark.parametrize(
    ("room", "rate", "calls"),
    [(0.2, 0.0, LONGEST), (0.2, 0.001, LONGEST), (0.2, 0.06, 2), (0.2, 0.19, 0), (0.2, 0.3, 0), (-0.1, 0.01, 0)],
)
def test_the_next_move_comes_before_the_room_is_used_up(room, rate, calls):
    assert calls_to(room, rate) == calls
    assert calls == 0 or (calls + 1) * rate <= room


def test_slow_growth_rests_and_fast_growth_does_not():
    slow = train(kernel(), weight_of(0), EARLY + 40, 0.01)
    fast = train(kernel(), weight_of(0), EARLY + 40, 0.2)
    assert all(slow[:EARLY])
    assert sum(slow[EARLY:]) <= 20
    assert sum(fast[EARLY:]) >= 35


@pytest.mark.parametrize("options", [{"restful": False}, {"aim": 1.0}])
def test_a_kernel_not_asked_to_or_with_a_fixed_aim_never_rests(options):
    assert all(train(kernel(**options), weight_of(0), EARLY + 20, 0.01))


def test_a_lowered_ceiling_is_acted_on_at_once():
    descent, weight = kernel(), weight_of(0)
    acted = train(descent, weight, EARLY + 20, 0.001)
    assert not all(acted)
    descent._rest.left = LONGEST
    assert read(descent.hold(weight, 0.0, 0.5))["active"] > 0


def test_a_resumed_kernel_rests_alike():
    first, weight = kernel(), weight_of(0)
    train(first, weight, EARLY + 13, 0.01)
    second, other = kernel(), weight.clone()
    second.load_state_dict(first.state_dict())
    assert train(first, weight, 20, 0.01) == train(second, other, 20, 0.01)
    assert torch.equal(weight, other)


def test_krylov_keeps_the_triplets_that_lead_after_the_move():
    """A move lowers those it was given; one step later the top of the rest must be in sight."""
    torch.manual_seed(0)
    weight = torch.randn(32, 32, 3, 3, dtype=torch.float64)
    descent = ConvolutionDescent(SETTINGS, SIZE, method="krylov", rank=2)
    for _ in range(30):
        top = read(descent.look(weight))["top"]
    found = read(descent.hold(weight, 0.0, 0.9 * top))
    sight = ConvolutionDescent(SETTINGS, SIZE, method="krylov", rank=16)
    for _ in range(30):
        true = read(sight.look(weight))["top"]
    assert found["after"] >= 0.97 * true
    assert read(descent.look(weight))["top"] >= 0.98 * true
