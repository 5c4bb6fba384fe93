"""Singular values of every kind of operator, against closed forms, constructed spectra and dense decompositions."""

import numpy as np
import pytest

import opnorm
from gallery import CLOSED_FORMS, profiles, with_spectrum
from opnorm.bound import Evidence
from opnorm.errors import UndefinedNorm
from opnorm.frameworks import aslinearoperator
from opnorm.linalg.algebra import BlockDiagonal
from opnorm.linalg.diagonal import Diagonal
from opnorm.linalg.near import Near
from opnorm.linalg.operator import FunctionOperator
from opnorm.linalg.request import Request
from opnorm.linalg.thin import ThinProduct
from opnorm.spectrum.singular import singular_values
from opnorm.spectrum.values import Values

REQUEST = Request(Evidence.PROBABLE)
ESTIMATE = Request(Evidence.ESTIMATE)


def values(operator: object, request: Request = REQUEST) -> Values:
    found = singular_values(aslinearoperator(operator), request)
    assert found is not None
    return found


def agree(found: Values, truth: np.ndarray, tolerance: float = 1e-13) -> None:
    """To within the resolution that is stated; proved ends hold for the truth to its own rounding."""
    truth = np.sort(truth)[::-1]
    slack = tolerance * truth.max(initial=0.0)
    assert len(found.sigma) == len(truth)
    assert np.abs(found.sigma**2 - truth**2).max(initial=0.0) <= found.resolution**2 + 4 * slack * truth.max(
        initial=0.0
    )
    if found.lower is not None and found.upper is not None:
        assert (found.lower <= truth + slack).all()
        assert (truth - slack <= found.upper).all()


@pytest.mark.parametrize("name", CLOSED_FORMS)
@pytest.mark.parametrize("request_", [REQUEST, ESTIMATE], ids=["probable", "estimate"])
def test_closed_forms(name: str, request_: Request) -> None:
    matrix, norm = CLOSED_FORMS[name]()
    found = values(matrix, request_)
    assert found.sigma[0] == pytest.approx(norm, rel=1e-13)
    agree(found, np.linalg.svd(matrix, compute_uv=False))


def test_all_values_of_closed_forms() -> None:
    n, k = 40, np.arange(1, 41)
    laplacian = 2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)
    agree(values(laplacian), 2 - 2 * np.cos(np.pi * k / (n + 1)))
    hadamard = CLOSED_FORMS["hadamard"]()[0]
    agree(values(hadamard), np.full(64, 8.0))
    agree(values(np.outer(np.arange(5.0), np.arange(7.0))), np.array([np.sqrt(30.0 * 91.0), 0, 0, 0, 0]))
    circulant = np.stack([np.roll([3.0, 1, 0, 0, 0, 0, 1], i) for i in range(7)])
    agree(values(circulant), 3 + 2 * np.cos(2 * np.pi * np.arange(7) / 7))


@pytest.mark.parametrize("name", profiles(4))
@pytest.mark.parametrize("shape", [(24, 24), (24, 60), (60, 24)])
@pytest.mark.parametrize("exponent", [0, 300, -300])
def test_constructed_spectra(name: str, shape: tuple[int, int], exponent: int) -> None:
    truth = profiles(24)[name]
    matrix = np.ldexp(with_spectrum(truth, *shape, np.random.default_rng(1)), exponent)
    found = values(matrix)
    agree(found.times(-exponent), truth)
    assert found.proved


def test_small_values_are_found_by_a_decomposition() -> None:
    truth = np.logspace(0, -11, 30)
    matrix = with_spectrum(truth, 30, 50, np.random.default_rng(0))
    found = values(matrix)
    assert found.method == "svd"
    assert found.lower is not None
    assert found.lower[-1] > 0.99e-11
    assert values(matrix, ESTIMATE).sigma[-1] == pytest.approx(1e-11, rel=1e-3)


