"""Intruders: planted ones are found, the count is that of two full SVDs; an interval where few directions are known."""

import numpy as np
import pytest

from gallery import haar, with_spectrum
from opnorm.frameworks import aslinearoperator
from opnorm.spectrum.comparison import sight
from opnorm.spectrum.comparison.intruders import intruders
from opnorm.spectrum.comparison.sight import look
from opnorm.spectrum.comparison.spread import largest_atoms


def by_svd(base, tuned, top=10, cosine=0.5):
    """As Shuttleworth et al. define it and PEFT computes it: two full SVDs."""
    left = [np.linalg.svd(m.astype(float), full_matrices=False)[0] for m in (base, tuned)]
    largest = np.abs(left[1].T @ left[0]).max(axis=1)
    return int((largest[:top] < cosine).sum())


def counted(base, tuned):
    return intruders(look(aslinearoperator(base)), look(aslinearoperator(tuned)))


def planted(rng, rows, columns, number, decay=0.9):
    """A base of known directions, and the same with `number` strong new ones, spread over all of the base's."""
    sides = min(rows, columns)
    base = with_spectrum(decay ** np.arange(sides), rows, columns, rng)
    up, down = haar(rows, number, rng), haar(columns, number, rng)
    return base, base + 3 * (up * np.linspace(1, 1.5, number)) @ down.T


@pytest.mark.parametrize("number", [1, 2, 5])
@pytest.mark.parametrize("shape", [(80, 80), (60, 100), (100, 60), (300, 40)])
@pytest.mark.parametrize("scale", [1.0, 2.0**-300])
def test_planted_intruders_are_counted(number, shape, scale):
    base, tuned = planted(np.random.default_rng(number), *shape, number)
    found = counted(base * scale, tuned * scale)
    assert found.lower == found.value == found.upper
    assert found.value == by_svd(base, tuned)
    assert found.value == number


@pytest.mark.parametrize("seed", range(10))
def test_the_count_is_that_of_two_full_svds(seed):
    rng = np.random.default_rng(seed)
    rows, columns = rng.integers(12, 90, 2)
    base = rng.standard_normal((rows, columns))
    tuned = base + 10.0 ** rng.uniform(-2, 1) * rng.standard_normal((rows, columns))
    assert counted(base, tuned).value == by_svd(base, tuned)


def test_a_weight_beside_itself_has_none():
    base = np.random.default_rng(0).standard_normal((30, 50))
    assert counted(base, base).value == 0
    assert counted(base, -2 * base).value == 0
    assert counted(base, np.zeros((30, 50))) is None


@pytest.mark.parametrize("number", [0, 2])
@pytest.mark.parametrize("shape", [(400, 500), (500, 400)])
@pytest.mark.parametrize("decay", [0.9, 0.99])
def test_few_known_directions_give_an_interval_that_holds(number, shape, decay, monkeypatch):
    rng = np.random.default_rng(number)
    base, tuned = planted(rng, *shape, number, decay) if number else (planted(rng, *shape, 1)[0],) * 2
    exact = by_svd(base, tuned)
    monkeypatch.setattr(sight, "MOST_WORK", 0)
    seen = look(aslinearoperator(base))
    assert not seen.complete
    found = intruders(seen, look(aslinearoperator(tuned)))
    assert found.lower <= exact <= found.upper
    assert found.upper - found.lower <= number


@pytest.mark.parametrize("shape", [(500, 500), (400, 600), (900, 350)])
def test_a_flat_base_needs_no_direction_to_be_known(shape, monkeypatch):
    """No direction of a Gaussian matrix converges; yet directions spread over all of them are seen to be new."""
    rng = np.random.default_rng(2)
    base = rng.standard_normal(shape)
    tuned = base + 200 * haar(shape[0], 12, rng) @ haar(shape[1], 12, rng).T
    assert by_svd(base, tuned) == 10
    monkeypatch.setattr(sight, "MOST_WORK", 0)
    found = intruders(look(aslinearoperator(base)), look(aslinearoperator(tuned)))
    assert (found.lower, found.value, found.upper) == (10, 10, 10)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("known", [0, 5])
def test_no_direction_holds_more_than_its_bound(seed, known):
    """Against every cosine of a full SVD: of Gaussian and decaying weights, spread and concentrated directions."""
    rng = np.random.default_rng(seed)
    rows, columns = rng.integers(50, 150, 2)
    sides = min(rows, columns)
    base = (
        rng.standard_normal((rows, columns))
        if seed % 2
        else with_spectrum(0.95 ** np.arange(sides), rows, columns, rng)
    )
    left = np.linalg.svd(base, full_matrices=False)[0]
    y = np.concatenate([haar(rows, 3, rng), left[:, [0, 7, -1]], (left[:, 3:4] + left[:, 9:10]) / np.sqrt(2)], axis=1)
    values = np.linalg.svd(base, compute_uv=False)
    counted = values > (0.05 * values[0] if rows > columns else 0)
    counted[:known] = False
    truth = np.abs(left[:, counted].T @ y).max(axis=0)
    bound = largest_atoms(aslinearoperator(base), y, left[:, :known])
    assert (bound >= 0.995 * truth - 1e-6).all(), "but for what the grid misses"
    assert (bound <= 1 + 1e-9).all()
    if seed % 2:
        assert (bound[:3] < 0.6).all(), "spread directions are seen to be spread"


def test_known_directions_are_singular_directions(monkeypatch):
    rng = np.random.default_rng(5)
    base = with_spectrum(0.95 ** np.arange(200), 200, 260, rng)
    left, values, right = np.linalg.svd(base)
    monkeypatch.setattr(sight, "MOST_WORK", 0)
    for turn, sides in ((base, (left, right.T)), (base.T, (right.T, left))):
        seen = look(aslinearoperator(turn))
        k = seen.directions
        assert k >= 10
        assert seen.singular_values[:k] == pytest.approx(values[:k], rel=1e-6)
        for found, truth in ((seen.left(k), sides[0]), (seen.right(k), sides[1])):
            assert np.abs(np.sum(found * truth[:, :k], axis=0)).min() > 0.999
