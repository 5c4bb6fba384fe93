"""The rules of live modules, one a class: from a module's own settings to the functions of this room."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from opnorm.layers.adapters import adapter
from opnorm.layers.attention import Projection, circuits
from opnorm.layers.bilinear import bilinear
from opnorm.layers.convolution import convolution
from opnorm.layers.linear import linear, slices
from opnorm.layers.module_embeddings import EMBEDDING_RULES
from opnorm.layers.modules import Held, Rule, Site, find_rule
from opnorm.layers.normalization import batch_norm, layer_norm
from opnorm.layers.plan import Entry
from opnorm.layers.recurrent import recurrent
from opnorm.layers.vectors import not_a_map

IN_TRAINING = "the module is in training mode: measured as in evaluation mode"
ACTIVATED = "the module applies an activation after it: the row is of the part before"
Make = Callable[[str, tuple[int, ...], str], Entry]


def _dense(site: Site, make: Make = linear) -> tuple[Entry, ...]:
    weight = site.held["weight"]
    return (make(weight.name, weight.shape, weight.dtype),)


def _bilinear(site: Site) -> tuple[Entry, ...]:
    weight = site.held["weight"]
    return bilinear(weight.name, weight.shape, weight.dtype)


def _convolution(site: Site) -> tuple[Entry, ...]:
    weight, module = site.held["weight"], site.module
    axes = len(weight.shape) - 2
    size = None if site.input is None else site.input[-axes - 1 :]
    settings = {
        "stride": module.stride, "padding": module.padding, "dilation": module.dilation, "groups": module.groups,
        "padding_mode": module.padding_mode,
    }  # fmt: skip
    if module.padding_mode != "zeros" and not isinstance(module.padding, str):
        settings["padding"] = _padded(module)
    if module.transposed:
        settings |= {"transposed": True, "output_padding": _output_padding(site, axes)}
    return (
        convolution(weight.name, weight.shape, weight.dtype, settings=settings, input_shape=size, reason=site.sizes),
    )


def _padded(module: Any) -> tuple[Any, ...]:
    """The padding of each axis as torch computed it when the module was made: it applies that in these modes."""
    flat = module._reversed_padding_repeated_twice
    pairs = tuple(zip(flat[0::2], flat[1::2], strict=True))[::-1]
    return tuple(module.padding) if pairs == tuple((p, p) for p in module.padding) else pairs


def _output_padding(site: Site, axes: int) -> tuple[int, ...]:
    """As the trial run saw it, since a call may ask for an output size; else as the module has it."""
    m = site.module
    if site.input is None or site.output is None:
        return tuple(m.output_padding)
    sizes = zip(site.output[-axes:], site.input[-axes:], m.stride, m.padding, m.dilation, m.kernel_size, strict=True)
    return tuple(out - ((n - 1) * s - 2 * p + d * (k - 1) + 1) for out, n, s, p, d, k in sizes)


def _batch_norm(site: Site) -> tuple[Entry, ...]:
    roles = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    names = site.names(*roles)
    if not names:
        return ()
    held = next(h for role, h in site.held.items() if role in roles and role != "num_batches_tracked")
    entries = batch_norm(site.path, names, held.shape, held.dtype, eps=float(site.module.eps))
    if not (site.module.training and getattr(site.module, "track_running_stats", False)):
        return entries
    return tuple(replace(e, reason=IN_TRAINING) if e.status == "weight" else e for e in entries)


def _activated_batch_norm(site: Site) -> tuple[Entry, ...]:
    """timm's, which applies an activation after the affine part: the row is of that part."""
    act = getattr(site.module, "act", None)
    reason = "" if type(act).__name__ in ("Identity", "NoneType") else ACTIVATED
    return tuple(
        replace(e, reason="; ".join(filter(None, (e.reason, reason)))) if e.status == "weight" else e
        for e in _batch_norm(site)
    )


def _instance_norm(site: Site) -> tuple[Entry, ...]:
    """With running statistics it is a BatchNorm in evaluation mode; without, a LayerNorm over each channel."""
    return _batch_norm(site) if "running_var" in site.held else _layer_norm(site)


def _layer_norm(site: Site, rms: bool = False, shifted: bool = False) -> tuple[Entry, ...]:
    """`shifted`: the module applies 1 + γ, whose worst case is not that of γ."""
    names = site.names("weight", "bias")
    if not names:
        return ()
    first = site.held[next(iter(names))]
    eps = None if shifted else _epsilon(site.module, first.dtype)
    weight, bias = names.get("weight", ""), names.get("bias", "")
    return layer_norm(site.path, weight, bias, first.shape, first.dtype, eps=eps, rms=rms)


