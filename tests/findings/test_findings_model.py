"""ON106 to ON108, ON115 and ON116: heads, tied tables, normalizations, products, and what was not measured."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from findings_made import Attention, codes, measured, only, report_of, row, with_spectrum
from torch import nn

import opnorm
from opnorm.layers.normalization import BATCH_STATISTICS
from opnorm.report.findings import Thresholds, findings_of
from opnorm.report.findings.tied import SAID
from opnorm.report.findings.training import TRAINING
from opnorm.spectrum.document import Quantity
from opnorm.spectrum.interaction.document import Head, Interaction, Link


@pytest.fixture
def attention():
    torch.manual_seed(0)
    return Attention()


def test_healthy_heads_are_silent(attention):
    assert codes(opnorm.measure(attention)) == []


@pytest.mark.parametrize("factor", [0.0, 0.01])
def test_a_pruned_head_is_named_once(attention, factor):
    """Its values and queries are scaled to 0, or to a hundredth."""
    attention.scale_head(1, 2, value=factor, query=factor)
    found = [f for f in findings_of(opnorm.measure(attention)) if f.code == "ON106"]
    assert [f.row for f in found] == ["layers.1[ov head 2]"]
    assert "the other 11 heads" in found[0].message


def test_a_head_without_scores_is_named(attention):
    attention.scale_head(0, 3, query=0.01)
    (finding,) = [f for f in findings_of(opnorm.measure(attention)) if f.code == "ON106"]
    assert finding.row == "layers.0[qk head 3]"
    assert "averages over positions" in finding.message


@pytest.mark.parametrize(("ratio", "found"), [(19.9, False), (20.1, True)])
def test_the_boundary_of_a_head_and_heads_of_an_interaction(ratio, found):
    def head(number, ov):
        return Head(0, number, f"a[head {number}]", Quantity(1.0, 1.0, 1.0, "proved"), Quantity(ov, ov, ov, "proved"))

    heads = (*(head(i, 1.0) for i in range(6)), head(6, 1 / ratio))
    report = report_of(interaction=Interaction(heads=heads))
    assert codes(report) == ([("ON106", "a[head 6]")] if found else [])
    assert codes(report, Thresholds(head_ratio=ratio * 1.01)) == []


def language_model(seed=0):
    """An embedding and blocks between; σ of the table fall as trained ones do."""
    rng = np.random.default_rng(seed)
    table = with_spectrum(np.arange(1.0, 33) ** -0.5 * 8, (300, 32), rng)
    return {"model.embed_tokens.weight": table, "model.layers.0.fc.weight": rng.standard_normal((32, 32), np.float32)}


def test_a_head_that_came_apart_from_its_table():
    """Half a per cent of noise, as after some hundred steps with the tie broken, or a cast to bfloat16 and back."""
    arrays = language_model()
    table, rng = arrays["model.embed_tokens.weight"], np.random.default_rng(1)
    noise = rng.standard_normal(table.shape) * np.abs(table).mean() * 0.005
    for head in (table + noise.astype(np.float32), torch.tensor(table).bfloat16().float().numpy()):
        finding = only(measured({**arrays, "lm_head.weight": head}))
        assert (finding.code, finding.row, finding.severity) == ("ON107", "lm_head.weight", "warning")


def test_a_head_of_the_same_bytes_is_tied():
    arrays = language_model()
    assert codes(measured({**arrays, "lm_head.weight": arrays["model.embed_tokens.weight"].copy()})) == []


def test_a_head_of_its_own_is_none():
    other = language_model(1)["model.embed_tokens.weight"] * np.float32(1.03)
    assert codes(measured({**language_model(), "lm_head.weight": other})) == []


def test_two_fresh_tables_agree_by_chance():
    rng = np.random.default_rng(0)
    arrays = {n: rng.standard_normal((300, 32), np.float32) * 0.02 for n in ("embed_tokens.weight", "lm_head.weight")}
    assert codes(measured(arrays)) == []


@pytest.mark.parametrize(("off", "found"), [(1.019, True), (1.021, False)])
def test_the_boundary_of_a_tie(off, found):
    ranks = {"stable_rank": (3.0, 3.0), "shape": (300, 32)}
    table = row("embed.weight", sigma=1.0, kind="embedding", frobenius=2.0, **ranks)
    head = row("lm_head.weight", sigma=off, frobenius=2.0, **ranks)
    assert codes(report_of(table, head)) == ([("ON107", "lm_head.weight")] if found else [])
    assert codes(report_of(table, head), Thresholds(tied_within=0.05)) == [("ON107", "lm_head.weight")]


def test_equal_bytes_in_either_order_and_other_models_are_no_broken_tie():
    ranks = {"stable_rank": (3.0, 3.0), "shape": (300, 32), "frobenius": 2.0}
    head, table = row("lm_head.weight", **ranks), row("embed.weight", kind="embedding", **ranks)
    assert codes(report_of(head, table)) == [("ON107", "lm_head.weight")]
    assert codes(report_of(head, replace(table, reason="the same bytes as lm_head.weight"))) == []
    assert codes(report_of(head, replace(table, input=1))) == []


def test_a_tie_that_the_configuration_asks_for_is_serious():
    head = row("lm_head.weight", reason=f"{SAID} embed.weight")
    assert only(report_of(head)).severity == "serious"
    same = replace(head, reason=f"{head.reason}; the same bytes as embed.weight")
    assert codes(report_of(same)) == []


def test_a_normalization_in_training_mode():
    rows = [row(f"bn{i}.weight", kind="batch norm", reason=f"the module is {TRAINING}") for i in range(3)]
    finding = only(report_of(*rows))
    assert (finding.code, finding.severity, finding.row) == ("ON108", "warning", "")
    assert "3 normalizations (the first is bn0.weight)" in finding.message
    assert only(report_of(rows[0])).row == "bn0.weight"


def test_a_normalization_without_statistics_of_its_own():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, track_running_stats=False)).eval()
    finding = only(opnorm.measure(model))
    assert (finding.code, finding.severity) == ("ON108", "note")
    assert any(BATCH_STATISTICS in r.reason for r in opnorm.measure(model).rows)


def link(first, looseness):
    return Link(
        first, "b", "", 0.1, 0.1, 0.1, 8, Quantity(1.0, evidence="probable"), Quantity(looseness, evidence="proved"),
        looseness,
    )  # fmt: skip


def test_the_loosest_product_is_a_note():
    links = (link("a", 9.99), link("c", 40.0), link("d", 11.0))
    finding = only(report_of(interaction=Interaction(links=links)))
    assert (finding.code, finding.severity, finding.row, finding.evidence) == ("ON115", "note", "c", "probable")
    assert "2 of 3 pairs" in finding.message
    assert codes(report_of(interaction=Interaction(links=links[:1]))) == []
    assert codes(report_of(interaction=Interaction(links=links[:1])), Thresholds(looseness=9.0)) == [("ON115", "a")]


@pytest.mark.parametrize(("refused", "severity"), [(9, None), (10, "warning"), (499, "warning"), (500, "serious")])
def test_refused_bytes(refused, severity):
    coverage = {"bytes": 1000, "measured": 1000 - refused, "refused": refused}
    codes_row = replace(row("q.weight", kind="quantized codes"), status="refused", reason="no scales")
    found = findings_of(report_of(codes_row, coverage=coverage))
    assert [f.severity for f in found] == ([severity] if severity else [])
    if found:
        assert "1 quantized codes" in found[0].message


def test_codes_without_scales_fire_end_to_end():
    arrays = {"a.weight": np.ones((8, 8), np.int8), "b.weight": np.random.default_rng(0).standard_normal((8, 8))}
    assert codes(measured(arrays)) == [("ON116", "")]
