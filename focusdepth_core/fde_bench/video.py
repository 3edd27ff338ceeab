"""Judge a model on simulated video: does its depth tremble, are its metres right, how often must the target be found?

  python -m focusdepth_core.fde_bench video MODEL --out video.json --plot video.png

The videos are rendered on the spot, of tabletops that no model is trained on: one kind in which nothing moves and the
camera's noise alone changes, one in which the camera sways around the target, and one in which, besides, something
passes in front of it. The same seeds give the same videos. Four questions are asked of them:

flicker   How much does the depth of one and the same point change from frame to frame though it should not? Plain and
          focused; as relative depth, as metres from each frame's own measurements, and filtered over time.
scale     How far off are the metres, on the target and all over, with a sensor that has holes, on the target most of
          all, and 20 % gross errors?
jumps     How many frames after a cut, or from when a sensor is wrong for a while, are they right again, and what is
          said until then?
cadence   If the target is looked for on every Nth frame only and carried between: how good are its depth and mask?

Exact definitions with their sources: video_flicker.py, video_scale.py and video_cadence.py.
Four videos of each kind take about five minutes on two cores.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from focusdepth_core.engine.model_folder import ModelFolder
from focusdepth_core.engine.open import BACKENDS, open_model
from focusdepth_core.fde_bench import video_cadence, video_flicker, video_plots, video_scale, video_summary
from focusdepth_core.fde_bench.report import provenance, write_json
from focusdepth_core.fde_bench.video_answers import FOCUS, PLAIN, answers
from focusdepth_core.machine import versions
from focusdepth_core.perception.keyframes import Keyframes
from focusdepth_core.perception.pipeline import Pipeline
from focusdepth_core.sim.render import Renderer
from focusdepth_core.sim.splits import seed_range
from focusdepth_core.sim.video import KINDS, Video, record

SIZE = (320, 240)  # px
METHOD = (
    "flicker: mean over pixels, frames and videos; scale: quantiles over all frames that show the target; jumps: from "
    "each video to the next; cadence: mean over frames, a finder that is never wrong on every Nth"
)
LEAST_FRAMES = video_scale.BEFORE + video_scale.BLIND


def recorded(count: int, frames: int, rate: float, split: str, size: tuple[int, int] = SIZE) -> Iterator[Video]:
    """``count`` of each kind, each of a scene of its own."""
    renderer, seeds = Renderer(*size), iter(seed_range(split))
    try:
        for kind in (kind for kind in KINDS for _ in range(count)):
            yield next(_usable(seeds, kind, renderer, frames, rate))
    finally:
        renderer.close()


def _usable(seeds: Iterator[int], kind: str, renderer: Renderer, frames: int, rate: float) -> Iterator[Video]:
    for seed in seeds:
        try:
            yield record(seed, kind, renderer, frames, rate)
        except ValueError:  # it shows no object well
            continue


def measure(model: ModelFolder, backend: str, videos: Iterator[Video]) -> dict:
    """``flicker``, ``scale``, ``jumps`` and ``cadence``, each as JSON."""
    focus, plain, texts, *_ = networks = open_model(model, backend)

    def make(keyframes: Keyframes | None) -> Pipeline:
        return Pipeline(model, focus, plain, texts, keyframes)

    found: dict[str, list[dict]] = {"flicker": [], "scale": [], "jumps": [], "cadence": []}
    before = None
    for video in videos:
        given = answers(make(None), video)
        found["scale"] += video_scale.records(video, given)
        if video.passing is None:
            found["flicker"] += video_flicker.records(video, given, model.space)
        if video.kind != "static":
            found["cadence"] += video_cadence.records(make, video, given[PLAIN], model.space)
        now = video, given[FOCUS]
        if before is not None:
            found["jumps"] += video_scale.jumps(before, now)
        before = now
    return {"backend": networks.focus.name} | video_summary.summary(found)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="model folder")
    parser.add_argument("--videos", type=int, default=4, help="of each of the three kinds (4)")
    parser.add_argument("--frames", type=int, default=40, help=f"per video, at least {LEAST_FRAMES} (40)")
    parser.add_argument("--rate", type=float, default=15, help="frames per s (15)")
    parser.add_argument("--split", default="test", help="whose scenes; val to choose settings by (test)")
    parser.add_argument("--backend", default="auto", help=f"what runs the model: auto, {', '.join(BACKENDS)} (auto)")
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw it; needs matplotlib")


def run(args: argparse.Namespace) -> int:
    if args.frames < LEAST_FRAMES or args.videos < 1 or not args.rate > 0:
        raise ValueError(
            f"--videos {args.videos} --frames {args.frames} --rate {args.rate:g}: at least 1 video of {LEAST_FRAMES} "
            "frames and a rate above 0 are needed"
        )
    model, start = ModelFolder.read(args.model), time.perf_counter()
    videos = recorded(args.videos, args.frames, args.rate, args.split)
    measured = measure(model, args.backend, tqdm(videos, total=len(KINDS) * args.videos, unit="video"))
    how = {key: getattr(args, key) for key in ("videos", "frames", "rate", "split")} | {"size": SIZE}
    about = {"model": model.name, "space": model.space.value, "licence": model.license} | how
    origin = provenance()
    origin["versions"] |= versions(("mujoco",))
    result = about | origin | {"method": METHOD, "seconds": round(time.perf_counter() - start)} | measured
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        write_json(args.out, result)
    print(video_summary.tables(result))
    if args.plot:
        args.plot.parent.mkdir(parents=True, exist_ok=True)
        video_plots.write(args.plot, result)
    return 0
