"""Whole checkpoints side by side: pairs, equal bytes, adapters, quantized weights, lone layers, and the report."""

import json
from dataclasses import asdict

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from gallery import haar
from opnorm.bound import Evidence
from opnorm.errors import CheckpointError, Contradiction, UsageError
from opnorm.linalg.request import Request
from opnorm.readers import open_checkpoint
from opnorm.readers.memory import MemoryCheckpoint
from opnorm.report.comparing import comparison_report, show, sort_changes, summary
from opnorm.report.drift import judge
from opnorm.report.survey import Selection
from opnorm.spectrum.comparison import compare

RNG = np.random.default_rng(11)
BASE = {
    "layers.0.q_proj.weight": RNG.standard_normal((24, 16)).astype(np.float32),
    "layers.0.q_proj.bias": RNG.standard_normal(24).astype(np.float32),
    "layers.1.mlp.weight": RNG.standard_normal((20, 24)).astype(np.float32),
    "norm.weight": np.ones(20, np.float32),
}
PROVED = Request(Evidence.PROVED, 1e-6)


def tuned_from(base, step=1e-3, seed=0):
    rng = np.random.default_rng(seed)
    return {n: (a + step * rng.standard_normal(a.shape)).astype(a.dtype) for n, a in base.items()}


def compared(base, tuned, request=PROVED, **settings):
    sides = [c if isinstance(c, MemoryCheckpoint) else MemoryCheckpoint(c) for c in (base, tuned)]
    return compare(*sides, request, **settings)


def norm(a):
    return np.linalg.norm(np.asarray(a, dtype=float), 2)


def holds(quantity, truth):
    return quantity.lower <= truth * (1 + 1e-12) and quantity.upper >= truth * (1 - 1e-12)


@pytest.mark.parametrize("front", ["", "module.", "model."])
@pytest.mark.parametrize("jobs", [1, 3])
def test_every_number_of_every_layer(front, jobs):
    after = tuned_from(BASE)
    found = compared(BASE, {front + n: a for n, a in after.items()}, jobs=jobs)
    assert [c.name for c in found.changes] == ["layers.0.q_proj.weight", "layers.1.mlp.weight"]
    for change in found.changes:
        before, now = BASE[change.name], after[change.name]
        assert change.tuned_name == front + change.name
        assert change.status == "changed"
        delta = norm(now.astype(float) - before.astype(float))
        assert holds(change.base, norm(before))
        assert holds(change.tuned, norm(now))
        assert holds(change.delta, delta)
        assert holds(change.relative, delta / norm(before))
        assert {q.evidence for q in (change.base, change.tuned, change.delta, change.relative)} == {"proved"}
    assert any("2 vectors and constants" in note and "2 changed" in note for note in found.notes)
    assert found.failure_probability == 0


def test_equal_layers_are_told_by_their_bytes(monkeypatch):
    monkeypatch.setattr("opnorm.spectrum.comparison.change.measure_operator", None)  # nothing is measured
    found = compared(BASE, {n: a.copy() for n, a in BASE.items()})
    assert {c.status for c in found.changes} == {"equal"}
    assert all(c.delta.upper == c.relative.upper == 0 for c in found.changes)
    assert any("2 equal" in note for note in found.notes)


def test_equal_in_value_but_not_in_dtype():
    wide = {"w.weight": np.round(BASE["layers.1.mlp.weight"] * 8).astype(np.float32)}
    found = compared(wide, {"w.weight": wide["w.weight"].astype(np.float16)})
    (change,) = found.changes
    assert change.status == "equal"
    assert "stored as float32 and float16" in change.reason


