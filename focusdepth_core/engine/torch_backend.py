"""Torch: runs a folder of ``FocusDepth.save_pretrained`` as it is, on a CUDA GPU if there is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, Optional

import numpy as np
import torch
from torch import nn

from focusdepth_core.engine.base import EngineError, Texts, check_inputs
from focusdepth_core.engine.model_folder import ModelFolder
from focusdepth_core.engine.prompted import Whole, some_text
from focusdepth_core.model.focusdepth import FocusDepth
from focusdepth_core.model.prompt.base import PromptBranch
from focusdepth_core.model.weights import load_strict, read_safetensors

PLAIN = "plain.safetensors"  # the geometry branch of another model, for frames without a target

Shapes = dict[str, Sequence[Any]]


class TorchEngine:
    """``net`` takes the tensors of ``shapes`` by name and gives those of ``outputs``.

    ``half``: computes in FP16; ``compiled``: and, on a GPU, as one CUDA graph for each number of targets.
    """

    def __init__(
        self,
        net: nn.Module,
        shapes: Shapes,
        outputs: Sequence[str],
        device: str,
        half: bool = False,
        compiled: bool = False,
    ) -> None:
        self.name = f"torch{', compiled' * compiled}{', FP16' * half}, {device.upper()}"
        self._dtype = torch.float16 if half else torch.float32
        self._net, self._shapes, self._outputs, self._device = net.to(device, self._dtype), shapes, outputs, device
        self._call = torch.compile(self._net, mode="reduce-overhead", dynamic=False) if compiled else self._net

    @torch.inference_mode()
    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """See ``Engine.run``."""
        check_inputs(type(self._net).__name__, self._shapes, inputs)
        given = {name: torch.from_numpy(value).to(self._device, self._dtype) for name, value in inputs.items()}
        found = self._call(**given)
        found = found if isinstance(found, tuple) else (found,)
        return {name: value.float().cpu().numpy() for name, value in zip(self._outputs, found)}


class TorchTexts:
    """The text encoder itself, so that any text will do."""

    def __init__(self, branch: PromptBranch) -> None:
        self._branch = branch

    @torch.inference_mode()
    def features(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """See ``Texts.features``."""
        features, mask = self._branch.encode_text([text])
        return features[0].float().cpu().numpy(), mask[0].float().cpu().numpy()

    def nothing(self) -> tuple[np.ndarray, np.ndarray]:
        """See ``Texts.nothing``."""
        features, mask = self.features(some_text(self._branch))
        return np.zeros_like(features), np.zeros_like(mask)


def open_folder(
    model: ModelFolder, threads: int, compiled: bool = False, half: Optional[bool] = None
) -> tuple[TorchEngine, TorchEngine, Optional[Texts]]:
    """Focus and plain network, and the texts if it takes any. Raises ``EngineError`` if the weights do not load.

    ``half``: None: only if compiled, on a GPU.
    """
    if threads:
        torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        net = FocusDepth.from_pretrained(model.path)
        plain = _plain(net, model)
    except (OSError, ValueError) as error:
        raise EngineError(f"model {model.name} cannot be loaded by torch: {error}") from None
    shapes = input_shapes(net)
    texts = TorchTexts(net.prompt) if "text" in model.prompts else None
    whole = Whole(net).eval()
    half = compiled and device == "cuda" if half is None else half
    focus = TorchEngine(whole, shapes, whole.outputs, device, half, compiled)
    image = {"image": shapes["image"]}
    return focus, TorchEngine(plain.eval(), image, ("depth",), device, half, compiled), texts


def input_shapes(model: FocusDepth) -> Shapes:
    """Of ``Whole``; None for the number of targets and whatever comes with the texts."""
    geometry, side = model.config.geometry, model.prompt.side
    shapes: Shapes = {"image": [1, 3, geometry.height, geometry.width], "boxes": [None, 4]}
    if "text" in model.prompt.takes:
        shapes |= {"has_box": [None], "text": [None, None, None], "text_mask": [None, None]}
    if "mask" in model.prompt.takes:
        shapes["prior"] = [None, *model.prompt.mask_grid]
    if side:
        shapes["prompt_image"] = [1, 3, side, side]
    return shapes


def _plain(net: FocusDepth, model: ModelFolder) -> nn.Module:
    path = model.path / PLAIN
    if not path.is_file():
        return net.geometry
    plain = deepcopy(net.geometry)
    load_strict(plain, read_safetensors(path), str(path))
    return plain
