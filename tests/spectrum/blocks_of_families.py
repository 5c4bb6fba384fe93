"""Checkpoints of small transformers by their families' names: BERT, Llama with shared keys, GPT-2, GPT-NeoX, Phi."""

import numpy as np

D, HEADS, SIDE, WORDS = 12, 3, 20, 17
SIZE = D // HEADS


def drawn(shapes, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def bert(layers=3):
    shapes = {"embeddings.word_embeddings.weight": (WORDS, D), "embeddings.position_embeddings.weight": (9, D),
              "embeddings.LayerNorm.weight": (D,), "embeddings.LayerNorm.bias": (D,)}  # fmt: skip
    for n in range(layers):
        block = f"encoder.layer.{n}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            shapes[f"{block}.attention.{part}.weight"] = (D, D)
        shapes |= {f"{block}.intermediate.dense.weight": (SIDE, D), f"{block}.output.dense.weight": (D, SIDE)}
        for norm in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes |= {f"{block}.{norm}.weight": (D,), f"{block}.{norm}.bias": (D,)}
    config = {"model_type": "bert", "num_attention_heads": HEADS, "hidden_act": "gelu", "layer_norm_eps": 1e-12}
    return drawn(shapes), config


def llama(layers=2, kv_heads=1):
    shapes = {"model.embed_tokens.weight": (WORDS, D), "model.norm.weight": (D,), "lm_head.weight": (WORDS, D)}
    for n in range(layers):
        block, shared = f"model.layers.{n}", kv_heads * SIZE
        for part, shape in (("q", (D, D)), ("k", (shared, D)), ("v", (shared, D)), ("o", (D, D))):
            shapes[f"{block}.self_attn.{part}_proj.weight"] = shape
        for part, shape in (("gate", (SIDE, D)), ("up", (SIDE, D)), ("down", (D, SIDE))):
            shapes[f"{block}.mlp.{part}_proj.weight"] = shape
        shapes |= {f"{block}.{norm}.weight": (D,) for norm in ("input_layernorm", "post_attention_layernorm")}
    config = {"model_type": "llama", "num_attention_heads": HEADS, "num_key_value_heads": kv_heads,
              "hidden_act": "silu", "rms_norm_eps": 1e-6}  # fmt: skip
    return drawn(shapes), config


def gpt2(layers=2):
    shapes = {"wte.weight": (WORDS, D), "wpe.weight": (9, D), "ln_f.weight": (D,), "ln_f.bias": (D,)}
    for n in range(layers):
        block = f"h.{n}"
        shapes |= {f"{block}.attn.c_attn.weight": (D, 3 * D), f"{block}.attn.c_proj.weight": (D, D),
                   f"{block}.mlp.c_fc.weight": (D, SIDE), f"{block}.mlp.c_proj.weight": (SIDE, D)}  # fmt: skip
        for norm in ("ln_1", "ln_2"):
            shapes |= {f"{block}.{norm}.weight": (D,), f"{block}.{norm}.bias": (D,)}
    config = {"model_type": "gpt2", "n_head": HEADS, "activation_function": "gelu_new", "tie_word_embeddings": True,
              "architectures": ["GPT2LMHeadModel"]}  # fmt: skip
    return drawn(shapes), config


def neox(layers=2, parallel=True):
    shapes = {"gpt_neox.embed_in.weight": (WORDS, D), "embed_out.weight": (WORDS, D),
              "gpt_neox.final_layer_norm.weight": (D,), "gpt_neox.final_layer_norm.bias": (D,)}  # fmt: skip
    for n in range(layers):
        block = f"gpt_neox.layers.{n}"
        shapes |= {f"{block}.attention.query_key_value.weight": (3 * D, D), f"{block}.attention.dense.weight": (D, D),
                   f"{block}.mlp.dense_h_to_4h.weight": (SIDE, D),
                   f"{block}.mlp.dense_4h_to_h.weight": (D, SIDE)}  # fmt: skip
        for norm in ("input_layernorm", "post_attention_layernorm"):
            shapes |= {f"{block}.{norm}.weight": (D,), f"{block}.{norm}.bias": (D,)}
    config = {"model_type": "gpt_neox", "num_attention_heads": HEADS, "hidden_act": "gelu",
              "use_parallel_residual": parallel}  # fmt: skip
    return drawn(shapes), config


def phi(layers=2):
    shapes = {"model.embed_tokens.weight": (WORDS, D), "lm_head.weight": (WORDS, D),
              "model.final_layernorm.weight": (D,), "model.final_layernorm.bias": (D,)}  # fmt: skip
    for n in range(layers):
        block = f"model.layers.{n}"
        for part in ("q_proj", "k_proj", "v_proj", "dense"):
            shapes[f"{block}.self_attn.{part}.weight"] = (D, D)
        shapes |= {f"{block}.mlp.fc1.weight": (SIDE, D), f"{block}.mlp.fc2.weight": (D, SIDE),
                   f"{block}.input_layernorm.weight": (D,), f"{block}.input_layernorm.bias": (D,)}  # fmt: skip
    return drawn(shapes), {"model_type": "phi", "num_attention_heads": HEADS, "hidden_act": "gelu_new"}
