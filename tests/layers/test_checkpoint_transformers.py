"""Encoders and GPT-2 from names, shapes and configuration: per head, per part and per normalization, in NumPy."""

import math

import numpy as np
import pytest
from blocks import HEADS, SIDE, SIZE, D, centered, check_circuits, linear, norm, wide
from checkpoints import Planned, made

from opnorm.layers.normalization import WORST


def bert_block(path):
    return {
        **linear(f"{path}.attention.self.query", D, D),
        **linear(f"{path}.attention.self.key", D, D),
        **linear(f"{path}.attention.self.value", D, D),
        **linear(f"{path}.attention.output.dense", D, D),
        **norm(f"{path}.attention.output.LayerNorm"),
        **linear(f"{path}.intermediate.dense", SIDE, D),
        **linear(f"{path}.output.dense", D, SIDE),
        **norm(f"{path}.output.LayerNorm"),
    }


def bert(prefix=""):
    return {
        f"{prefix}embeddings.word_embeddings.weight": (30, D),
        f"{prefix}embeddings.position_embeddings.weight": (8, D),
        **norm(f"{prefix}embeddings.LayerNorm"),
        **bert_block(f"{prefix}encoder.layer.0"),
        **bert_block(f"{prefix}encoder.layer.1"),
        **linear(f"{prefix}pooler.dense", D, D),
    }


BERT_CONFIG = {"model_type": "bert", "num_attention_heads": HEADS, "layer_norm_eps": 1e-12}


@pytest.mark.parametrize("prefix", ["", "bert.", "module.roberta."])
def test_bert(prefix):
    arrays = made(bert(prefix))
    planned = Planned(arrays, BERT_CONFIG)
    for block in (0, 1):
        path = f"{prefix}encoder.layer.{block}.attention"
        q, k, v = (wide(arrays, f"{path}.self.{part}.weight") for part in ("query", "key", "value"))
        check_circuits(planned, f"{path}.self", q, k, v, wide(arrays, f"{path}.output.dense.weight"))
        before = f"{prefix}embeddings.LayerNorm" if block == 0 else f"{prefix}encoder.layer.0.output.LayerNorm"
        folded = centered(q, wide(arrays, f"{before}.weight"))
        planned.check(f"{path}.self.query[LayerNorm folded]", folded)
        reader = f"{prefix}encoder.layer.{block}.intermediate.dense"
        scale = wide(arrays, f"{path}.output.LayerNorm.weight")
        planned.check(f"{reader}[LayerNorm folded]", centered(wide(arrays, f"{reader}.weight"), scale))
    for name, array in arrays.items():
        if array.ndim == 2:
            planned.check(name, array)
    assert planned[f"{prefix}embeddings.word_embeddings.weight"].kind == "embedding"


def test_the_worst_case_of_a_normalization_stands_beside_its_scale():
    arrays = made(bert())
    found = Planned(arrays, BERT_CONFIG).beside("encoder.layer.0.attention.output.LayerNorm.weight", WORST)
    scale = np.abs(wide(arrays, "encoder.layer.0.attention.output.LayerNorm.weight")).max()
    assert found.upper == pytest.approx(scale / math.sqrt(1e-12), rel=1e-12)
    assert found.lower is None


def test_bert_without_a_configuration_has_no_circuits():
    planned = Planned(made(bert()))
    assert planned.named("head") == []
    assert "encoder.layer.0.intermediate.dense[LayerNorm folded]" in planned


def gpt2(transposed=True):
    def conv1d(name, rows, columns):
        return (
            linear(name, rows, columns)
            if not transposed
            else {**linear(name, rows, columns), f"{name}.weight": (columns, rows)}
        )

    return {
        "transformer.wte.weight": (30, D),
        "transformer.wpe.weight": (8, D),
        **norm("transformer.h.0.ln_1"),
        "transformer.h.0.attn.bias": (1, 1, 8, 8),
        **conv1d("transformer.h.0.attn.c_attn", 3 * D, D),
        **conv1d("transformer.h.0.attn.c_proj", D, D),
        **norm("transformer.h.0.ln_2"),
        **conv1d("transformer.h.0.mlp.c_fc", SIDE, D),
        **conv1d("transformer.h.0.mlp.c_proj", D, SIDE),
        **norm("transformer.ln_f"),
    }


@pytest.mark.parametrize("transposed", [True, False])
def test_gpt2_and_its_reimplementations(transposed):
    arrays = made(gpt2(transposed))
    planned = Planned(arrays, {"model_type": "gpt2" if transposed else "", "n_head": HEADS})
    path = "transformer.h.0.attn"
    upright = {
        n: (wide(arrays, f"{path}.{n}.weight").T if transposed else wide(arrays, f"{path}.{n}.weight"))
        for n in ("c_attn", "c_proj")
    }
    parts = dict(zip("qkv", np.split(upright["c_attn"], 3), strict=True))
    check_circuits(planned, path, *parts.values(), upright["c_proj"])
    scale = wide(arrays, "transformer.h.0.ln_1.weight")
    for part, matrix in parts.items():
        planned.check(f"{path}.c_attn.weight[{part}]", matrix)
        planned.check(f"{path}.c_attn[{part}, ln_1 folded]", centered(matrix, scale))
    reader = wide(arrays, "transformer.h.0.mlp.c_fc.weight")
    folded = centered(reader.T if transposed else reader, wide(arrays, "transformer.h.0.ln_2.weight"))
    planned.check("transformer.h.0.mlp.c_fc[ln_2 folded]", folded)
    assert planned[f"{path}.bias"].status == "not_a_map"
    for name in (f"{path}.c_proj", "transformer.h.0.mlp.c_fc", "transformer.h.0.mlp.c_proj"):
        assert ("stored transposed" in planned[f"{name}.weight"].operator) == transposed
        planned.check(f"{name}.weight", arrays[f"{name}.weight"])


def test_gpt2_scores_that_are_not_divided_by_the_root():
    arrays = made(gpt2())
    config = {"model_type": "gpt2", "n_head": HEADS, "scale_attn_weights": False}
    matrix = np.split(wide(arrays, "transformer.h.0.attn.c_attn.weight").T, 3)
    planned = Planned(arrays, config)
    planned.check("transformer.h.0.attn[qk head 0]", matrix[0][:SIZE].T @ matrix[1][:SIZE])
    by_layer = Planned(arrays, {**config, "scale_attn_by_inverse_layer_idx": True})
    assert by_layer.named("qk head") == []
    assert "number of the layer" in by_layer["transformer.h.0.attn[ov head 0]"].reason


@pytest.mark.parametrize("other", ["crossattention.output.dense", "bottleneck.input.dense"])
def test_blocks_that_are_wired_otherwise_fold_nothing(other):
    arrays = made({**bert(), **linear(f"encoder.layer.0.{other}", D, D)})
    planned = Planned(arrays, BERT_CONFIG)
    assert planned.named("encoder.layer.0.intermediate.dense[") == []
    assert "encoder.layer.0.attention.self[qk head 0]" in planned


def test_the_first_gpt_normalizes_after():
    arrays = {name.replace("wte", "tokens_embed"): array for name, array in made(gpt2()).items()}
    for config in (None, {"model_type": "openai-gpt", "n_head": HEADS}):
        planned = Planned(arrays, config)
        assert planned.named("folded") == []
        assert "transformer.h.0.attn.c_attn.weight[q]" in planned
