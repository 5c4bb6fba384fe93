"""What is recorded comes back as it was, against plain sums over the same numbers."""

import math
import time

import numpy as np
import pytest
import torch

from opnorm.constraint.cadence import Clock
from opnorm.constraint.diagnosis.history import FOLDED, KEPT, SAMPLED, History, metrics, summaries
from opnorm.constraint.outcome import outcome


def made(top, after, removed=0.0, active=0.0, skipped=0.0):
    return outcome(*(torch.tensor(float(v)) for v in (top, after, removed, active, skipped)))


def random_rows(count, seed=0):
    rng = np.random.default_rng(seed)
    rows = rng.random((count, 5)) + 0.5
    rows[:, 3] = rng.integers(0, 4, count)
    rows[:, 4] = rng.random(count) < 0.1
    return rows


def filled(rows, hi=0.8, every=1, name="site"):
    history = History(name)
    for i, row in enumerate(rows):
        history.record(10 + i * every, made(*row), 0.0, hi, None, None, None)
    return history


@pytest.mark.parametrize("count", [1, 7, FOLDED, FOLDED + 1, 3 * FOLDED + 5])
def test_totals_are_the_sums_over_what_was_recorded(count):
    rows = random_rows(count)
    history = filled(rows, every=3)
    (s,) = summaries([history])
    good = rows[:, 4] == 0
    acted = good & (rows[:, 3] > 0)
    assert (s.moves, s.steps) == (count, 3 * (count - 1) + 1)
    assert s.totals.acted == acted.sum()
    assert s.totals.skipped == (~good).sum()
    assert s.totals.removed == pytest.approx(rows[good, 2].sum(), rel=1e-5)
    assert s.totals.moved == rows[good, 3].sum()
    assert s.totals.hold == pytest.approx((rows[good, 1] / 0.8).max(), rel=1e-6) if good.any() else True
    assert s.acted == pytest.approx(acted.mean())
    assert s.acted_steps == pytest.approx(acted.sum() / s.steps)


def test_reading_in_between_changes_nothing():
    rows = random_rows(700)
    read, unread = History("a"), History("a")
    for i, row in enumerate(rows):
        for h in (read, unread):
            h.record(i, made(*row), 0.0, 0.8, None, None, None)
        if i % 37 == 0:
            summaries([read])
    assert summaries([read])[0].totals.acted == summaries([unread])[0].totals.acted
    assert summaries([read])[0].series == summaries([unread])[0].series


def test_the_series_is_bounded_spread_evenly_and_true():
    count = 5 * KEPT
    rows = random_rows(count)
    rows[:, 4] = 0
    (s,) = summaries([filled(rows)])
    steps = [step for step, _, _ in s.series]
    assert KEPT / 2 <= len(steps) <= KEPT
    assert len(set(np.diff(steps))) == 1
    assert steps[0] == 10
    for step, top, after in s.series:
        assert (top, after) == pytest.approx(tuple(rows[step - 10, :2]), rel=1e-6)


def test_level_and_growth():
    flat = [made(2.0 + 0.1 * (i % 3), 1.0) for i in range(80)]
    rising = [made(1.0 + 0.05 * i, 1.0) for i in range(80)]
    for values, level, grows in ((flat, 2.1, False), (rising, 3.975, True)):
        history = History("a")
        for i, v in enumerate(values):
            history.record(i, v, 0.0, math.inf, None, None, None)
        (s,) = summaries([history])
        assert s.level == pytest.approx(level, rel=1e-3)
        assert (s.growth > 1.1) is grows


def test_a_skipped_move_is_counted_and_not_believed():
    history = History("a")
    for i, skipped in enumerate([0, 1, 0, 1]):
        history.record(i, made(0 if skipped else 3, 0 if skipped else 1, skipped=skipped), 0.0, 1.0, None, None, None)
    (s,) = summaries([history])
    assert s.totals.skipped == 2
    assert s.sigma == 1
    assert [step for step, _, _ in s.series] == [0, 2]


def svd_normal(weight, ceiling):
    u, sigma, vt = torch.linalg.svd(weight, full_matrices=False)
    hot = sigma >= ceiling
    return u * hot, vt.T * hot, sigma


@pytest.mark.parametrize("shape", [(6, 9), (9, 6)])
def test_push_is_the_cosine_with_the_outward_normal(shape):
    g = torch.Generator().manual_seed(1)
    weight, gradient = (torch.randn(shape, generator=g, dtype=torch.float64) for _ in range(2))
    u, v, sigma = svd_normal(weight, 2.0)
    normal = u @ v.T
    expected = -float((gradient * normal).sum() / (gradient.norm() * normal.norm()))
    for given, cosine in ((gradient, expected), (-normal, 1.0), (normal, -1.0)):
        history = History("a")
        history.record(0, made(sigma[0], 2.0, 0.5, 2), 0.0, 2.0, given, (u, v), weight)
        (s,) = summaries([history])
        assert s.push == pytest.approx(cosine, abs=1e-6)
        assert s.jump == pytest.approx(0.5 * cosine * float(given.norm()), rel=1e-5)
        assert s.ranks == ((0, pytest.approx(float(weight.norm() ** 2) / 4, rel=1e-5)),)


