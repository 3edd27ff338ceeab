"""The lite prompt branch: prompt features from the tokens that the geometry branch computes anyway, and a prompt.

It stands where SAM3 stands in the paper, at a few per cent of its cost. It learns where the target is from a box or the
mask of an earlier frame; the silhouette comes from the tokens and a convolutional stem that keeps fine edges. A branch
that reads text searches the image for it (``TextSearch``), and what it finds takes the place of such a mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from focusdepth_core.config import check_at_least_1
from focusdepth_core.model.grids import Grid
from focusdepth_core.model.prompt.base import Prompt, PromptBranch, PromptMaps, TextFeatures, for_each
from focusdepth_core.model.prompt.search import GROUPS, TextSearch, conv
from focusdepth_core.model.prompt.words import check_words

FINE = 8  # the mask grid, times the patch grid
NOWHERE = -20.0  # logit of a place outside a target's boxes


@dataclass(frozen=True)
class LiteConfig:
    """Sizes of the branch. Raises ``ValueError`` for values that cannot be."""

    kind: Literal["lite"] = "lite"
    """Names the branch in files."""
    width: int = 64
    """Channels, a multiple of 8."""
    depth: int = 2
    """Blocks of the transformer on the patch grid."""
    heads: int = 2
    """Attention heads of a block."""
    stem: int = 16
    """Channels at the mask's resolution, a multiple of 8."""
    text: int = 0
    """Channels of the text features; 0: the branch takes no text."""
    words: tuple[str, ...] = ()
    """All words that it will ever know."""
    prior: bool = False
    """Whether it takes the mask of an earlier frame, as a branch with text has to."""
    search: int = 24
    """Channels of the search for a text at half the input's resolution, a multiple of 8; deeper down there are more."""

    def __post_init__(self) -> None:
        check_at_least_1(self, "width", "depth", "heads", "stem", "search")
        for name in ("width", "stem", "search"):
            if getattr(self, name) % GROUPS:
                raise ValueError(f"{name} = {getattr(self, name)} is no multiple of {GROUPS}, as normalisation needs")
        for name in ("width", "text"):
            if getattr(self, name) % self.heads:
                raise ValueError(f"{name} = {getattr(self, name)} does not divide into {self.heads} heads")
        if bool(self.text) != bool(self.words):
            raise ValueError(
                f"text = {self.text} with {len(self.words)} words; text needs both, a box-only branch neither"
            )
        if self.text and not self.prior:
            raise ValueError(f"text = {self.text} with prior = false; what a text finds serves as a mask: use true")
        check_words(self.words)

    @property
    def weights(self) -> None:
        """Always trained here."""
        return None

    @property
    def licence(self) -> str:
        return "Apache-2.0"


