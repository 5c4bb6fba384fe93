"""ON101 to ON103: one layer of a healthy model is broken by a realistic amount, and that one is named."""

import math
from dataclasses import replace

import numpy as np
import pytest
from findings_made import BLOCKS, codes, measured, only, report_of, row, trained_like

from opnorm.report.findings import Thresholds, findings_of

LAYER = "block.3.up.weight"


def broken(factor=None, change=None, seed=0):
    arrays = trained_like(seed)
    arrays[LAYER] = arrays[LAYER] * np.float32(factor) if change is None else change(arrays[LAYER])
    return arrays


@pytest.mark.parametrize("spectrum", [False, True])
def test_a_healthy_model_has_none(spectrum):
    assert codes(measured(trained_like(), spectrum=spectrum)) == []


@pytest.mark.parametrize("factor", [16, 64])
def test_a_layer_with_a_wrong_scale_explodes(factor):
    finding = only(measured(broken(factor), spectrum=False))
    assert (finding.code, finding.row) == ("ON102", LAYER)
    assert "the 4 other rows of its role" in finding.message
    assert "the whole matrix" in finding.message
    assert finding.evidence in ("probable", "proved")
    assert finding.advice


def test_a_layer_that_grew_in_one_direction_says_so():
    def spiked(w):
        return w + 30 * np.outer(np.ones(w.shape[0]), np.ones(w.shape[1])).astype(np.float32) / math.sqrt(w.size)

    finding = next(f for f in findings_of(measured(broken(change=spiked))) if f.code == "ON102")
    assert "few directions" in finding.message or "the whole matrix" in finding.message
    assert finding.row == LAYER


@pytest.mark.parametrize("factor", [1 / 16, 1 / 64])
def test_a_layer_with_a_wrong_scale_vanishes(factor):
    finding = only(measured(broken(factor)))
    assert (finding.code, finding.row) == ("ON103", LAYER)


def test_the_square_of_the_ratio_is_serious():
    assert only(measured(broken(16))).severity == "warning"
    assert only(measured(broken(256))).severity == "serious"
    assert only(measured(broken(1 / 256))).severity == "serious"


def test_a_zero_layer_is_named_whatever_the_thresholds():
    loose = Thresholds(peer_ratio=1e9)
    finding = only(measured(broken(0)), loose)
    assert (finding.code, finding.row, finding.severity) == ("ON103", LAYER, "serious")
    assert finding.evidence == "proved"


def test_a_fresh_adapter_is_only_a_note():
    rng = np.random.default_rng(0)
    arrays = {}
    for i in range(4):
        arrays[f"base_model.model.layers.{i}.q_proj.lora_A.weight"] = rng.standard_normal((8, 64), np.float32) / 8
        arrays[f"base_model.model.layers.{i}.q_proj.lora_B.weight"] = np.zeros((64, 8), np.float32)
    found = findings_of(measured(arrays))
    assert {(f.code, f.severity) for f in found} == {("ON103", "note")}
    assert all("lora_B" in f.row for f in found)


def test_nan_and_infinity_are_serious():
    arrays = trained_like()
    arrays[LAYER] = arrays[LAYER].copy()
    arrays[LAYER][3, 5], arrays[LAYER][0, 0] = np.nan, np.inf
    finding = only(measured(arrays))
    assert (finding.code, finding.row, finding.severity) == ("ON101", LAYER, "serious")
    assert "1 NaN and 1 Inf" in finding.message


def peers(*sigmas, shape=(32, 32), kind="linear"):
    return [row(f"block.{i}.weight", sigma=s, shape=shape, kind=kind) for i, s in enumerate(sigmas)]


@pytest.mark.parametrize(("sigma", "found"), [(9.99, []), (10.01, ["ON102"]), (0.1001, []), (0.0999, ["ON103"])])
def test_the_boundary_is_the_ratio(sigma, found):
    rows = [*peers(1, 1, 1, 1), row("block.9.weight", sigma=sigma)]
    assert [code for code, _ in codes(report_of(*rows))] == found


def test_a_wide_bracket_makes_no_finding():
    rows = [*peers(1, 1, 1, 1), row("block.9.weight", sigma=5.0, width=9.0)]
    assert codes(report_of(*rows)) == []
    rows = [*(row(f"block.{i}.weight", sigma=0.5, width=9.0) for i in range(4)), row("block.9.weight", sigma=20.0)]
    assert codes(report_of(*rows)) == []


def test_a_wide_bracket_makes_nothing_vanish():
    low = row("block.9.weight", sigma=0.05, width=9.0)
    assert codes(report_of(*peers(1, 1, 1, 1), low)) == []
    wide = [row(f"block.{i}.weight", sigma=0.5, width=9.0) for i in range(4)]
    assert codes(report_of(*wide, row("block.9.weight", sigma=0.06))) == []
    assert codes(report_of(*wide, row("block.9.weight", sigma=0.04))) == [("ON103", "block.9.weight")]


def test_the_median_is_that_of_the_others():
    rows = report_of(*peers(1, 100, 100), row("block.9.weight", sigma=5.0))
    assert ("ON103", "block.9.weight") in codes(rows, Thresholds(spread=1.0))


