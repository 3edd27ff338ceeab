"""What a training run is: the fields of a recipe in config/train/."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from focusdepth_core.fde_bench.augment import Augment
from focusdepth_core.losses import LossWeights
from focusdepth_core.model.focusdepth import FocusDepthConfig

PRETRAINED, SCRATCH = "pretrained", "scratch"


@dataclass(frozen=True)
class ManifestShare:
    """One split of an FDE-Bench manifest in a mixture."""

    manifest: Path
    """Folder of python -m focusdepth_core.fde_bench build, or its manifest.parquet."""
    split: Literal["train", "val", "test"] = "train"
    """Whose rows to take."""
    weight: float = 1.0
    """Share of the samples, relative to the other manifests."""


@dataclass(frozen=True)
class Simulation:
    """Images that are rendered before training if they are not there yet; list ``folder`` under train or validation."""

    train: int = 0
    """Images of training scenes, in whole scenes of 16; 0 renders nothing."""
    validation: int = 0
    """Images of validation scenes."""
    folder: Path = Path("data/sim")
    """Where scenes and their manifest go."""


@dataclass(frozen=True)
class Data:
    """What is learned from and what decides which weights are kept."""

    train: tuple[ManifestShare, ...] = ()
    """Mixture that is trained on."""
    validation: tuple[ManifestShare, ...] = ()
    """Mixture from which the validation samples come."""
    validation_samples: int = 64
    """How many samples a validation looks at, always the same ones."""
    simulate: Simulation = field(default_factory=Simulation)
    workers: int = 4
    """Processes that read and prepare samples, for each training process; 0 does it in the training process."""


@dataclass(frozen=True)
class PromptShares:
    """How targets are prompted, as shares of the samples."""

    box: float = 1.0
    """A box as a detector would draw it."""
    text: float = 0.0
    """One of the target's texts, without a box."""
    both: float = 0.0
    """Box and text."""
    mask: float = 0.0
    """The target's mask, moved a little, as if it came from an earlier frame."""
    box_mask: float = 0.0
    """Box and mask, as of a target that is tracked."""
    text_mask: float = 0.0
    """Text and mask."""


@dataclass(frozen=True)
class Stage:
    """One stretch of training: what learns, from which weights, how long."""

    name: str
    """Names the stage's folder and is what other stages start from."""
    learns: Literal["geometry", "search", "prompt", "mssa", "decoder"]
    """geometry: the depth net as a whole, without a prompt (pretraining, or the globally fine-tuned baseline). search:
    what the lite prompt branch finds texts with, on several texts of each image at a time, some of which fit nothing in
    it; it stays as it is in all other stages. prompt: the lite prompt branch alone, to find targets, as SAM3 comes able
    to; no depth is computed, so steps are cheap. mssa: the fusion, and a prompt branch that is not pretrained (stage 1
    of the paper). decoder: these and the depth decoder with its segmentation branch (stage 2). The geometry encoder is
    frozen in all but the first."""
    steps: int
    """Optimiser steps."""
    start: str = PRETRAINED
    """Name of an earlier stage; pretrained: the depth net of ``pretrained``, else the weights that the model's branches
    name; scratch: random weights."""
    lr: float = 1e-4
    """Peak learning rate (AdamW; short warm-up, then cosine)."""
    scale: float = 1.0
    """Input size relative to the model's, rounded to whole patches; only for learns: geometry."""
    augment: Augment = field(default_factory=Augment)
    skip_mssa: bool = False
    """Let learns: decoder start from weights in which no stage has trained the fusion."""


@dataclass(frozen=True)
class TrainConfig:
    """Stages run one after the other. With ``focus`` and ``baseline`` named, both become model folders at the end."""

    out: Path
    """Folder of the run: checkpoints, curves, model folders. The same command with the same recipe goes on there."""
    model: FocusDepthConfig = field(default_factory=FocusDepthConfig)
    pretrained: Path | None = None
    """Model folder of another run, such as its OUT/baseline, with a depth net like the model's: what stages with start:
    pretrained begin with."""
    data: Data = field(default_factory=Data)
    stages: tuple[Stage, ...] = ()
    focus: str | None = None
    """Stage whose best weights become OUT/focus."""
    baseline: str | None = None
    """Stage whose best weights become OUT/baseline, what FocusDepth is compared with. It learns geometry, and takes as
    many steps from the same start as the stages up to ``focus`` that learn depth, on the same samples."""
    batch: int = 16
    """Images per optimiser step, over all processes."""
    accumulate: int = 1
    """Passes that such a batch is split into in each process, to save memory."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the passes; weights, losses and optimiser are float32."""
    prompts: PromptShares = field(default_factory=PromptShares)
    loss: LossWeights = field(default_factory=LossWeights)
    weight_decay: float = 0.05
    """Of AdamW."""
    every: int = 500
    """Steps between validations, each with a checkpoint."""
    cache: Path | None = None
    """Folder for features of the frozen branches, so that they run once for each image (and each prompt, if the prompt
    branch is pretrained). The run says how large it can get before it starts. Only without augmentation: see
    config/train/da2_small_cached.yaml."""
    seed: int = 0
    """Of random weights, the order of the samples, their augmentation and their prompts."""
    threads: int = 0
    """CPU threads of each process; 0 leaves the choice to torch. On a CPU, a resumed run equals an uninterrupted one
    bit for bit if the number is the same."""
    device: Literal["auto", "cpu"] = "auto"
    """auto: the GPU of each process if there is one."""
    export: bool = False
    """Turn both model folders into one for the running side at the end, OUT/model."""
