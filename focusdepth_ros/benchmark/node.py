"""The focus node over a network that sleeps."""

from __future__ import annotations

import sys

from focusdepth_ros.benchmark.fake_model import make_pipeline
from focusdepth_ros.focus_node import FocusNode
from focusdepth_ros.process import run

if __name__ == "__main__":
    sys.exit(run(lambda: FocusNode(make_pipeline)))
