"""Convolutions, fused weights and chains of parametrizations are normalized as what they are."""

import copy
import math

import pytest
import torch
from normalized import linear, norm
from torch.nn.utils import parametrizations as torchs
from torch.nn.utils import parametrize

import opnorm
from opnorm.constraint.normalization.iteration import chirp, leading_by_powers
from opnorm.constraint.normalize import normalize
from opnorm.errors import UnsupportedInput, UsageError
from opnorm.parametrize import spectral_norm

CONVOLUTIONS = [
    (lambda: torch.nn.Conv2d(4, 6, 3, padding=1), (4, 7, 6)),
    (lambda: torch.nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), (4, 8, 8)),
    (lambda: torch.nn.Conv1d(3, 5, 4, padding="same", dilation=2), (3, 12)),
    (lambda: torch.nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), (2, 6, 6)),
    (lambda: torch.nn.Conv3d(2, 2, 2), (2, 4, 4, 4)),
    (lambda: torch.nn.ConvTranspose2d(3, 4, 4, stride=2, padding=1), (3, 5, 5)),
    (lambda: torch.nn.ConvTranspose1d(4, 4, 3, stride=3, output_padding=1, groups=2), (4, 6)),
]


@pytest.mark.parametrize(("make", "size"), CONVOLUTIONS)
def test_a_convolution_is_normalized_as_its_operator(make, size):
    import numpy as np

    module = make()
    with torch.no_grad():
        module.weight.mul_(10)
    normalize(module, cap=0.8, input_shape=size)
    from opnorm.constraint.normalize import settings_of

    operator = opnorm.Convolution(module.weight.detach().numpy(), size, **settings_of(module))
    exact = np.linalg.norm(operator.matmat64(np.eye(operator.shape[1])), 2)
    assert math.isclose(exact, 0.8, rel_tol=2e-4)


@pytest.mark.parametrize("make", [make for make, _ in CONVOLUTIONS if make().padding_mode == "zeros"])
def test_at_any_size_it_comes_close_to_the_supremum(make):
    module = spectral_norm(make())
    parametrize.remove_parametrizations(module, "weight")
    row = opnorm.measure(module).rows[0]
    assert row.upper >= 1 - 1e-5
    assert row.lower <= 1.04


def test_the_kernel_reshaped_is_taken_only_when_asked_for():
    def ones() -> torch.nn.Conv2d:
        module = torch.nn.Conv2d(1, 1, 3, padding=1)
        module.weight.data.fill_(1.0)
        return module

    for wrap, expected in (
        (torchs.spectral_norm, 3.0),
        (lambda m: spectral_norm(m, dim=0), 3.0),
        (lambda m: normalize(m, operator="flattened"), 3.0),
        (spectral_norm, 1.0),
        (normalize, 1.0),
    ):
        module = wrap(ones())
        parametrize.remove_parametrizations(module, "weight")
        assert math.isclose(float(opnorm.measure(module).rows[0].lower), expected, rel_tol=0.02)


def test_a_fused_weight_is_normalized_by_parts():
    attention = torch.nn.MultiheadAttention(8, 2)
    with torch.no_grad():
        attention.in_proj_weight[:8] *= 50
    normalize(attention, "in_proj_weight")
    normalize(attention.out_proj, cap=0.1)
    parts = [norm(part) for part in attention.in_proj_weight.chunk(3)]
    assert parts == pytest.approx([1, 1, 1], rel=1e-4) or max(parts) <= 1 + 1e-4
    outputs, _ = attention(*[torch.ones(3, 1, 8)] * 3)
    outputs.sum().backward()
    before = copy.deepcopy(attention.state_dict())
    other = torch.nn.MultiheadAttention(8, 2)
    normalize(other, "in_proj_weight")
    normalize(other.out_proj, cap=0.1)
    other.load_state_dict(before)
    assert torch.equal(other.in_proj_weight, attention.in_proj_weight)
    other.eval()
    fused = normalize(linear(9, 4), split=(6, 3))
    assert [round(norm(p), 4) for p in fused.weight.split((6, 3))] == [1.0, 1.0]
    with pytest.raises(UsageError, match="do not split"):
        normalize(linear(9, 4), split=2)


def test_two_parametrizations_on_one_weight():
    class Double(torch.nn.Module):
        def forward(self, weight):
            return 2 * weight

        def right_inverse(self, weight):
            return weight / 2

    for first, second in ((normalize, lambda m: parametrize.register_parametrization(m, "weight", Double())),):
        module = second(first(linear(6, 5)))
        assert math.isclose(norm(module.weight), 2.0, rel_tol=1e-5)
    module = normalize(parametrize.register_parametrization(linear(6, 5), "weight", Double()))
    assert math.isclose(norm(module.weight), 1.0, rel_tol=1e-5)


def test_opnorm_measures_what_is_served():
    module = normalize(linear(30, 20), cap=0.5)
    row = opnorm.measure(module).rows[0]
    assert row.lower <= 0.5 * (1 + 1e-5)
    assert row.upper >= 0.5 * (1 - 1e-5)


def test_the_top_by_powers_is_the_eigensolvers():
    for seed in range(20):
        rows = torch.randn(4, 9, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        gram = rows @ rows.mT
        basis = leading_by_powers(gram)
        torch.testing.assert_close(basis.mT @ basis, torch.eye(4, dtype=torch.float64))
        assert float(basis[:, 0] @ gram @ basis[:, 0]) > float(torch.linalg.eigvalsh(gram)[-1]) * (1 - 1e-3)
    assert torch.isfinite(leading_by_powers(torch.zeros(3, 3))).all()


def test_new_directions_span_everything():
    rows = torch.cat([chirp(40, count, torch.device("cpu"), torch.float64) for count in range(40)])
    assert torch.linalg.svdvals(rows).min() > 1e-2
    torch.testing.assert_close(torch.linalg.vector_norm(rows, dim=1), torch.ones(40, dtype=torch.float64))


def test_refusals():
    with pytest.raises(UsageError, match="it has: weight, bias"):
        normalize(torch.nn.Linear(2, 3), "kernel")
    for settings in ({"cap": 0.0}, {"cap": math.nan}, {"cap": -1}, {"rank": 0}, {"iterations": 0}, {"operator": "x"}):
        with pytest.raises(UsageError, match=next(iter(settings))):
            normalize(torch.nn.Linear(2, 3), **settings)
    with pytest.raises(UsageError, match="input_shape"):
        normalize(torch.nn.Linear(2, 3), input_shape=(2, 4))
    with pytest.raises(UnsupportedInput, match=r"opnorm\.cap"):
        normalize(torch.nn.LSTM(2, 3), "weight_hh_l0")
    with pytest.raises(UnsupportedInput, match="flattened"):
        normalize(torch.nn.Bilinear(2, 3, 4))
    with pytest.raises(UsageError, match="no shape yet"):
        normalize(torch.nn.LazyLinear(3))
    for settings in ({"n_power_iterations": 0}, {"eps": -1.0}, {"dim": 2}):
        with pytest.raises(UsageError, match=next(iter(settings))):
            spectral_norm(torch.nn.Linear(2, 3), **settings)