def test_equal_bytes_that_hold_a_nan_are_not_said_to_be_fine():
    bad = BASE["layers.1.mlp.weight"].copy()
    bad[0, :2] = np.nan, np.inf
    (change,) = compared({"w.weight": bad}, {"w.weight": bad.copy()}).changes
    assert change.status == "undefined"
    assert "2 NaN or Inf" in change.reason


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16])
@pytest.mark.parametrize("swap", [False, True])
def test_a_cast_is_recognized(dtype, swap):
    cast = {n: a.astype(dtype) for n, a in BASE.items()}
    found = compared(cast, BASE) if swap else compared(BASE, cast)
    unit = 2.0**-8 if dtype is ml_dtypes.bfloat16 else 2.0**-11
    for change in found.changes:
        assert change.reason.endswith(("BASE is TUNED" if swap else "TUNED is BASE") + " rounded, entry by entry")
        assert 0 < change.relative.upper <= unit * np.sqrt(24)


def test_shapes_that_differ_are_said():
    grown = {**BASE, "layers.1.mlp.weight": np.ones((20, 32), np.float32)}
    found = compared(BASE, grown)
    change = next(c for c in found.changes if c.name == "layers.1.mlp.weight")
    assert change.status == "shape"
    assert "(20, 24) in BASE, (20, 32) in TUNED" in change.reason
    assert change.delta is None


def test_what_has_no_partner_is_listed():
    found = compared({**BASE, "old.weight": np.eye(3)}, {**BASE, "head.weight": np.eye(2), "head.bias": np.ones(2)})
    assert found.only_base == ("old.weight",)
    assert found.only_tuned == ("head.weight", "head.bias")


def test_selection_by_either_name():
    after = {"model." + n: a for n, a in tuned_from(BASE).items()}
    one = compared(BASE, after, select=Selection(only=("model.layers.0*",)))
    other = compared(BASE, after, select=Selection(skip=("layers.1",)))
    assert [c.name for c in one.changes] == [c.name for c in other.changes] == ["layers.0.q_proj.weight"]
    with pytest.raises(UsageError, match="--only"):
        compared(BASE, after, select=Selection(only=("nothing",)))


def test_nothing_in_common_names_the_first_of_both():
    with pytest.raises(UsageError, match=r"'layers.0.q_proj.weight'.*'other.1.weight'"):
        compared(BASE, {"other.1.weight": np.eye(3)})


RANK, ALPHA = 4, 6


def adapter_of(base, front="base_model.model.", seed=1, settings=None, infix=""):
    rng = np.random.default_rng(seed)
    arrays, config = {}, {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, **(settings or {})}
    for name, weight in base.items():
        if weight.ndim == 2:
            path, (rows, columns) = front + name.removesuffix(".weight"), weight.shape
            arrays[f"{path}.lora_A{infix}.weight"] = rng.standard_normal((RANK, columns)).astype(np.float32)
            arrays[f"{path}.lora_B{infix}.weight"] = rng.standard_normal((rows, RANK)).astype(np.float32)
    checkpoint = MemoryCheckpoint(arrays)
    checkpoint.config = {"adapter_config": config}
    return checkpoint, arrays


def update_of(arrays, path, s, infix=""):
    b, a = (arrays[f"{path}.lora_{x}{infix}.weight"].astype(float) for x in "BA")
    return s * b @ a


@pytest.mark.parametrize("front", ["base_model.model.", "base_model.model.model."])
@pytest.mark.parametrize("rslora", [False, True])
def test_an_adapter_against_its_base(front, rslora):
    adapter, arrays = adapter_of(BASE, front, settings={"use_rslora": rslora})
    s = ALPHA / np.sqrt(RANK) if rslora else ALPHA / RANK
    found = compared(BASE, adapter)
    assert len(found.changes) == 2
    for change in found.changes:
        weight = BASE[change.name].astype(float)
        update = update_of(arrays, front + change.name.removesuffix(".weight"), s)
        assert change.status == "changed"
        assert holds(change.delta, norm(update))
        assert holds(change.tuned, norm(weight + update))
        assert holds(change.relative, norm(update) / norm(weight))
        assert change.delta.evidence == "proved"
        assert change.quantities["delta_rank"].value == RANK
        shifts = np.linalg.svd(weight + update, compute_uv=False) - np.linalg.svd(weight, compute_uv=False)
        assert change.quantities["largest_shift"].value == pytest.approx(np.abs(shifts).max(), rel=1e-6)
        stable = (np.linalg.norm(update) / norm(update)) ** 2
        assert change.quantities["delta_stable_rank"].value == pytest.approx(stable, rel=1e-4)
    assert not found.only_base
    assert not found.only_tuned
    assert any("as they were" in note for note in found.notes)


