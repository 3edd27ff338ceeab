"""A focus node over a fake engine, and a probe that talks to it over DDS."""

from __future__ import annotations

import gc
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PointStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, RegionOfInterest
from std_msgs.msg import Header, String

from focusdepth_core.engine.model_folder import InputSpec, ModelFolder
from focusdepth_core.perception.pipeline import Pipeline
from focusdepth_core.perception.result import Space
from focusdepth_ros import qos
from focusdepth_ros.focus_node import FocusNode, PipelineFactory
from focusdepth_ros.image_msgs import to_image
from focusdepth_ros.msg import FocusTargetArray
from focusdepth_ros.outputs import OUTPUTS
from tests.tiny_model import HEIGHT, WIDTH, BoxEngine, config

TIMEOUT_S = 20.0
WIDTH_PX, HEIGHT_PX = 112, 84  # of the test images
FRAME_ID = "camera_optical_frame"
OUTPUT_TYPES = {topic.removeprefix("~/"): kind for topic, kind, _ in OUTPUTS}
RELATIVE = "relative_depth/image"
INPUT_TYPES = {
    "image": Image,
    "camera_info": CameraInfo,
    "depth_hint": Image,
    "target_box": RegionOfInterest,
    "target_text": String,
    "targets": FocusTargetArray,
    "clicked_point": PointStamped,
}


class FakeEngine(BoxEngine):
    """Waits for ``gate`` in each run; raises ``failure`` in the next one if it is set."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.started = threading.Event()
        self.failure: Exception | None = None
        self.runs = 0

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.runs += 1
        self.started.set()
        assert self.gate.wait(TIMEOUT_S)
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure
        return super().run(inputs)


def fake_pipeline(engine: FakeEngine, prompts: tuple[str, ...] = ("box",)) -> Pipeline:
    """A target by text alone gets an empty mask."""
    size = config()["input"]
    spec = InputSpec(WIDTH, HEIGHT, tuple(size["mean"]), tuple(size["std"]))
    nowhere = Path()
    model = ModelFolder(nowhere, "fake", "none", Space.AFFINE_DISPARITY, prompts, spec, nowhere, nowhere)
    return Pipeline(model, engine, engine)


def header(seconds: int) -> Header:
    msg = Header(frame_id=FRAME_ID)
    msg.stamp.sec, msg.stamp.nanosec = seconds, 500_000_000
    return msg


def picture(width: int = WIDTH_PX, height: int = HEIGHT_PX) -> np.ndarray:
    """H,W,3 uint8; the fake network's raw depth grows from the left to the right."""
    ramp = np.linspace(40, 220, width, dtype=np.uint8)[None, :, None]
    return np.broadcast_to(ramp, (height, width, 3))


def image(seconds: int, width: int = WIDTH_PX, height: int = HEIGHT_PX) -> Image:
    return to_image(picture(width, height), "rgb8", header(seconds))


def camera_info(seconds: int, width: int = WIDTH_PX, height: int = HEIGHT_PX, focal: float = 100.0) -> CameraInfo:
    msg = CameraInfo(header=header(seconds), width=width, height=height)
    msg.k = [focal, 0.0, width / 2, 0.0, focal, height / 2, 0.0, 0.0, 1.0]
    msg.p = [focal, 0.0, width / 2, 0.0, 0.0, focal, height / 2, 0.0, 0.0, 0.0, 1.0, 0.0]
    return msg


def depth_hint(seconds: int, width: int = WIDTH_PX, height: int = HEIGHT_PX) -> Image:
    """1 to 2 m, such that 1 / z is affine in the fake network's raw depth."""
    disparity = np.linspace(0.5, 1.0, width, dtype=np.float32)
    return to_image(np.broadcast_to(1 / disparity, (height, width)), "32FC1", header(seconds))


def roi(x: int, y: int, width: int, height: int) -> RegionOfInterest:
    return RegionOfInterest(x_offset=x, y_offset=y, width=width, height=height)


