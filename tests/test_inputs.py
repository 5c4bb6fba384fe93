"""What users hand over: every framework and dtype, layouts, edges, and what is refused with what to do."""

import ml_dtypes
import numpy as np
import pytest
import scipy.sparse as sp
import scipy.sparse.linalg as spla

import opnorm

jax = pytest.importorskip("jax", reason="the test extras include jax")
torch = pytest.importorskip("torch", reason="the test extras include torch")

RNG = np.random.default_rng(0)
SMALL = RNG.standard_normal((40, 30))
LARGE = RNG.standard_normal((530, 700))

NUMPY_DTYPES = [
    np.float64,
    np.float32,
    np.float16,
    ml_dtypes.bfloat16,
    ml_dtypes.float8_e4m3fn,
    ml_dtypes.float8_e5m2,
    np.int8,
    np.uint8,
    np.int16,
    np.int32,
    np.int64,
    np.longdouble,
    np.bool_,
]


def truth(matrix):
    return np.linalg.norm(np.asarray(matrix).astype(np.float64), 2)


def check(matrix, exact, level="proved", width=1e-6):
    bracket = opnorm.spectral_norm(matrix, evidence=level, width=width, seed=0).bracket(level)
    assert bracket.lower <= exact * (1 + 1e-13)
    assert bracket.upper >= exact * (1 - 1e-13)
    assert bracket.width <= width


@pytest.mark.parametrize("dtype", NUMPY_DTYPES)
@pytest.mark.parametrize("source", [SMALL, LARGE], ids=["small", "large"])
def test_numpy_dtypes(dtype, source):
    matrix = (3 * source).astype(dtype)
    check(matrix, truth(matrix))
    check(matrix, truth(matrix), "probable", 0.01)


TORCH_DTYPES = ["float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "int8", "int32", "int64"]


@pytest.mark.parametrize("dtype", TORCH_DTYPES)
@pytest.mark.parametrize("source", [SMALL, LARGE], ids=["small", "large"])
def test_torch_dtypes(dtype, source):
    tensor = torch.from_numpy(3 * source).to(getattr(torch, dtype))
    before = tensor.clone()
    exact = np.linalg.norm(tensor.to(torch.float64).numpy(), 2)
    check(tensor, exact)
    check(tensor, exact, "probable", 0.01)
    assert torch.equal(tensor.view(torch.uint8), before.view(torch.uint8))


def test_torch_layouts_and_gradients():
    weight = torch.nn.Linear(30, 40).weight
    check(weight, truth(weight.detach().numpy()))
    assert weight.grad is None
    assert weight.requires_grad
    check(weight.T, truth(weight.detach().numpy()))
    check(weight[::2, 1:], truth(weight.detach().numpy()[::2, 1:]))
    check(weight.expand(1, 40, 30)[0], truth(weight.detach().numpy()))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "int8", "float8_e4m3fn"])
@pytest.mark.parametrize("source", [SMALL, LARGE], ids=["small", "large"])
def test_jax_dtypes(dtype, source):
    array = jax.numpy.asarray(3 * source).astype(dtype)
    check(array, truth(np.asarray(array).astype(np.float64)))
    check(array, truth(np.asarray(array).astype(np.float64)), "probable", 0.01)


@pytest.mark.parametrize("level", ["estimate", "probable", "proved"])
def test_frameworks_agree(level):
    """One engine: the same matrix from three frameworks gives overlapping brackets."""
    matrix = LARGE.astype(np.float32)
    found = [
        opnorm.spectral_norm(m, evidence=level, seed=5).bracket(level)
        for m in (matrix, torch.from_numpy(matrix), jax.numpy.asarray(matrix), sp.csr_array(matrix))
    ]
    assert max(b.lower for b in found) <= min(b.upper for b in found)