def test_an_adapter_merged_gives_the_same_change():
    adapter, arrays = adapter_of(BASE)
    merged = dict(BASE)
    for name in ("layers.0.q_proj.weight", "layers.1.mlp.weight"):
        path = "base_model.model." + name.removesuffix(".weight")
        merged[name] = BASE[name].astype(float) + update_of(arrays, path, ALPHA / RANK)
    apart, together = compared(BASE, adapter), compared(BASE, merged)
    for one, other in zip(apart.changes, together.changes, strict=True):
        assert one.name == other.name
        for name in ("delta_rank", "largest_shift", "intruders", "rotation", "delta_frobenius"):
            assert one.quantities[name].value == pytest.approx(other.quantities[name].value, rel=1e-5), name


def test_an_adapter_on_a_square_weight_stored_transposed():
    square = {"h.0.c_proj.weight": RNG.standard_normal((16, 16)).astype(np.float32)}
    adapter, arrays = adapter_of(square, settings={"fan_in_fan_out": True})
    (change,) = compared(square, adapter).changes
    update = update_of(arrays, "base_model.model.h.0.c_proj", ALPHA / RANK)
    assert holds(change.tuned, norm(square["h.0.c_proj.weight"].astype(float).T + update))


def test_an_adapter_that_does_not_fit_its_base():
    adapter, _ = adapter_of({"layers.0.q_proj.weight": np.ones((7, 9), np.float32)})
    (change,) = compared(BASE, adapter).changes
    assert change.status == "refused"
    assert "does not fit" in change.reason


def test_an_adapter_of_unknown_scale_and_one_that_rescales():
    adapter, _ = adapter_of(BASE)
    adapter.config = None
    assert all(c.status == "refused" and "lora_alpha" in c.reason for c in compared(BASE, adapter).changes)
    dora, _ = adapter_of(BASE, settings={"use_dora": True})
    assert all(c.status == "refused" and "DoRA" in c.reason for c in compared(BASE, dora).changes)


def test_an_adapter_beside_a_base_of_its_own():
    adapter, arrays = adapter_of(BASE, infix=".default")
    own = {
        f"base_model.model.{n.replace('q_proj.', 'q_proj.base_layer.').replace('mlp.', 'mlp.base_layer.')}": a
        for n, a in BASE.items()
    }
    whole = MemoryCheckpoint({**own, **arrays})
    whole.config = adapter.config
    found = compared(BASE, whole)
    assert sorted(c.status for c in found.changes) == ["changed", "changed", "equal", "equal"]
    assert not found.only_base


def test_two_adapters_by_what_they_add():
    (first, before), (second, after) = adapter_of(BASE, seed=1), adapter_of(BASE, seed=2)
    found = compared(first, second)
    assert len(found.changes) == 2
    for change in found.changes:
        path = change.name.partition("[")[0]
        updates = [update_of(a, path, ALPHA / RANK) for a in (before, after)]
        assert holds(change.delta, norm(updates[1] - updates[0]))
        assert holds(change.relative, norm(updates[1] - updates[0]) / norm(updates[0]))


def test_quantized_against_original():
    weight = BASE["layers.1.mlp.weight"]
    scale = np.float32(np.abs(weight).max() / 127)
    codes = np.round(weight / scale).astype(np.int8)
    tuned = {"mlp.weight": codes, "mlp.weight_scale": np.array([scale])}
    found = compared({"mlp.weight": weight}, tuned)
    (change,) = found.changes
    error = codes.astype(float) * float(scale) - weight.astype(float)
    assert change.status == "changed"
    assert holds(change.delta, norm(error))
    assert change.delta.evidence == "proved"
    assert change.relative.upper < 0.05
    assert found.only_tuned == ("mlp.weight_scale",)