_EPSILONS = {"float32": 2.0**-23, "float64": 2.0**-52, "float16": 2.0**-10, "bfloat16": 2.0**-7}
"""What RMSNorm adds where it is given no ε: the machine epsilon of its input, taken to be of the weight's dtype."""


def _epsilon(module: Any, dtype: str) -> float | None:
    given = [getattr(module, name) for name in ("eps", "variance_epsilon") if hasattr(module, name)]
    if not given:
        return None
    return _EPSILONS.get(dtype) if given[0] is None else float(given[0])


def _recurrent(cell: str) -> Rule:
    def rule(site: Site) -> tuple[Entry, ...]:
        names = site.names()
        if not names:
            return ()
        shapes = {role: site.held[role].shape for role in names}
        return recurrent(site.path, cell, names, shapes, next(iter(site.held.values())).dtype)

    return rule


def _attention(site: Site) -> tuple[Entry, ...]:
    """`torch.nn.MultiheadAttention`: q, k and v fused where their inputs have one size; circuits per head."""
    module, size, heads = site.module, site.module.embed_dim, site.module.num_heads
    if "in_proj_weight" in site.held:
        fused = site.held["in_proj_weight"]
        entries = slices(fused.name, fused.shape, fused.dtype, [(part, size) for part in "qkv"])
        q, k, v = (Projection(fused.name, start=i * size) for i in range(3))
    else:
        parts = [site.held[f"{part}_proj_weight"] for part in "qkv"]
        entries = tuple(linear(p.name, p.shape, p.dtype) for p in parts)
        q, k, v = (Projection(p.name) for p in parts)
    extra = tuple(_constant(site.held[role]) for role in ("bias_k", "bias_v") if role in site.held)
    inner = site.below.get("out_proj")
    o = Projection(inner.held["weight"].name) if inner is not None and "weight" in inner.held else None
    head_size, dtype = module.head_dim, next(iter(site.held.values())).dtype
    model_size = size if module.kdim == module.vdim == size else 0
    found = circuits(
        site.path, q, k, v, o, heads=heads, kv_heads=heads, head_size=head_size, model_size=model_size, dtype=dtype
    )
    return (*entries, *extra, *found)


def _adapted(site: Site) -> tuple[Entry, ...]:
    """PEFT's LoRA around a dense layer: what is added and what results, for each adapter that is in force."""
    module, inner = site.module, site.below["base_layer"]
    base = inner.held["weight"]
    transposed = bool(getattr(module, "fan_in_fan_out", False))
    pairs = {name: [site.below.get(f"lora_{side}.{name}") for side in "AB"] for name in module.active_adapters}
    entries: list[Entry] = []
    for name, (a, b) in pairs.items():
        if a is None or b is None:
            continue
        down, up = a.held["weight"], b.held["weight"]
        entries += adapter(
            site.path, down.name, up.name, down.shape, up.shape, down.dtype, scale=float(module.scaling[name]),
            base=base.name, base_shape=base.shape, transposed=transposed,
            problem=_adapter_problem(module, name, find_rule(inner.module, RULES)[0]),
            suffix=f" of {name}" if len(pairs) > 1 else "",
        )  # fmt: skip
    return tuple(entries)


def _adapter_problem(module: Any, name: str, base: Rule | None) -> str:
    """Why the layer is not W + s·B·A with the stored W; empty where it is. base: the rule of what is adapted."""
    if base not in (_dense, RULES["transformers.pytorch_utils.Conv1D"]):
        return f"what {type(module.base_layer).__qualname__}, which is adapted, computes is not known"
    if getattr(module, "disable_adapters", False):
        return "the adapters are disabled: the layer applies the base weight alone"
    if module.merged:
        return "the adapter is merged: the base weight already holds it"
    if getattr(module, "use_dora", {}).get(name):
        return "DoRA also rescales rows: W + s·B·A is not the layer"
    if (variant := getattr(module, "lora_variant", {}).get(name)) is not None:
        return f"{getattr(variant, '__name__', type(variant).__name__)} changes the adapter: W + s·B·A is not the layer"
    return "" if len(module.active_adapters) == 1 else "several adapters are in force: the layer adds all of them"


def _constant(held: Held) -> Entry:
    return not_a_map(held.name, held.shape, held.dtype, "bias", "a constant key or value that every query sees")


def _prelu(site: Site) -> tuple[Entry, ...]:
    weight = site.held["weight"]
    reason = "slopes of an activation, which is not linear; its Lipschitz constant is max(1, max|a|)"
    return (not_a_map(weight.name, weight.shape, weight.dtype, "slope", reason),)