@pytest.mark.parametrize("layout", [sp.csr_array, sp.csc_array, sp.coo_array, sp.csr_matrix])
def test_sparse(layout):
    dense = RNG.standard_normal((600, 800)) * (RNG.random((600, 800)) < 0.02)
    check(layout(dense), truth(dense), "probable", 0.01)
    check(layout(dense), truth(dense))


def test_scipy_operators_are_estimates():
    operator = spla.aslinearoperator(SMALL)
    measurement = opnorm.spectral_norm(operator, seed=0)
    assert measurement.bracket("probable").upper is None
    assert measurement.bracket("estimate").lower == pytest.approx(truth(SMALL), rel=1e-6)


LAYOUTS = {
    "fortran": np.asfortranarray(SMALL),
    "reversed": SMALL[::-1, ::-1],
    "strided": np.repeat(np.repeat(SMALL, 2, 0), 3, 1)[::2, ::3],
    "big-endian": SMALL.astype(">f8"),
    "big-endian float32": SMALL.astype(">f4"),
    "broadcast": np.broadcast_to(SMALL[:1], (40, 30)),
    "list": SMALL.tolist(),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(name):
    check(LAYOUTS[name], truth(LAYOUTS[name]))


def test_read_only_input_stays_untouched():
    matrix = SMALL.copy()
    matrix.flags.writeable = False
    check(matrix, truth(SMALL))
    assert np.array_equal(matrix, SMALL)


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
def test_empty_matrices_have_norm_zero(shape):
    bracket = opnorm.spectral_norm(np.zeros(shape)).bracket("proved")
    assert (bracket.lower, bracket.upper) == (0.0, 0.0)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (30, 40)])
def test_zero_matrices_have_norm_zero(shape):
    for zero in (0.0, -0.0):
        bracket = opnorm.spectral_norm(np.full(shape, zero)).bracket("proved")
        assert (bracket.lower, bracket.upper) == (0.0, 0.0)


@pytest.mark.parametrize("exponent", [-1060, -1000, -500, 500, 1000, 1020])
def test_extreme_scales(exponent):
    matrix = np.ldexp(np.round(SMALL * 2**20) / 2**20, exponent) if exponent < 1000 else np.ldexp(SMALL, exponent)
    scale = int(np.log2(np.abs(matrix).max()))
    exact = np.linalg.norm(np.ldexp(matrix, -scale), 2)
    bracket = opnorm.spectral_norm(matrix, evidence="proved", width=1e-3, seed=0).bracket("proved")
    if bracket.upper is not None:
        assert np.ldexp(bracket.upper, -scale) >= exact * (1 - 1e-12)
        assert bracket.upper <= bracket.lower * (1.001 if exponent > -1000 else 1.1)
    assert np.ldexp(bracket.lower, -scale) <= exact * (1 + 1e-12)


def test_float32_extremes():
    for factor in (1e-38, 1e-30, 1e30):
        matrix = (SMALL * factor).astype(np.float32)
        check(matrix, truth(matrix), "proved", 1e-6)
        large = (LARGE * factor).astype(np.float32)
        check(large, truth(large), "probable", 0.01)


def test_an_upper_bound_beyond_the_largest_float_is_absent():
    matrix = np.full((3, 3), 1e308)
    bracket = opnorm.spectral_norm(matrix, evidence="proved").bracket("proved")
    assert bracket.upper is None
    assert bracket.lower > 1.7e308