def test_the_ratio_is_configurable():
    rows = report_of(*peers(1, 1, 1, 1), row("block.9.weight", sigma=5.0))
    assert codes(rows, Thresholds(peer_ratio=4.9)) == [("ON102", "block.9.weight")]
    assert codes(rows, Thresholds(peer_ratio=5.1)) == []


def test_peers_that_spread_widely_excuse_more():
    wide = [0.1, 0.3, 1.0, 3.0, 10.0, 30.0]
    assert codes(report_of(*peers(*wide), row("block.9.weight", sigma=60.0))) == []
    assert codes(report_of(*peers(*wide), row("block.9.weight", sigma=60.0)), Thresholds(spread=1.0)) != []


def test_a_broken_layer_does_not_hide_itself_among_few():
    assert [c for c, _ in codes(report_of(*peers(1, 1, 1), row("block.9.weight", sigma=1e4)))] == ["ON102"]


def test_too_few_peers_are_none():
    thresholds = Thresholds(alone_ratio=1e9)
    assert codes(report_of(*peers(1, 30, kind="expert")), thresholds) == []
    assert codes(report_of(*peers(1, 1, 29, kind="expert")), thresholds) == []
    assert codes(report_of(*peers(1, 1, 31, kind="expert")), thresholds) == [("ON102", "block.2.weight")]


def test_other_shapes_are_compared_by_their_own_initialization():
    shapes = [(64, 64), (128, 64), (256, 64), (10, 256)]
    rows = [
        row(f"{name}.weight", sigma=math.sqrt(2) * (1 + math.sqrt(m / n)), shape=(m, n))
        for name, (m, n) in zip("abcd", shapes, strict=True)
    ]
    assert codes(report_of(*rows)) == []
    big = [*rows[:2], row("c.weight", sigma=rows[2].lower * 31, shape=(256, 64)), rows[3]]
    assert codes(report_of(*big)) == [("ON102", "c.weight")]
    assert "its own initialization" in only(report_of(*big)).message


def test_a_layer_alone_is_compared_with_initialization():
    assert codes(report_of(row(sigma=282, shape=(64, 64)))) == []
    assert codes(report_of(row(sigma=283, shape=(64, 64)))) == [("ON102", "fc.weight")]
    assert codes(report_of(row(sigma=1e9, shape=(64, 64), kind="embedding"))) == []


def test_models_of_one_report_are_no_peers():
    small, large = peers(1, 1, 1, 1), [replace(r, input=1) for r in peers(50, 50, 50, 50)]
    assert codes(report_of(*small, *large)) == []
    names = iter("abcdefghijklmnop")
    rows = [replace(r, name=f"{next(names)}.weight") for r in (*small, *small, *small, *large)]  # peers by shape
    assert codes(report_of(*rows)) == []


def test_initial_edges_know_how_a_kernel_is_laid_out():
    def one(kind, operator, shape, sigma):
        return [c for c, _ in codes(report_of(replace(row(kind=kind, shape=shape, sigma=sigma), operator=operator)))]

    edge = 100 * math.sqrt(2)
    for kind, operator, shape, ratio in (
        ("convolution", "conv 256x16x3x3", (256, 16, 3, 3), 16),
        ("convolution", "conv 256x1x3x3, groups 256, any input size", (256, 1, 3, 3), 1),
        ("convolution", "conv 256x4x3x3, groups 4", (256, 4, 3, 3), 16),
        ("transposed convolution", "transposed conv 16x256x2x2", (16, 256, 2, 2), 16),
        ("transposed convolution", "transposed conv 16x64x2x2, groups 4", (16, 64, 2, 2), 16),
        ("linear", "dense 256x16 (stored transposed)", (16, 256), 16),
    ):
        top = edge * (1 + math.sqrt(ratio))
        assert one(kind, operator, shape, top * 0.99) == [], operator
        assert one(kind, operator, shape, top * 1.01) == ["ON102"], operator


def test_tables_of_other_shapes_are_no_peers():
    rows = [
        row(f"{n}.weight", sigma=s, kind="embedding", shape=(m, 32))
        for n, s, m in zip("abcd", (1, 1, 1, 1e4), (100, 200, 300, 400), strict=True)
    ]
    assert codes(report_of(*rows)) == []


def test_scales_of_normalizations_have_no_peers():
    rows = [row(f"bn.{i}.weight", sigma=s, kind="batch norm") for i, s in enumerate((1, 1, 1, 1, 1e3))]
    assert codes(report_of(*rows)) == []


def test_many_rows_of_one_code_are_counted():
    rows = [row(f"a.{i}.weight", sigma=1.0) for i in range(200)]
    rows += [row(f"a.{i}.weight", sigma=100.0 + i) for i in range(300, 330)]
    found = findings_of(report_of(*rows))
    assert len(found) == 10
    assert found[0].row == "a.329.weight"
    assert found[-1].message.endswith("(20 more rows have ON102)")


def test_findings_are_ranked_by_severity_then_distance():
    rows = peers(*[1.0] * 8)
    rows += [row("x.1.weight", sigma=20.0), row("x.2.weight", sigma=5e3), row("x.3.weight", sigma=30.0)]
    found = findings_of(report_of(*rows))
    assert [f.row for f in found] == ["x.2.weight", "x.3.weight", "x.1.weight"]
    assert [f.severity for f in found] == ["serious", "warning", "warning"]
    assert BLOCKS >= 4