_DENSE_TRANSPOSED: Make = partial(linear, transposed=True)
_NORMS = "torch.nn.modules.normalization"

RULES: dict[str, Rule] = {
    "torch.nn.modules.linear.Linear": _dense,
    "torch.nn.modules.linear.Bilinear": _bilinear,
    **EMBEDDING_RULES,
    **{f"torch.nn.modules.conv.Conv{n}d": _convolution for n in (1, 2, 3)},
    **{f"torch.nn.modules.conv.ConvTranspose{n}d": _convolution for n in (1, 2, 3)},
    **{f"torch.nn.modules.batchnorm.BatchNorm{n}d": _batch_norm for n in (1, 2, 3)},
    "torch.nn.modules.batchnorm.SyncBatchNorm": _batch_norm,
    **{f"torch.nn.modules.instancenorm.InstanceNorm{n}d": _instance_norm for n in (1, 2, 3)},
    f"{_NORMS}.LayerNorm": _layer_norm,
    f"{_NORMS}.GroupNorm": _layer_norm,
    f"{_NORMS}.RMSNorm": partial(_layer_norm, rms=True),
    **{f"torch.nn.modules.rnn.{name}": _recurrent(name.lower()) for name in ("RNN", "LSTM", "GRU")},
    **{f"torch.nn.modules.rnn.{name}Cell": _recurrent(name.lower()) for name in ("RNN", "LSTM", "GRU")},
    "torch.nn.modules.activation.MultiheadAttention": _attention,
    "torch.nn.modules.activation.PReLU": _prelu,
    "peft.tuners.lora.layer.Linear": _adapted,
    "torchvision.models.convnext.LayerNorm2d": _layer_norm,
    "torchvision.ops.misc.FrozenBatchNorm2d": _batch_norm,
    **{f"timm.layers.norm.{name}{at}": _layer_norm for name in ("LayerNorm", "LayerNorm2d") for at in ("", "Fp32")},
    **{f"timm.layers.norm.{name}": _layer_norm for name in ("GroupNorm", "GroupNorm1")},
    **{f"timm.layers.norm_act.{name}": _activated_batch_norm for name in ("BatchNormAct2d", "FrozenBatchNormAct2d")},
    "transformers.pytorch_utils.Conv1D": partial(_dense, make=_DENSE_TRANSPOSED),
    **{
        f"transformers.models.{family}.modeling_{family}.{name}": partial(_layer_norm, rms=True)
        for family, name in (
            ("llama", "LlamaRMSNorm"), ("mistral", "MistralRMSNorm"), ("mixtral", "MixtralRMSNorm"),
            ("qwen2", "Qwen2RMSNorm"), ("qwen3", "Qwen3RMSNorm"), ("phi3", "Phi3RMSNorm"),
            ("olmo2", "Olmo2RMSNorm"), ("t5", "T5LayerNorm"), ("deepseek_v3", "DeepseekV3RMSNorm"),
        )
    },
    **{
        f"transformers.models.{family}.modeling_{family}.{name}RMSNorm": partial(_layer_norm, rms=True, shifted=True)
        for family, name in (("gemma", "Gemma"), ("gemma2", "Gemma2"), ("gemma3", "Gemma3"))
    },
}  # fmt: skip
"""Qualified class name → rule. One line a class."""


def is_batch_norm(site: Site) -> bool:
    """Whether a module is a BatchNorm that is affine in evaluation mode."""
    rule, _ = find_rule(site.module, RULES)
    return rule in (_batch_norm, _activated_batch_norm) and "running_var" in site.held


def gives_channels(site: Site) -> bool:
    """Whether its rows are those of a dense layer or a convolution whose outputs lie on the axis that a BatchNorm
    scales: a batch of vectors, or of channels with as many axes as the kernel has.
    """  # fmt: skip
    rule, _ = find_rule(site.module, RULES)
    weight = site.held.get("weight")
    if rule not in (_dense, _convolution) or weight is None or site.output is None:
        return False
    return len(site.output) == len(weight.shape)


def most_padding(site: Site) -> int:
    """The most positions that a side is padded by; no more than the kernel reaches where torch chooses."""
    padding, dilation = getattr(site.module, "padding", 0), getattr(site.module, "dilation", (1,))
    if isinstance(padding, str):
        return max(int(d) * (int(k) - 1) for d, k in zip(dilation, site.module.kernel_size, strict=True))
    most: int = max(padding) if isinstance(padding, tuple) else padding
    return most
