"""Normalization: scales against interval arithmetic, folded operators against explicit matrices and the oracle."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from flint import arb, ctx
from torch import nn

from opnorm.bound import Evidence
from opnorm.errors import UndefinedNorm, UnsupportedInput
from opnorm.frameworks import aslinearoperator
from opnorm.layers.convolution import convolution
from opnorm.layers.folding import folded_batch_norm, folded_name, folded_scale, scaled_outputs
from opnorm.layers.linear import linear, slices
from opnorm.layers.normalization import batch_norm, layer_norm, worst_case
from opnorm.linalg.diagonal import Diagonal, normalizing_scales, shortened
from opnorm.linalg.folded import folded
from opnorm.linalg.measure import measure_operator
from opnorm.linalg.near import Near
from opnorm.linalg.request import Request
from oracle import Oracle

RNG = np.random.default_rng(5)
NAMES = {role: f"bn.{role}" for role in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")}
SCALES = [1.0, 1e-3, 1e20, 1e-20]


def measured(thing, evidence="proved", width=0.01):
    return measure_operator(aslinearoperator(thing), Request(Evidence.parse(evidence), width))


def exact_scales(gamma, variance, eps):
    """γ/√(var + ε) as balls of 200 bits."""
    ctx.prec = 200
    return [arb(float(g)) / (arb(float(v)) + arb(eps)).sqrt() for g, v in zip(gamma, variance, strict=True)]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("eps", [1e-5, 1e-3, 0.0, 1e-12])
def test_scales_are_within_the_stated_distance(scale, eps):
    gamma, variance = RNG.standard_normal(64) * scale, RNG.uniform(1e-6, 4, 64) * scale
    values, relative = normalizing_scales(gamma, variance, eps)
    for value, truth in zip(values, exact_scales(gamma, variance, eps), strict=True):
        assert abs(arb(float(value)) - truth) < abs(truth) * arb(relative)
    short, more = shortened(values)
    assert (np.abs(short - values) <= more * np.abs(values)).all()
    assert all(float(np.ldexp(m, 24)).is_integer() for m in np.frexp(short)[0])


@pytest.mark.parametrize("scale", SCALES)
def test_the_norm_of_batch_norm_is_proved(scale):
    gamma, variance = (RNG.standard_normal(9) * scale).astype(np.float32), RNG.uniform(0.1, 4, 9).astype(np.float32)
    entries = batch_norm("bn", NAMES, (9,), "float32", eps=1e-5)
    (weight,) = (e for e in entries if e.status == "weight")
    assert weight.tensors == ("bn.weight", "bn.running_var")
    bracket = measured(weight.build({"bn.weight": gamma, "bn.running_var": variance})).bracket("proved")
    truth = max(exact_scales(gamma, variance, 1e-5), key=lambda x: abs(float(x)))
    assert arb(bracket.lower) < abs(truth) < arb(bracket.upper)
    assert bracket.width < 1e-14
    assert {e.name for e in entries if e.status == "not_a_map"} == set(NAMES.values()) - set(weight.tensors)


def test_batch_norm_against_torch():
    torch.manual_seed(0)
    layer = nn.BatchNorm1d(5).double().eval()
    with torch.no_grad():
        layer.weight.normal_()
        layer.running_var.uniform_(0.2, 2)
    (weight, *_) = batch_norm("bn", {k: k for k in layer.state_dict()}, (5,), "float64", eps=layer.eps)
    operator = weight.build(dict(layer.state_dict()))
    unit = torch.eye(5, dtype=torch.float64)
    explicit = (layer(unit) - layer(torch.zeros(5, 5, dtype=torch.float64))).detach().numpy()
    np.testing.assert_allclose(operator.matmat64(np.eye(5)), explicit, rtol=1e-13)
    np.testing.assert_allclose(operator.rmatmat64(np.eye(5)), explicit.T, rtol=1e-13)


def test_batch_norm_of_unknown_epsilon_stays_a_vector():
    entries = batch_norm("bn", NAMES, (3,), "float32", eps=None)
    assert {e.name for e in entries} == set(NAMES.values())
    assert {e.status for e in entries} == {"not_a_map"}


@pytest.mark.parametrize(
    ("gamma", "variance", "eps", "error", "words"),
    [
        ([1.0, 1.0], [-1.0, 2.0], 1e-5, UnsupportedInput, "1/√\\(var \\+ ε\\) needs a number above 0"),
        ([1.0, 1.0], [0.0, 2.0], 0.0, UnsupportedInput, "above 0"),
        ([math.nan, 1.0], [1.0, 2.0], 1e-5, UndefinedNorm, "1 NaN"),
        ([1.0, 1.0], [1.0, math.inf], 1e-5, UndefinedNorm, "1 Inf"),
        ([1e308, 1.0], [1e-200, 2.0], 0.0, UnsupportedInput, "range of float64"),
        ([1e-300, 1.0], [1e10, 2.0], 0.0, UnsupportedInput, "range of float64"),
    ],
)
def test_impossible_statistics(gamma, variance, eps, error, words):
    with pytest.raises(error, match=words):
        normalizing_scales(np.array(gamma), np.array(variance), eps)


def test_zero_scales_and_zero_operators():
    values, _ = normalizing_scales(np.array([0.0, 2.0]), np.ones(2), 0.0)
    assert values.tolist() == [0.0, 2.0]
    assert measured(Diagonal(np.zeros(3))).bracket("proved").upper == 0
    with pytest.raises(UndefinedNorm):
        measured(Diagonal(np.array([1.0, math.nan])))


def test_worst_case_is_rounded_up():
    for _ in range(50):
        gamma, eps = RNG.standard_normal(7), float(RNG.uniform(1e-8, 1e-3))
        bracket = worst_case(gamma, eps)
        ctx.prec = 200
        truth = abs(arb(float(gamma[np.abs(gamma).argmax()]))) / arb(eps).sqrt()
        assert bracket.lower is None
        assert truth < arb(bracket.upper) < truth * (1 + arb(1e-14))


def test_layer_norm_entries():
    weight, bias = layer_norm("ln", "ln.weight", "ln.bias", (4,), "float32", eps=1e-5)
    assert (weight.status, weight.kind, bias.kind) == ("not_a_map", "scale", "bias")
    assert weight.build is not None  # so that γ is read
    assert [a.name for a in weight.also] == ["worst-case Lipschitz constant"]
    for eps in (None, 0.0, math.inf):
        (only,) = layer_norm("ln", "ln.weight", "", (4,), "float32", eps=eps)
        assert only.also == ()


def folded_matrix(weight, gamma, centered):
    size = weight.shape[1]
    matrix = weight.astype(np.float64) * gamma.astype(np.float64)
    return matrix @ (np.eye(size) - np.ones((size, size)) / size) if centered else matrix


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("shape", [(6, 9), (9, 6), (8, 8), (1, 5), (5, 1)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("stored", ["", "transposed", "torch"])
def test_scales_folded_into_the_next_layer(centered, shape, dtype, stored):
    weight, gamma = RNG.standard_normal(shape).astype(dtype), RNG.standard_normal(shape[1]).astype(dtype)
    layer = linear("fc.weight", shape, dtype)
    entry = folded_scale(layer, "ln.weight", centered=centered, label="ln", transposed=stored == "transposed")
    assert (entry.name, entry.tensors, entry.derived) == ("fc[ln folded]", ("fc.weight", "ln.weight"), True)
    arrays = {"fc.weight": weight.T.copy() if stored == "transposed" else weight, "ln.weight": gamma}
    if stored == "torch":
        arrays = {name: torch.from_numpy(a) for name, a in arrays.items()}
    truth = np.linalg.norm(folded_matrix(weight, gamma, centered), 2)
    for evidence in ("probable", "proved"):
        bracket = measured(entry.build(arrays), evidence).bracket(evidence)
        assert bracket.lower <= truth * (1 + 1e-13) + 1e-15
        assert truth <= bracket.upper * (1 + 1e-13) + 1e-15
        assert bracket.upper <= bracket.lower * 1.0101 + 1e-13


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("exponent", [-300, 0, 300])
def test_folded_entries_are_exact_or_their_rounding_is_stated(dtype, exponent):
    """Decided by the oracle, on rational entries: for float32 the float64 product is the product."""
    scale = 2.0**exponent if dtype == "float64" else 2.0 ** (exponent // 3)
    weight = (RNG.standard_normal((5, 7)) * scale).astype(dtype)
    gamma = RNG.standard_normal(7).astype(dtype)
    operator = folded(aslinearoperator(weight), columns=gamma.astype(np.float64))
    assert isinstance(operator, Near) == (dtype == "float64")
    bracket = measured(operator, width=1e-9).bracket("proved")
    oracle = Oracle(weight.astype(np.float64) * gamma.astype(np.float64))
    if dtype == "float32":
        assert oracle.holds(bracket.lower, bracket.upper)
    assert not oracle.holds(bracket.upper * (1 + 1e-6), None)
    assert not oracle.holds(None, bracket.lower * (1 - 1e-6))


def exact_rows(weight, gamma, centered):
    """Entries of W·diag(γ), centered or not, as rationals."""
    rows = [[Fraction(float(w)) * Fraction(float(g)) for w, g in zip(row, gamma, strict=True)] for row in weight]
    return [[x - sum(row) / len(row) for x in row] for row in rows] if centered else rows


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("scale", [1.0, 1e150, 1e-150])
@pytest.mark.parametrize("kind", ["constant", "random", "large mean"])
def test_the_distance_of_the_computed_entries_is_stated(kind, scale, centered):
    """Against rational arithmetic; a constant row, centered, is all rounding."""
    rng = np.random.default_rng(9)
    weight = rng.standard_normal((2, 301)) if kind == "random" else np.full((2, 301), 0.1)
    weight = (weight + (rng.standard_normal((2, 301)) * 1e-9 if kind == "large mean" else 0)) * scale
    gamma = np.ones(301) if kind == "constant" else rng.standard_normal(301)
    operator = folded(aslinearoperator(weight), columns=gamma, centered=centered)
    truth = exact_rows(weight, gamma, centered)
    for computed in (operator.operator._read(0, 301), operator.operator.T._read(0, 2).T):
        error = [Fraction(float(a)) - b for row, exact in zip(computed, truth, strict=True)
                 for a, b in zip(row, exact, strict=True)]  # fmt: skip
        assert sum(e * e for e in error) <= Fraction(operator.absolute) ** 2
        assert np.array_equal(computed, operator.operator._read(0, 301))
    if centered and kind == "constant":
        assert measured(operator).bracket("proved").lower == 0
        assert any(error) or scale != 1.0


def test_gemma_scales():
    weight, gamma = RNG.standard_normal((4, 6)).astype(np.float32), RNG.standard_normal(6).astype(np.float32)
    entry = folded_scale(linear("w", (4, 6), "float32"), "g", centered=False, label="norm", plus_one=True)
    bracket = measured(entry.build({"w": weight, "g": gamma})).bracket("proved")
    truth = np.linalg.norm(weight.astype(np.float64) * (1 + gamma.astype(np.float64)), 2)
    assert bracket.lower <= truth <= bracket.upper


def test_slices_can_be_folded_and_are_named():
    fused = RNG.standard_normal((9, 4)).astype(np.float32)
    part = slices("attn.qkv.weight", (9, 4), "float32", [("q", 3), ("k", 3), ("v", 3)])[1]
    entry = folded_scale(part, "g", centered=False, label="norm1")
    assert entry.name == "attn.qkv[k, norm1 folded]"
    gamma = np.arange(4, dtype=np.float32)
    bracket = measured(entry.build({"attn.qkv.weight": fused, "g": gamma})).bracket("proved")
    assert bracket.lower <= np.linalg.norm(fused[3:6].astype(float) * gamma, 2) * (1 + 1e-13)
    assert np.linalg.norm(fused[3:6].astype(float) * gamma, 2) <= bracket.upper
    assert folded_name("conv1.weight", "bn1") == "conv1[bn1 folded]"


def test_what_does_not_fit_is_refused():
    layer = linear("w", (4, 6), "float32")
    entry = folded_scale(layer, "g", centered=False, label="ln")
    arrays = {"w": np.zeros((4, 6), dtype=np.float32), "g": np.zeros(5, dtype=np.float32)}
    with pytest.raises(UnsupportedInput, match="5 scales for the 6 inputs"):
        entry.build(arrays)
    with pytest.raises(UnsupportedInput, match="3 scales for 4 output channels"):
        scaled_outputs(np.zeros((4, 2, 3)), np.ones(3), transposed=False)
    with pytest.raises(UnsupportedInput, match="do not fit a transposed kernel"):
        scaled_outputs(np.zeros((4, 2, 3)), np.ones(3), transposed=True)
    with pytest.raises(UnsupportedInput, match="too small to be folded"):
        scaled_outputs(np.full((2, 2, 3), 1e-200), np.ones(2), transposed=False)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("transposed", [False, True])
def test_batch_norm_folded_into_a_convolution(dtype, groups, transposed):
    torch.manual_seed(3)
    kind = nn.ConvTranspose1d if transposed else nn.Conv1d
    settings = {"stride": 2, "padding": 1, "groups": groups}
    pair = nn.Sequential(kind(4, 6, 3, bias=False, **settings), nn.BatchNorm1d(6)).to(getattr(torch, dtype)).eval()
    with torch.no_grad():
        pair[0].weight.normal_()  # in its own precision: numbers that fit float32 are exact
        pair[1].weight.normal_()
        pair[1].running_var.uniform_(0.1, 3)
    shape = tuple(pair[0].weight.shape)
    layer = convolution("c", shape, dtype, settings={**settings, "transposed": transposed}, input_shape=(4, 7))
    names = {"weight": "w", "running_var": "v"}
    entry = folded_batch_norm(layer, names, eps=pair[1].eps, label="bn", padding=1, transposed=transposed)
    operator = entry.build({"c": pair[0].weight, "w": pair[1].weight, "v": pair[1].running_var})
    assert isinstance(operator, Near)
    assert (operator.absolute > 0) == (dtype == "float64")
    bracket = measured(operator).bracket("proved")
    pair = pair.double()
    with torch.no_grad():
        images = pair(torch.cat([torch.zeros(1, 28), torch.eye(28)]).double().reshape(-1, 4, 7)).flatten(1)
    truth = np.linalg.norm((images[1:] - images[0]).numpy(), 2)
    assert bracket.lower <= truth <= bracket.upper
    assert bracket.width <= 0.0101


@pytest.mark.parametrize("transposed", [False, True])
def test_a_folded_float32_kernel_is_exact_in_rationals(transposed):
    kernel = RNG.standard_normal((4, 3, 2)).astype(np.float32)
    size = 3 if transposed else 4
    arrays = {"c": kernel, "w": RNG.standard_normal(size), "v": RNG.uniform(0.1, 3, size)}
    layer = convolution("c", kernel.shape, "float32", settings={"transposed": transposed}, input_shape=(12 // size, 5))
    names = {"weight": "w", "running_var": "v"}
    near = folded_batch_norm(layer, names, eps=1e-5, label="bn", transposed=transposed).build(arrays)
    short, _ = shortened(normalizing_scales(arrays["w"], arrays["v"], 1e-5)[0])
    assert near.absolute == 0
    for index in np.ndindex(kernel.shape):
        scale = short[index[1 if transposed else 0]]
        assert Fraction(float(near.operator.kernel[index])) == Fraction(float(kernel[index])) * Fraction(float(scale))


def test_near_moves_every_bound_outward():
    matrix = aslinearoperator(np.diag([3.0, 1.0]))
    near = measured(Near(matrix, relative=0.01, absolute=0.5), "proved", 1e-6).bracket("proved")
    assert near.lower == pytest.approx(3 * 0.99 - 0.5, rel=1e-6)
    assert near.upper == pytest.approx(3 * 1.01 + 0.5, rel=1e-6)
    assert measured(Near(matrix, relative=0.0, absolute=9.0)).bracket("proved").lower == 0
