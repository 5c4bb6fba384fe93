"""ON112 to ON114, and ON111 from a gate."""

import math
from dataclasses import replace
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pytest
from findings_made import codes, only, report_of, row

from opnorm.constraint.diagnosis import advice
from opnorm.constraint.diagnosis.summary import Summary, Totals
from opnorm.report.findings import DEFAULT, Thresholds, findings_from_gate, findings_of
from opnorm.report.findings.thresholds import FORMATS
from opnorm.spectrum.comparison.document import Change, Comparison
from opnorm.spectrum.document import Quantity


def change(relative, name="fc.weight", operator="dense 32x32", **quantities):
    bracket = Quantity(relative, relative, relative, "probable")
    counts = {key: Quantity(float(value)) for key, value in quantities.items()}
    return Change(name, name, "linear", operator, (32, 32), "changed", relative=bracket, quantities=counts)


def compared(*changes, rows=()):
    return report_of(*rows, comparison=Comparison("a", "b", changes))


def relative_change(original, rounded):
    return float(np.linalg.norm(rounded - original, 2) / np.linalg.norm(original, 2))


def rounded_to_int8(matrix, axis=None):
    """Codes by the largest entry of the whole matrix, or of each row."""
    step = np.abs(matrix).max(axis=axis, keepdims=True) / 127
    return np.round(matrix / step) * step


MATRIX = np.random.default_rng(0).standard_normal((160, 120))


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2"])
def test_rounding_to_a_format_is_explained(name):
    """The law that the thresholds come from: at most 0.84 u for an iid matrix, twice u allowed."""
    relative = relative_change(MATRIX, MATRIX.astype(getattr(ml_dtypes, name)).astype(np.float64))
    assert FORMATS[name] / 8 < relative <= 0.42 * FORMATS[name] * 1.05
    report = compared(change(relative), rows=[replace(row(), dtype=name)])
    assert codes(report) == []


def test_what_a_change_says_of_its_dtypes_is_read():
    coarse = replace(change(0.2), reason="stored as float32 and float8_e4m3fn")
    assert [c for c, _ in codes(compared(coarse))] == ["ON112"]
    assert codes(compared(replace(coarse, reason="stored as float32 and float8_e5m2"))) == []
    tuned = replace(coarse, reason="stored as bfloat16 and float32")  # a tuning, which no rounding explains
    assert codes(compared(tuned)) == []


def test_whole_number_codes_are_explained_and_an_outlier_is_not():
    operator = "dense 160x120, int8 codes, one scale"
    healthy = relative_change(MATRIX, rounded_to_int8(MATRIX))
    assert 0.005 < healthy < FORMATS["int8"]
    assert codes(compared(change(healthy, operator=operator))) == []
    spoiled = MATRIX.copy()
    spoiled[3, 7] = 25  # one entry of 25 standard deviations, and one step for all
    broken = relative_change(spoiled, rounded_to_int8(spoiled))
    finding = only(compared(change(broken, operator=operator)))
    assert (finding.code, finding.severity, finding.evidence) == ("ON112", "warning", "probable")
    assert relative_change(spoiled, rounded_to_int8(spoiled, axis=1)) < FORMATS["int8"]


def test_scales_of_other_rows_are_serious():
    codes_, steps = np.round(MATRIX * 20), np.exp(np.random.default_rng(1).standard_normal((160, 1)))
    wrong = relative_change(codes_ * steps, codes_ * np.roll(steps, 1, axis=0))
    finding = only(compared(change(wrong, operator="dense 160x120, int8 codes, a scale each row")))
    assert (finding.code, finding.severity) == ("ON112", "serious")


@pytest.mark.parametrize(("relative", "found"), [(0.0299, []), (0.0301, ["ON112"])])
def test_the_boundary_of_a_quantization(relative, found):
    report = compared(change(relative, operator="dense 32x32, int8 codes, one scale"))
    assert [c for c, _ in codes(report)] == found
    assert codes(report, Thresholds.from_table({"quantization": {"int8": 0.05}})) == []
    assert codes(report, Thresholds.from_table({"quantization": {"int8": 0.01}})) == [("ON112", "fc.weight")]


