"""Record topics to a bag, or play one back.

python -m focusdepth_ros.bag record drive /camera/image_rect /camera/camera_info /target_box
python -m focusdepth_ros.bag play drive --step /camera/image_rect /focus_node/targets_3d
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import Optional

import rclpy
from rclpy.utilities import remove_ros_args


def main(args: Optional[list[str]] = None) -> int:
    arguments = _parser().parse_args(remove_ros_args(args if args is not None else sys.argv)[1:])
    # A second SIGINT, as ros2 launch sends it, must find the bag being closed and leave it alone.
    signal.signal(signal.SIGINT, lambda number, frame: None)
    rclpy.init(args=args)
    try:
        return int(arguments.run(arguments))
    except (OSError, ImportError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        rclpy.try_shutdown()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m focusdepth_ros.bag", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    record = commands.add_parser("record", help="write what is published until Ctrl-C")
    record.add_argument("bag", type=Path, help="folder to write, which must not exist")
    record.add_argument("topics", nargs="+", help="topics to record, from when they have a publisher")
    record.set_defaults(run=_record)
    play = commands.add_parser("play", help="publish what was recorded")
    play.add_argument("bag", type=Path, help="folder of a bag in MCAP or SQLite")
    play.add_argument("--topics", nargs="+", default=(), help="topics to play; without it all whose types are known")
    play.add_argument("--rate", type=float, default=1.0, help="speed; 2 is twice as fast as recorded")
    play.add_argument("--clock", action="store_true", help="publish /clock, for nodes with use_sim_time")
    play.add_argument("--wait", type=float, default=10.0, help="longest time in s for subscribers and answers")
    play.add_argument(
        "--step",
        nargs=2,
        metavar=("IMAGE", "ANSWER"),
        help="go on after each message on IMAGE when one of its stamp has come on ANSWER, however long it takes",
    )
    play.set_defaults(run=_play)
    return parser


def _record(arguments: argparse.Namespace) -> int:
    from focusdepth_ros.bag.record import record

    counts = record(arguments.bag, arguments.topics)
    for topic in arguments.topics:
        print(f"{counts.get(topic, 0):6d} {topic}")
    return 0 if counts else 1


def _play(arguments: argparse.Namespace) -> int:
    from focusdepth_ros.bag.play import play

    if not arguments.rate > 0:
        raise ValueError(f"--rate {arguments.rate:g} is not above 0")
    missed = play(arguments.bag, arguments.rate, arguments.wait, arguments.clock, arguments.step, arguments.topics)
    if missed:
        print(f"{missed} images had no answer within {arguments.wait:g} s", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