class LitePrompt(PromptBranch):
    """One or more boxes (their union), text, a mask. Feature grids: 4, 2, 1 and 1 times the patch grid; mask: 8 times.

    A target without a mask gets its boxes in place of one, and if it has none what its text finds, or the whole image.
    A text tells as well whether the image has such a thing, or a box; ``threshold``: presence probability from which it
    has, chosen on validation data.
    """

    threshold: torch.Tensor

    side = 0
    pretrained = False

    def __init__(self, c_geometry: int, grid: Grid, config: LiteConfig) -> None:
        super().__init__()
        rows, columns = grid
        self.config, self.grid = config, grid
        self.takes = frozenset({"box"} | ({"text"} if config.text else set()) | ({"mask"} if config.prior else set()))
        self.width = width = config.width
        self.feature_grids = [(4 * rows, 4 * columns), (2 * rows, 2 * columns), grid, grid]
        self.mask_grid = (FINE * rows, FINE * columns)
        self.tokens = nn.Conv2d(2 * c_geometry, width, 1)
        self.box = nn.Conv2d(1, width, 3, padding=1)
        layer = dict(dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, config.heads, 4 * width, **layer) for _ in range(config.depth)
        )
        self.stem = conv(4 + config.prior, config.stem)
        self.down = conv(config.stem, width, 2)
        self.to_2x, self.to_4x = conv(width, width), conv(width, width)
        self.to_fine = nn.Conv2d(width, config.stem, 1)
        self.mask = nn.Sequential(conv(config.stem, config.stem), nn.Conv2d(config.stem, 1, 3, padding=1))
        self.prior = nn.Conv2d(1, width, 3, padding=1) if config.prior else None
        self.search, self.judges_presence = None, bool(config.text)
        if self.judges_presence:
            self.search = TextSearch(config.words, config.text, config.heads, config.search, c_geometry)
            self.register_buffer("threshold", torch.tensor(0.5))

    def encode_image(self, image: torch.Tensor, tokens: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """The share that the image has in the stem's first layer; B,width,grid; from a branch that reads text what its
        search sees."""
        resized = F.interpolate(image, size=self.mask_grid, mode="bilinear", align_corners=False)
        first, maps = self.stem[0], self._maps(tokens)
        seen = F.conv2d(resized, first.weight[:, :3], first.bias, padding=1), self.tokens(maps)
        return seen if self.search is None else (*seen, self.search.places(image, maps))

    def encode_text(self, texts: Sequence[str]) -> TextFeatures:
        if self.search is None:
            raise ValueError(f"text {texts[0]!r}: this model takes no text; give the target a box")
        return self.search.encode_text(texts)

    def forward(self, image_features: tuple[torch.Tensor, ...], prompt: Prompt) -> PromptMaps:
        self.check(prompt)
        image, early = (for_each(feature, prompt) for feature in image_features[:2])
        found = self._found(image_features, prompt)
        rasters = self._rasters(prompt, found)
        early = self._with_places(early, rasters, prompt)
        at_1x = self._attended(early)
        fine = F.conv2d(rasters, self.stem[0].weight[:, 3:], padding=1)
        fine = self.stem[2](self.stem[1](fine + image))
        at_2x = self.to_2x(F.interpolate(at_1x, scale_factor=2.0, mode="nearest"))
        at_4x = self.to_4x(F.interpolate(at_2x, scale_factor=2.0, mode="nearest") + self.down(fine))
        coarse = F.interpolate(self.to_fine(at_4x), scale_factor=2.0, mode="bilinear", align_corners=False)
        presence = None if found is None else self._presence(found, prompt)
        return PromptMaps([at_4x, at_2x, at_1x, early], self.mask(fine + coarse), presence)

    def find(self, image: torch.Tensor, tokens: list[torch.Tensor], text: torch.Tensor) -> torch.Tensor:
        """Of the search alone: image B,3,h,w, text features B,T,C -> logits B,T,h/2,w/2."""
        return self.search.logits(self.search.places(image, self._maps(tokens)), text)

    def _maps(self, tokens: list[torch.Tensor]) -> torch.Tensor:
        return torch.cat([t.transpose(1, 2).unflatten(2, self.grid) for t in (tokens[1], tokens[3])], 1)

    def _found(self, image_features: tuple[torch.Tensor, ...], prompt: Prompt) -> torch.Tensor | None:
        """B,T,h,w logits of the search, of no meaning for a target without text; None if the branch takes none."""
        if self.search is None:
            return None
        places = image_features[2]
        if prompt.text is None:
            return places.new_zeros(prompt.images, prompt.targets, *places.shape[2:])
        return self.search.logits(places, prompt.text.features[:, :, 0])

    def _rasters(self, prompt: Prompt, found: torch.Tensor | None) -> torch.Tensor:
        """B*T,1 or 2,mask grid: where the boxes are, and the mask of an earlier frame if the branch takes one."""
        boxes = prompt.raster(self.mask_grid)
        if self.prior is None:
            return boxes.flatten(0, 1)[:, None]
        prior = boxes
        if found is not None and prompt.text is not None:
            by_text = prompt.text.mask.any(2) & ~prompt.has_box
            probability = torch.sigmoid(F.interpolate(found, self.mask_grid, mode="bilinear", align_corners=False))
            prior = torch.where(by_text[..., None, None], probability, prior)
        if prompt.prior is not None:
            prior = torch.where(prompt.prior.amax((2, 3), keepdim=True) > 0, prompt.prior, prior)
        return torch.stack([boxes, prior], 2).flatten(0, 1)

    def _presence(self, found: torch.Tensor, prompt: Prompt) -> torch.Tensor:
        """B*T, of what was found in the boxes."""
        inside = prompt.raster(tuple(found.shape[2:])) > 0
        return self.search.judged(torch.where(inside, found, NOWHERE)).flatten()

    def _with_places(self, seen: torch.Tensor, rasters: torch.Tensor, prompt: Prompt) -> torch.Tensor:
        """B*T,width,grid that knows boxes and masks."""
        early = seen + self.box(prompt.raster(self.grid).flatten(0, 1)[:, None])
        return early if self.prior is None else early + self.prior(F.avg_pool2d(rasters[:, 1:], FINE))

    def _attended(self, early: torch.Tensor) -> torch.Tensor:
        """B*T,width,grid after the transformer."""
        sequence = early.flatten(2).transpose(1, 2)
        for block in self.blocks:
            sequence = block(sequence)
        return sequence.transpose(1, 2).unflatten(2, self.grid)
