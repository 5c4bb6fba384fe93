"""Patch embeddings of vision transformers: a convolution whose stride is its kernel, where the family says so."""

from __future__ import annotations

from opnorm.layers.convolution import convolution
from opnorm.layers.plan import Layer
from opnorm.readers.checkpoint import Tensor
from opnorm.readers.config import model_type, whole
from opnorm.readers.families.attention import VIT
from opnorm.readers.families.book import Book

TYPES = VIT.types | {"dinov2", "beit", "data2vec-vision", "clip_vision_model", "siglip_vision_model"}
_HF, _TIMM, _TORCHVISION = ".patch_embeddings.projection.weight", "patch_embed.proj.weight", "conv_proj.weight"
_REASON = "stride taken from the family of the names"


def patches(book: Book) -> list[Layer]:
    """The patch embeddings whose stride is known."""
    layers = []
    for tensor in list(book.rest()):
        if len(tensor.shape) == 4 and tensor.shape[2] == tensor.shape[3] and (reason := _why(book, tensor)) is not None:
            settings = {"stride": tensor.shape[2]}
            entry = convolution(tensor.name, tensor.shape, tensor.dtype, settings=settings, reason=reason)
            layers.append(book.layer(tensor.name.removesuffix(".weight"), {tensor.name: (entry,)}, (), [tensor]))
    return layers


def _why(book: Book, tensor: Tensor) -> str | None:
    """What the stride rests on, in words for the row ('' for the configuration); None where it is not known."""
    name, kind = tensor.name, model_type(book.config)
    if kind in TYPES and name.endswith((_HF, "patch_embedding.weight")):
        return "" if whole(book.config, "patch_size") == tensor.shape[2] else None
    if kind or tensor.shape[1] != 3:  # one channel: spectrograms, whose patches overlap
        return None
    prefix = name.removesuffix(_TIMM)
    if name.endswith(_TIMM) and {f"{prefix}cls_token", f"{prefix}blocks.0.attn.qkv.weight"} <= book.tensors.keys():
        return _REASON
    prefix = name.removesuffix(_TORCHVISION)
    block = f"{prefix}encoder.layers.encoder_layer_0.self_attention.in_proj_weight"
    return _REASON if name.endswith(_TORCHVISION) and block in book.tensors else None
