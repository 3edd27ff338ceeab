"""``python -m focusdepth_ros.benchmark``"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from itertools import product
from pathlib import Path
from typing import Any, Optional

import rclpy
from rclpy.signals import SignalHandlerOptions
from rich.console import Console
from rich.table import Table

from focusdepth_core.engine.base import EngineError
from focusdepth_core.machine import commit, machine, versions
from focusdepth_ros import benchmark, transport
from focusdepth_ros.benchmark.figures import figures
from focusdepth_ros.benchmark.listener import ANSWER, METRIC, POINTS, Listener
from focusdepth_ros.benchmark.scene import BOXES
from focusdepth_ros.demo.counter import Counter
from focusdepth_ros.demo.processes import NodeDied, Nodes
from focusdepth_ros.focus_client import FOCUS, FocusFailed
from focusdepth_ros.outputs import OUTPUTS

START_S = 60.0  # longest time until the focus node answers
WARM_S = 3.0
END_S = 1.5  # in which the last images are answered, and the status told
MORE_TARGETS = 4  # whose case has a tenth of the frames, but not fewer than
WIDTH = 100  # columns, of the table
LEAST_FRAMES = 900
STARTS = 3
OTHERS = {"points alone": POINTS, "every output": [topic.removeprefix("~/") for topic, *_ in OUTPUTS]}
CAMERA, NODE = "benchmark.camera", "benchmark.node"
PACKAGES = ("numpy", "opencv-python-headless", "ros-rclpy", "ros-rmw-fastrtps-cpp", "ros-fastrtps", "onnxruntime")


def main(argv: Optional[list[str]] = None) -> int:
    args = _parse(argv)
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
    os.environ.update({transport.profile_variable(): transport.profile(), **transport.allocator()})
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.default_int_handler)  # so that the nodes end, too
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    try:
        _measure(args, Console(stderr=True, width=max(Console(stderr=True).width, WIDTH)))
    except (FocusFailed, NodeDied, EngineError, OSError, ValueError) as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("benchmark: interrupted", file=sys.stderr)
        return 130
    finally:
        rclpy.try_shutdown()
    return 0


def _parse(argv: Optional[list[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m focusdepth_ros.benchmark",
        description=benchmark.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--frames", type=int, default=1800, help="images of the case with one target (%(default)s)")
    parser.add_argument("--rate", type=float, default=30.0, help="images per second (%(default)s)")
    parser.add_argument(
        "--targets", type=int, nargs="+", default=[1, MORE_TARGETS], help="targets of each case (%(default)s)"
    )
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    args = parser.parse_args(argv)
    if args.frames < 2 * args.rate or not 0 < args.rate <= 1000:
        parser.error(
            f"--frames {args.frames} --rate {args.rate:g}: give a rate of up to 1000, and 2 s of frames or more"
        )
    if not all(0 <= count <= len(BOXES) for count in args.targets):
        parser.error(f"--targets {args.targets}: the scene has {len(BOXES)}")
    return args


def _measure(args: argparse.Namespace, console: Console) -> None:
    cases = {}
    for place, targets in enumerate(args.targets):
        frames = args.frames if place == 0 else min(args.frames, max(LEAST_FRAMES, args.frames // 10))
        cases[_name(targets)] = _case(targets, frames, args.rate, console)
        console.print(_table(cases))
    few = min(args.frames, LEAST_FRAMES)
    for (heard, topics), targets in product(OTHERS.items(), args.targets):
        cases[f"{_name(targets)}, {heard}"] = _case(targets, few, args.rate, console, topics)
    console.print(_table(cases))
    starts = [_start_s(args.rate) for _ in range(STARTS)]
    console.print(f"first answer with the shipped model after {', '.join(f'{s:.2f}' for s in starts)} s")
    first = next(iter(cases.values()))
    goals = {key: first[key] for key in ("overhead_ms", "lost", "cpu_core", "rss_growth")}
    result = {**goals, "start_s": round(sorted(starts)[len(starts) // 2], 2), "cases": cases, **_provenance(args)}
    text = json.dumps(result, indent=1) + "\n"
    if args.out is None:
        print(text, end="")
        return
    part = args.out.with_name(args.out.name + ".part")
    part.write_text(text)
    part.replace(args.out)


def _name(targets: int) -> str:
    return f"{targets} target{'s' if targets != 1 else ''}"


def _case(targets: int, frames: int, rate: float, console: Console, topics: Sequence[str] = METRIC) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as logs, Nodes(Path(logs)) as nodes:
        nodes.start(CAMERA, {"rate": rate, "targets": targets})
        nodes.start(NODE, {})
        listener = Listener(nodes.check, topics)
        try:
            deadline = time.monotonic() + START_S
            listener.activate(deadline)
            listener.spin_for(WARM_S)
            listener.restart(deadline)
            longest = time.monotonic() + START_S + 2 * frames / rate
            with Counter(console, f"images with {_name(targets)}", frames) as counter:

                def enough() -> bool:
                    counter.show(min(len(listener.sent), frames))
                    return len(listener.sent) >= frames

                listener.spin_until(enough, longest, f"{frames} images")
            listener.spin_for(END_S)
            return figures(listener, frames)
        finally:
            listener.close()


def _start_s(rate: float) -> float:
    """Seconds from the start of the process to its first answer."""
    with tempfile.TemporaryDirectory() as logs, Nodes(Path(logs)) as nodes:
        nodes.start(CAMERA, {"rate": rate})
        listener = Listener(nodes.check)
        try:
            deadline = time.monotonic() + START_S
            listener.spin_until(lambda: listener.sent, deadline, "the camera's first image")
            start = time.monotonic()
            nodes.start(FOCUS, {})
            listener.activate(deadline)
            listener.spin_until(lambda: listener.heard[ANSWER], deadline, "the first answer")
            return time.monotonic() - start
        finally:
            listener.close()


def _provenance(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "method": (
            f"camera, node and subscriber as processes of one machine, 1280 x 720 rgb8 at {args.rate:g} Hz with "
            "camera_info, depth_hint (16UC1, sent before the image) and boxes of 160 px; the network takes 10 ms, "
            "in which it copies the frame for a GPU to prepare it and sleeps, and gives 518 x 392; one subscriber, "
            "serialized, of metric depth, camera_info, mask, points and targets_3d or of what the case says"
        ),
        "transport": "Fast DDS by shared memory of 64 MiB, config/fastdds_shm.xml; allocator as in the launch files",
        "commit": commit(),
        "machine": machine(),
        "versions": versions(PACKAGES),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def _table(cases: dict[str, dict[str, Any]]) -> Table:
    table = Table("", "overhead ms p50", "p95", "p99", "lost", "CPU cores", "growth", "MB", "latency ms p50", "p99")
    for name, case in cases.items():
        numbers = (*case["overhead_ms"].values(), case["lost"], case["cpu_core"], case["rss_growth"], case["memory_mb"])
        table.add_row(name, *map(str, numbers), *(str(case["latency_ms"][level]) for level in ("p50", "p99")))
    return table
