"""ON104, ON105, ON109, ON110, and the reference distribution they are judged against."""

import math
from dataclasses import replace

import numpy as np
import pytest
from findings_made import codes, measured, only, report_of, row, trained_like, with_spectrum

from opnorm.report.findings import Thresholds, findings_of, reference
from opnorm.spectrum.document import Quantity, Spectrum, Units

LAYER = "block.2.value.weight"


def changed(change):
    arrays = trained_like()
    arrays[LAYER] = change(arrays[LAYER].copy()).astype(np.float32)
    return arrays


@pytest.mark.parametrize("shape", [(16, 16), (64, 64), (40, 160), (200, 50), (30, 300)])
def test_the_reference_is_that_of_random_matrices(shape):
    rng = np.random.default_rng(1)
    sigma = [np.linalg.svd(rng.standard_normal(shape), compute_uv=False) for _ in range(20)]
    ranks = [np.exp(-(p * np.log(p)).sum()) for s in sigma for p in [s / s.sum()]]
    assert np.mean(ranks) == pytest.approx(reference.effective_rank(*shape), rel=0.03)
    stable = np.mean([(s**2).sum() / s[0] ** 2 for s in sigma])
    assert stable == pytest.approx(reference.stable_rank(*shape), rel=0.2 if max(shape) < 40 else 0.12)
    assert reference.effective_rank(*shape) == pytest.approx(reference.effective_rank(*shape[::-1]))


def test_the_reference_in_closed_form():
    points = 200_000
    x = (np.arange(points) + 0.5) * 2 / points  # the quarter circle law on [0, 2]
    density = np.sqrt(4 - x**2) / math.pi * 2 / points
    mean, entropy = (density * x).sum(), (density * x * np.log(x)).sum()
    assert mean == pytest.approx(8 / (3 * math.pi), rel=1e-6)
    assert reference.effective_rank(1000, 1000) == pytest.approx(1000 * mean * math.exp(-entropy / mean), rel=1e-4)
    assert reference.effective_rank(5, 10**9) == pytest.approx(5, rel=1e-3)


def test_a_layer_projected_onto_few_directions_has_collapsed():
    """48 directions down to 2, the rest a hundredth of what it was."""

    def project(w):
        u, s, vt = np.linalg.svd(w, full_matrices=False)
        return (u * np.where(np.arange(len(s)) < 2, s[0], s / 100)) @ vt

    finding = only(measured(changed(project)))
    assert (finding.code, finding.row) == ("ON104", LAYER)
    assert "48×48 matrix" in finding.message
    assert "its 4 peers" in finding.message


def test_rank_one_is_a_collapse_and_no_spike():
    def first(w):
        u, s, vt = np.linalg.svd(w, full_matrices=False)
        return s[0] * np.outer(u[:, 0], vt[0])

    finding = only(measured(changed(first)))
    assert (finding.code, finding.severity) == ("ON104", "serious")


def test_a_rank_one_spike_is_no_collapse():
    """A step of one example with a learning rate too large: six times σ₁ along one direction."""

    def spike(w):
        rng, sigma = np.random.default_rng(3), np.linalg.norm(w, 2)
        return w + 6 * sigma * with_spectrum(np.ones(1), w.shape, rng)

    finding = only(measured(changed(spike)))
    assert (finding.code, finding.row) == ("ON105", LAYER)
    assert "times σ₂" in finding.message


def spiked(gap, shape=(32, 32), kind="linear"):
    sigma = np.ones(min(shape))
    sigma[0] = gap
    return with_spectrum(sigma, shape, np.random.default_rng(0)), kind


@pytest.mark.parametrize(("gap", "found"), [(4.95, False), (5.05, True)])
def test_the_boundary_of_a_spike(gap, found):
    report = measured({"fc.weight": spiked(gap)[0]})
    assert codes(report) == ([("ON105", "fc.weight")] if found else [])
    assert codes(report, Thresholds(spike_gap=gap * 1.01)) == []
    assert codes(report, Thresholds(spike_gap=gap * 0.99)) != []


def test_without_a_spectrum_a_spike_follows_from_the_stable_rank():
    """σ₂² ≤ ‖W‖_F² − σ₁²: here 1000² against 31, so that the stable rank leaves no doubt."""
    report = measured({"fc.weight": spiked(1000.0)[0]}, spectrum=False)
    finding = only(report, Thresholds(alone_ratio=1e6))
    assert finding.code == "ON105"
    assert finding.evidence in ("probable", "proved")
    said = float(finding.message.split("at least ")[1].split(" times")[0])
    assert said <= 1000
    weak = measured({"fc.weight": spiked(6.0)[0]}, spectrum=False)
    assert codes(weak) == []


@pytest.mark.parametrize(("rank", "found"), [(1.0401, False), (1.0399, True)])
def test_the_boundary_of_a_spike_by_its_stable_rank(rank, found):
    """Two singular values, 5 and 1, have a stable rank of 1.04."""
    report = report_of(row(stable_rank=(1.0, rank)))
    assert codes(report) == ([("ON105", "fc.weight")] if found else [])


def test_small_sides_and_tables_have_no_spike():
    rng = np.random.default_rng(0)
    pair = np.outer([1.0, -1.0], rng.standard_normal(64)).astype(np.float32)  # a classifier of two classes
    assert codes(measured({"head.weight": pair})) == []
    table = (rng.standard_normal((500, 32)) * 0.05 + rng.standard_normal(32)).astype(np.float32)
    assert codes(measured({"embeddings.word_embeddings.weight": table})) == []
    assert codes(measured({"proj.weight": table})) == [("ON105", "proj.weight")]


