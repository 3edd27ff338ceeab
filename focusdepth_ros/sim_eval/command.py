"""``python -m focusdepth_ros.sim_eval``"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Optional

import rclpy
from rclpy.signals import SignalHandlerOptions
from rich.console import Console
from rich.table import Table

from focusdepth_core.engine.base import EngineError
from focusdepth_core.engine.model_folder import default_model_dir
from focusdepth_core.perception.pipeline import Pipeline
from focusdepth_core.sim.render import Renderer
from focusdepth_core.sim.splits import seed_range
from focusdepth_core.sim.task import Task, draw_task
from focusdepth_ros import sim_eval, transport
from focusdepth_ros.demo.counter import Counter
from focusdepth_ros.demo.processes import NodeDied, Nodes
from focusdepth_ros.focus_client import FOCUS, FocusFailed
from focusdepth_ros.sim_eval import picture
from focusdepth_ros.sim_eval.figures import REACHED_M, figures
from focusdepth_ros.sim_eval.others import without_the_node
from focusdepth_ros.sim_eval.robot import Robot
from focusdepth_ros.sim_eval.trial import SENSORS, STEP_S, Trial, questions

WIDTH, HEIGHT = 640, 480
START_S = 60.0  # longest time until the focus node is active
PAIR_WAIT_S = 5.0  # so that no answer depends on how fast a message was
LAST_STAMP = 2_000_000_000  # s, of the first question


def main(argv: Optional[list[str]] = None) -> int:
    args = _parse(argv)
    console = Console()
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
    os.environ.update({transport.profile_variable(): transport.profile(), **transport.allocator()})
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.default_int_handler)  # so that the node ends, too
    try:
        _evaluate(args, console)
    except (FocusFailed, NodeDied, EngineError, OSError, ValueError) as error:
        print(f"sim_eval: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("sim_eval: interrupted", file=sys.stderr)
        return 130
    return 0


def _parse(argv: Optional[list[str]]) -> argparse.Namespace:
    test = seed_range("test")
    parser = argparse.ArgumentParser(
        prog="python -m focusdepth_ros.sim_eval",
        description=sim_eval.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--scenes", type=int, default=100, help="objects to ask for, one a scene (default: %(default)s)"
    )
    parser.add_argument(
        "--first", type=int, default=test[0], help=f"first seed, {test[0]} to {test[-1]} (default: %(default)s)"
    )
    parser.add_argument("--model-dir", type=Path, default=default_model_dir(), help="default: the model shipped")
    parser.add_argument("--backend", default="auto", help="what runs the networks (default: %(default)s)")
    parser.add_argument(
        "--prompt",
        choices=("box", "text"),
        help="how objects are named (default: text for a model that takes it, else box)",
    )
    parser.add_argument("--out", type=Path, default=Path("sim_eval.json"), help="figures (default: %(default)s)")
    parser.add_argument("--picture", type=Path, default=Path("sim_eval.png"), help="picture (default: %(default)s)")
    args = parser.parse_args(argv)
    if args.scenes < 1 or args.first not in test or args.first + args.scenes - 1 not in test:
        parser.error(f"--first {args.first} --scenes {args.scenes}: the held-out seeds are {test[0]} to {test[-1]}")
    return args


def _evaluate(args: argparse.Namespace, console: Console) -> None:
    start = time.monotonic()
    pipeline = Pipeline.open(args.model_dir, args.backend)
    prompt = args.prompt or ("text" if "text" in pipeline.model.prompts else "box")
    if prompt not in pipeline.model.prompts:
        raise ValueError(f"--prompt {prompt}: model {pipeline.model.name} takes {', '.join(pipeline.model.prompts)}")
    console.print(f"model {pipeline.model.name}, objects named by {prompt}")
    trials = _trials(args, pipeline, prompt, console)
    settings = {
        "seeds": [args.first, args.first + args.scenes - 1],
        "scenes": args.scenes,
        "model": pipeline.model.name,
        "backend": pipeline.backend,
        "prompt": prompt,
        "image": [WIDTH, HEIGHT],
        "reached_m": REACHED_M,
        "seconds": round(time.monotonic() - start, 1),
    }
    result = figures(trials, settings)
    picture.write(args.picture, trials)
    part = args.out.with_name(args.out.name + ".part")
    part.write_text(json.dumps(result, indent=1) + "\n")
    part.replace(args.out)
    console.print(_table(result))
    console.print(f"{args.out} and {args.picture} are written", soft_wrap=True)


def _trials(args: argparse.Namespace, pipeline: Pipeline, prompt: str, console: Console) -> list[Trial]:
    """The focus node lives only in here."""
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    renderer = Renderer(WIDTH, HEIGHT)
    try:
        with tempfile.TemporaryDirectory() as logs, Nodes(Path(logs)) as nodes:
            parameters = {"model_dir": args.model_dir, "backend": args.backend, "pair_wait": PAIR_WAIT_S}
            nodes.start(FOCUS, parameters)
            robot = Robot(nodes.check, by_text=prompt == "text")
            try:
                deadline = time.monotonic() + START_S
                robot.activate(deadline)
                robot.wait_for_topics(deadline)
                return _ask_for_all(args, robot, renderer, pipeline, console)
            finally:
                robot.close()
    finally:
        renderer.close()
        rclpy.try_shutdown()


def _ask_for_all(
    args: argparse.Namespace, robot: Robot, renderer: Renderer, pipeline: Pipeline, console: Console
) -> list[Trial]:
    trials = []
    with Counter(console, "objects asked for", args.scenes) as counter:
        for count in range(args.scenes):
            task = draw_task(args.first + count, renderer)
            trials += _ask(task, LAST_STAMP - count * len(SENSORS) * STEP_S, robot, pipeline)
            counter.show(count + 1)
    return trials


def _ask(task: Task, stamp: int, robot: Robot, pipeline: Pipeline) -> list[Trial]:
    return [
        Trial(question, robot.ask(question), without_the_node(question, pipeline))
        for question in questions(task, stamp)
    ]


def _table(result: dict[str, Any]) -> Table:
    table = Table("depth_hint has", "by", "reached", "error p50, cm", "error p95, cm")
    for sensor, values in result["depth_hint"].items():
        for method, judged in {"focus node": values, **values["without the node"]}.items():
            error = judged["position_error_m"]
            centimetres = ["-" if error[q] is None else f"{100 * error[q]:.1f}" for q in ("p50", "p95")]
            table.add_row(sensor, method, f"{100 * judged['success']:.0f} %", *centimetres)
    return table