class Rig:
    """The node spins in a thread of its own; the probe spins while the test waits."""

    def __init__(self, make_pipeline: PipelineFactory | None = None, **parameters: Any) -> None:
        self.engine = FakeEngine()
        overrides = [Parameter(name.replace("__", "."), value=value) for name, value in parameters.items()]
        make_pipeline = make_pipeline or (lambda _: fake_pipeline(self.engine))
        self.node = FocusNode(make_pipeline, parameter_overrides=overrides)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin)
        self._thread.start()
        self.probe = rclpy.create_node("probe")
        self._probe_executor = SingleThreadedExecutor()
        self._probe_executor.add_node(self.probe)
        self.received: dict[str, list[Any]] = defaultdict(list)
        self.statuses: list[DiagnosticStatus] = []
        self.probe.create_subscription(DiagnosticStatus, "focus_node/status", self.statuses.append, qos.latched())
        inputs = dict(INPUT_TYPES)
        if parameters.get("image_transport") == "compressed":
            inputs["image/compressed"] = inputs.pop("image") and CompressedImage
        self._publishers = {topic: self.probe.create_publisher(kind, topic, 10) for topic, kind in inputs.items()}
        self._subscriptions: list[Any] = []

    def close(self) -> None:
        self.engine.gate.set()
        self._executor.shutdown()
        self._thread.join()
        self.node.destroy_node()
        self._probe_executor.shutdown()
        self.probe.destroy_node()
        # rclpy's lifecycle state machine holds its services until it is collected: a later client would find them.
        del self.node, self.engine, self._executor
        gc.collect()

    def spin_until(self, condition: Callable[[], Any], what: str = "") -> None:
        end = time.monotonic() + TIMEOUT_S
        while not condition():
            assert time.monotonic() < end, f"not within {TIMEOUT_S} s: {what}; status: {self.said()}"
            self._probe_executor.spin_once(timeout_sec=0.05)

    def call(self, kind: type, service: str, request: Any) -> Any:
        client = self.probe.create_client(kind, f"focus_node/{service}")
        self.spin_until(client.service_is_ready, service)
        future = client.call_async(request)
        self.spin_until(future.done, service)
        self.probe.destroy_client(client)
        return future.result()

    def transition(self, transition_id: int) -> bool:
        request = ChangeState.Request()
        request.transition.id = transition_id
        return bool(self.call(ChangeState, "change_state", request).success)

    def hear(self, *topics: str) -> None:
        """Subscribes to outputs and waits until the node knows."""
        for topic in topics:
            received, name = self.received[topic], f"focus_node/{topic}"
            subscription = self.probe.create_subscription(OUTPUT_TYPES[topic], name, received.append, qos.stream(10))
            self._subscriptions.append(subscription)
        self.spin_until(
            lambda: (
                all(self.node.count_subscribers(f"/focus_node/{topic}") for topic in topics)
                and all(self.probe.count_publishers(f"/focus_node/{topic}") for topic in topics)
            ),
            "matched outputs",
        )

    def start(self, *outputs: str) -> None:
        """Configures, activates and subscribes to ``outputs``, all of them by default."""
        assert self.transition(Transition.TRANSITION_CONFIGURE)
        assert self.transition(Transition.TRANSITION_ACTIVATE)
        self.spin_until(self.inputs_matched, "matched inputs")
        self.hear(*(outputs or OUTPUT_TYPES))

    def inputs_matched(self) -> bool:
        return all(publisher.get_subscription_count() for publisher in self._publishers.values())

    def send(self, topic: str, msg: Any) -> None:
        self._publishers[topic].publish(msg)

    def focus(self, msg: Any) -> None:
        """Sends a message about targets and waits until the node has them."""
        targets = self.node._inputs.targets
        before = targets._sets
        self.send(next(topic for topic, kind in INPUT_TYPES.items() if isinstance(msg, kind)), msg)
        self.spin_until(lambda: targets._sets is not before, "the targets")

    def answer(self, seconds: int, topic: str = RELATIVE) -> Any:
        """Waits for the message of the image's stamp and returns it."""
        self.spin_until(lambda: self._of(topic, seconds), f"{topic} of {seconds} s")
        return self._of(topic, seconds)[0]

    def forget(self) -> None:
        """What was received so far."""
        for messages in self.received.values():
            messages.clear()

    def _of(self, topic: str, seconds: int) -> list[Any]:
        return [msg for msg in self.received[topic] if msg.header.stamp.sec == seconds]

    def waiting_second(self) -> int | None:
        """Of the image that waits for the worker."""
        waiting = self.node._answering._worker._waiting
        return waiting and waiting.image.header.stamp.sec

    def said(self) -> str:
        return self.statuses[-1].message if self.statuses else ""

    def value(self, key: str) -> str:
        """A key-value of the last status."""
        return {item.key: item.value for item in self.statuses[-1].values}.get(key, "") if self.statuses else ""
