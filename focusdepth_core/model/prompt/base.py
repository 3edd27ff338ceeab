"""What FocusDepth asks of a prompt branch, and what it is asked with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import nn

from focusdepth_core.model.grids import Grid, raster_boxes

POSITIVE, NEGATIVE, PADDING = 1, 0, -10  # labels of boxes, as in SAM3


class TextFeatures(NamedTuple):
    """``features``: N,L,C of N strings; ``mask``: N,L bool, True where a string has a token."""

    features: torch.Tensor
    mask: torch.Tensor


@dataclass(frozen=True)
class Prompt:
    """T targets in each of B images. A target has boxes, a text, a mask, or several of them.

    ``boxes``: B,T,N,4 cxcywh in [0, 1] of the input; ``labels``: B,T,N, POSITIVE, NEGATIVE or PADDING;
    ``text``: features B,T,L,C and mask B,T,L, False throughout for a target without text; ``prior``: B,T,rows,columns
    mask probability of an earlier frame on the branch's mask grid, 0 throughout for a target without one.
    """

    boxes: torch.Tensor
    labels: torch.Tensor
    text: TextFeatures | None = None
    prior: torch.Tensor | None = None

    @classmethod
    def box(cls, boxes: torch.Tensor) -> Prompt:
        """One box for each target: B,T,4."""
        return cls(boxes[:, :, None], torch.full_like(boxes[:, :, :1], POSITIVE, dtype=torch.long))

    @classmethod
    def words(cls, text: TextFeatures) -> Prompt:
        """Text alone: features B,T,L,C."""
        return cls(*_no_boxes(text.features), text)

    @classmethod
    def mask(cls, prior: torch.Tensor) -> Prompt:
        """The mask of an earlier frame alone: B,T,rows,columns."""
        return cls(*_no_boxes(prior), prior=prior)

    @property
    def images(self) -> int:
        return self.boxes.shape[0]

    @property
    def targets(self) -> int:
        return self.boxes.shape[1]

    @property
    def has_box(self) -> torch.Tensor:
        """B,T bool: whether a target has a positive box."""
        return (self.labels == POSITIVE).any(-1)

    @property
    def asks(self) -> torch.Tensor:
        """B,T bool: whether a target has a box, a text or a mask; one that has nothing changes no depth."""
        asks = self.has_box
        if self.text is not None:
            asks = asks | self.text.mask.any(2)
        return asks if self.prior is None else asks | (self.prior.amax((2, 3)) > 0)

    def flat(self) -> Prompt:
        """Every target as an image of its own: B*T,1,..."""

        def each(x: torch.Tensor | None) -> torch.Tensor | None:
            return None if x is None else x.flatten(0, 1).unsqueeze(1)

        text = None if self.text is None else TextFeatures(*(x.flatten(0, 1).unsqueeze(1) for x in self.text))
        return Prompt(
            self.boxes.flatten(0, 1).unsqueeze(1), self.labels.flatten(0, 1).unsqueeze(1), text, each(self.prior)
        )

    def raster(self, grid: Grid) -> torch.Tensor:
        """B,T,rows,columns: the share of each cell that a target's positive boxes cover, 1 everywhere without one."""
        positive = self.labels == POSITIVE
        cover = raster_boxes(self.boxes.flatten(0, 2), grid)[:, 0].unflatten(0, self.boxes.shape[:3])
        inside = (cover * positive[..., None, None].to(cover.dtype)).amax(2)
        return torch.where(self.has_box[..., None, None], inside, torch.ones_like(inside))


def _no_boxes(like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    shape = (*like.shape[:2], 1)
    return like.new_zeros(*shape, 4), torch.full(shape, PADDING, device=like.device)


@dataclass(frozen=True)
class PromptMaps:
    """What a prompt branch gives MSSA: features N,width,grid for the four geometry scales, finest first.

    ``mask_logits``: N,1,rows,columns of the target's silhouette; ``presence``: N logits that what the prompt names is
    in the image, None from a branch that does not judge it. N = B * T.
    """

    features: list[torch.Tensor]
    mask_logits: torch.Tensor
    presence: torch.Tensor | None = None


class PromptConfig(Protocol):
    """``weights``: hub id or folder of pretrained weights of the branch, None if they are trained here."""

    kind: str
    weights: str | None

    @property
    def licence(self) -> str:
        """Of the weights; "Apache-2.0" if they are ours."""
        ...


class PromptBranch(nn.Module, ABC):
    """``takes``: "box", "boxes" (several, negative ones too), "text", "mask"; ``side``: of its own square input in
    pixels, 0 if the geometry branch's input serves; ``pretrained``: it comes trained and is never changed;
    ``judges_presence``: it says whether what a text names is in the image; ``search``: the part of it that a stage of
    its own trains to find texts, None if there is none.

    ``width``: channels of the features; ``feature_grids``, finest first, and ``mask_grid``: their sizes.
    """

    config: PromptConfig
    takes: frozenset[str]
    side: int
    pretrained: bool
    judges_presence: bool = False
    search: nn.Module | None
    width: int
    feature_grids: list[Grid]
    mask_grid: Grid

    def load_pretrained(self, source: str | Path) -> None:
        """Read the weights from a hub id or folder.

        Raises ``OSError`` for weights that cannot be had, ``ValueError`` for those that do not fit.
        """
        raise ValueError(
            f"{source}: the {self.config.kind} branch is trained with the model and has no weights to load"
        )

    def check(self, prompt: Prompt) -> None:
        """Raises ``ValueError`` for what the branch does not take. Labels are read, if they have values."""
        takes = ", ".join(sorted(self.takes))
        for name, given in (("text", prompt.text), ("mask", prompt.prior)):
            if given is not None and name not in self.takes:
                raise ValueError(f"the prompt has a {name}; the {self.config.kind} branch as configured takes: {takes}")
        valueless = torch.compiler.is_compiling() or torch.jit.is_tracing() or prompt.labels.is_meta
        if "boxes" not in self.takes and not valueless and (prompt.labels == NEGATIVE).any():
            raise ValueError(f"the prompt has negative boxes; the {self.config.kind} branch takes: {takes}")

    @abstractmethod
    def encode_image(self, image: torch.Tensor, tokens: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """What depends on the image alone, once for all targets. ``image``: B,3,side,side of its own input, or the
        geometry branch's B,3,h,w; ``tokens``: of the geometry encoder."""

    @abstractmethod
    def encode_text(self, texts: Sequence[str]) -> TextFeatures:
        """Features of N strings. Raises ``ValueError`` if the branch takes no text, or for one it cannot read."""

    @abstractmethod
    def forward(self, image_features: tuple[torch.Tensor, ...], prompt: Prompt) -> PromptMaps:
        """Maps of B * T targets, the targets of an image next to each other. Raises ``ValueError`` as ``check``."""


def for_each(image: torch.Tensor, prompt: Prompt) -> torch.Tensor:
    """B,... that the targets of an image share -> B*T,..."""
    return image[:, None].expand(-1, prompt.targets, *(-1 for _ in image.shape[1:])).flatten(0, 1)
