"""Each half of the proof left out in turn: the experiment must then find a violation, and none with it in place."""

import itertools
import math

import numpy as np
import pytest

from opnorm.linalg.convolution import any_size, twisted
from opnorm.linalg.convolution.any_size import Search, cover, prove
from opnorm.linalg.convolution.peak import FINE, Peak
from opnorm.linalg.convolution.symbol import gram_symbol, taps
from symbol_cases import matrix, operator, random_case


def symbols(count, seed):
    """Random symbols with a dense sampling of sup λ from below."""
    rng = np.random.default_rng(seed)
    while count:
        kernel, size, case = random_case(rng)
        conv = operator(kernel, None, case)
        symbol = gram_symbol(taps(kernel, conv.geometry))
        if max(symbol.degrees) == 0 or len(symbol.degrees) == 3:
            continue
        count -= 1
        yield kernel, size, case, symbol, sampled(symbol)


def sampled(symbol, points=64):
    grid = np.array(list(itertools.product(range(points), repeat=len(symbol.degrees))), dtype=np.int64)
    groups = np.repeat(np.arange(symbol.groups), len(grid))
    pairs = symbol.evaluated(groups, np.tile(grid, (symbol.groups, 1)), points)
    return max(float(np.linalg.eigvalsh(matrices)[:, -1].max()) for _, matrices in pairs)


def cell_bound(symbol, loss, share):
    """max over the first cells of λ(center)/share: what their certificates could prove at best."""
    known, _ = cover(symbol, loss)
    at = known.frequencies(known.first(), 0)
    groups = np.repeat(np.arange(symbol.groups), len(at))
    pairs = symbol.evaluated(groups, np.tile(at, (symbol.groups, 1)), known.denominator(0))
    top = max(float(np.linalg.eigvalsh(matrices)[:, -1].max()) for _, matrices in pairs)
    return top / share(known)


@pytest.mark.parametrize("loss", [0.9, 0.3, 0.02])
def test_cells_cover_and_pay_for_it(loss):
    for _, _, _, symbol, below in symbols(60, 1):
        assert cell_bound(symbol, loss, lambda known: any_size._share(known, 0)) >= below * (1 - 1e-9)


def test_without_the_cosine_cells_prove_falsehoods():
    violations = sum(
        cell_bound(symbol, 0.3, lambda known: 1.0) < below * (1 - 1e-9) for *_, symbol, below in symbols(60, 1)
    )
    assert violations > 10


@pytest.mark.parametrize(("degree", "points"), [(1, 3), (2, 6), (3, 12), (4, 8)])
def test_the_cosine_is_sharp(degree, points):
    """|1 + e^{iDω}| = 2|cos(Dω/2)|: N points halfway between its peaks see exactly 2cos(πD/(2N))."""
    spread = np.zeros((1, 1, degree + 1))
    spread[0, 0, [0, -1]] = 1
    spread[0, 0, 1:-1] = 2.0**-60  # or orders would be counted in steps of D
    known = taps(spread, operator(spread, None, _plain(1)).geometry)
    symbol = gram_symbol(known)
    assert symbol.degrees == (degree,)
    odd = np.arange(1, 2 * points, 2)[:, None]
    seen = float(symbol.evaluate(0, odd, 2 * points).real.max()) * 4.0**known.exponent
    share = any_size._share(any_size.Cover(symbol, (0,), (points,), None, 1), 0)
    assert seen / share == pytest.approx(4, rel=1e-12)


def _plain(axes):
    return {
        "stride": (1,) * axes,
        "dilation": (1,) * axes,
        "padding": ((0, 0),) * axes,
        "padding_mode": "zeros",
        "groups": 1,
    }


def blind(monkeypatch):
    """No ascent: what is found is what the first sample happened to be."""

    def stay(symbol, group, numerators, denominator, tolerance):
        at = np.array([int(n) * FINE // denominator for n in numerators], dtype=np.int64)
        values, vectors = np.linalg.eigh(symbol.evaluate(group, at[None], FINE)[0])
        return Peak(group, at, vectors[:, -1], float(values[-1]))

    monkeypatch.setattr(any_size, "climb", stay)


def proofs_below(count, seed):
    """Upper bounds of the whole search below a dense sampling."""
    violations = 0
    for *_, symbol, below in symbols(count, seed):
        search = any_size.explore(symbol, 0.01)
        violations += prove(search) < below * (1 - 1e-9)
    return violations


def test_the_search_without_ascents_is_sound(monkeypatch):
    blind(monkeypatch)
    assert proofs_below(60, 2) == 0


def test_the_search_without_the_cosine_is_not(monkeypatch):
    blind(monkeypatch)
    monkeypatch.setattr(any_size, "_share", lambda known, level: 1.0)
    assert proofs_below(60, 2) > 0


def test_a_target_below_the_supremum_is_never_proved():
    for *_, symbol, below in symbols(60, 3):
        assert prove(Search(symbol, 0.01, fixed=below * (1 - 1e-6))) is None
        reached = prove(Search(symbol, 0.01, fixed=below * 1.05, lower=below * 0.99))
        assert reached is not None
        assert reached >= below


def circulant_violations(count, seed, shortened):
    """Explicit matrices whose norm exceeds a twisted circulant of N − shortened, over several phases."""
    rng, violations, phases = np.random.default_rng(seed), 0, 0
    for _ in range(count):
        kernel, size, case = random_case(rng)
        conv = operator(kernel, size, case)
        symbol = gram_symbol(known := taps(kernel, conv.geometry))
        value = np.linalg.norm(np.ldexp(matrix(kernel, size, case), -known.exponent), 2)
        for _ in range(3):
            phase = rng.integers(0, twisted.PHASES, len(size))
            counts = [max(1, n - shortened) for n in twisted.periods(conv.geometry)]
            chosen = twisted.grid(counts, phase, symbol.steps)
            groups, at = twisted._pairs(symbol, chosen)
            pairs = symbol.evaluated(groups, at, chosen.denominator)
            top = max(float(np.linalg.eigvalsh(matrices)[:, -1].max()) for _, matrices in pairs)
            violations += math.sqrt(max(top, 0)) < value * (1 - 1e-9) - 1e-7
            phases += 1
    return violations, phases


def test_twisted_circulants_hold_their_convolution():
    violations, phases = circulant_violations(250, 4, 0)
    assert violations == 0
    assert phases == 750


def test_one_frequency_too_few_is_caught():
    violations, _ = circulant_violations(250, 4, 1)
    assert violations > 20


def test_the_classical_circulant_of_the_same_size_is_no_bound():
    """5-point Laplacian at 9²: zero padding gives 4 + 4cos(π/10) = 7.804, the 9² circulant 7.759."""
    laplacian = np.array([[0.0, -1, 0], [-1, 4, -1], [0, -1, 0]])[None, None]
    symbol = gram_symbol(known := taps(laplacian, operator(laplacian, None, _plain(2)).geometry))
    tops = []
    for n in (9, 10):
        chosen = twisted.grid([n, n], (0, 0), symbol.steps)
        tops.append(math.sqrt(symbol.evaluate(0, chosen.numerators, chosen.denominator).real.max()) * 2**known.exponent)
    assert tops[0] == pytest.approx(7.7588, abs=1e-4)
    assert tops[0] < 4 + 4 * math.cos(math.pi / 10) < tops[1] == pytest.approx(8)
