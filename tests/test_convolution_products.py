"""Products with convolutions against explicit matrices, built from unit impulses by PyTorch's own convolutions."""

import itertools
import math
import tracemalloc

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import opnorm
from opnorm.frameworks.convolution import convolution
from opnorm.frameworks.torch_convolution import TorchConvolution
from opnorm.linalg.convolution import correlate
from opnorm.linalg.convolution.operator import Convolution

CONV = (F.conv1d, F.conv2d, F.conv3d)
CONV_TRANSPOSE = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)
SIZES = {1: (9,), 2: (6, 5), 3: (4, 5, 3)}
KERNELS = {
    1: [(1,), (2,), (3,), (5,)],
    2: [(1, 1), (3, 3), (2, 4), (1, 3)],
    3: [(1, 2, 3), (3, 3, 2)],
}
GROUPS = [(1, 2, 3), (1, 3, 1), (2, 2, 2), (3, 1, 1)]
"""(groups, output channels of one, input channels of one)."""


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Thousands of tiny convolutions are faster without a second thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pad_flat(pads):
    return [side for pair in reversed(pads) for side in pair]


def explicit(kernel, shape, *, padding=0, padding_mode="zeros", transposed=False, output_padding=0, **settings):
    """The matrix of the layer, one unit impulse a column."""
    columns, axes = math.prod(shape), kernel.ndim - 2
    impulses = torch.eye(columns, dtype=torch.float64).reshape(columns, *shape)
    weight = torch.from_numpy(np.asarray(kernel, dtype=np.float64))
    if transposed:
        images = CONV_TRANSPOSE[axes - 1](impulses, weight, padding=padding, output_padding=output_padding, **settings)
    elif isinstance(padding, tuple) and isinstance(padding[0], tuple):
        mode = "constant" if padding_mode == "zeros" else padding_mode
        images = CONV[axes - 1](F.pad(impulses, pad_flat(padding), mode=mode), weight, **settings)
    else:
        assert padding_mode == "zeros"
        images = CONV[axes - 1](impulses, weight, padding=padding, **settings)
    return images.reshape(columns, -1).numpy().T


def asymmetric(axes, most):
    return tuple((a % (most + 1), (a + 1) % (most + 1)) for a in range(1, axes + 1))


def forward_cases(axes):
    """Every kernel × stride × dilation × grouping × padding of this dimension that PyTorch accepts."""
    paddings = [
        ("zeros", "valid"),
        ("zeros", 1),
        ("zeros", asymmetric(axes, 2)),
        ("zeros", ((4, 3),) * axes),
        ("circular", asymmetric(axes, 2)),
        ("circular", tuple((n, 1) for n in SIZES[axes])),
        ("reflect", asymmetric(axes, 2)),
        ("replicate", ((3, 1),) * axes),
    ]
    strides = [(1,) * axes, (2,) * axes, (3, 1, 2)[:axes]]
    for kernel, stride, dilation, (mode, padding) in itertools.product(KERNELS[axes], strides, (1, 2), paddings):
        yield kernel, {"stride": stride, "dilation": dilation, "padding": padding, "padding_mode": mode}
    for kernel, dilation in itertools.product(KERNELS[axes], (1, 2)):
        yield kernel, {"stride": 1, "dilation": dilation, "padding": "same"}


def transposed_cases(axes):
    for kernel, stride, dilation, padding in itertools.product(KERNELS[axes], (1, 2, 3), (1, 2), (0, 1)):
        for extra in range(max(stride, dilation)):
            yield kernel, {"stride": stride, "dilation": dilation, "padding": padding, "output_padding": extra}


def compare(kernel, shape, settings, kinds=(convolution,)):
    """True after comparing; False where neither PyTorch nor opnorm has such a layer."""
    try:
        dense = explicit(kernel, shape, **settings)
    except RuntimeError:
        with pytest.raises(opnorm.OpnormError):
            convolution(kernel, shape, **settings)
        return False
    rng = np.random.default_rng(len(dense))
    x, y = rng.standard_normal((dense.shape[1], 2)), rng.standard_normal((dense.shape[0], 2))
    for kind in kinds:
        operator = kind(kernel, shape, **settings)
        assert operator.shape == dense.shape
        np.testing.assert_allclose(operator.matmat64(x), dense @ x, rtol=0, atol=1e-12, err_msg=str(settings))
        np.testing.assert_allclose(operator.rmatmat64(y), dense.T @ y, rtol=0, atol=1e-12, err_msg=str(settings))
        np.testing.assert_allclose(operator.matmat(x), dense @ x, rtol=0, atol=1e-12)
        np.testing.assert_allclose(operator.T.matmat(y), dense.T @ y, rtol=0, atol=1e-12)
        assert operator.rounding.norm >= np.linalg.norm(np.abs(dense), 2) * (1 - 1e-14)
        if settings.get("padding_mode", "zeros") == "zeros":
            assert operator.frobenius() == pytest.approx(np.linalg.norm(dense), rel=1e-14)
    return True


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("grouping", GROUPS, ids=str)
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_forward_convolutions(axes, grouping):
    groups, rows, columns = grouping
    rng = np.random.default_rng(axes)
    compared = 0
    for kernel, settings in forward_cases(axes):
        array = rng.standard_normal((groups * rows, columns, *kernel))
        compared += compare(array, (groups * columns, *SIZES[axes]), {**settings, "groups": groups})
    assert compared >= 75


