"""``python -m focusdepth_ros.demo``"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn, Optional

import cv2
import numpy as np
import rclpy
from rclpy.signals import SignalHandlerOptions
from rich.console import Console
from rich.table import Table

from focusdepth_core.engine.base import EngineError
from focusdepth_core.engine.model_folder import default_model_dir
from focusdepth_core.perception.frame import Frame
from focusdepth_core.perception.pipeline import Pipeline
from focusdepth_core.perception.target import Target
from focusdepth_ros import transport
from focusdepth_ros.demo.contact_sheet import contact_sheet
from focusdepth_ros.demo.counter import Counter
from focusdepth_ros.demo.director import Director
from focusdepth_ros.demo.processes import NodeDied, Nodes
from focusdepth_ros.demo.recording import Recording
from focusdepth_ros.demo.scores import REGIONS, Scored, figures, score
from focusdepth_ros.focus_client import FOCUS, FocusFailed

WIDTH, HEIGHT = 320, 240
SEED = 950009  # of the test split: never trained on
CAMERA = "sim_camera_node"
START_S, RECORD_S = 60.0, 110.0  # longest time to the first image and to the last one
MAX_RATE_HZ, MIN_RATE_HZ = 4.0, 0.8
INFERENCES_PER_PERIOD = 3  # room for rendering and for others on the machine


def main(argv: Optional[list[str]] = None) -> int:
    args = _parse(argv)
    console = Console()
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, _leave)
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        _play(args, console)
    except (FocusFailed, NodeDied, EngineError, OSError, ValueError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted", file=sys.stderr)
        return 130
    return 0


def _parse(argv: Optional[list[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m focusdepth_ros.demo", description=__doc__)
    parser.description = "A simulated camera and the focus node over ROS 2, told where to look on /target_box."
    parser.add_argument("--frames", type=int, default=80, help="answered images to record (default: %(default)s)")
    parser.add_argument("--rate", type=float, help="camera images per second (default: what this machine answers)")
    parser.add_argument("--seed", type=int, default=SEED, help="scene of the simulator (default: %(default)s)")
    parser.add_argument("--model-dir", type=Path, default=default_model_dir(), help="default: the model shipped")
    parser.add_argument(
        "--out", type=Path, default=Path("demo_out"), help="folder for the results (default: %(default)s)"
    )
    args = parser.parse_args(argv)
    if args.frames < 2:
        parser.error(f"--frames {args.frames}: give 2 or more, for two targets")
    if args.rate is not None and args.rate <= 0:
        parser.error(f"--rate {args.rate}: give images per second, more than 0")
    return args


def _leave(number: int, frame: Any) -> NoReturn:
    raise KeyboardInterrupt


def _play(args: argparse.Namespace, console: Console) -> None:
    pipeline = Pipeline.open(args.model_dir)
    inference_s = _inference_s(pipeline)
    rate = args.rate or float(np.clip(1 / (INFERENCES_PER_PERIOD * inference_s), MIN_RATE_HZ, MAX_RATE_HZ))
    console.print(
        f"model {pipeline.model.name}: {1e3 * inference_s:.0f} ms per image here; the camera runs at {rate:.1f} Hz"
    )
    os.environ.update({transport.profile_variable(): transport.profile(), **transport.allocator()})
    recording = _record(args, rate, console)
    if not recording.answered:
        raise FocusFailed("no image was answered")
    with Counter(console, "compared with the truth", len(recording.answered)) as counter:
        scored = score(recording.answered, pipeline, counter.show)
    if not scored:
        raise FocusFailed("no answered image shows its target; take another --seed")
    settings = {"seed": args.seed, "rate_hz": round(rate, 2), "model": pipeline.model.name}
    result = figures(recording, scored, settings)
    _write_results(args.out, result, scored)
    _print_tables(result, console)
    console.print(f"{args.out / 'contact_sheet.png'} and {args.out / 'metrics.json'} are written", soft_wrap=True)


def _inference_s(pipeline: Pipeline) -> float:
    """Median time per image with one target."""
    frame = Frame(np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))
    target = Target("calibration", (0.3 * WIDTH, 0.3 * HEIGHT, 0.6 * WIDTH, 0.6 * HEIGHT))
    times = []
    for _ in range(5):
        start = time.perf_counter()
        pipeline.process(frame, [target])
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def _record(args: argparse.Namespace, rate: float, console: Console) -> Recording:
    """Both nodes live only in here."""
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    try:
        with Nodes(args.out) as nodes:
            nodes.start(CAMERA, {"seed": args.seed, "width": WIDTH, "height": HEIGHT, "rate": rate})
            nodes.start(FOCUS, {"model_dir": args.model_dir})
            director = Director(nodes.check)
            try:
                _direct(director, args.frames, console)
            finally:
                director.close()
            return director.recording
    finally:
        rclpy.try_shutdown()


def _direct(director: Director, frames: int, console: Console) -> None:
    deadline = time.monotonic() + START_S
    director.activate(deadline)
    targets = director.choose_targets(WIDTH * HEIGHT, deadline)
    director.spin_until(lambda: director.recording.warm, deadline, "the first answer")
    recording, deadline = director.recording, time.monotonic() + RECORD_S
    with Counter(console, "answered", frames) as counter:
        director.begin()
        for part, target in enumerate(targets, start=1):
            console.print(f"target_box: {target.text}")
            director.focus(target)
            wanted = frames * part // len(targets)

            def enough(wanted: int = wanted) -> bool:
                count = len(recording.answered)
                counter.show(count)
                return count >= wanted

            director.spin_until(enough, deadline, f"{wanted} answers")


def _write_results(folder: Path, result: dict[str, Any], scored: list[Scored]) -> None:
    _, png = cv2.imencode(".png", cv2.cvtColor(contact_sheet(scored), cv2.COLOR_RGB2BGR))
    _write(folder / "contact_sheet.png", png.tobytes())
    _write(folder / "metrics.json", (json.dumps(result, indent=2) + "\n").encode())


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    os.replace(part, path)


def _print_tables(result: dict[str, Any], console: Console) -> None:
    run = {key: result[key] for key in ("answered", "dropped", "fps")}
    run.update({f"latency {key} ms": value for key, value in result["latency_ms"].items()})
    table = Table(*run)
    table.add_row(*(str(value) for value in run.values()))
    console.print(table)
    table = Table("AbsRel, %", *REGIONS)
    for net, values in result["absrel"].items():
        table.add_row(net, *("-" if values[r] is None else f"{100 * values[r]:.2f}" for r in REGIONS))
    console.print(table)
