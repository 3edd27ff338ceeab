"""SAM3 as the prompt branch: transformers' ``Sam3Model``, pretrained, never changed, in evaluation mode always.

Features are taken where the prompt is in them: the last state of the DETR encoder, which attends to the prompt, and
what the mask decoder makes of it on the way up to the pixel embedding; the mask is its semantic segmentation. The DETR
decoder, which tells instances apart by queries, is not needed for that and is left out with all else that never runs
(15 of 840 M parameters).

To SAM3 a box is an example: it asks for everything that looks like the boxed object. Here a box means this object, so
the mask's logits fall by up to ``BEYOND`` outside the target's boxes (see ``boxes.outside``).
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from transformers import CLIPTokenizer, Sam3Config

from focusdepth_core.model.prompt.base import Prompt, PromptBranch, PromptMaps, TextFeatures, for_each
from focusdepth_core.model.prompt.boxes import additive, encode_boxes, outside
from focusdepth_core.model.weights import WEIGHTS, fetch, load_strict, read_safetensors

PARTS = ("vision_encoder", "text_encoder", "text_projection", "geometry_encoder", "detr_encoder", "mask_decoder")
UNUSED = (  # of them
    "vision_encoder.neck.fpn_layers.3",
    "text_encoder.text_projection",
    "mask_decoder.mask_embedder",
    "mask_decoder.instance_projection",
    "mask_decoder.pixel_decoder.conv_layers.2",
    "mask_decoder.pixel_decoder.norms.2",
)
DROPPED = (*UNUSED, "detr_decoder", "dot_product_scoring")
DETECTOR = "detector_model."  # facebook/sam3 holds the video model; a Sam3Model saved alone has no such prefix
TRACKER = ("tracker_model.", "tracker_neck.")
TOKENIZER = "tokenizer.json"
NO_TEXT = "visual"  # the word that SAM3 was trained to read where a target has boxes only
TEXTS_KEPT = 256
BEYOND = 20.0  # logits


@dataclass(frozen=True)
class Sam3PromptConfig:
    """SAM3, pretrained and never changed. Raises ``ValueError`` for a side that it was not made for."""

    kind: Literal["sam3"] = "sam3"
    weights: str | None = "facebook/sam3"
    """Hub id or folder in the layout of facebook/sam3; None: random weights."""
    side: int = 1008
    """Input in pixels, square: 336, 672 or 1008."""
    architecture: dict[str, Any] = field(default_factory=dict)
    """What differs from the published net, as the arguments of transformers' Sam3Config."""

    def __post_init__(self) -> None:
        vit = Sam3Config(**deepcopy(self.architecture)).vision_config.backbone_config
        window = vit.window_size * vit.patch_size
        possible = range(window, vit.image_size + 1, window)
        if self.side not in possible:
            raise ValueError(
                f"side = {self.side} px; SAM3 attends in windows of {window} px, which must fill the image, and was "
                f"trained at {vit.image_size} px: use {', '.join(map(str, possible))}"
            )

    @property
    def licence(self) -> str:
        return "Apache-2.0" if self.weights is None else "LicenseRef-SAM"

    def to_transformers(self) -> Sam3Config:
        config = Sam3Config(**deepcopy(self.architecture))
        config.image_size = self.side
        return config