@pytest.mark.parametrize("grouping", GROUPS, ids=str)
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_transposed_convolutions(axes, grouping):
    groups, rows, columns = grouping
    rng = np.random.default_rng(axes)
    compared = 0
    for kernel, settings in transposed_cases(axes):
        array = rng.standard_normal((groups * rows, columns, *kernel))
        shape = (groups * rows, *(max(1, n // 2) for n in SIZES[axes]))
        compared += compare(array, shape, {**settings, "groups": groups, "transposed": True})
    assert compared >= 25


def test_random_settings_with_pytorch_as_explorer():
    """Axes with settings of their own; also through PyTorch's convolutions, as on another device."""
    compared = 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        axes, transposed = int(rng.integers(1, 4)), bool(rng.integers(2))
        stride, dilation = (tuple(map(int, rng.integers(1, high, axes))) for high in (4, 3))
        groups, rows, columns = GROUPS[seed % len(GROUPS)]
        kernel = rng.standard_normal((groups * rows, columns, *rng.integers(1, 4, axes)))
        settings = {"stride": stride, "dilation": dilation, "groups": groups}
        if transposed:
            extra = tuple(int(rng.integers(0, max(s, d))) for s, d in zip(stride, dilation, strict=True))
            settings |= {"padding": tuple(map(int, rng.integers(0, 3, axes))), "output_padding": extra}
        else:
            pads = tuple((int(a), int(b)) for a, b in rng.integers(0, 4, (axes, 2)))
            mode = str(rng.choice(["zeros", "circular", "reflect", "replicate"]))
            settings |= {"padding": pads, "padding_mode": mode}
        shape = (groups * (rows if transposed else columns), *map(int, rng.integers(1, 6, axes)))
        settings["transposed"] = transposed
        compared += compare(kernel, shape, settings, kinds=(convolution, TorchConvolution))
    assert compared >= 80


@pytest.mark.parametrize("box", [1, 1 << 10])
@pytest.mark.parametrize("ratio", [0, 1000])
def test_every_way_to_the_same_product(monkeypatch, box, ratio):
    """Small boxes, down to one position of one group, gathered or scattered; one vector, or none."""
    monkeypatch.setattr(correlate, "BOX_BYTES", box)
    monkeypatch.setattr(correlate, "SCATTER_RATIO", ratio)
    rng = np.random.default_rng(0)
    for axes, (groups, rows, columns) in itertools.product((1, 2), GROUPS):
        for stride, padding in ((1, ((0, 1),)), (2, ((1, 0),)), (3, ((4, 4),))):
            kernel = rng.standard_normal((groups * rows, columns, *KERNELS[axes][-2]))
            settings = {"stride": stride, "padding": padding * axes, "groups": groups}
            assert compare(kernel, (groups * columns, *SIZES[axes]), settings)
    operator = convolution(kernel, (3, *SIZES[2]), groups=3)
    assert operator.matmat64(np.zeros((operator.shape[1], 0))).shape == (operator.shape[0], 0)


def test_an_output_padding_beyond_the_stride():
    """Allowed below the dilation: the last outputs of the forward convolution are left out."""
    kernel = np.random.default_rng(0).standard_normal((2, 3, 3))
    settings = {"stride": 1, "dilation": 4, "output_padding": 3, "transposed": True}
    assert compare(kernel, (2, 5), settings)
    operator = convolution(kernel, (2, 5), **settings)
    assert operator.geometry.padding == ((0, -3),)
    assert operator.geometry.output == (5,)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_precision_follows_the_kernel(dtype):
    kernel = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(dtype)
    operator = convolution(kernel, (3, 8, 8), padding=1)
    dense = explicit(kernel, (3, 8, 8), padding=1)
    x = np.random.default_rng(1).standard_normal((operator.shape[1], 3))
    assert operator.matmat(x).dtype == operator.rmatmat(operator.matmat(x)).dtype == dtype
    assert operator.gram(operator.matmat(x)).dtype == dtype
    assert operator.matmat64(x.astype(np.float32)).dtype == np.float64
    np.testing.assert_allclose(operator.matmat(x), dense @ x, rtol=0, atol=1e-4 if dtype == np.float32 else 1e-12)
    huge = operator.matmat(x * 1e200)
    np.testing.assert_allclose(huge, dense @ (x * 1e200), rtol=1e-10)


def test_blocks_in_any_layout():
    operator = convolution(np.arange(18.0).reshape(2, 1, 3, 3), (1, 5, 5))
    x = np.random.default_rng(0).standard_normal((25, 6))
    wanted = operator.matmat64(x)
    for same in (np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2], x[::-1][::-1]):
        np.testing.assert_array_equal(operator.matmat64(same), wanted)


@pytest.mark.parametrize("settings", [{}, {"padding": 2, "padding_mode": "reflect"}, {"stride": 2, "transposed": True}])
def test_the_adjoint_is_exact(settings):
    kernel = np.random.default_rng(0).standard_normal((6, 6, 3, 2))
    assert opnorm.adjoint_defect(convolution(kernel, (6, 7, 9), **settings)) < 1e-14


def test_kernels_of_every_framework_and_dtype():
    rng = np.random.default_rng(0)
    base = rng.integers(-4, 5, (4, 2, 3, 3))
    x = rng.standard_normal((2 * 36, 2))
    wanted = explicit(base, (2, 6, 6)) @ x
    parameter = torch.nn.Parameter(torch.tensor(base, dtype=torch.float32))
    before = parameter.detach().clone()
    import jax.numpy as jnp
    import ml_dtypes

    kernels = [
        *(base.astype(t) for t in (np.float16, np.float32, np.float64, np.int8, np.int64, ml_dtypes.bfloat16)),
        base.astype(np.float32).astype(">f4"),
        np.asfortranarray(base, dtype=np.float32),
        *(torch.tensor(base).to(t) for t in (torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn)),
        torch.tensor(base, dtype=torch.float32).to(memory_format=torch.channels_last),
        parameter,
        jnp.asarray(base, dtype=jnp.bfloat16),
        base.tolist(),
    ]
    for kernel in kernels:
        operator = convolution(kernel, (2, 6, 6))
        assert isinstance(operator, Convolution)
        np.testing.assert_allclose(operator.matmat64(x), wanted, rtol=1e-12)
    assert parameter.requires_grad
    assert parameter.grad is None
    assert torch.equal(parameter.detach(), before)


def test_a_kernel_on_another_device_is_explored_there():
    """No second device here: its subclass runs on this one."""
    kernel = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)
    operator = TorchConvolution(kernel, (3, 8, 8), padding=1)
    x = np.random.default_rng(1).standard_normal((operator.shape[1], 3))
    np.testing.assert_allclose(operator.matmat(x), operator.matmat64(x), rtol=0, atol=1e-4)
    assert operator.matmat(x).dtype == np.float32
    for kernel, tolerance in ((operator.kernel, 1e-2), (operator.kernel.astype(np.float64), 1e-11)):
        operator = TorchConvolution(kernel, (3, 8, 8), padding=1)
        wanted = 32 * operator.matmat(x).astype(np.float64)
        moved = operator.rescaled(5)
        assert moved.device == operator.device
        np.testing.assert_allclose(moved.matmat(x), wanted, rtol=0, atol=tolerance)


def test_a_kernel_is_copied():
    """Training on changes the parameter, not what was asked about."""
    kernel = torch.ones((1, 1, 3))
    operator = convolution(kernel, (1, 5))
    kernel.fill_(7.0)
    assert operator.matmat64(np.ones((5, 1)))[0, 0] == 3.0


@pytest.mark.parametrize("settings", [{}, {"stride": 2}, {"padding_mode": "reflect"}])
def test_memory_is_a_few_blocks(settings):
    operator = convolution(np.ones((16, 16, 3, 3), dtype=np.float32), (16, 96, 96), padding=1, **settings)
    x = np.ones((operator.shape[1], 16), dtype=np.float32)
    tracemalloc.start()
    y = operator.matmat(x)
    operator.rmatmat(y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= y.nbytes + 3.3 * x.nbytes + 3 * correlate.BOX_BYTES