def test_the_predicted_jump_is_that_of_a_real_projection():
    """One singular value above: ⟨G, ΔW⟩ exactly; the loss is linear, so first order is all of it."""
    g = torch.Generator().manual_seed(2)
    weight, gradient = (torch.randn((5, 5), generator=g, dtype=torch.float64) for _ in range(2))
    u, s, vt = torch.linalg.svd(weight)
    ceiling = float(s[0] + s[1]) / 2
    clipped = (u * s.clamp(max=ceiling)) @ vt
    history = History("a")
    hot = svd_normal(weight, ceiling)[:2]
    history.record(0, made(s[0], ceiling, s[0] - ceiling, 1), 0.0, ceiling, gradient, hot, clipped)
    assert summaries([history])[0].jump == pytest.approx(float((gradient * (clipped - weight)).sum()), rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_samples_of_other_dtypes(dtype):
    weight = torch.eye(4, dtype=dtype) * 2
    u = torch.eye(4, 1)
    history = History("a")
    history.record(0, made(2, 2, 0.1, 1), 0.0, 2.0, -weight, (u, u), weight)
    (s,) = summaries([history])
    assert s.push == pytest.approx(0.5, rel=1e-2)
    assert s.ranks[0][1] == pytest.approx(4, rel=1e-2)


def test_what_is_not_known_is_left_out():
    """No gradient, a zero gradient, nothing at the ceiling, a kernel without normals, entries not finite."""
    weight, zero = torch.eye(3), torch.zeros(3, 3)
    none = (torch.zeros(3, 2), torch.zeros(3, 2))
    bad = torch.full((3, 3), math.nan)
    for gradient, normal, w in (
        (None, none, weight), (zero, (weight, weight), weight), (weight, none, weight), (weight, None, weight),
        (torch.ones(2, 3, 1, 1), (weight, weight), weight), (bad, (weight, weight), bad),
    ):  # fmt: skip
        history = History("a")
        history.record(0, made(1, 1), 0.0, 1.0, gradient, normal, w)
        (s,) = summaries([history])
        assert s.push is None
        assert s.pushes == ()
        assert (s.size is None) is bool(w.isnan().any())
        assert all(math.isfinite(v) for v in s.metrics().values())


def test_only_some_moves_are_sampled():
    history = History("a")
    sampled = []
    for i in range(4 * SAMPLED):
        if history.sampling:
            sampled.append(i)
        history.record(i, made(1, 1), 0.0, 1.0, None, None, torch.eye(2))
    assert sampled == [0, 1, 2, 4, 8, 16, 32, 64, 96]
    assert [step for step, _ in summaries([history])[0].ranks] == sampled


def test_metrics_are_named_finite_numbers():
    a, b = filled(random_rows(5), name="blocks.0.weight"), filled(random_rows(5), hi=math.inf, name="head")
    found = metrics([a, b, History("unused")], Clock())
    assert {type(v) for v in found.values()} == {float}
    assert all(map(math.isfinite, found.values()))
    assert {"opnorm/blocks.0.weight/sigma", "opnorm/blocks.0.weight/ceiling", "opnorm/share"} <= set(found)
    assert "opnorm/head/ceiling" not in found
    assert not any("unused" in key for key in found)
    assert found["opnorm/blocks.0.weight/ceiling"] == 0.8


@pytest.mark.parametrize("count", [0, 1, 300, 1500])
def test_a_resumed_history_is_the_same(count, tmp_path):
    rows = random_rows(count + 40)
    whole = History("a")
    torch.save(_record(whole, rows[:count]).state_dict(), tmp_path / "h.pt")
    resumed = History("a")
    resumed.load_state_dict(torch.load(tmp_path / "h.pt", weights_only=True))
    for h in (whole, resumed):
        _record(h, rows[count:], count)
    a, b = summaries([whole, resumed])
    assert a == b


def _record(history, rows, start=0):
    for i, row in enumerate(rows, start):
        history.record(i, made(*row), 0.0, 1.0, None, None, torch.eye(3))
    return history


def test_recording_is_cheap():
    """Below 20 µs a move beside what is sampled, here with room for a busy machine: a move takes milliseconds."""
    history, value = History("a"), made(1, 1)
    best = math.inf
    for _ in range(5):
        began = time.perf_counter()
        for i in range(FOLDED):
            history.record(i, value, 0.0, 1.0, None, None, None)
        best = min(best, (time.perf_counter() - began) / FOLDED)
    assert best < 1e-4


def test_nothing_waits_for_the_device():
    """On the meta device any read of a value raises."""
    history = History("a")
    value = torch.ones(5, device="meta")
    weight = torch.ones(4, 4, device="meta")
    for i in range(FOLDED + 3):
        history.record(i, value, 0.0, 1.0, weight, (weight, weight), weight)
    assert history.moves == FOLDED + 3
