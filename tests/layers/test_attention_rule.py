"""Circuits from thin cores: against formed products, intervals of a thousand bits, and closed forms."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from checkpoints import Planned, made
from flint import arb, arb_mat

from opnorm.bound import Bound, Evidence
from opnorm.errors import UndefinedNorm, UsageError
from opnorm.frameworks import aslinearoperator
from opnorm.layers.attention import NOT_LIPSCHITZ, Projection, circuits
from opnorm.linalg import thin as thin_module
from opnorm.linalg.measure import measure_operator
from opnorm.linalg.operator import adjoint_defect
from opnorm.linalg.request import Request
from opnorm.linalg.thin import ThinProduct
from oracle import Oracle, _ball


class ProductOracle(Oracle):
    """Decides ‖factor·AᵀB/√root‖ against any τ, from the stored factors, without ever rounding their product."""

    def __init__(self, left, right, factor=1.0, root=1):
        self.left, self.right = np.asarray(left, dtype=np.float64), np.asarray(right, dtype=np.float64)
        self.factor, self.root = factor, root
        self._grams = {}

    def _gram(self, precision):
        if precision not in self._grams:
            a, b = (arb_mat([[_ball(x) for x in row] for row in m]) for m in (self.left, self.right))
            product = a.transpose() * b
            square = _ball(self.factor) ** 2 / arb(self.root)
            self._grams[precision] = [[x * square for x in row] for row in (product * product.transpose()).tolist()]
        return self._grams[precision]


def thin(left, right, **settings):
    return ThinProduct(aslinearoperator(left), aslinearoperator(right), **settings)


def proved(operator, width=0.01):
    return measure_operator(operator, Request(Evidence.PROVED, width)).bracket("proved")


def factors(kind, k, m, n, rng):
    a, b = rng.standard_normal((k, m)), rng.standard_normal((k, n))
    if kind == "single":
        return a.astype(np.float32), b.astype(np.float32)
    if kind == "graded":
        return a * 2.0 ** -np.arange(0, 12 * k, 12)[:k, None], b
    if kind == "dependent":
        a[-1] = a[0]
        return a, b
    if kind == "zero row":
        a[0] = 0
        return a, b
    if kind == "parallel":
        return a, a[:, : min(m, n)].repeat(-(-n // min(m, n)), axis=1)[:, :n]
    if kind == "cancelling":  # AᵀB = 0 but for what is 1e-9 of it
        b[0], a[0] = 0, a[0] * 1e3
        return np.vstack((a[:1], np.zeros((k - 1, m)))), b + 1e-9 * rng.standard_normal((k, n))
    if kind == "huge and tiny":
        return a * 1e150, b * 1e-155
    if kind == "tiny":
        return a * 1e-150, b * 1e-150
    return a, b


KINDS = ("plain", "single", "graded", "dependent", "zero row", "parallel", "cancelling", "huge and tiny", "tiny")


@pytest.mark.parametrize("kind", KINDS)
def test_the_bracket_holds_in_exact_arithmetic(kind):
    rng = np.random.default_rng(len(kind))
    for case in range(40):
        k, m, n = rng.integers(2, 5), rng.integers(2, 7), rng.integers(2, 7)
        left, right = factors(kind, k, m, n, rng)
        root, factor = (1, 3, 4, 7)[case % 4], (1.0, -0.3, 1e-3, 2.5)[case % 3]
        bracket = proved(thin(left, right, factor=factor, root=root))
        assert ProductOracle(left, right, factor, root).holds(bracket.lower, bracket.upper)
        assert bracket.lower > 0
        assert bracket.width <= 0.01


@pytest.mark.parametrize("shift", [-3e-9, 3e-9])
def test_a_bracket_that_is_moved_is_caught(shift):
    rng = np.random.default_rng(5)
    left, right = rng.standard_normal((3, 6)), rng.standard_normal((3, 5))
    bracket = proved(thin(left, right, root=3))
    assert bracket.width < 1e-12
    assert not ProductOracle(left, right, 1.0, 3).holds(bracket.lower * (1 + shift), bracket.upper * (1 + shift))


@pytest.mark.parametrize("shift", [-1e-4, 1e-4])
@pytest.mark.parametrize("side", [0, 1])
def test_an_error_of_a_gram_matrix_is_passed_on(side, shift, monkeypatch):
    """A Gram matrix that is wrong by all that it admits still gives a true bracket, and no narrow one."""
    honest, calls = thin_module.gram_matrix, []

    def moved(operator):
        gram = honest(operator)
        calls.append(gram)
        wrong = shift if len(calls) - 1 == side else 0.0
        return replace(gram, matrix=gram.matrix + wrong * np.eye(len(gram.matrix)), error=gram.error + abs(wrong))

    monkeypatch.setattr(thin_module, "gram_matrix", moved)
    rng = np.random.default_rng(9)
    for _ in range(20):
        calls.clear()
        left, right = rng.standard_normal((1, 5)), rng.standard_normal((1, 4))
        bracket = proved(thin(left, right), width=0.5)
        assert ProductOracle(left, right).holds(bracket.lower, bracket.upper)
        assert bracket.width > 1e-6


def test_nothing_is_assumed_of_eigenvectors(monkeypatch):
    honest = np.linalg.eigh

    def wrong(matrix):
        values, vectors = honest(matrix)
        return values, vectors + 1e-5 * np.sign(vectors)

    monkeypatch.setattr(np.linalg, "eigh", wrong)
    rng = np.random.default_rng(10)
    for _ in range(20):
        left, right = rng.standard_normal((3, 6)), rng.standard_normal((3, 5))
        bracket = proved(thin(left, right), width=0.5)
        assert ProductOracle(left, right).holds(bracket.lower, bracket.upper)
        assert bracket.width > 1e-7


def test_a_gain_rounds_outward():
    rng = np.random.default_rng(11)
    for _ in range(200):
        value, size, root = float(rng.random()), float(rng.random()), int(rng.integers(2, 200))
        lower = thin_module._times(Bound("lower", value, Evidence.PROVED, "x"), size, root).value
        upper = thin_module._times(Bound("upper", value, Evidence.PROVED, "x"), size, root).value
        exact = (Fraction(value) * Fraction(size)) ** 2
        assert Fraction(lower) ** 2 * root < exact < Fraction(upper) ** 2 * root
        assert upper - lower < 1e-14


def test_a_norm_at_the_end_of_the_floats():
    left, right = np.full((1, 4), 1e300), np.full((1, 4), 1e300)
    beyond = proved(thin(left, right))
    assert beyond.upper is None
    assert beyond.lower == np.finfo(np.float64).max
    below = proved(thin(np.full((1, 4), 1e-300), np.full((1, 4), 1e-300)))
    assert below.lower == 0
    assert 0 < below.upper <= 5e-324
    rescued = proved(thin(left, right, factor=1e-300))
    assert rescued.lower <= 4e300 * (1 + 1e-12)
    assert rescued.upper >= 4e300 * (1 - 1e-12)


def test_heads_of_zeros_have_norm_zero():
    for left, right in ((np.zeros((2, 5)), np.ones((2, 4))), (np.ones((2, 5)), np.zeros((2, 4)))):
        bracket = proved(thin(left, right))
        assert (bracket.lower, bracket.upper) == (0.0, 0.0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("side", [0, 1])
def test_non_finite_entries_are_undefined(side, value):
    pair = [np.ones((2, 5), np.float32), np.ones((2, 4), np.float32)]
    pair[side][1, 1] = value
    with pytest.raises(UndefinedNorm, match="1 "):
        proved(thin(*pair))


def test_factors_that_annihilate_each_other_are_bounded_by_the_general_plan():
    left, right = np.zeros((4, 9)), np.zeros((4, 8))
    left[:2], right[2:] = 1.0, 1.0
    bracket = proved(thin(left, right))
    assert bracket.lower == 0
    assert bracket.upper < 1e-7 * np.linalg.norm(left, 2) * np.linalg.norm(right, 2)


def test_products_agree_with_the_formed_matrix():
    rng = np.random.default_rng(2)
    left, right = rng.standard_normal((3, 8)), rng.standard_normal((3, 5))
    operator = thin(left, right, factor=0.7, root=5)
    formed = 0.7 * left.T @ right / math.sqrt(5)
    x, y = rng.standard_normal((5, 2)), rng.standard_normal((8, 2))
    for product, truth in (
        (operator.matmat(x), formed @ x),
        (operator.matmat64(x), formed @ x),
        (operator.rmatmat(y), formed.T @ y),
        (operator.rmatmat64(y), formed.T @ y),
    ):
        np.testing.assert_allclose(product, truth, rtol=1e-13)
    assert adjoint_defect(operator) < 1e-14
    assert operator.rounding.norm >= np.linalg.norm(formed, 2)
    assert operator.rounding.forward >= np.linalg.norm(operator.matmat64(x) - formed @ x) / np.linalg.norm(x)


def test_the_frobenius_norm_is_that_of_the_formed_matrix():
    rng = np.random.default_rng(3)
    left, right = (rng.standard_normal((8, 96)).astype(np.float32) for _ in range(2))
    found = measure_operator(thin(left, right, root=8), Request())
    truth = np.linalg.norm(left.astype(np.float64).T @ right.astype(np.float64)) / math.sqrt(8)
    assert found.frobenius == pytest.approx(truth, rel=1e-12)


def test_a_factor_that_is_no_number_is_refused():
    with pytest.raises(UsageError, match="whole number from 1"):
        thin(np.ones((1, 2)), np.ones((1, 2)), root=0)
    with pytest.raises(UsageError, match="finite factor"):
        thin(np.ones((1, 2)), np.ones((1, 2)), factor=math.inf)


HEADS, KV, SIZE, MODEL = 6, 2, 4, 20


@pytest.mark.parametrize("framework", ["numpy", "torch"])
@pytest.mark.parametrize("transposed", [False, True])
def test_grouped_heads_against_formed_circuits(transposed, framework):
    shapes = {"q": (HEADS * SIZE, MODEL), "k": (KV * SIZE, MODEL), "v": (KV * SIZE, MODEL), "o": (MODEL, HEADS * SIZE)}
    upright = made(shapes)
    stored = {n: np.ascontiguousarray(w.T) if transposed else w for n, w in upright.items()}
    given = {n: torch.from_numpy(w) if framework == "torch" else w for n, w in stored.items()}
    q, k, v, o = (Projection(name, transposed=transposed) for name in "qkvo")
    entries = circuits(
        "attn", q, k, v, o, heads=HEADS, kv_heads=KV, head_size=SIZE, rotary=True, model_size=MODEL, dtype="float32"
    )
    assert len(entries) == 2 * HEADS
    assert all(e.derived and e.shape == (MODEL, MODEL) for e in entries)
    wide = {n: w.astype(np.float64) for n, w in upright.items()}
    for h in range(HEADS):
        mine, shared = slice(h * SIZE, (h + 1) * SIZE), slice(h // 3 * SIZE, (h // 3 + 1) * SIZE)
        truths = {
            f"attn[qk head {h}]": wide["q"][mine].T @ wide["k"][shared] / math.sqrt(SIZE),
            f"attn[ov head {h}]": wide["o"][:, mine] @ wide["v"][shared],
        }
        for name, truth in truths.items():
            entry = next(e for e in entries if e.name == name)
            bracket = proved(entry.build(given))
            assert bracket.lower <= np.linalg.norm(truth, 2) * (1 + 1e-12)
            assert bracket.upper >= np.linalg.norm(truth, 2) * (1 - 1e-12)
            assert bracket.width < 1e-9
            product = np.linalg.norm(wide["q" if "qk" in name else "o"], 2) * np.linalg.norm(wide["k"], 2)
            assert bracket.upper < product


def test_what_is_not_lipschitz_is_said_and_rotary_named():
    entries = circuits(
        "a", *(Projection(n) for n in "qkvo"), heads=2, kv_heads=1, head_size=3, rotary=True, note="a note"
    )
    assert entries[0].reason == f"{NOT_LIPSCHITZ}; a note"
    assert all(e.reason == "" for e in entries[1:])
    assert "relative position 0" in entries[0].operator
    assert "√3" in entries[0].operator


def test_a_score_circuit_may_be_missing():
    v, o = Projection("v"), Projection("o")
    entries = circuits("a", None, None, v, o, heads=2, kv_heads=2, head_size=3, rotary=False)
    assert [e.name for e in entries] == ["a[ov head 0]", "a[ov head 1]"]


def test_heads_that_cannot_be_grouped_are_refused():
    with pytest.raises(UsageError, match="divides"):
        circuits("a", *(Projection(n) for n in "qkvo"), heads=6, kv_heads=4, head_size=3, rotary=False)


def test_alternating_heads():
    """GPT-NeoX: q, k and v of one head beside each other."""
    heads, size, model = 3, 4, 12
    arrays = made({"x.query_key_value.weight": (3 * model, model), "x.dense.weight": (model, model)})
    config = {"model_type": "gpt_neox", "num_attention_heads": heads}
    planned = Planned(arrays, config)
    parts = arrays["x.query_key_value.weight"].astype(np.float64).reshape(heads, 3, size, model)
    output = arrays["x.dense.weight"].astype(np.float64)
    for index, part in enumerate("qkv"):
        planned.check(f"x.query_key_value.weight[{part}]", parts[:, index].reshape(model, model))
    for h in range(heads):
        planned.check(f"x[qk head {h}]", parts[h, 0].T @ parts[h, 1] / 2)
        planned.check(f"x[ov head {h}]", output[:, h * size : (h + 1) * size] @ parts[h, 2])
