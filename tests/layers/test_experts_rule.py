"""Stacks of experts: one operator each, gates apart where their layout is known."""

import numpy as np
import pytest
from checkpoints import Planned, made

from opnorm.layers.experts import fused_layout

E, HIDDEN, SIDE = 3, 8, 12
PATH = "model.layers.0.mlp.experts"


def stack(transposed):
    gate_up = (E, HIDDEN, 2 * SIDE) if transposed else (E, 2 * SIDE, HIDDEN)
    down = (E, SIDE, HIDDEN) if transposed else (E, HIDDEN, SIDE)
    return made({f"{PATH}.gate_up_proj": gate_up, f"{PATH}.down_proj": down})


@pytest.mark.parametrize(
    ("kind", "transposed", "gate"),
    [
        ("mixtral", False, np.s_[:SIDE]),
        ("qwen3_moe", False, np.s_[:SIDE]),
        ("", False, np.s_[:SIDE]),
        ("llama4_text", True, np.s_[:, :SIDE]),
        ("gpt_oss", True, np.s_[:, ::2]),
    ],
)
def test_each_expert_and_each_gate(kind, transposed, gate):
    arrays = stack(transposed)
    planned = Planned(arrays, {"model_type": kind} if kind else None)
    for number in range(E):
        matrix = arrays[f"{PATH}.gate_up_proj"][number]
        planned.check(f"{PATH}.gate_up_proj[{number} gate]", matrix[gate])
        other = matrix[:, 1::2] if kind == "gpt_oss" else matrix[:, SIDE:] if transposed else matrix[SIDE:]
        planned.check(f"{PATH}.gate_up_proj[{number} up]", other)
        planned.check(f"{PATH}.down_proj[{number}]", arrays[f"{PATH}.down_proj"][number])
    assert len(planned.entries) == 3 * E


def test_a_transposed_stack_of_no_known_family_is_not_split():
    planned = Planned(stack(transposed=True))
    assert planned.named("gate_up_proj") == [f"{PATH}.gate_up_proj[{i}]" for i in range(E)]
    assert "how gate and up share it is not known" in planned[f"{PATH}.gate_up_proj[0]"].reason


def test_square_shapes_that_fit_both_ways_are_not_split():
    arrays = made({f"{PATH}.gate_up_proj": (2, 8, 8), f"{PATH}.down_proj": (2, 8, 8)})
    assert Planned(arrays).named("gate") == [f"{PATH}.gate_up_proj[{i}]" for i in range(2)]
    assert fused_layout((2, 8, 8), (2, 8, 8)) is None
    assert fused_layout((2, 8, 4), (2, 4, 4)) is None or fused_layout((2, 8, 4), (2, 4, 4)) is False


def test_biases_of_experts_are_no_matrices():
    arrays = made({f"{PATH}.gate_up_proj_bias": (E, 2 * SIDE), f"{PATH}.down_proj_bias": (E, HIDDEN)})
    planned = Planned(arrays)
    assert {e.status for e in planned.entries.values()} == {"not_a_map"}


def test_experts_stored_one_by_one_are_plain_matrices():
    names = [f"model.layers.0.block_sparse_moe.experts.{i}.w{j}.weight" for i in range(2) for j in (1, 2, 3)]
    arrays = made({**dict.fromkeys(names, (6, 4)), "model.layers.0.block_sparse_moe.gate.weight": (2, 4)})
    planned = Planned(arrays, {"model_type": "mixtral"})
    for name, array in arrays.items():
        planned.check(name, array)


def test_more_experts_than_any_model_has_are_refused():
    planned = Planned({f"{PATH}.w1": np.zeros((5000, 1, 1), np.float32)})
    entry = planned[f"{PATH}.w1"]
    assert entry.status == "refused"
    assert "5000 experts" in entry.reason


def test_a_stack_of_no_experts():
    assert Planned({f"{PATH}.w1": np.zeros((0, 4, 4), np.float32)})[f"{PATH}.w1"].status == "not_a_map"
