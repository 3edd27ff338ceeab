"""Engines of TensorRT that have proven to compute what the model does; those that do not are never used."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Optional

from focusdepth_core.engine import samples
from focusdepth_core.engine.base import Engine, EngineError, OutOfMemory, Texts
from focusdepth_core.engine.cache import Cached, Entry, cached
from focusdepth_core.engine.engine_key import EngineKey
from focusdepth_core.engine.model_folder import ModelFolder
from focusdepth_core.engine.self_check import VERSION, Figures, check, recorded
from focusdepth_core.engine.settings import FP16, FP32, INT8, MIXED, TARGETS, Shape
from focusdepth_core.engine.staged import joined
from focusdepth_core.engine.tensorrt_backend import TensorRtEngine
from focusdepth_core.engine.tensorrt_build import build, runtime

LADDER = (INT8, FP16, MIXED, FP32)  # from what is fastest to what is safest
WORKSPACE_MB = 1024

Report = Callable[[str], None]


@dataclass
class Built:
    """A network in one precision, not judged yet. ``parts``: its engines, one or one per stage."""

    engine: Engine
    precision: str
    parts: list[Cached[TensorRtEngine]]

    def close(self) -> None:
        for part in self.parts:
            part.engine.close()


class TensorRtModel:
    """Builds, loads and judges the engines of one model folder. ``report`` is told what takes long.

    Raises ``EngineError`` if TensorRT cannot be used here, or the folder lacks what it needs.
    """

    def __init__(self, model: ModelFolder, texts: Optional[Texts], report: Report) -> None:
        self.model, self._texts, self._report = model, texts, report
        self.runtime = runtime()
        if model.focus is None or model.plain is None or not model.engine.inputs:
            raise EngineError(
                f"{model.path} lacks networks with engine.inputs in config.json; write them with "
                f"`python -m focusdepth_core.engine export {model.path} OUT`"
            )
        self._samples = None if model.samples is None else samples.read(model.samples)
        self._samples_sha256 = hashlib.sha256(model.samples.read_bytes()).hexdigest() if model.samples else ""

    def precisions(self, network: str) -> list[str]:
        """From the one that the model folder names on, those that it has."""
        wanted = LADDER[LADDER.index(self.model.engine.precision) :]
        return [p for p in wanted if all(path.is_file() for path in self.model.networks(network, p).values())]

    def open(self, network: str) -> Built:
        """In the first precision that can be built and passes.

        Raises ``EngineError`` with the reasons and figures of all if none does, ``OutOfMemory`` at the first that lacks
        memory, as those after it take more.
        """
        refused = []
        for precision in self.precisions(network):
            try:
                return self._proven(network, precision)
            except OutOfMemory:
                raise
            except EngineError as error:
                refused.append(f"{precision}: {error}")
                self._report(f"the engine of {network} is not used in {refused[-1]}")
        raise EngineError(
            f"{self._name} computes {network} of model {self.model.name} rightly in no precision "
            f"({'; '.join(refused)}); take another version of TensorRT, or the backend onnxruntime"
        )

    def _proven(self, network: str, precision: str) -> Built:
        built = self.build(network, precision)
        try:
            faults = self.faults(network, built)
            if faults:
                raise EngineError(f"it does not pass its self-check: {', '.join(faults)}")
        except BaseException:
            built.close()
            raise
        return built

    def build(self, network: str, precision: str) -> Built:
        """From the cache where it can be."""
        parts = [self._cached(key, path, precision) for key, path in self.model.networks(network, precision).items()]
        return Built(joined([part.engine for part in parts]), precision, parts)

    def faults(self, network: str, built: Built) -> list[str]:
        """What is wrong with it; of engines that were judged here before, with this driver, what was found then."""
        if self._samples is None:
            self._report(f"engine unverified: {self.model.path} has no samples for the self-check; export it again")
            return []
        return self.judged(network, built).faults(self.model.engine.thresholds)

    def judged(self, network: str, built: Built, anew: bool = False) -> Figures:
        """Raises ``EngineError`` without samples."""
        if self._samples is None:
            raise EngineError(f"{self.model.path} has no samples for the self-check; export the model again")
        verdict = built.parts[-1].manifest.verdict
        about = {
            "engines": [part.manifest.plan_sha256 for part in built.parts],
            "samples_sha256": self._samples_sha256,
            "check": VERSION,
            "gpu": self.runtime.gpu,
            "driver": self.runtime.driver,
        }
        figures = recorded(verdict)
        if anew or verdict is None or figures is None or {**verdict, **about} != verdict:
            figures = check(self.model, built.engine, network, self._samples, self._texts)
            verdict = {**about, "figures": asdict(figures), "date": time.strftime("%Y-%m-%d")}
            built.parts[-1].remember(verdict)
        return figures

    def _cached(self, key: str, path: Path, precision: str) -> Cached[TensorRtEngine]:
        judged = [len(sample.targets) for sample in self._samples or ()]  # else it could not answer them
        most = max([self.model.engine.max_targets, *judged])
        profiles = {name: _profile(shape, most) for name, shape in self._inputs(key).items()}
        make = partial(
            build,
            path,
            precision=FP16 if precision == MIXED else precision,
            profiles=profiles,
            workspace_mb=WORKSPACE_MB,
            report=_progress(path.name, self._report),
        )
        entry = Entry(path, EngineKey.of(path, self.runtime, precision, profiles, WORKSPACE_MB))
        return cached(entry, make, partial(TensorRtEngine, network=path.name), self.runtime.driver, self._report)

    def _inputs(self, key: str) -> Any:
        if key not in self.model.engine.inputs:
            raise EngineError(
                f"{self.model.path / 'config.json'}: engine.inputs.{key} is missing; export the model again"
            )
        return self.model.engine.inputs[key]

    @property
    def _name(self) -> str:
        return f"{self.runtime.flavour} {self.runtime.version} on {self.runtime.gpu}"


def _profile(shape: Shape, max_targets: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Smallest, usual and largest."""

    def of(targets: int) -> tuple[int, ...]:
        return tuple(targets if size == TARGETS else int(size) for size in shape)

    return of(1), of(1), of(max_targets)


def _progress(network: str, report: Report) -> Callable[[float, str], None]:
    """``fraction`` stays 0 where TensorRT does not tell; then ``phase`` does."""
    start = time.monotonic()

    def tell(fraction: float, phase: str) -> None:
        if not fraction:
            report(f"building engine {network}: {phase}")
            return
        left = (time.monotonic() - start) * (1 - fraction) / fraction
        unit = f"{left / 60:.0f} min" if left > 90 else f"{left:.0f} s"
        report(f"building engine {network}: {100 * fraction:.0f} %, about {unit} left")

    return tell
