"""One stage from its start, or its last checkpoint, to its end."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from time import monotonic

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from tqdm import tqdm

from focusdepth_core.fde_bench.dataset import Batch
from focusdepth_core.training import checkpoint
from focusdepth_core.training.cache import FeatureCache
from focusdepth_core.training.checkpoint import Progress
from focusdepth_core.training.curves import Curves
from focusdepth_core.training.data import training_batches
from focusdepth_core.training.recipe import Stage, TrainConfig
from focusdepth_core.training.step import PARTS, step_of
from focusdepth_core.training.validation import score, validate
from focusdepth_core.training.weights import own_names, start_model

LOOK = 20  # steps between looks at the loss, each of which waits for the GPU
CLIP = 1.0  # norm of the gradients
WARM_UP = 0.1  # of the steps, at most
LONGEST_WARM_UP = 200  # steps


class StageRun:
    """Trains ``stage`` in ``config.out``/NAME; every process of a run has one."""

    def __init__(self, config: TrainConfig, stage: Stage, accelerator: Accelerator) -> None:
        """Raises ``ValueError`` for a damaged checkpoint, or as ``start_model``."""
        self.config, self.stage, self.accelerator = config, stage, accelerator
        self.folder = checkpoint.folder(config.out, stage.name)
        self.model = start_model(config, stage).to(accelerator.device)
        self._own = own_names(self.model, config, stage)
        self._learning = {p: name for name, p in self.model.named_parameters() if p.requires_grad}
        self._optimiser = torch.optim.AdamW(
            list(self._learning), lr=stage.lr, weight_decay=config.weight_decay, fused=True
        )
        self.progress = self._resume()
        self._step = accelerator.prepare(step_of(self.model, stage, config.loss))
        self._cache = _cache(self)
        self._before, self._began = self.progress.seconds, monotonic()
        self._recent: list[tuple[int, torch.Tensor, tuple[str, ...]]] = []  # step, losses, samples
        self._failures: set[str] = set()

    def _resume(self) -> Progress:
        path = self.folder / checkpoint.LAST
        if not path.exists():
            return Progress()
        weights, progress, moments = checkpoint.load(path)
        checkpoint.restore(self.model, weights, self._own, path)
        checkpoint.restore_moments(self._optimiser, self._learning, moments, progress.step, path)
        return progress

    def run(self) -> Progress:
        """Raises ``FloatingPointError`` when the loss is no longer a number; the last checkpoint stays."""
        steps = range(self.progress.step, self.stage.steps)
        main, processes = self.accelerator.is_main_process, self.accelerator.num_processes
        rank = self.accelerator.process_index
        curves = Curves(self.config.out / "curves" / self.stage.name, steps.start) if main else None
        batches = training_batches(self.config, self.stage, self.model.prompt, steps, rank, processes)
        self.model.train()
        bar = tqdm(total=self.stage.steps, initial=steps.start, desc=self.stage.name, disable=not main, **_pace())
        try:
            self._train(steps, batches, bar, curves)
        finally:
            bar.close()
            if curves:
                curves.close()
        return self.progress

    def _train(
        self, steps: range, batches: Iterator[tuple[Batch, list[str]]], bar: tqdm, curves: Curves | None
    ) -> None:
        looked = monotonic()
        for step in steps:
            self._advance(step, batches)
            bar.update()
            ends = (step + 1) % self.config.every == 0 or step + 1 == self.stage.steps
            if ends or (step + 1) % LOOK == 0:
                count = len(self._recent)
                losses = self._look()
                losses["images_per_s"] = count * self.config.batch / (monotonic() - looked)
                self._log(curves, losses, bar, step)
                looked = monotonic()
            if ends:
                self._checkpoint(step + 1, curves)
                looked = monotonic()

    def _advance(self, step: int, batches: Iterator[tuple[Batch, list[str]]]) -> None:
        """One optimiser step."""
        for group in self._optimiser.param_groups:
            group["lr"] = rate(step, self.stage.steps, self.stage.lr)
        passes, losses, ids = self.config.accumulate, 0.0, ()
        for i in range(passes):
            batch, kinds = next(batches)
            self._tell(batch.failures)
            batch = batch.to(self.accelerator.device)
            with self.accelerator.autocast():
                kept = self._cache.features(batch, kinds) if self._cache else None
            with nullcontext() if i == passes - 1 else self.accelerator.no_sync(self._step):
                parts = self._step(batch, kinds, kept) / passes
                self.accelerator.backward(parts[0])
            losses, ids = losses + parts.detach(), ids + batch.ids
        self.accelerator.clip_grad_norm_(list(self._learning), CLIP)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        self._recent.append((step, losses, ids))

    def _look(self) -> dict[str, float]:
        """Mean losses since the last look. Raises ``FloatingPointError`` in all processes if one is no number."""
        steps, losses, ids = zip(*self._recent)
        self._recent = []
        everyone = self.accelerator.gather(torch.stack(losses)[None])  # processes, steps, PARTS
        bad = (~torch.isfinite(everyone)).any(0).any(-1)
        if bad.any():
            at = int(bad.int().argmax())
            samples = gather_object(list(ids[at]))
            parts = [n for n, value in zip(PARTS[1:], everyone[:, at, 1:].T) if not torch.isfinite(value).all()]
            raise FloatingPointError(self._what_broke(steps[at], f"{' and '.join(parts)} loss is no number", samples))
        return dict(zip(PARTS, everyone.mean((0, 1)).tolist()))

    def _what_broke(self, step: int, what: str, samples: Sequence[str]) -> str:
        last = self.folder / checkpoint.LAST
        kept = f"{last} holds step {self.progress.step}" if last.exists() else "no checkpoint was written yet"
        look = f", or look at the samples of that step: {', '.join(samples)}" if samples else ""
        return (
            f"stage {self.stage.name}, step {step}: the {what}; {kept}. Lower "
            f"stages.{self.config.stages.index(self.stage)}.lr = {self.stage.lr} with another out{look}"
        )

    def _log(self, curves: Curves | None, losses: dict[str, float], bar: tqdm, step: int) -> None:
        if curves:
            curves.numbers({f"train/{k}": v for k, v in losses.items()}, step + 1)
            curves.numbers({"train/lr": self._optimiser.param_groups[0]["lr"]}, step + 1)
        bar.set_postfix(loss=f"{losses['loss']:.3f}", best=self.progress.best_score, refresh=False)

    def _tell(self, failures: tuple[str, ...]) -> None:
        """Files that could not be read, each once; other samples took their place."""
        for failure in failures:
            if failure not in self._failures:
                self._failures.add(failure)
                tqdm.write(f"replaced: {failure}")

    def _checkpoint(self, step: int, curves: Curves | None) -> None:
        """Validate, then save ``last``, and ``best`` if it is. Raises ``FloatingPointError`` for broken weights."""
        broken = [name for p, name in self._learning.items() if not torch.isfinite(p).all()]
        if broken:
            raise FloatingPointError(self._what_broke(step - 1, f"weights {broken[0]} are no numbers", ()))
        errors, shown = validate(self.model, self.config, self.stage, self.accelerator)
        now, best = score(errors, self.stage), self.progress.best_score
        better = best is None or now < best
        kept = (now, step) if better else (best, self.progress.best_step)
        self.progress = Progress(step, *kept, round(self._before + monotonic() - self._began, 1))
        if curves:
            curves.numbers({f"validation/error_{k}": v for k, v in errors.items()}, step)
            curves.pictures(shown, self.model.geometry.space, step)
            weights = {k: v for k, v in self.model.state_dict().items() if k in self._own}
            if better:
                checkpoint.save(self.folder / checkpoint.BEST, weights, self.progress, {})
            moments = checkpoint.moments_of(self._optimiser, self._learning)
            checkpoint.save(self.folder / checkpoint.LAST, weights, self.progress, moments)
        self.accelerator.wait_for_everyone()


def _pace() -> dict[str, float]:
    """A file that keeps what is printed is not to be filled with progress."""
    return {} if sys.stderr.isatty() else {"mininterval": 20.0}


def rate(step: int, steps: int, peak: float) -> float:
    """Cosine with a short warm-up."""
    warm_up = min(1.0, (step + 1) / max(1, min(LONGEST_WARM_UP, WARM_UP * steps)))
    return peak * warm_up * (0.5 * (1 + math.cos(math.pi * step / steps)) + 0.01)


def _cache(run: StageRun) -> FeatureCache | None:
    if not run.config.cache or run.stage.learns == "geometry":
        return None
    dtype = torch.float32 if run.config.precision == "float32" else torch.bfloat16
    return FeatureCache(run.config.cache, run.model, dtype)