def test_codes_without_scales_are_refused_unless_equal():
    codes = {"mlp.qweight": np.arange(12, dtype=np.int32).reshape(3, 4)}
    other = {"mlp.qweight": codes["mlp.qweight"] + 1}
    assert compared(codes, codes).changes[0].status == "equal"
    (change,) = compared(codes, other).changes
    assert change.status == "refused"
    assert change.reason.startswith("BASE: GPTQ")


def test_convolutions_of_a_known_model_and_of_an_unknown_one():
    kernel = {"stem.conv.weight": RNG.standard_normal((6, 3, 3, 3)).astype(np.float32)}
    (change,) = compared(kernel, tuned_from(kernel)).changes
    assert change.delta.lower is None
    assert change.delta.upper > 0
    assert change.quantities["relative_frobenius"].value == pytest.approx(1e-3, rel=0.2)
    assert judge(compared(kernel, tuned_from(kernel)), 10.0)[0].holds is None


def test_live_models_and_their_files(tmp_path):
    torch = pytest.importorskip("torch")
    from opnorm.readers.live import open_model

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, stride=2), torch.nn.Flatten(), torch.nn.Linear(16, 5))
    arrays = {n: t.numpy().copy() for n, t in model.state_dict().items()}
    with torch.no_grad():
        model[2].weight += 0.01 * torch.randn_like(model[2].weight)
    found = compare(MemoryCheckpoint(arrays), open_model(model, (3, 5, 5)), PROVED)
    by_name = {c.name: c for c in found.changes}
    assert by_name["0.weight"].delta.upper == 0, "the kernels agree, and the live one knows its settings"
    truth = norm(model[2].weight.detach().double().numpy() - arrays["2.weight"].astype(float))
    assert holds(by_name["2.weight"].delta, truth)


