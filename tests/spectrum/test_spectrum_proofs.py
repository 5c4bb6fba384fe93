"""Proved brackets and counts against interval arithmetic, and against code whose slack is removed."""

import dataclasses

import numpy as np
import pytest
from counting import Counter

from gallery import haar, with_spectrum
from opnorm.bound import Evidence
from opnorm.frameworks import aslinearoperator
from opnorm.linalg import gram as gram_module
from opnorm.linalg.gram import gram_matrix
from opnorm.linalg.request import Request
from opnorm.spectrum import enclosure, inertia, values
from opnorm.spectrum.enclosure import from_eigenpairs, from_gram, from_svd, from_triplets
from opnorm.spectrum.inertia import count_above, count_above_augmented, negative_eigenvalues
from opnorm.spectrum.outliers import outliers
from opnorm.spectrum.singular import singular_values


def matrices():
    """Random, integer, clustered, graded and nearly singular ones; long sums that round all one way."""
    rng = np.random.default_rng(0)
    for number in range(8):
        rows, columns = int(rng.integers(2, 8)), int(rng.integers(8, 14))
        yield rng.standard_normal((rows, columns))
        yield np.round(4 * rng.standard_normal((rows, columns)))
        sigma = np.where(np.arange(rows) < 2, 1.0, 0.5) * (1 + 1e-13 * number * np.arange(rows))
        yield with_spectrum(sigma, rows, columns, rng)
        yield with_spectrum(np.logspace(0, -number - 1, rows), rows, columns, rng)
    for constant in (0.3, 0.7, 1.1, 1.7):
        yield np.outer([1.0, 1e-4, 1e-5], np.full(4000, constant))
        yield np.array([np.full(3000, constant), 0.9 * constant * (-1.0) ** np.arange(3000)])


MATRICES = list(matrices())


def brackets_hold() -> bool:
    for matrix in MATRICES:
        counter = Counter(matrix)
        for found in (from_gram(gram_matrix(aslinearoperator(matrix).wide())), from_svd(matrix, 0.0)):
            assert found is not None
            if not counter.brackets(found.lower, found.upper):
                return False
    return True


def test_brackets_of_all_values() -> None:
    assert brackets_hold()


def test_brackets_are_narrow() -> None:
    matrix = np.random.default_rng(0).standard_normal((60, 90))
    found = from_gram(gram_matrix(aslinearoperator(matrix)))
    assert found is not None
    assert (found.upper - found.lower < 1e-11 * found.sigma[0]).all()
    graded = with_spectrum(np.logspace(0, -10, 40), 40, 60, np.random.default_rng(0))
    direct = from_svd(graded, 0.0)
    assert direct is not None
    assert direct.upper[-1] - direct.lower[-1] < 1e-2 * direct.sigma[-1]


def bad_factors_hold() -> bool:
    """Eigenpairs and triplets that are wrong by 1e-10 to 1."""
    rng = np.random.default_rng(0)
    for number in range(20):
        matrix = rng.standard_normal((5, 7))
        gram, counter = gram_matrix(aslinearoperator(matrix)), Counter(matrix)
        values_, vectors = np.linalg.eigh(gram.matrix)
        wrong = vectors + 10.0 ** -(number % 10) * rng.standard_normal((5, 5)) / 20
        found = from_eigenpairs(gram.matrix, gram.error, values_ * (1 + 0.1 * rng.random(5)), wrong)
        if found is not None and not counter.brackets(found.lower, found.upper):
            return False
        triplets = from_triplets(matrix, 0.0, haar(5, 5, rng), np.sort(rng.random(5))[::-1], haar(7, 5, rng).T)
        assert triplets is not None
        if not counter.brackets(triplets.lower, triplets.upper):
            return False
    return True


def test_bad_factors_give_wide_brackets_never_false_ones() -> None:
    assert bad_factors_hold()


def near_thresholds():
    """Thresholds from 1e-12 to 1e-2 beside a singular value, as the oracle can still decide."""
    rng = np.random.default_rng(5)
    for matrix in MATRICES[:32]:
        sigma = np.linalg.svd(matrix, compute_uv=False)
        chosen = sigma[sigma > 1e-7 * sigma[0]]
        for _ in range(3):
            yield matrix, float(rng.choice(chosen) * (1 + rng.choice([-1, 1]) * 10.0 ** rng.uniform(-12, -2)))


def counts_hold() -> bool:
    for matrix, tau in near_thresholds():
        truth = Counter(matrix).above(tau)
        wide = aslinearoperator(matrix).wide()
        for count in (count_above(gram_matrix(wide), tau), count_above_augmented(matrix, 0.0, tau)):
            if not count.lower <= truth <= count.upper:
                return False
    return True


def coarse_counts_hold() -> bool:
    """The same with factors of a matrix in which only half of the digits are right."""
    with pytest.MonkeyPatch.context() as patch:
        exact = inertia._decomposed

        def coarse(matrix):
            return exact(matrix.astype(np.float32).astype(float))

        patch.setattr(inertia, "_decomposed", coarse)
        return counts_hold()