def test_estimates_above_the_proved_side_state_their_resolution() -> None:
    truth = np.logspace(0, -12, 40)
    matrix = with_spectrum(truth, 40, 40, np.random.default_rng(0))
    wide = np.zeros((40, 200_000))
    wide[:, :40] = matrix
    found = values(wide, ESTIMATE)  # too many entries for a decomposition
    assert found.method == "gram"
    hidden = truth < found.resolution
    assert hidden.any()
    assert (found.sigma[hidden] <= 2 * found.resolution).all()


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_torch_and_numpy_alike(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    matrix = (10 * np.random.default_rng(0).standard_normal((30, 20))).astype(dtype)
    truth = np.linalg.svd(matrix.astype(float), compute_uv=False)
    agree(values(matrix), truth)
    agree(values(torch.from_numpy(matrix)), truth)


def test_structured_operators() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((6, 9)), rng.standard_normal((8, 3))
    agree(
        values(BlockDiagonal(aslinearoperator(a), aslinearoperator(b))),
        svd(np.block([[a, np.zeros((6, 3))], [np.zeros((8, 9)), b]])),
    )
    agree(values(-3.5 * aslinearoperator(a)), 3.5 * svd(a))
    agree(values(aslinearoperator(a).T), svd(a))
    update = opnorm.low_rank_update(aslinearoperator(a), aslinearoperator(a[:, :2]), aslinearoperator(a[:2]), 0.3)
    agree(values(update), svd(a + 0.3 * a[:, :2] @ a[:2]))
    agree(values(aslinearoperator(a).T @ aslinearoperator(b[:6])), svd(a.T @ b[:6]))
    agree(values(Diagonal(np.array([-3.0, 0.0, 2.0]))), np.array([3.0, 2.0, 0.0]))
    near = values(Near(aslinearoperator(a), relative=0.01, absolute=0.1))
    assert near.lower == pytest.approx(0.99 * svd(a) - 0.1, rel=1e-12)
    assert near.upper == pytest.approx(1.01 * svd(a) + 0.1, rel=1e-12)


def svd(matrix: np.ndarray) -> np.ndarray:
    return np.linalg.svd(matrix, compute_uv=False)


def test_black_boxes_are_estimates() -> None:
    a = np.random.default_rng(0).standard_normal((6, 9))
    found = values(FunctionOperator(6, 9, lambda x: a @ x, lambda y: a.T @ y))
    assert not found.proved
    agree(found, svd(a))


@pytest.mark.parametrize("scale", [1.0, 2.0**150])
def test_circuits(scale: float) -> None:
    rng = np.random.default_rng(0)
    a, b = scale * rng.standard_normal((4, 30)), rng.standard_normal((4, 20))
    found = values(ThinProduct(aslinearoperator(a), aslinearoperator(b), factor=-1.5, root=3))
    assert found.proved
    assert found.method == "thin"
    agree(found.times(-150 if scale > 1 else 0), 1.5 / np.sqrt(3) * svd(a.T @ b / scale), 1e-12)
    wide = values(
        ThinProduct(aslinearoperator(rng.standard_normal((9, 5))), aslinearoperator(rng.standard_normal((9, 7))))
    )
    assert len(wide.sigma) == 5


def test_large_sides_are_squared_in_place() -> None:
    matrix = np.random.default_rng(0).standard_normal((1030, 1100)).astype(np.float32)
    agree(values(matrix), svd(matrix.astype(float)))


def test_zero_and_empty() -> None:
    found = values(np.zeros((3, 5)))
    assert found.proved
    assert not found.sigma.any()
    assert len(values(np.zeros((0, 5))).sigma) == 0


def test_undefined() -> None:
    with pytest.raises(UndefinedNorm):
        values(np.array([[1.0, np.nan]]))
    with pytest.raises(UndefinedNorm):
        values(FunctionOperator(2, 2, lambda x: np.full_like(x, np.nan), lambda y: np.full_like(y, np.nan)))


SETTINGS = [
    ({"padding": 1, "padding_mode": "circular"}, (3, 8, 6)),
    ({"padding": 1, "padding_mode": "circular", "stride": 2}, (3, 8, 8)),
    ({"padding": 1, "padding_mode": "circular", "groups": 3}, (3, 5, 7)),
    ({"padding": 2, "padding_mode": "circular", "dilation": 2}, (3, 8, 6)),
    ({"padding": 1}, (3, 6, 5)),
    ({"padding": 1, "stride": 2}, (3, 7, 6)),
    ({"stride": 4}, (3, 11, 8)),
    ({"stride": 3, "transposed": True}, (6, 2, 3)),
]


@pytest.mark.parametrize(("settings", "shape"), SETTINGS, ids=str)
def test_convolutions(settings: dict, shape: tuple[int, ...]) -> None:
    kernel = np.random.default_rng(0).standard_normal((6, 3 // settings.get("groups", 1), 3, 3))
    conv = opnorm.Convolution(kernel, shape, **settings)
    dense = conv.matmat64(np.eye(conv.shape[1]))
    found = values(conv)
    assert found.method == ("symbol" if "padding_mode" in settings else "gram")
    assert found.proved == (found.method == "gram")
    agree(found, svd(dense), 1e-12)
    agree(values(conv.rescaled(200)).times(-200), svd(dense), 1e-12)


def test_the_limit_for_large_inputs() -> None:
    """Circular padding at 14×14 has its quantiles; zero padding comes near as the input grows."""
    kernel = np.random.default_rng(0).standard_normal((2, 2, 3, 3))
    limit = values(opnorm.Convolution(kernel))
    assert limit.limit
    shares = (0.1, 0.25, 0.5, 0.75, 0.9)
    at = np.quantile(limit.sigma, shares)
    misses = []
    for size, mode in ((14, "circular"), (6, "zeros"), (18, "zeros")):
        conv = opnorm.Convolution(kernel, (2, size, size), padding=1, padding_mode=mode)
        true = np.quantile(svd(conv.matmat64(np.eye(conv.shape[1]))), shares)
        misses.append(np.abs(at / true - 1).max())
    assert misses[0] < 0.05
    assert misses[2] < 0.5 * misses[1]