def test_fused_layers_are_split_alike_where_one_side_has_the_configuration(tmp_path):
    shapes = {"h.0.attn.c_attn.weight": (12, 36), "h.0.attn.c_proj.weight": (12, 12), "wte.weight": (50, 12)}
    base = {n: RNG.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
    config = {"model_type": "gpt2", "n_head": 3, "n_embd": 12}
    paths = []
    for name, arrays in (("base", base), ("tuned", tuned_from(base))):
        (tmp_path / name).mkdir()
        paths.append(tmp_path / name / "model.safetensors")
        save_file(arrays, paths[-1])
    (tmp_path / "base" / "config.json").write_text(json.dumps(config))
    with open_checkpoint(paths[0]) as before, open_checkpoint(paths[1]) as after:
        found = compare(before, after, PROVED)
    assert {"h.0.attn.c_attn.weight[q]", "h.0.attn.c_attn.weight[k]"} <= {c.name for c in found.changes}
    assert not found.only_base
    assert any("has no config.json" in note for note in found.notes)


def test_directions_of_a_weight_stored_transposed_are_its_outputs():
    """A turn of the outputs of a Conv1D (inputs by outputs) makes intruders; a turn of its inputs makes none."""
    rng = np.random.default_rng(3)
    weight = haar(60, 60, rng) * 0.95 ** np.arange(60) @ haar(60, 60, rng).T
    turn = haar(60, 60, rng)
    config = {"model_type": "gpt2", "n_head": 3, "n_embd": 60}
    counts = []
    for tuned in (weight @ turn, turn @ weight):
        sides = [
            MemoryCheckpoint({"h.0.attn.c_proj.weight": w, "h.0.attn.c_attn.weight": np.ones((60, 180))})
            for w in (weight, tuned)
        ]
        for side in sides:
            side.config = config
        change = next(c for c in compare(*sides, PROVED).changes if c.name == "h.0.attn.c_proj.weight")
        assert "transposed" in change.operator
        counts.append(change.quantities["intruders"].value)
    assert counts == [10, 0]


ODD = {
    "empty": (np.zeros((0, 5)), np.zeros((0, 5))),
    "one number": (np.ones((1, 1)), np.full((1, 1), -1.0)),
    "one row": (np.ones((1, 40)), np.arange(40.0)[None]),
    "subnormal": (np.full((3, 4), 5e-324), np.full((3, 4), 1e-323)),
    "huge": (np.full((3, 4), 1e300), np.full((3, 4), -1e300)),
    "far apart": (np.full((3, 4), 1e-200), np.full((3, 4), 1e200)),
    "beyond float64": (np.full((3, 4), 1.5e308), np.full((3, 4), 1e308)),
    "zero base": (np.zeros((6, 6)), np.eye(6)),
    "zero tuned": (np.eye(6), np.zeros((6, 6))),
    "rank one": (np.ones((30, 20)), 2 * np.ones((30, 20))),
    "sign": (np.eye(8), -np.eye(8)),
    "whole numbers": (np.ones((3, 3), np.int64), np.eye(3, dtype=np.int64)),
    "complex": (np.ones((3, 3), complex), np.eye(3, dtype=complex)),
    "three axes": (np.ones((3, 3, 3)), np.zeros((3, 3, 3))),
    "rank differs": (np.ones((3, 3)), np.zeros((3, 3, 3))),
    "matrix and vector": (np.ones((3, 3)), np.zeros(3)),
}


@pytest.mark.parametrize(("before", "after"), ODD.values(), ids=ODD)
@pytest.mark.parametrize("evidence", ["estimate", "probable", "proved"])
def test_odd_layers_have_a_status_and_brackets_that_hold(before, after, evidence):
    pair = {"layer.weight": before, "w.weight": np.eye(2)}, {"layer.weight": after, "w.weight": np.eye(2)}
    found = compared(*pair, request=Request(Evidence.parse(evidence)))
    change = next(c for c in found.changes if c.name == "layer.weight")
    assert change.status in ("changed", "equal", "refused", "shape")
    assert change.status in ("changed", "equal") or change.reason
    if change.delta is not None and before.size:
        with np.errstate(over="ignore"):
            scale = max(np.abs(before).max(), np.abs(after).max())
        truth = norm(after / scale - before / scale)
        slack = 5e-324 / scale
        assert change.delta.lower / scale <= truth * (1 + 1e-12) + slack
        assert change.delta.upper / scale >= truth * (1 - 1e-12) - slack
        for q in change.quantities.values():
            assert all(v is None or np.isfinite(v) for v in (q.value, q.lower, q.upper))
    json.dumps(asdict(found), allow_nan=False)


def test_an_adapter_that_adds_nothing_yet():
    adapter, arrays = adapter_of(BASE)
    for name in arrays:
        if "lora_B" in name:
            arrays[name][:] = 0
    assert {c.status for c in compared(BASE, adapter).changes} == {"equal"}


def test_an_adapter_that_holds_a_nan():
    adapter, arrays = adapter_of(BASE)
    arrays["base_model.model.layers.1.mlp.lora_A.weight"][0, 0] = np.nan
    statuses = {c.name: (c.status, c.reason) for c in compared(BASE, adapter).changes}
    assert statuses["layers.1.mlp.weight"][0] == "undefined"
    assert statuses["layers.0.q_proj.weight"][0] == "changed"


def test_an_adapter_on_a_quantized_base():
    weight = BASE["layers.1.mlp.weight"]
    scale = np.float32(np.abs(weight).max() / 127)
    base = {"mlp.weight": np.round(weight / scale).astype(np.int8), "mlp.weight_scale": np.array([scale])}
    adapter, arrays = adapter_of({"mlp.weight": weight})
    (change,) = (c for c in compared(base, adapter).changes if c.kind == "adapted linear")
    update = update_of(arrays, "base_model.model.mlp", ALPHA / RANK)
    assert holds(change.tuned, norm(base["mlp.weight"].astype(float) * float(scale) + update))


class Unreadable(MemoryCheckpoint):
    def read(self, tensor):
        if "mlp" in tensor.name:
            raise CheckpointError("file", "ends before the data its header promises")
        return super().read(tensor)


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_cannot_be_read_is_refused_and_found(jobs):
    sides = MemoryCheckpoint(BASE), Unreadable(tuned_from(BASE))
    report = comparison_report(*sides, PROVED, Selection(), "0", jobs=jobs)
    statuses = {c.name: c.status for c in report.comparison.changes}
    assert statuses == {"layers.0.q_proj.weight": "changed", "layers.1.mlp.weight": "refused"}
    assert [(f.code, f.row) for f in report.findings] == [("file-refused", "layers.1.mlp.weight")]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_contradiction_is_refused_and_found(jobs, monkeypatch):
    def broken(*arguments):
        raise Contradiction("σ₁ ≥ 2 contradicts σ₁ ≤ 1")

    monkeypatch.setattr("opnorm.spectrum.comparison.change.measure_operator", broken)
    sides = MemoryCheckpoint(BASE), MemoryCheckpoint(tuned_from(BASE))
    report = comparison_report(*sides, PROVED, Selection(), "0", jobs=jobs)
    assert {c.status for c in report.comparison.changes} == {"refused"}
    assert {f.code for f in report.findings} == {"contradiction"}


class Terminal:
    """A console that keeps what it is given."""

    def __init__(self, width):
        import io

        from rich.console import Console

        self.stream = io.StringIO()
        self.console = Console(file=self.stream, width=width, highlight=False, markup=False, emoji=False)

    @property
    def text(self):
        return self.stream.getvalue()


def report_of(base, tuned, **selection):
    return comparison_report(MemoryCheckpoint(base), MemoryCheckpoint(tuned), Request(), Selection(**selection), "0")


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_table_is_sorted_by_drift_and_harmless(width):
    hostile = "evil\x1b[2J\u202e<b>weight" + "x" * 500
    base = {**BASE, hostile: np.eye(5, dtype=np.float32), "[bold]alone": np.eye(2)}
    after = {**tuned_from(BASE), hostile: 3 * np.eye(5, dtype=np.float32), "\x1b]0;title\x07new": np.eye(2)}
    terminal = Terminal(width)
    report = report_of(base, after)
    show(report, terminal.console)
    assert "\x1b" not in terminal.text
    assert "\u202e" not in terminal.text
    assert "Only in BASE (1): [bold]alone" in terminal.text
    assert "Only in TUNED (1): " in terminal.text
    assert "Largest relative drift: evil" in terminal.text
    names = [c.tuned_name for c in sort_changes(report.comparison.changes, "drift")]
    assert names[0] == hostile
    assert "2.0" in terminal.text
    with pytest.raises(UsageError, match="drift"):
        sort_changes((), "beauty")


def test_top_says_what_is_left_out():
    terminal = Terminal(200)
    show(report_of(BASE, tuned_from(BASE)), terminal.console, top=1)
    assert "1 more layer is not shown" in terminal.text


def test_the_report_is_json_and_lists_both_inputs():
    report = report_of(BASE, tuned_from(BASE))
    parsed = json.loads(report.to_json())
    assert len(parsed["inputs"]) == 2
    assert parsed["rows"] == []
    assert parsed["comparison"]["changes"][0]["delta"]["upper"] > 0
    assert sum(v for k, v in parsed["coverage"].items() if k != "bytes") == parsed["coverage"]["bytes"]


def test_equal_models_are_said_to_be():
    report = report_of(BASE, BASE)
    assert "2 layers compared: nothing changed, all are equal." in summary(report, report.comparison)[0]


@pytest.mark.parametrize(("step", "ceiling", "expected"), [(1e-3, 1.0, True), (1.0, 1e-3, False), (0.0, 0.0, True)])
def test_the_gate(step, ceiling, expected):
    verdicts = judge(compared(BASE, tuned_from(BASE, step)), ceiling)
    assert [v.holds for v in verdicts] == [expected] * 2


def test_the_gate_cannot_tell():
    after = tuned_from(BASE)
    drift = compared(BASE, after, Request(Evidence.PROVED, 0.3)).changes[0].relative
    middle = (drift.lower + drift.upper) / 2
    found = compared(BASE, after, Request(Evidence.PROVED, 0.3))
    assert judge(found, middle)[0].holds is None
    lone = compared(BASE, {**after, "head.weight": np.eye(2)})
    assert [v.holds for v in judge(lone, 10.0)] == [True, True, None]