def test_counts_by_inertia() -> None:
    assert counts_hold()
    assert coarse_counts_hold()


def test_counts_are_mostly_exact() -> None:
    exact = [count_above_augmented(matrix, 0.0, tau).exact for matrix, tau in near_thresholds()]
    assert sum(exact) > 0.9 * len(exact)


def test_a_threshold_on_a_value_is_ambiguous() -> None:
    gram = gram_matrix(aslinearoperator(np.diag([3.0, 2.0, 2.0, 1.0])))
    count = count_above(gram, 2.0)
    assert (count.lower, count.upper) == (1, 3)
    assert count_above(gram, 2.0 * (1 + 1e-9)) == inertia.Count(1, 1)
    assert count_above(gram, 2.0 * (1 - 1e-9)) == inertia.Count(3, 3)


def test_small_thresholds_need_the_augmented_form() -> None:
    matrix = with_spectrum(np.logspace(0, -11, 12), 12, 20, np.random.default_rng(0))
    tau = 3e-10
    assert not count_above(gram_matrix(aslinearoperator(matrix)), tau).exact
    assert count_above_augmented(matrix, 0.0, tau) == inertia.Count(10, 10)


def test_outliers_join_both_ways() -> None:
    matrix = with_spectrum(np.logspace(0, -11, 12), 12, 20, np.random.default_rng(0))
    operator = aslinearoperator(matrix)
    for level in (Evidence.PROBABLE, Evidence.PROVED):
        found = singular_values(operator, Request(level))
        assert found is not None
        counted = outliers(operator, found, 3e-10, Request(level))
        assert (counted.value, counted.lower, counted.upper, counted.evidence) == (10, 10, 10, "proved")
    rough = dataclasses.replace(found, lower=None, upper=None)
    for exponent in (0, 250, -250):
        moved = aslinearoperator(np.ldexp(matrix, exponent))
        counted = outliers(moved, rough.times(exponent), np.ldexp(0.3, exponent), Request())
        assert (counted.lower, counted.upper, counted.evidence) == (1, 1, "proved")


def test_signs_of_blocks_are_exact() -> None:
    tiny = 2.0**-600
    assert negative_eigenvalues(np.array([[1.0, 1.0], [1.0, 1.0]])) == 0
    assert negative_eigenvalues(np.array([[-1.0, 1.0], [1.0, -1.0]])) == 1
    assert negative_eigenvalues(np.array([[tiny, 1.0], [1.0, 1 / tiny]])) == 0
    assert negative_eigenvalues(np.array([[np.nextafter(tiny, 0), 1.0], [1.0, 1 / tiny]])) == 1
    assert negative_eigenvalues(np.array([[-3.0, 1.0], [1.0, -2.0]])) == 2
    assert negative_eigenvalues(np.diag([1.0, -1.0, 0.0, -0.0])) == 1
    assert negative_eigenvalues(np.array([[1.0, 2, 0], [2, 1, 3], [0, 3, 1]])) is None
    assert negative_eigenvalues(np.array([[1.0, 0, 2], [0, 1, 0], [2, 0, 1]])) is None


def test_random_blocks_against_arithmetic() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        blocks = [rng.standard_normal((s, s)) for s in rng.integers(1, 3, 6)]
        size = sum(map(len, blocks))
        middle, at = np.zeros((size, size)), 0
        for block in blocks:
            middle[at : at + len(block), at : at + len(block)] = block + block.T
            at += len(block)
        assert negative_eigenvalues(middle) == int((np.linalg.eigvalsh(middle) < 0).sum())


MUTANTS = {
    "no rounding of the Gram matrix": (brackets_hold, gram_module, "gamma", lambda k: 0.0),
    "no residual": (bad_factors_hold, enclosure, "_eigen_residual", lambda *a: 0.0),
    "no outward rounding of ends": (brackets_hold, enclosure, "up_each", lambda x: x * (1 - 2.0**-45)),
    "inertia without residual": (coarse_counts_hold, inertia, "_residual", lambda *a: 0.0),
    "signs by the diagonal": (counts_hold, inertia, "negative_eigenvalues", lambda d: int((np.diagonal(d) < 0).sum())),
    "one side only": (counts_hold, inertia, "_bracketed", lambda f, at, known, margin, most: one_side(f, at)),
}


def one_side(factored, at):
    found = factored(at)
    return inertia.Count(found.negative, found.negative)


@pytest.mark.parametrize("name", MUTANTS)
def test_sabotage_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    battery, module, attribute, replacement = MUTANTS[name]
    monkeypatch.setattr(module, attribute, replacement)
    assert not battery()


def test_rounding_of_ends() -> None:
    numbers = np.array([0.0, 1.0, 3e-300, 7e200])
    assert (values.down_each(numbers) <= numbers).all()
    assert (values.up_each(numbers) >= numbers).all()
    assert values.down_each(numbers)[0] == values.up_each(numbers)[0] == 0.0