class Sam3Prompt(PromptBranch):
    """Boxes, text, or both. Feature grids: 4, 2, 1 and 1 times ``side`` / 14; mask: 4 times."""

    takes = frozenset({"box", "boxes", "text"})
    pretrained = True
    tokenizer: CLIPTokenizer | None = None

    def __init__(self, config: Sam3PromptConfig) -> None:
        super().__init__()
        self.config, self.side, self.search = config, config.side, None
        settings = config.to_transformers()
        # Without torchvision the package offers a dummy in its place; the module itself works.
        net = importlib.import_module("transformers.models.sam3.modeling_sam3").Sam3Model(settings)
        for name in PARTS:
            setattr(self, name, getattr(net, name))
        for path in UNUSED:
            parent, _, name = path.rpartition(".")
            delattr(self.get_submodule(parent), name)
        cells = config.side // settings.vision_config.backbone_config.patch_size
        self.grid = (cells, cells)
        self.width = settings.detr_encoder_config.hidden_size
        self.mask_grid = (4 * cells, 4 * cells)
        self.feature_grids = [self.mask_grid, (2 * cells, 2 * cells), self.grid, self.grid]
        self.longest = settings.text_config.max_position_embeddings
        self._add_constants()
        self._texts: dict[str, TextFeatures] = {}
        self.requires_grad_(False)
        self.eval()

    def _add_constants(self) -> None:
        """``position``: 1,cells,width; ``no_text``: features of NO_TEXT, zero until weights are loaded."""
        weight = self.text_projection.weight
        position = self.vision_encoder.neck.position_encoding((1, self.width, *self.grid), weight.device, weight.dtype)
        self.register_buffer("position", position.flatten(2).transpose(1, 2), persistent=False)
        self.register_buffer("no_text", weight.new_zeros(1, self.longest, self.width), persistent=False)
        self.register_buffer("no_text_mask", (torch.arange(self.longest) < 1)[None], persistent=False)

    def train(self, mode: bool = True) -> Sam3Prompt:
        """Evaluation mode whatever is asked: SAM3 has dropout, which would make a frozen prompt noisy."""
        return super().train(False)

    def load_pretrained(self, source: str | Path) -> None:
        folder = fetch(source, [WEIGHTS, TOKENIZER])
        state = read_safetensors(folder / WEIGHTS)
        prefix = DETECTOR if any(name.startswith(DETECTOR) for name in state) else ""
        load_strict(self, state, str(source), prefix, (*TRACKER, *(f"{prefix}{name}." for name in DROPPED)))
        self.tokenizer = CLIPTokenizer.from_pretrained(folder)
        self._texts.clear()
        for buffer, value in zip((self.no_text, self.no_text_mask), self.encode_text([NO_TEXT])):
            buffer.copy_(value)

    def encode_image(self, image: torch.Tensor, tokens: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """B,width on 4, 2 and 1 times the grid. Raises ``ValueError`` for an image of another size."""
        if image.shape[-2:] != (self.side, self.side):
            raise ValueError(f"image is {tuple(image.shape[-2:])} px; this SAM3 takes {self.side} x {self.side}")
        encoded = self.vision_encoder.backbone(image).last_hidden_state.unflatten(1, self.grid).permute(0, 3, 1, 2)
        return tuple(layer(encoded) for layer in self.vision_encoder.neck.fpn_layers)

    def encode_text(self, texts: Sequence[str]) -> TextFeatures:
        """Computed once for each string. Raises ``ValueError`` for an empty or too long one."""
        weight = self.text_projection.weight
        for text in texts:  # the latest used is the last
            self._texts[text] = self._texts.pop(text) if text in self._texts else self._encode(text)
        features, masks = zip(*(self._texts[text] for text in texts))
        for text in list(self._texts)[:-TEXTS_KEPT]:
            del self._texts[text]
        return TextFeatures(torch.cat(features).to(weight), torch.cat(masks).to(weight.device))

    @torch.no_grad()
    def _encode(self, text: str) -> TextFeatures:
        """One by one, so that a text's features never depend on its company."""
        device = self.text_projection.weight.device
        ids, mask = (torch.tensor([x], device=device) for x in self._tokens(text))
        encoded = self.text_encoder.text_model(input_ids=ids, attention_mask=mask).last_hidden_state
        return TextFeatures(self.text_projection(encoded), mask.bool())

    def _tokens(self, text: str) -> tuple[list[int], list[int]]:
        """Token ids and their mask, padded to ``longest``."""
        if self.tokenizer is None:
            raise ValueError(f"text {text!r} cannot be read: the tokenizer comes with the weights, and none are loaded")
        if not text.strip():
            raise ValueError("the text is empty; name the target or give it a box alone")
        length = len(self.tokenizer(text).input_ids)
        if length > self.longest:
            raise ValueError(
                f"text {text!r} is {length} tokens long, SAM3 reads {self.longest} (two mark start and end); shorten it"
            )
        padded = self.tokenizer(text, padding="max_length", max_length=self.longest)
        return padded.input_ids, padded.attention_mask

    def forward(self, image_features: tuple[torch.Tensor, ...], prompt: Prompt) -> PromptMaps:
        maps = self.tap(image_features, prompt)
        return PromptMaps(maps.features, maps.mask_logits - BEYOND * outside(prompt, self.mask_grid))

    def tap(self, image_features: tuple[torch.Tensor, ...], prompt: Prompt) -> PromptMaps:
        """As SAM3 means it: the mask is of everything like the boxed object."""
        self.check(prompt)
        fine, middle, coarse = image_features
        text, text_mask = self._text(prompt)
        boxes, boxes_mask = encode_boxes(self.geometry_encoder, coarse, self.position, prompt)
        tokens, mask = torch.cat([text, boxes], 1), additive(torch.cat([text_mask, boxes_mask], 1), text.dtype)
        state = for_each(coarse.flatten(2).transpose(1, 2), prompt)
        for layer in self.detr_encoder.layers:
            state = layer(state, tokens, self.position, mask)
        decoder = self.mask_decoder
        attended, _ = decoder.prompt_cross_attn(decoder.prompt_cross_attn_norm(state), tokens, tokens, mask)
        encoded, at_1x = (x.transpose(1, 2).unflatten(2, self.grid) for x in (state, state + attended))
        at_2x = self._finer(0, at_1x, for_each(middle, prompt))
        at_4x = self._finer(1, at_2x, for_each(fine, prompt))
        return PromptMaps([at_4x, at_2x, at_1x, encoded], decoder.semantic_projection(at_4x))

    def _text(self, prompt: Prompt) -> TextFeatures:
        """B*T,L,C; NO_TEXT for targets that have none."""
        if prompt.text is None:
            count = prompt.labels.flatten(0, 1).shape[0]
            return TextFeatures(self.no_text.expand(count, -1, -1), self.no_text_mask.expand(count, -1))
        features, mask = (x.flatten(0, 1) for x in prompt.text)
        has_text = mask.any(1, keepdim=True)
        features = torch.where(has_text[..., None], features, self.no_text)
        return TextFeatures(features, mask | (~has_text & self.no_text_mask))

    def _finer(self, stage: int, x: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        """One step of the pixel decoder: ``image`` has twice the grid of ``x``."""
        decoder = self.mask_decoder.pixel_decoder
        both = F.interpolate(x, scale_factor=2.0, mode="nearest") + image
        return F.relu(decoder.norms[stage](decoder.conv_layers[stage](both)))
