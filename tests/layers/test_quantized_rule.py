"""Codes and scales: against dequantized matrices, exactly; what does not fit is refused, and codes never measured."""

from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
import torch
from checkpoints import Planned

from opnorm.bound import Evidence
from opnorm.errors import UndefinedNorm, UnsupportedInput
from opnorm.frameworks.scaled_blocks import ScaledBlocks
from opnorm.linalg.measure import measure_operator
from opnorm.linalg.request import Request
from oracle import Oracle

E4M3, E5M2 = ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2
PATH = "model.layers.0.mlp.down_proj"


def codes(shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    if dtype == np.int8:
        return rng.integers(-128, 128, shape).astype(np.int8)
    return rng.standard_normal(shape).astype(dtype)


def scales(shape, dtype=np.float32, seed=1):
    return np.exp(np.random.default_rng(seed).standard_normal(shape)).astype(dtype)


def dequantized(code, scale, block):
    rows, columns = code.shape
    grid = np.asarray(scale, dtype=np.float64)
    return code.astype(np.float64) * grid[np.arange(rows)[:, None] // block[0], np.arange(columns)[None] // block[1]]


@pytest.mark.parametrize("dtype", [np.int8, E4M3, E5M2])
@pytest.mark.parametrize("block", [(1, 9), (4, 4), (3, 2), (6, 9), (5, 5), (128, 128)])
@pytest.mark.parametrize("framework", ["numpy", "torch"])
def test_every_entry_is_the_exact_product(framework, block, dtype):
    code = codes((6, 9), dtype)
    scale = scales((-(-6 // block[0]), -(-9 // block[1])))
    given = code
    if framework == "torch":
        raw = torch.from_numpy(code.view(np.uint8).copy())
        kinds = {np.int8: torch.int8, E4M3: torch.float8_e4m3fn, E5M2: torch.float8_e5m2}
        given, scale = raw.view(kinds[dtype]), torch.from_numpy(scale)
    operator = ScaledBlocks(given, scale, block)
    entries = np.concatenate([b.copy() for b in operator.blocks64(4)], axis=1)
    flipped = np.concatenate([b.copy() for b in operator.T.blocks64(4)], axis=1)
    for i in range(6):
        for j in range(9):
            truth = Fraction(float(code[i, j])) * Fraction(float(scale[i // block[0], j // block[1]]))
            assert Fraction(float(entries[i, j])) == truth
    np.testing.assert_array_equal(flipped, entries.T)


@pytest.mark.parametrize("extreme", [2.0**-149, 2.0**-126, float(np.finfo(np.float32).max)])
def test_the_extremes_of_scales_and_codes_are_exact(extreme):
    code = np.array([[2.0**-16, 57344.0]]).astype(E5M2)
    entries = next(ScaledBlocks(code, np.array([[extreme]], np.float32), (1, 2)).blocks64())
    assert [Fraction(float(x)) for x in entries[0]] == [Fraction(c) * Fraction(extreme) for c in (2.0**-16, 57344.0)]


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (7, 7)])
def test_brackets_hold_in_exact_arithmetic(shape):
    for seed in range(10):
        code = codes(shape, (np.int8, E4M3, E5M2)[seed % 3], seed)
        scale = scales((-(-shape[0] // 3), -(-shape[1] // 4)), seed=seed) * (1e-30 if seed % 2 else 1)
        operator = ScaledBlocks(code, scale.astype(np.float32), (3, 4))
        oracle = Oracle(dequantized(code, scale.astype(np.float32), (3, 4)))
        for level in (Evidence.PROVED, Evidence.PROBABLE):
            bracket = measure_operator(operator, Request(level, 1e-6)).bracket(level)
            assert oracle.holds(bracket.lower, bracket.upper)
            assert bracket.width <= 1e-6


def test_lanczos_on_a_larger_weight():
    code, scale = codes((600, 700), E4M3), scales((5, 6))
    operator = ScaledBlocks(code, scale, (128, 128))
    bracket = measure_operator(operator, Request(Evidence.PROBABLE, 0.01)).bracket("probable")
    truth = np.linalg.norm(dequantized(code, scale, (128, 128)), 2)
    assert bracket.lower <= truth <= bracket.upper
    assert bracket.width <= 0.01


def test_a_scale_that_is_no_number_leaves_the_norm_undefined():
    scale = np.array([[1.0], [np.nan]], np.float32)
    with pytest.raises(UndefinedNorm, match="4 NaN"):
        measure_operator(ScaledBlocks(codes((2, 4), np.int8), scale, (1, 4)), Request())


def test_scales_that_float32_does_not_hold_are_refused():
    with pytest.raises(UnsupportedInput, match="float32 does not hold"):
        ScaledBlocks(codes((2, 4), np.int8), np.array([[0.1]]), (2, 4))


def test_a_misfit_and_a_wrong_dtype_are_refused():
    with pytest.raises(UnsupportedInput, match=r"give scales of shape \(2, 1\)"):
        ScaledBlocks(codes((2, 4), np.int8), np.ones((1, 2), np.float32), (1, 4))
    with pytest.raises(UnsupportedInput, match="dtype int16"):
        ScaledBlocks(np.ones((2, 4), np.int16), np.ones((1, 1), np.float32), (2, 4))


CASES = {
    "one scale": ("weight_scale", (), (40, 60), None),
    "one scale in a list": ("weight_scale", (1,), (40, 60), None),
    "rows": ("weight_scale", (40, 1), (1, 60), None),
    "rows, flat": ("weight_scale", (40,), (1, 60), None),
    "groups": ("weight_scale", (40, 4), (1, 15), None),
    "blocks that divide": ("weight_scale", (4, 6), (10, 10), None),
    "one inverse scale": ("weight_scale_inv", (1, 1), (128, 128), None),
    "given blocks": ("weight_scale_inv", (3, 4), (16, 16), [16, 16]),
}


@pytest.mark.parametrize("scale_dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("dtype", [np.int8, E4M3])
@pytest.mark.parametrize("case", CASES)
def test_layouts_by_name_and_shape(case, dtype, scale_dtype):
    name, shape, block, given = CASES[case]
    code, scale = codes((40, 60), dtype), np.asarray(scales(shape)).astype(scale_dtype)
    config = {"quantization_config": {"quant_method": "fp8", "weight_block_size": given}} if given else None
    planned = Planned({f"{PATH}.weight": code, f"{PATH}.{name}": scale}, config)
    grid = scale.astype(np.float64).reshape(-(-40 // block[0]), -(-60 // block[1]))
    planned.check(f"{PATH}.weight", dequantized(code, grid, block))
    assert planned[f"{PATH}.weight"].tensors == (f"{PATH}.weight", f"{PATH}.{name}")
    assert planned[f"{PATH}.{name}"].status == "not_a_map"


def test_deepseek_blocks_without_a_configuration():
    code, scale = codes((200, 300), E4M3), scales((2, 3))
    planned = Planned({f"{PATH}.weight": code, f"{PATH}.weight_scale_inv": scale})
    planned.check(f"{PATH}.weight", dequantized(code, scale, (128, 128)))
    assert planned[f"{PATH}.weight"].operator == "dense 200x300, float8_e4m3fn codes, a scale each 128x128"


def test_scales_that_are_powers_of_two():
    code = codes((4, 64), E4M3)
    exponents = np.array([[120, 127], [130, 126], [127, 127], [1, 3]], np.uint8).view(ml_dtypes.float8_e8m0fnu)
    planned = Planned({f"{PATH}.weight": code, f"{PATH}.weight_scale": exponents})
    planned.check(f"{PATH}.weight", dequantized(code, exponents.astype(np.float64), (1, 32)))


@pytest.mark.parametrize(
    ("name", "shape", "given"),
    [
        ("weight_scale", (7, 6), None),
        ("weight_scale", (60,), None),
        ("weight_scale", (40, 60, 1), None),
        ("weight_scale", (0, 1), None),
        ("weight_scale_inv", (40, 1), None),
        ("weight_scale_inv", (2, 2), None),
        ("weight_scale_inv", (3, 4), [16, 32]),
        ("weight_scale_inv", (), [16, 16]),
    ],
)
def test_scales_of_a_wrong_shape_are_refused_and_codes_never_measured(name, shape, given):
    config = {"quantization_config": {"weight_block_size": given}} if given else None
    arrays = {f"{PATH}.weight": codes((40, 60), E4M3), f"{PATH}.{name}": np.ones(shape, np.float32)}
    entry = Planned(arrays, config)[f"{PATH}.weight"]
    assert entry.status == "refused"
    assert "do not fit codes of shape (40, 60)" in entry.reason


@pytest.mark.parametrize(
    ("arrays", "name", "words"),
    [
        ({"x.weight": np.ones((4, 4), np.int8)}, "x.weight", "without the scales"),
        (
            {"x.weight": np.ones((4, 4), np.uint8), "x.weight_scale": np.ones(4, np.float32)},
            "x.weight",
            "uint8 with scales",
        ),
        (
            {"x.weight": codes((4, 4), E4M3), "x.weight_scale": np.float32(1), "x.weight_scale_2": np.float32(1)},
            "x.weight",
            "not read (x.weight_scale, x.weight_scale_2)",
        ),
        ({"x.weight": codes((4, 4), E4M3), "x.scale": np.float32([2])}, "x.weight", "not read (x.scale)"),
        (
            {"m.experts.w1": codes((2, 4, 4), E4M3), "m.experts.w1_scale": np.ones((2, 4, 1), np.float32)},
            "m.experts.w1",
            "not read (m.experts.w1_scale)",
        ),
        (
            {
                "x.weight": np.ones((4, 4), np.int8),
                "x.weight_scale": np.ones((4, 1), np.float32),
                "x.weight_zero_point": np.ones((4, 1), np.int8),
            },
            "x.weight",
            "zero points",
        ),
        ({"x.qweight": np.ones((4, 4), np.int32), "x.scales": np.ones((2, 4), np.float16)}, "x.qweight", "GPTQ"),
        ({"x.weight_packed": np.ones((4, 4), np.int32)}, "x.weight_packed", "compressed-tensors"),
        ({"x.weight": np.ones((8, 1), np.uint8), "x.weight.absmax": np.ones(1, np.float32)}, "x.weight", "4 bits"),
        ({"x.weight": np.ones((4, 4), np.int8), "x.SCB": np.ones(4, np.float32)}, "x.weight", "bitsandbytes"),
        ({"x.experts.gate_up_proj_blocks": np.ones((2, 4, 2, 16), np.uint8)}, "x.experts.gate_up_proj_blocks", "MXFP4"),
    ],
)
def test_other_layouts_are_refused_by_name(arrays, name, words):
    entry = Planned(arrays)[name]
    assert entry.status == "refused"
    assert words in entry.reason
    assert "dequantize" in entry.reason


def test_float8_numbers_are_numbers_unless_the_configuration_says_codes():
    arrays = {"x.weight": codes((4, 6), E4M3)}
    Planned(arrays).check("x.weight", arrays["x.weight"])
    entry = Planned(arrays, {"quantization_config": {"quant_method": "fp8"}})["x.weight"]
    assert entry.status == "refused"
    assert "without the scales" in entry.reason


def test_bfloat16_weights_of_a_quantized_model_are_measured():
    arrays = {"lm_head.weight": codes((4, 6), ml_dtypes.bfloat16)}
    Planned(arrays, {"quantization_config": {"quant_method": "fp8"}}).check("lm_head.weight", arrays["lm_head.weight"])
