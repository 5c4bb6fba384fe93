"""What settings resolve to, and what is refused, with the words that help."""

import numpy as np
import pytest
import torch

import opnorm
from opnorm.frameworks.convolution import convolution
from opnorm.linalg.convolution.geometry import geometry
from opnorm.linalg.convolution.operator import Convolution
from opnorm.linalg.convolution.padding import index_map, multiplicity
from opnorm.linalg.measure import measure_operator
from opnorm.linalg.request import Request

KERNEL = np.ones((4, 2, 3, 3), dtype=np.float32)


def test_short_forms_are_resolved():
    known = geometry((4, 2, 3, 2), (4, 9, 8), stride=(2, 1), padding=1, dilation=2, groups=2)
    assert (known.kernel, known.stride, known.dilation) == ((3, 2), (2, 1), (2, 2))
    assert (known.padding, known.mode, known.groups) == (((1, 1), (1, 1)), "zeros", 2)
    assert (known.size, known.output) == ((9, 8), (4, 8))


def test_words_are_resolved():
    assert geometry((1, 1, 4), None, padding="same", dilation=3).padding == ((4, 5),)
    assert geometry((1, 1, 3, 5), None, padding="same").padding == ((1, 1), (2, 2))
    assert geometry((1, 1, 4), None, padding="valid").padding == ((0, 0),)
    assert geometry((1, 1, 3, 5), None, padding=[(0, 2), (1, 0)]).padding == ((0, 2), (1, 0))
    assert geometry((1, 1, 3, 5), None, padding=(0, np.int64(2))).padding == ((0, 0), (2, 2))


def test_a_transposed_convolution_is_described_by_its_adjoint():
    known = geometry((6, 2, 4), (6, 5), stride=3, padding=1, output_padding=2, groups=2, transposed=True)
    assert known.size == (16,)
    assert known.output == (5,)
    operator = convolution(np.ones((6, 2, 4)), (6, 5), stride=3, padding=1, output_padding=2, groups=2, transposed=True)
    assert (operator.domain, operator.codomain) == ((6, 5), (4, 16))
    assert operator.transposed


def test_any_size_has_bounds_but_no_products():
    operator = convolution(KERNEL, groups=2)
    assert operator.shape == (4, 4)
    assert convolution(KERNEL, transposed=True).shape == (2, 4)
    assert operator.rounding is None
    assert operator.frobenius() is None
    with pytest.raises(opnorm.UnsupportedInput, match="give input_shape="):
        operator.matmat(np.ones((4, 1)))
    with pytest.raises(opnorm.UnsupportedInput, match="give an input_shape"):
        _ = operator.geometry.output


@pytest.mark.parametrize("mode", ["circular", "reflect", "replicate"])
def test_index_maps_are_pytorch_s(mode):
    for size in range(1, 7):
        most = size - 1 if mode == "reflect" else size
        for before in range(most + 1):
            for after in range(most + 1):
                row = torch.arange(float(size))[None, None]
                wanted = torch.nn.functional.pad(row, (before, after), mode=mode)[0, 0].numpy()
                np.testing.assert_array_equal(index_map(size, before, after, mode), wanted)


def test_multiplicity_is_the_square_of_the_norm_of_the_padding():
    for mode, pads in (("reflect", ((2, 3), (1, 1))), ("replicate", ((0, 2), (3, 3))), ("circular", ((4, 4), (1, 0)))):
        operator = convolution(np.ones((1, 1, 1, 1)), (1, 4, 5), padding=pads, padding_mode=mode)
        dense = operator.matmat64(np.eye(20))
        assert np.linalg.norm(dense, 2) ** 2 == pytest.approx(multiplicity(operator.geometry), rel=1e-14)
        assert operator.rounding.norm == pytest.approx(np.linalg.norm(dense, 2), rel=1e-13)


NO_KERNEL = {
    "a matrix": (np.ones((3, 3)), "is no kernel: give"),
    "four axes": (np.ones((1,) * 6), "one to three spatial axes"),
    "no taps": (np.ones((2, 2, 0)), "has no taps"),
    "complex": (np.ones((1, 1, 3), dtype=complex), "complex"),
    "complex tensor": (torch.ones((1, 1, 3), dtype=torch.complex64), "complex"),
    "strings": (np.array([[["a"]]]), "not numeric"),
    "beyond float64": (np.full((1, 1, 1), 2**53 + 1), "convert it to float64"),
    "masked": (np.ma.masked_array(np.ones((1, 1, 3)), mask=True), "filled"),
    "meta": (torch.ones((1, 1, 3), device="meta"), "meta device"),
    "sparse": (torch.ones((1, 1, 3)).to_sparse(), "to_dense"),
}


@pytest.mark.parametrize("name", NO_KERNEL)
def test_what_is_no_kernel_is_refused(name):
    kernel, words = NO_KERNEL[name]
    with pytest.raises(opnorm.UnsupportedInput, match=words):
        convolution(kernel)


