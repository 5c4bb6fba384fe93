"""Which names mean the same layer: wrappers, prefixes, ambiguity, hostile names, shapes that differ."""

import time

import pytest

from opnorm.spectrum.comparison.matching import matched, plain

LAYERS = {f"layers.{i}.{part}.weight": (8, 4) for i in range(4) for part in ("q_proj", "mlp")}
NAMES = {"embed.weight": (100, 8), **LAYERS, "norm.weight": (8,)}


def renamed(front, names=NAMES):
    return {front + name: shape for name, shape in names.items()}


def right(matching, front_base="", front_tuned=""):
    """Every pair means the same layer."""
    return all(b.removeprefix(front_base) == t.removeprefix(front_tuned) for b, t in matching.pairs)


def test_alike():
    found = matched(NAMES, NAMES)
    assert found.pairs == [(n, n) for n in NAMES]
    assert not found.only_base
    assert not found.only_tuned
    assert not found.notes


@pytest.mark.parametrize("front", ["module.", "_orig_mod.", "base_model.model.", "module._orig_mod."])
@pytest.mark.parametrize("swap", [False, True])
def test_wrappers_of_training(front, swap):
    sides = (renamed(front), NAMES) if swap else (NAMES, renamed(front))
    found = matched(*sides)
    assert len(found.pairs) == len(NAMES)
    assert right(found, front if swap else "", "" if swap else front)
    assert "wrappers" in found.notes[0]


def test_wrappers_inside_names():
    assert plain("model._orig_mod.layers.0.weight") == "model.layers.0.weight"
    assert plain("base_model.model.model.layers.0.q_proj.base_layer.weight") == "model.layers.0.q_proj.weight"
    assert plain("module.") == "module."


@pytest.mark.parametrize("front", ["model.", "bert.", "text_model.encoder."])
@pytest.mark.parametrize("swap", [False, True])
def test_one_prefix_for_all(front, swap):
    head = {"classifier.weight": (2, 8)}
    more = {**renamed(front), **head}
    found = matched(more, NAMES) if swap else matched(NAMES, more)
    assert len(found.pairs) == len(NAMES)
    assert right(found, front if swap else "", "" if swap else front)
    assert (found.only_base if swap else found.only_tuned) == ["classifier.weight"]
    assert repr(front) in found.notes[0]


def test_a_wrapper_and_a_prefix():
    found = matched(NAMES, renamed("module.model."))
    assert len(found.pairs) == len(NAMES)
    assert right(found, "", "module.model.")


def test_two_prefixes_that_fit_are_not_believed():
    both = {**renamed("student."), **renamed("teacher.")}
    found = matched(NAMES, both)
    assert not found.pairs
    assert "'student.'" in found.notes[0]
    assert "'teacher.'" in found.notes[0]
    assert len(found.only_tuned) == 2 * len(NAMES)


def test_a_copy_beside_is_left_alone():
    found = matched(NAMES, {**NAMES, **renamed("ema.")})
    assert found.pairs == [(n, n) for n in NAMES]
    assert found.only_tuned == list(renamed("ema."))


def test_layers_are_never_shifted_onto_one_another():
    """A base of layers 0-3 and a tuned model of layers 4-7: nothing in common."""
    later = {n.replace(f"layers.{i}", f"layers.{i + 4}"): s for n, s in LAYERS.items() for i in [int(n.split(".")[1])]}
    assert not matched(LAYERS, later).pairs


def test_a_name_with_two_readings_is_not_matched():
    found = matched({"layer.weight": (2, 2)}, {"module.layer.weight": (2, 2), "_orig_mod.layer.weight": (2, 2)})
    assert not found.pairs
    assert len(found.only_tuned) == 2


def test_same_names_with_other_shapes_stay_paired():
    found = matched({"a.weight": (2, 3)}, {"a.weight": (4, 3)})
    assert found.pairs == [("a.weight", "a.weight")]


def test_a_prefix_whose_shapes_differ_is_not_believed():
    assert not matched({"a.weight": (2, 3)}, {"m.a.weight": (4, 3)}).pairs


def test_many_hostile_names_take_little_time():
    names = {f"{'ab' * 40}{i}x.{i}{'.' * (i % 5)}\x1b[2J<b>{i}": (1, 1) for i in range(20_000)}
    began = time.perf_counter()
    found = matched(names, {f"p{i}q.{n}": s for i, (n, s) in enumerate(names.items())})
    assert time.perf_counter() - began < 10
    assert not found.pairs
