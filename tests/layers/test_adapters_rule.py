"""LoRA: what is added, and what results, against formed matrices."""

import math

import numpy as np
import pytest
from checkpoints import Planned, made

from opnorm.layers.adapters import NO_BASE, NO_SCALE, scale_of

PATH = "base_model.model.model.layers.0.self_attn.q_proj"
RANK, IN, OUT = 3, 14, 10


def tensors(base=True, between="", transposed=False):
    shapes = {f"{PATH}.lora_A{between}.weight": (RANK, IN), f"{PATH}.lora_B{between}.weight": (OUT, RANK)}
    if base:
        shapes = {f"{PATH}.base_layer.weight": (IN, OUT) if transposed else (OUT, IN), **shapes}
    return made(shapes)


def formed(arrays, s, transposed=False):
    wide = {name.removeprefix(PATH).split(".")[1]: array.astype(np.float64) for name, array in arrays.items()}
    update = s * wide["lora_B"] @ wide["lora_A"]
    base = wide.get("base_layer")
    return update, None if base is None else (base.T if transposed else base) + update


@pytest.mark.parametrize("between", ["", ".default"])
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("rslora", [False, True])
def test_the_update_and_the_adapted_weight(rslora, nested, between):
    arrays = tensors(between=between)
    settings = {"peft_type": "LORA", "r": RANK, "lora_alpha": 5, "use_rslora": rslora}
    planned = Planned(arrays, {"adapter_config": settings} if nested else settings)
    s = 5 / math.sqrt(RANK) if rslora else 5 / RANK
    update, adapted = formed(arrays, s)
    planned.check(f"{PATH}[s·B·A]", update)
    planned.check(f"{PATH}[W + s·B·A]", adapted)
    planned.check(f"{PATH}[W + s·B·A]", adapted, "probable")
    for name, array in arrays.items():
        planned.check(name, array)
        assert not planned[name].derived
    assert planned[f"{PATH}[s·B·A]"].derived
    assert f"s = {s:.6g}" in planned[f"{PATH}[s·B·A]"].operator


def test_a_base_stored_transposed():
    arrays = tensors(transposed=True)
    planned = Planned(arrays, {"lora_alpha": 6, "fan_in_fan_out": True})
    planned.check(f"{PATH}[W + s·B·A]", formed(arrays, 2.0, transposed=True)[1])


def test_an_absent_base_is_said_and_the_rest_measured():
    arrays = tensors(base=False)
    planned = Planned(arrays, {"lora_alpha": 6})
    planned.check(f"{PATH}[s·B·A]", formed(arrays, 2.0)[0])
    entry = planned[f"{PATH}[W + s·B·A]"]
    assert (entry.status, entry.reason) == ("refused", NO_BASE)


@pytest.mark.parametrize("config", [None, {}, {"lora_alpha": "16"}, {"lora_alpha": 1e300}, {"lora_alpha": True}])
def test_an_unknown_scale_is_not_guessed(config):
    arrays = tensors()
    planned = Planned(arrays, config)
    planned.check(f"{PATH}[B·A]", formed(arrays, 1.0)[0])
    assert planned[f"{PATH}[B·A]"].reason == NO_SCALE
    entry = planned[f"{PATH}[W + s·B·A]"]
    assert (entry.status, entry.reason) == ("refused", NO_SCALE)


def test_a_scale_of_its_own_and_a_pattern_that_is_not_run():
    arrays = tensors()
    own = Planned(arrays, {"lora_alpha": 6, "alpha_pattern": {"q_proj": 12, "k_proj": 1}})
    own.check(f"{PATH}[s·B·A]", formed(arrays, 4.0)[0])
    pattern = Planned(arrays, {"lora_alpha": 6, "alpha_pattern": {"(a+)+$": 12}})
    assert f"{PATH}[B·A]" in pattern


def test_a_base_that_does_not_fit_is_refused():
    arrays = {**tensors(), f"{PATH}.base_layer.weight": np.ones((OUT, IN + 1), np.float32)}
    planned = Planned(arrays, {"lora_alpha": 6})
    assert "does not fit" in planned[f"{PATH}[W + s·B·A]"].reason
    assert planned[f"{PATH}[W + s·B·A]"].status == "refused"
    planned.check(f"{PATH}.base_layer.weight", arrays[f"{PATH}.base_layer.weight"])


def test_magnitudes_are_not_ignored():
    arrays = {**tensors(), f"{PATH}.lora_magnitude_vector": np.ones(OUT, np.float32)}
    entry = Planned(arrays, {"lora_alpha": 6})[f"{PATH}[W + s·B·A]"]
    assert entry.status == "refused"
    assert "DoRA" in entry.reason


def test_an_untrained_adapter_changes_nothing():
    arrays = tensors()
    arrays[f"{PATH}.lora_B.weight"][:] = 0
    planned = Planned(arrays, {"lora_alpha": 6})
    planned.check(f"{PATH}[W + s·B·A]", arrays[f"{PATH}.base_layer.weight"])
    assert planned.measured(f"{PATH}[s·B·A]").upper == 0


def test_an_adapter_of_an_embedding():
    path = "base_model.model.model.embed_tokens"
    arrays = made(
        {f"{path}.base_layer.weight": (30, 6), f"{path}.lora_embedding_A": (2, 30), f"{path}.lora_embedding_B": (6, 2)}
    )
    planned = Planned(arrays, {"lora_alpha": 4})
    a, b = (arrays[f"{path}.lora_embedding_{x}"].astype(float) for x in "AB")
    planned.check(f"{path}[s·B·A]", 2 * b @ a)
    planned.check(f"{path}[W + s·B·A]", arrays[f"{path}.base_layer.weight"].T + 2 * b @ a)


def test_half_an_adapter_is_a_plain_matrix():
    planned = Planned(made({f"{PATH}.lora_A.weight": (RANK, IN)}), {"lora_alpha": 4})
    assert list(planned.entries) == [f"{PATH}.lora_A.weight"]


def test_scales():
    assert scale_of(8, 4) == 2
    assert scale_of(8, 4, rank_stabilized=True) == 4


def test_two_adapters_of_one_weight():
    first, second = tensors(), tensors(base=False, between=".b")
    planned = Planned({**first, **second}, {"lora_alpha": 6})
    base = first[f"{PATH}.base_layer.weight"]
    planned.check(f"{PATH}[W + s·B·A]", formed(first, 2.0)[1])
    planned.check(f"{PATH}[s·B·A of b]", formed(second, 2.0)[0])
    planned.check(f"{PATH}[W + s·B·A of b]", base + formed(second, 2.0)[0])


def test_a_base_of_codes_is_not_added():
    arrays = {**tensors(), f"{PATH}.base_layer.weight": np.ones((OUT, IN), np.int8)}
    entry = Planned(arrays, {"lora_alpha": 6})[f"{PATH}[W + s·B·A]"]
    assert entry.status == "refused"
    assert "floating-point" in entry.reason