@pytest.mark.parametrize("level", ["estimate", "probable", "proved"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["numpy", "torch", "jax", "sparse", "large"])
def test_undefined(kind, bad, level):
    matrix = (LARGE if kind == "large" else SMALL).copy()
    matrix[7, 3] = bad
    wrap = {"torch": torch.from_numpy, "jax": jax.numpy.asarray, "sparse": sp.csr_array}.get(kind, np.asarray)
    with pytest.raises(opnorm.UndefinedNorm, match="1 NaN" if np.isnan(bad) else "1 Inf"):
        opnorm.spectral_norm(wrap(matrix), evidence=level)


REFUSED = {
    "vector": (np.ones(3), "reshape it to"),
    "scalar": (np.float64(3.0), "no linear map"),
    "kernel": (np.ones((4, 3, 3, 3)), "not the layer"),
    "complex": (np.ones((2, 2), dtype=complex), r"\[\[Re A"),
    "masked": (np.ma.masked_array(np.ones((2, 2)), mask=[[1, 0], [0, 0]]), "filled"),
    "tiny long double": (np.full((3, 3), np.longdouble("1e-320")), "power of two"),
    "huge long double": (np.full((3, 3), np.longdouble("1e4000")), "power of two"),
    "text": (np.array([["a"]]), "not numeric"),
    "object": (np.array([[None]]), "not numeric"),
    "meta": (torch.empty(3, 3, device="meta"), "meta device"),
    "sparse torch": (torch.eye(3).to_sparse(), "to_dense"),
    "complex torch": (torch.ones(2, 2, dtype=torch.complex64), "complex"),
    "jax vector": (jax.numpy.ones(3), "reshape"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_say_what_to_do(name):
    matrix, words = REFUSED[name]
    with pytest.raises(opnorm.UnsupportedInput, match=words):
        opnorm.spectral_norm(matrix)


@pytest.mark.parametrize("width", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_widths(width):
    with pytest.raises(opnorm.UsageError, match="width"):
        opnorm.spectral_norm(SMALL, width=width)


def test_fresh_entropy_is_recorded_and_reproduces():
    one, two = opnorm.spectral_norm(LARGE), opnorm.spectral_norm(LARGE)
    assert one.seed != two.seed
    again = opnorm.spectral_norm(LARGE, seed=one.seed)
    assert again.bounds == one.bounds


def test_warm_vectors():
    u = np.linalg.svd(LARGE, full_matrices=False)[0][:, :4]
    cold = opnorm.spectral_norm(LARGE, seed=0, width=0.003)
    warm = opnorm.spectral_norm(LARGE, seed=0, width=0.003, warm=u)
    assert warm.bracket().lower <= truth(LARGE) <= warm.bracket().upper
    assert warm.passes <= cold.passes


def test_an_unreached_width_is_said():
    measurement = opnorm.spectral_norm(SMALL, evidence="proved", width=1e-15)
    assert measurement.bracket("proved").width < 1e-11
    assert "reached" in measurement.note


@pytest.mark.parametrize(
    "warm", [np.ones(530), np.ones((700, 2)), np.full((530, 1), np.nan), np.ones((530, 1), dtype=complex)]
)
def test_warm_vectors_that_do_not_fit(warm):
    with pytest.raises(opnorm.UsageError, match="warm"):
        opnorm.spectral_norm(LARGE, warm=warm)


@pytest.mark.parametrize("order", ["C", "F"])
def test_warm_vectors_of_square_matrices_are_left_ones(order):
    square = np.array(RNG.standard_normal((600, 600)), order=order)
    u = np.linalg.svd(square)[0][:, :8]
    huge = opnorm.spectral_norm(square, seed=0, warm=u * 1e300, width=0.03)
    assert huge.passes < opnorm.spectral_norm(square, seed=0, width=0.03).passes


def test_flushing_subnormals_is_noticed():
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush subnormals")
    try:
        with pytest.raises(opnorm.UnsupportedInput, match="flush"):
            opnorm.spectral_norm(np.full((3, 4), 1e-310), evidence="proved")
    finally:
        torch.set_flush_denormal(False)


def test_sparse_duplicates_are_summed_in_float64():
    matrix = sp.coo_array((np.array([100, 100], dtype=np.int8), ([0, 0], [0, 0])), shape=(2, 2))
    assert opnorm.spectral_norm(matrix, width=1e-6).bracket().lower == pytest.approx(200, rel=1e-6)
