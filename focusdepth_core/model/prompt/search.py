"""Where in an image is what a text names?

The image gets features at every place, once for all texts; a text is a vector, and its product with them says where
what it names is. So many texts of one image are learnt from in one pass.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from focusdepth_core.model.prompt.base import TextFeatures
from focusdepth_core.model.prompt.words import WordEncoder

GROUPS = 8  # of channels that are normalised together
RARE = -4.0  # logit of a place before anything is learnt: a text names a small part of an image
NEIGHBOURS = 3  # places in a row that have to agree for a text to be in the image


def conv(c_in: int, c_out: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2), nn.GroupNorm(GROUPS, c_out), nn.ReLU())


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv(channels, channels)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.GroupNorm(GROUPS, channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x + self.second(self.first(x)))


class TextSearch(nn.Module):
    """``width``: channels at half the input's resolution; ``text``: of the features that texts and places share;
    ``c_geometry``: of the geometry encoder's tokens, which it looks at as well."""

    def __init__(self, words: Sequence[str], text: int, heads: int, width: int, c_geometry: int) -> None:
        super().__init__()
        self.words = WordEncoder(words, text, heads)
        self.asked = nn.Linear(text, text)
        half, quarter, eighth = width, 2 * width, 4 * width
        self.to_half = conv(3, half, 2, 5)
        self.to_quarter = nn.Sequential(conv(half, quarter, 2), Residual(quarter))
        self.to_eighth = conv(quarter, eighth, 2)
        self.tokens = nn.Conv2d(2 * c_geometry, eighth, 1)
        self.deep = Residual(eighth)
        self.up_quarter, self.at_quarter = nn.Conv2d(eighth, quarter, 1), conv(quarter, quarter)
        self.up_half, self.at_half = nn.Conv2d(quarter, half, 1), conv(half, half)
        self.coarse, self.fine = nn.Conv2d(quarter, text, 1), nn.Conv2d(half, text, 1)
        self.across = nn.Conv2d(2, text, 1, bias=False)  # for texts such as "left" that have no look
        nn.init.zeros_(self.across.weight)
        self.bias = nn.Parameter(torch.tensor(RARE))
        self.presence = nn.Linear(1, 1)
        nn.init.ones_(self.presence.weight)
        nn.init.zeros_(self.presence.bias)

    def places(self, image: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """B,3,h,w and B,2 * c_geometry,grid -> B,text,h/2,w/2."""
        half = self.to_half(image)
        quarter = self.to_quarter(half)
        eighth = self.to_eighth(quarter)
        deep = self.deep(eighth + _resized(self.tokens(tokens), eighth))
        quarter = self.at_quarter(quarter + _resized(self.up_quarter(deep), quarter))
        half = self.at_half(half + _resized(self.up_half(quarter), half))
        return self.fine(half) + _resized(self.coarse(quarter), half) + self.across(_positions(half))

    def encode_text(self, texts: Sequence[str]) -> TextFeatures:
        """N,1,text and N,1. Raises ``ValueError`` for texts that it cannot read."""
        features, mask = self.words(self.words.tokens(texts))
        return TextFeatures(self.asked(features), mask)

    def logits(self, places: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """B,text,h/2,w/2 and B,T,text -> B,T,h/2,w/2 that a place belongs to what the text names."""
        share = text @ places.flatten(2) / places.shape[1] ** 0.5
        return share.unflatten(2, places.shape[2:]) + self.bias

    def judged(self, logits: torch.Tensor) -> torch.Tensor:
        """B,T,h,w -> B,T logits that what the text names is there at all: as sure as of its surest place."""
        surest = F.avg_pool2d(logits, NEIGHBOURS, 1).amax((2, 3))
        return self.presence(surest[..., None])[..., 0]


def _positions(like: torch.Tensor) -> torch.Tensor:
    """1,2,h,w: x and y from -1 to 1."""
    rows, columns = (torch.linspace(-1, 1, n, device=like.device, dtype=like.dtype) for n in like.shape[2:])
    return torch.stack([columns.expand(len(rows), -1), rows[:, None].expand(-1, len(columns))])[None]


def _resized(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)
