"""SAM3 a thousand times smaller, in a folder like facebook/sam3: the video model's key names, and a tokenizer."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPTokenizer, Sam3Config

TRACKER = ("tracker_model.mask_decoder.iou_token.weight", "tracker_neck.fpn_layers.0.proj1.weight")
WORDS = ("visual", "red", "mug", "cup")
_SMALL = dict(hidden_size=32, num_attention_heads=4, intermediate_size=64, num_layers=2)
ARCHITECTURE: dict[str, Any] = dict(  # windows of 56 px, trained at 168 px: sides 56, 112 and 168
    vision_config=dict(
        backbone_config=dict(
            model_type="sam3_vit_model",
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=4,
            num_attention_heads=2,
            image_size=168,
            window_size=4,
            pretrain_image_size=56,
            global_attn_indexes=[1, 3],
        ),
        fpn_hidden_size=32,
    ),
    text_config=dict(
        model_type="clip_text_model",
        vocab_size=525,
        bos_token_id=523,
        eos_token_id=524,
        pad_token_id=524,
        hidden_size=32,
        intermediate_size=64,
        projection_dim=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=32,
        hidden_act="gelu",
    ),
    geometry_encoder_config=_SMALL,
    detr_encoder_config=_SMALL,
    detr_decoder_config=dict(_SMALL, num_queries=8),
    mask_decoder_config=dict(hidden_size=32, num_attention_heads=4),
)


def sam3_class() -> Any:
    return importlib.import_module("transformers.models.sam3.modeling_sam3").Sam3Model


def lively(module: nn.Module) -> nn.Module:
    """The library's initialisation leaves a tiny net nearly constant."""
    for m in module.modules():
        if isinstance(m, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(m.weight, nonlinearity="linear")
        if isinstance(m, nn.Embedding):
            nn.init.normal_(m.weight)
    return module


def tensors() -> dict[str, torch.Tensor]:
    """By their published names."""
    torch.manual_seed(0)
    net = lively(sam3_class()(Sam3Config(**ARCHITECTURE)))
    return {f"detector_model.{k}": v for k, v in net.state_dict().items()} | {k: torch.ones(2, 3) for k in TRACKER}


def write(folder: Path, state: dict[str, torch.Tensor]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    Sam3Config(**ARCHITECTURE).save_pretrained(folder)
    _tokenizer().save_pretrained(folder)
    return folder


def _tokenizer() -> CLIPTokenizer:
    """All bytes, in and at the end of words, and the merges that make WORDS single tokens."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    merges: dict[tuple[str, str], None] = {}
    for word in WORDS:
        parts = [*word[:-1], f"{word[-1]}</w>"]
        while len(parts) > 1:
            merges[parts[0], parts[1]] = None
            parts = [parts[0] + parts[1], *parts[2:]]
    tokens = [*letters, *(f"{c}</w>" for c in letters), *("".join(pair) for pair in merges)]
    vocabulary = {token: i for i, token in enumerate([*tokens, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocabulary, merges=list(merges))