@pytest.mark.filterwarnings("ignore:.*quantized tensor creation:UserWarning")
def test_codes_are_refused():
    codes = torch.quantize_per_tensor(torch.ones((1, 1, 3)), 0.1, 0, torch.qint8)
    with pytest.raises(opnorm.UnsupportedInput, match="dequantize"):
        convolution(codes)


MISFITS = {
    "groups": ({"groups": 3}, "groups=3 does not divide the 4 channels"),
    "no groups": ({"groups": 0}, "groups=0 is not possible"),
    "channels": ({"input_shape": (3, 8, 8)}, "has 3 channels, the kernel 2"),
    "grouped channels": ({"input_shape": (2, 8, 8), "groups": 2}, "has 2 channels, the kernel 4"),
    "transposed channels": ({"input_shape": (2, 8, 8), "transposed": True}, "has 2 channels, the kernel 4"),
    "rank": ({"input_shape": (2, 8)}, r"give \(2 channels, then 2 spatial sizes\), without a batch"),
    "batch": ({"input_shape": (1, 2, 8, 8)}, "without a batch"),
    "a number for a shape": ({"input_shape": 8}, "does not fit the kernel"),
    "empty axis": ({"input_shape": (2, 0, 8)}, "has an empty axis"),
    "fractions": ({"input_shape": (2, 8.5, 8)}, "whole number"),
    "stride": ({"stride": 0}, "stride=0 is not possible"),
    "dilation": ({"dilation": (1, 0)}, "dilation=0 is not possible"),
    "items": ({"stride": (1, 1, 1)}, r"stride=\(1, 1, 1\) has 3 items; give one number, or 2"),
    "negative padding": ({"padding": -1}, "padding=-1 is not possible"),
    "padding word": ({"padding": "full"}, "give 'same', 'valid', or numbers"),
    "padding pairs": ({"padding": ((1, 1),)}, "give 2 pairs"),
    "half a pair": ({"padding": ((1, 1), 1)}, "give 2 pairs"),
    "same with stride": ({"padding": "same", "stride": 2}, "only a stride of 1 keeps the size"),
    "same transposed": ({"padding": "same", "transposed": True}, "takes numbers only"),
    "mode": ({"padding_mode": "symmetric"}, "choose one of: zeros, circular, reflect, replicate"),
    "mode transposed": ({"padding_mode": "circular", "transposed": True}, "'zeros' only"),
    "too large a kernel": ({"input_shape": (2, 2, 8)}, r"spans \(3, 3\) does not fit an input padded to \(2, 8\)"),
    "too much dilation": ({"input_shape": (2, 8, 8), "dilation": 4}, "there is no output"),
    "reflect": ({"input_shape": (2, 3, 8), "padding": 3, "padding_mode": "reflect"}, "at least 4"),
    "circular": ({"input_shape": (2, 3, 8), "padding": 4, "padding_mode": "circular"}, "at least 4"),
    "output padding": ({"output_padding": 1}, "add transposed=True"),
    "much output padding": ({"output_padding": 2, "stride": 2, "transposed": True}, "must be below the larger"),
    "nothing left": ({"input_shape": (4, 1, 1), "padding": 2, "transposed": True}, "less padding"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_settings_that_do_not_fit_are_refused(name):
    settings, words = MISFITS[name]
    with pytest.raises(opnorm.UsageError, match=words):
        convolution(KERNEL, **settings)


def test_only_host_floats_reach_the_operator():
    with pytest.raises(opnorm.UnsupportedInput, match=r"opnorm\.Convolution"):
        Convolution(np.ones((1, 1, 3), dtype=np.int32))
    with pytest.raises(opnorm.UnsupportedInput, match=r"opnorm\.Convolution"):
        Convolution([[[1.0]]])


def test_a_block_of_the_wrong_height_is_named():
    with pytest.raises(opnorm.UsageError, match="needs 128 rows"):
        convolution(KERNEL[:, :2], (2, 8, 8)).matmat(np.ones((127, 1)))


@pytest.mark.parametrize("shape", [None, (2, 8, 8)])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_kernels_have_no_norm(shape, bad):
    kernel = KERNEL.copy()
    kernel[1, 0, 2, 2] = bad
    operator = convolution(kernel, shape)
    with pytest.raises(opnorm.UndefinedNorm, match="1 NaN" if np.isnan(bad) else "1 Inf"):
        measure_operator(operator, Request())
    with pytest.raises(opnorm.UndefinedNorm):
        _ = convolution(kernel, (2, 8, 8)).rounding


@pytest.mark.parametrize("shape", [(0, 3, 3, 3), (4, 0, 3, 3)])
def test_layers_without_channels_are_zero(shape):
    operator = convolution(np.zeros(shape, dtype=np.float32), (shape[1], 8, 8))
    assert measure_operator(operator, Request()).bracket("proved").upper == 0.0
    assert operator.matmat64(np.ones((operator.shape[1], 2))).shape == (operator.shape[0], 2)
