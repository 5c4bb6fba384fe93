"""Where a row lies in its tensor: what is read there is what the row measures, and parts tile their tensors."""

import numpy as np
import pytest
import torch
from checkpoints import Planned, made

from opnorm.frameworks import aslinearoperator
from opnorm.layers.bilinear import bilinear
from opnorm.layers.plan import ConvolutionPart, Part
from opnorm.readers.live import open_model
from small_models import MODELS

E = "model.layers.0.mlp.experts"
EXPERTS = {f"{E}.gate_up_proj": (3, 24, 8), f"{E}.down_proj": (3, 8, 12)}
TURNED = {f"{E}.gate_up_proj": (3, 8, 24), f"{E}.down_proj": (3, 12, 8)}
GPT2 = {
    "h.0.attn.c_attn.weight": (8, 24),
    "h.0.attn.c_proj.weight": (8, 8),
    "h.0.mlp.c_fc.weight": (8, 32),
    "h.0.mlp.c_proj.weight": (32, 8),
    "wte.weight": (11, 8),
}
GALLERY = {
    "experts": (EXPERTS, {"model_type": "mixtral"}),
    "interleaved": (TURNED, {"model_type": "gpt_oss"}),
    "stacked, transposed": (TURNED, {"model_type": "llama4_text"}),
    "gpt2": (GPT2, {"model_type": "gpt2", "n_head": 2}),
    "lstm": ({"weight_ih_l0": (20, 6), "weight_hh_l0": (20, 5), "bias_ih_l0": (20,), "bias_hh_l0": (20,)}, None),
    "gate_up": ({"mlp.gate_up_proj.weight": (24, 8), "mlp.down_proj.weight": (8, 12)}, None),
    "embedding and kernel": ({"embed_tokens.weight": (9, 4), "conv1.weight": (3, 2, 3, 3)}, None),
}


def explicit(operator):
    return aslinearoperator(operator).matmat(np.eye(aslinearoperator(operator).shape[1]))


def tiled(entries, arrays):
    """Every tensor that has parts is covered by those of rows that are not derived, each entry once."""
    seen = {}
    for entry in entries:
        if entry.part is None or entry.derived or entry.status != "weight":
            continue
        count = seen.setdefault(entry.part.tensor, np.zeros(tuple(arrays[entry.part.tensor].shape), int))
        count[entry.part.index if isinstance(entry.part, Part) else ...] += 1
    assert all((count == 1).all() for count in seen.values())
    return seen


def checked(entries, arrays):
    for entry in entries:
        if not isinstance(entry.part, Part) or entry.status != "weight":
            continue
        assert entry.tensors == (entry.part.tensor,)
        there = arrays[entry.part.tensor][entry.part.index]
        assert tuple(there.shape) == entry.shape
        assert np.array_equal(explicit(entry.build(arrays)), np.asarray(there))
        assert ("transposed" in entry.operator) == entry.part.transposed
    return tiled(entries, arrays)


@pytest.mark.parametrize("name", GALLERY)
def test_parts_of_checkpoints(name):
    shapes, config = GALLERY[name]
    planned = Planned(made(shapes), config)
    seen = checked(list(planned.entries.values()), planned.arrays)
    assert set(seen) == {n for n, shape in shapes.items() if len(shape) > 1}


@pytest.mark.parametrize("name", GALLERY)
def test_what_is_written_to_a_part_is_what_its_row_reads(name):
    shapes, config = GALLERY[name]
    planned = Planned(made(shapes), config)
    rows = [e for e in planned.entries.values() if isinstance(e.part, Part) and not e.derived]
    for entry in rows:
        before = {e.name: np.array(e.build(planned.arrays)) for e in rows}
        planned.arrays[entry.part.tensor][entry.part.index] *= 2
        for other in rows:
            factor = 2 if other.name == entry.name else 1
            assert np.array_equal(other.build(planned.arrays), factor * before[other.name])


@pytest.mark.parametrize("name", MODELS)
def test_parts_of_live_models_are_views_of_their_parameters(name):
    torch.manual_seed(0)
    model = MODELS[name][0]()
    checkpoint = open_model(model)
    arrays = {t.name: checkpoint.read(t) for t in checkpoint.tensors}
    entries = [e for layer in checkpoint.plan for e in layer.entries]
    assert checked(entries, arrays)
    for entry in entries:
        if isinstance(entry.part, Part) and entry.status == "weight":
            memory = model.state_dict()[entry.part.tensor].untyped_storage().data_ptr()
            assert entry.part.matrix(arrays).untyped_storage().data_ptr() == memory


def test_kernels_carry_their_settings():
    model = MODELS["unet"][0]()
    checkpoint = open_model(model, MODELS["unet"][1])
    kernels = {
        e.name: e.part for layer in checkpoint.plan for e in layer.entries if isinstance(e.part, ConvolutionPart)
    }
    assert kernels["deep.0.weight"].settings["stride"] == (2, 2)
    assert kernels["deep.0.weight"].input_shape == (4, 6, 6)
    assert kernels["up.weight"].settings["transposed"] is True
    assert Planned(made({"conv1.weight": (3, 2, 3, 3)}))["conv1.weight"].part == ConvolutionPart("conv1.weight")


def test_what_lies_in_no_one_tensor_has_no_part():
    assert all(e.part is None for e in bilinear("w", (2, 3, 4), "float32"))
    planned = Planned(
        {
            "q.weight": np.ones((8, 8), np.int8),
            "q.weight_scale": np.ones((8, 1), np.float32),
            "norm.weight": np.ones(8, np.float32),
        }
    )
    assert planned["q.weight"].status == "weight"
    assert planned["q.weight"].part is None
    model = torch.nn.Sequential(torch.nn.utils.parametrizations.spectral_norm(torch.nn.Linear(4, 3)))
    rows = [e for layer in open_model(model).plan for e in layer.entries if e.status == "weight"]
    assert rows
    assert all(e.part is None for e in rows if len(e.tensors) > 1 or "original" in e.tensors[0])
    torch.manual_seed(1)
    circuits = [e for layer in open_model(MODELS["vit"][0]()).plan for e in layer.entries if "circuit" in e.kind]
    assert circuits
    assert all(e.part is None for e in circuits)