def with_rank(rank, name="fc.weight", side=100):
    spectrum = Spectrum(side, side, "svd", {"effective_rank": Quantity(rank)}, (1.0, 0.9), (0, 1))
    return row(name, shape=(side, side), spectrum=spectrum)


@pytest.mark.parametrize(("share", "found"), [(0.101, False), (0.099, True)])
def test_the_boundary_of_a_collapse(share, found):
    rank = share * reference.effective_rank(100, 100)
    assert bool(codes(report_of(with_rank(rank)))) is found
    assert codes(report_of(with_rank(rank)), Thresholds(collapse=0.05)) == []
    assert codes(report_of(with_rank(rank)), Thresholds(collapse=0.15)) == [("ON104", "fc.weight")]


def test_a_quarter_of_the_threshold_is_serious():
    least = 0.1 * reference.effective_rank(100, 100)
    assert least / 4 > 2
    assert only(report_of(with_rank(least / 3.9))).severity == "warning"
    assert only(report_of(with_rank(least / 4.1))).severity == "serious"


def test_peers_of_low_rank_excuse_a_low_rank():
    rows = [with_rank(6.0, f"a.{i}.weight") for i in range(5)]
    assert codes(report_of(*rows)) == []
    assert codes(report_of(*rows, with_rank(2.9, "a.7.weight"))) == [("ON104", "a.7.weight")]
    assert codes(report_of(*rows, with_rank(3.1, "a.7.weight"))) == []


def test_low_rank_by_design_is_none():
    rows = [replace(with_rank(2.0, "a[ov head 0]"), derived=True, kind="OV circuit")]
    assert codes(report_of(*rows)) == []


def test_pruned_units_are_dead():
    """One in twelve outputs, as structured pruning leaves them."""

    def prune(w):
        w[::12] = 0
        return w

    finding = only(measured(changed(prune)))
    assert (finding.code, finding.row, finding.evidence) == ("ON109", LAYER, "proved")
    assert "4 of 48 outputs (8.3 %) are exactly 0: 0, 12, 24, 36" in finding.message


def test_unread_inputs_are_dead_too():
    def cut(w):
        w[:, 5] = 0
        return w

    assert "1 of 48 inputs (2.1 %) are exactly 0: 5" in only(measured(changed(cut))).message


def test_copied_units_are_duplicates():
    """A layer widened by copying half of its units without noise."""

    def copy(w):
        w[24:] = 0.5 * w[:24]
        return w

    found = findings_of(measured(changed(copy)))
    assert [(f.code, f.row) for f in found] == [("ON110", LAYER)]
    assert "24 of 48 outputs (50 %)" in found[0].message
    assert "0 = 24" in found[0].message


@pytest.mark.parametrize(("count", "found"), [(9, False), (10, True)])
def test_the_boundary_of_dead_and_duplicate_units(count, found):
    dead = Units(dead_outputs=tuple(range(9)), dead_outputs_count=count)
    same = Units(duplicate_outputs=((1, 0),), duplicate_outputs_count=count)
    for units, code in ((dead, "ON109"), (same, "ON110")):
        spectrum = Spectrum(1000, 100, "svd", {}, units=units)
        report = report_of(row(shape=(1000, 100), spectrum=spectrum))
        assert bool(codes(report)) is found
        assert codes(report, Thresholds(dead_share=0.001, duplicate_share=0.001)) == [(code, "fc.weight")]


def test_a_padding_token_is_no_dead_unit():
    rng = np.random.default_rng(0)
    table = rng.standard_normal((400, 32)).astype(np.float32)
    table[0] = 0
    assert codes(measured({"embed.weight": table})) == []
    table[:40] = 0
    finding = only(measured({"embed.weight": table}))
    assert finding.severity == "note"
    assert "40 of 400 entries of the table" in finding.message


def test_a_matrix_stored_transposed_names_its_sides_as_they_act():
    units = Units(dead_inputs=(3,), dead_inputs_count=1)
    spectrum = Spectrum(40, 90, "svd", {}, units=units)
    given = replace(row(shape=(40, 90), spectrum=spectrum), operator="dense 90x40 (stored transposed)")
    assert "1 of 40 inputs (2.5 %)" in only(report_of(given)).message


def test_filters_are_the_units_of_a_convolution():
    spectrum = Spectrum(16384, 8192, "symbol", {}, units=Units(dead_outputs=(2,), dead_outputs_count=1))
    given = row(kind="convolution", shape=(16, 8, 3, 3), spectrum=spectrum)
    assert "1 of 16 filters" in only(report_of(given)).message


def test_units_of_few_weights_may_be_zero_or_parallel_by_chance():
    spectrum = Spectrum(64, 8, "svd", {}, units=Units(dead_outputs=(1,), dead_outputs_count=1))
    assert codes(report_of(row(shape=(64, 8), spectrum=spectrum))) == []
    spectrum = Spectrum(64, 1, "svd", {}, units=Units(duplicate_outputs=((0, 1),), duplicate_outputs_count=63))
    assert codes(report_of(row(shape=(64, 1), spectrum=spectrum))) == []
