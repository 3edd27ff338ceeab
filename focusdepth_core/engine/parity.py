"""An exported folder beside the torch model that it comes from, on random inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from focusdepth_core.engine.model_folder import ModelFolder
from focusdepth_core.engine.onnx_file import ExportError
from focusdepth_core.engine.open import open_model
from focusdepth_core.engine.prompted import Whole, some_text
from focusdepth_core.model.focusdepth import FocusDepth

TOLERANCE = 0.01  # of the standard deviation of the torch output


@torch.no_grad()
def differences(focus: FocusDepth, plain: nn.Module, folder: Path) -> dict[str, float]:
    """Largest difference of each output over one and several targets, in standard deviations of torch's.

    Raises ``ExportError`` for one above TOLERANCE.
    """
    networks = open_model(ModelFolder.read(folder), "onnxruntime")
    found: dict[str, float] = {}
    for targets in (1, 4):
        given = example(focus, targets)
        arrays = {name: value.numpy() for name, value in given.items()}
        whole = Whole(focus)
        expected = dict(zip(whole.outputs, whole(**given)))
        _compare(networks.focus.run(arrays), expected, "", found)
        _compare(networks.plain.run({"image": arrays["image"]}), {"depth": plain(given["image"])}, "plain_", found)
    return {name: float(f"{value:.2g}") for name, value in found.items()}


def _compare(
    got: dict[str, np.ndarray], expected: dict[str, torch.Tensor], prefix: str, found: dict[str, float]
) -> None:
    for name, want in expected.items():
        spread = 1.0 if name == "presence" else want.std()  # a single probability has none
        difference = float(np.abs(got[name] - want.numpy()).max() / spread)
        if not difference <= TOLERANCE:
            raise ExportError(
                f"{prefix}{name}: ONNX Runtime differs from torch by {difference:.3g} standard deviations"
            )
        found[prefix + name] = max(difference, found.get(prefix + name, 0.0))


def example(model: FocusDepth, targets: int) -> dict[str, torch.Tensor]:
    """Random inputs of ``Whole``, by name and in its order; the targets are by box, by text and by both in turn."""
    geometry, side = model.config.geometry, model.prompt.side
    random = torch.Generator().manual_seed(targets)
    inputs = {"image": torch.randn(1, 3, geometry.height, geometry.width, generator=random)}
    inputs["boxes"] = 0.2 + 0.4 * torch.rand(targets, 4, generator=random)
    if "text" in model.prompt.takes:
        features, mask = model.prompt.encode_text([some_text(model.prompt)])
        turn = torch.arange(targets) % 3
        inputs["has_box"] = (turn != 1).float()
        inputs["text"] = features + 0.1 * torch.randn(targets, *features.shape[1:], generator=random)
        inputs["text_mask"] = mask * (turn != 0)[:, None].float()
    if "mask" in model.prompt.takes:
        inputs["prior"] = torch.rand(targets, *model.prompt.mask_grid, generator=random)
        inputs["prior"][::2] = 0
    if side:
        inputs["prompt_image"] = torch.randn(1, 3, side, side, generator=random)
    return inputs
