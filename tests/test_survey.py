"""From a plan to rows: shared tensors read once, bytes counted once, ties, derived rows, further numbers."""

import numpy as np
import pytest

from opnorm.bound import Bound, Bracket, Evidence
from opnorm.errors import CheckpointError, UnsupportedInput
from opnorm.layers.plan import Also, Entry, Layer
from opnorm.linalg.request import Request
from opnorm.readers.memory import MemoryCheckpoint
from opnorm.report.gate import judge
from opnorm.report.grouping import collapsed, repeated
from opnorm.report.survey import Selection, Survey

RNG = np.random.default_rng(7)
FUSED = RNG.standard_normal((24, 8)).astype(np.float32)
OUT = RNG.standard_normal((8, 8)).astype(np.float32)
ARRAYS = {"fused": FUSED, "out": OUT, "bias": np.ones(3, dtype=np.float32), "tied": OUT}


def piece(start):
    return lambda arrays: arrays["fused"][start : start + 8]


def circuit(arrays):
    return arrays["out"].astype(np.float64) @ arrays["fused"][16:].astype(np.float64)


def largest_entry(arrays, request):
    value = float(np.abs(arrays["out"]).max())
    return Bracket(None, Bound("upper", value, Evidence.PROVED, "entries"))


def unavailable(arrays, request):
    raise UnsupportedInput("there is nothing to see")


PLAN = [
    Layer(
        "attention",
        (
            Entry("fused[q]", ("fused",), "linear", "dense 8x8", (8, 8), "float32", build=piece(0)),
            Entry("fused[k]", ("fused",), "linear", "dense 8x8", (8, 8), "float32", build=piece(8)),
            Entry("fused[v]", ("fused",), "linear", "dense 8x8", (8, 8), "float32", build=piece(16)),
            Entry(
                "out",
                ("out",),
                "linear",
                "dense 8x8",
                (8, 8),
                "float32",
                build=lambda a: a["out"],
                also=(Also("largest entry", "the largest |a|", largest_entry), Also("nothing", "none", unavailable)),
            ),
            Entry("attention[ov head 0]", ("out", "fused"), "circuit", derived=True, build=circuit),
        ),
    ),
    Layer("bias", (Entry("bias", ("bias",), "bias", shape=(3,), status="not_a_map", reason="a vector"),)),
    Layer("tied", (Entry("tied", ("tied",), "linear", same_as="out", status="not_a_map"),)),
]


class Planned(MemoryCheckpoint):
    def __init__(self, arrays=ARRAYS, plan=PLAN):
        super().__init__(arrays)
        self.plan = plan
        self.reads = []

    def read(self, tensor):
        self.reads.append(tensor.name)
        return super().read(tensor)


def report_of(checkpoint, jobs=1, **selection):
    survey = Survey(Request(), Selection(**selection), jobs)
    survey.add(checkpoint)
    return survey.report("0")


def coverage_adds_up(report):
    kinds = dict(report.coverage)
    return kinds.pop("bytes") == sum(kinds.values())


@pytest.mark.parametrize("jobs", [1, 3])
def test_rows_match_what_was_built(jobs):
    checkpoint = Planned()
    report = report_of(checkpoint, jobs)
    truth = {
        "fused[q]": FUSED[:8],
        "fused[k]": FUSED[8:16],
        "fused[v]": FUSED[16:],
        "out": OUT,
        "attention[ov head 0]": OUT.astype(float) @ FUSED[16:].astype(float),
    }
    for name, matrix in truth.items():
        exact, row = np.linalg.norm(matrix.astype(float), 2), report[name]
        assert row.lower <= exact * (1 + 1e-13) <= row.upper * (1 + 2e-13)
        assert row.width <= 0.01
        assert row.bracket("proved").upper >= exact * (1 - 1e-13)
    assert checkpoint.reads == ["fused", "out"]
    assert coverage_adds_up(report)
    assert report.coverage["measured"] == FUSED.nbytes + 2 * OUT.nbytes
    assert report.coverage["not_a_map"] == 12


def test_equal_suffixes_of_one_tensor_get_their_own_start():
    from opnorm.report.prefetch import Content
    from opnorm.report.rows import _key

    contents = {"fused": Content(FUSED, b"digest")}
    keys = {_key(entry, contents) for entry in PLAN[0].entries[:3]}
    assert len(keys) == 3


def test_a_tied_tensor_repeats_the_numbers_of_the_first():
    report = report_of(Planned())
    first, tied = report["out"], report["tied"]
    assert (tied.lower, tied.upper) == (first.lower, first.upper)
    assert tied.derived
    assert "the same tensor as out" in tied.reason


def test_further_numbers_stand_beside_the_row_and_cannot_take_it_down():
    entry, nothing = report_of(Planned())["out"].also
    assert (entry.name, entry.lower, entry.evidence) == ("largest entry", None, "proved")
    assert entry.upper == np.abs(OUT).max()
    assert nothing.upper is None
    assert "there is nothing to see" in nothing.meaning


def test_a_selection_of_parts_counts_every_byte_once():
    report = report_of(Planned(), only=("fused[[]k]", "*ov head*"))
    assert [row.name for row in report.rows] == ["fused[k]", "attention[ov head 0]"]
    assert coverage_adds_up(report)
    assert report.coverage["measured"] == FUSED.nbytes


def test_a_tensor_that_cannot_be_read_refuses_every_row_that_needs_it():
    class Broken(Planned):
        def read(self, tensor):
            if tensor.name == "fused":
                raise CheckpointError("x", "is torn", "Fetch it again.")
            return super().read(tensor)

    report = report_of(Broken())
    status = {row.name: row.status for row in report.rows}
    assert status["out"] == "measured"
    assert {status[n] for n in ("fused[q]", "fused[k]", "fused[v]", "attention[ov head 0]")} == {"refused"}
    assert coverage_adds_up(report)
    assert report.coverage["refused"] == FUSED.nbytes


def test_an_undefined_part_makes_its_tensor_undefined_and_no_more():
    bad = FUSED.copy()
    bad[0, 0] = np.nan
    report = report_of(Planned({**ARRAYS, "fused": bad}))
    assert report["fused[q]"].status == "undefined"
    assert report["fused[k]"].status == "measured"
    assert report.coverage["undefined"] == FUSED.nbytes


def test_the_gate_judges_weights_not_what_is_made_of_them():
    judged = [v.row.name for v in judge(report_of(Planned()), 100.0)]
    assert judged == ["fused[q]", "fused[k]", "fused[v]", "out"]


def test_the_gate_judges_a_weight_with_its_adapter():
    def adapted(arrays):
        return arrays["out"] + 10 * np.eye(8, dtype=np.float32)

    plan = [*PLAN[:1], Layer("x", (Entry("x[W + s·B·A]", ("out",), "adapted linear", derived=True, build=adapted),))]
    verdicts = judge(report_of(Planned({k: ARRAYS[k] for k in ("fused", "out")}, plan)), 10.0)
    assert [v.row.name for v in verdicts if v.holds is False] == ["x[W + s·B·A]"]


def test_runs_of_numbered_rows_are_one_line_that_of_the_largest():
    row = report_of(Planned())["out"]
    from dataclasses import replace

    rows = [replace(row, name=f"a[head {i}]", upper=float(i % 5)) for i in range(8)] + [replace(row, name="b[1]")]
    shown = collapsed(rows)
    assert [r.name for r in shown] == ["a[head 4], largest of 8", "b[1]"]
    lines = repeated([replace(r, reason="one and the same") for r in rows])
    assert lines == ["a[head 0] and 8 more: one and the same"]