@pytest.mark.parametrize(("relative", "found"), [(0.499, []), (0.501, ["ON113"])])
def test_the_boundary_of_a_drift(relative, found):
    assert [c for c, _ in codes(compared(change(relative)))] == found
    assert codes(compared(change(relative)), Thresholds(drift=0.4)) == [("ON113", "fc.weight")]


def test_fine_tuning_is_silent():
    assert codes(compared(*(change(r, f"l.{r}") for r in (0.001, 0.01, 0.05, 0.2)))) == []


def test_two_unrelated_models_are_one_finding():
    finding = only(compared(*(change(1.3 + i / 100, f"l.{i}") for i in range(6))))
    assert (finding.code, finding.row, finding.severity) == ("ON113", "", "serious")
    assert "6 of 6 layers changed by at least 1.3·‖W‖" in finding.message


def test_a_wide_bracket_makes_no_drift():
    wide = Change("a", "a", "linear", "", (4, 4), "changed", relative=Quantity(0.9, 0.3, 1.5, "probable"))
    assert codes(compared(wide)) == []


def test_intruders_are_a_note():
    finding = only(compared(change(0.1, intruders=2)))
    assert (finding.code, finding.severity) == ("ON114", "note")
    assert "2 of its top directions are" in finding.message
    assert codes(compared(change(0.1, intruders=0))) == []
    assert codes(compared(change(0.1, intruders=2)), Thresholds(intruders=3)) == []


def test_equal_layers_are_silent():
    equal = Change("a", "a", "linear", "", (4, 4), "equal")
    assert codes(compared(equal)) == []


def gate(*, acted=100, moves=100, push=0.5, ranks=(10.0, 10.0), technique="cap", hi=1.0, free=None, skipped=0):
    totals = Totals(acted, skipped, 1.0, acted, 1.0, 1.2)
    summary = Summary(
        "fc.weight", moves, moves, 0.0, hi, totals, 1.0, 1.0, 0.0, ((0, 1.2, 1.0),),
        ((0, ranks[0]), (moves, ranks[1])), ((0, push), (moves, push)), (), 1.0,
    )  # fmt: skip
    return SimpleNamespace(sites=(SimpleNamespace(summary=summary, technique=technique, free=free),))


def test_an_over_penalized_layer():
    (finding,) = findings_from_gate(gate(free=1.7))
    assert (finding.code, finding.row, finding.evidence) == ("ON111", "fc.weight", "estimate")
    assert "cosine 0.5" in finding.message
    assert "raise it to 1.7" in finding.advice
    (finding,) = findings_from_gate(gate(push=0.0, ranks=(10.0, 4.0)))
    assert "stable rank fell to 40%" in finding.message


@pytest.mark.parametrize(
    "healthy",
    [{"acted": 79}, {"push": 0.09}, {"moves": 19, "acted": 19}, {"technique": "watch"}, {"technique": "penalty"},
     {"push": -0.5}, {"push": 0.0, "ranks": (10.0, 5.1)}, {"hi": math.inf}],
)  # fmt: skip
def test_a_ceiling_that_does_no_harm_is_silent(healthy):
    assert findings_from_gate(gate(**healthy)) == ()


def test_a_gate_that_saw_nan_says_so():
    (finding,) = findings_from_gate(gate(acted=0, skipped=3))
    assert (finding.code, finding.severity) == ("ON101", "serious")


def test_the_thresholds_of_a_gate_are_those_it_advises_by():
    assert DEFAULT.gate_acted == advice.OFTEN
    assert DEFAULT.gate_push == advice.OUTWARD
    assert DEFAULT.gate_rank == advice.RANK_LOST
    assert DEFAULT.gate_visits == advice.FEW


def test_gate_thresholds_are_configurable():
    assert findings_from_gate(gate(acted=60), Thresholds(gate_acted=0.5)) != ()
    assert findings_from_gate(gate(), Thresholds(off=("ON111",))) == ()
    assert findings_of(report_of()) == ()
