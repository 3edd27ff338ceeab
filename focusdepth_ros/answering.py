"""From an image message to a published answer."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable

from rclpy.node import Node

from focusdepth_core.engine.base import EngineError
from focusdepth_core.perception.pipeline import Pipeline
from focusdepth_ros.answer import Answer
from focusdepth_ros.inputs import AnyImage, Inputs
from focusdepth_ros.outputs import Outputs
from focusdepth_ros.pairing import stamp_ns
from focusdepth_ros.parameters import Parameters
from focusdepth_ros.presence import Presences
from focusdepth_ros.slot import NewestWorker
from focusdepth_ros.status import ERROR, WARN, Status

QUIET_S = 3.0  # without an image until the status complains


class Answering:
    """One pipeline, its worker thread and its publishers, from configure to cleanup.

    ``pause`` and ``close`` take effect at once: the answer to an image that is in the works is thrown away.
    """

    def __init__(
        self,
        node: Node,
        status: Status,
        inputs: Inputs,
        outputs: Outputs,
        pipeline: Pipeline,
        parameters: Callable[[], Parameters],
    ) -> None:
        self._node = node
        self._status = status
        self._inputs = inputs
        self._outputs = outputs
        self._pipeline = pipeline
        self._parameters = parameters
        self.enabled = True
        self._running = False
        self._session = 0  # one more with each pause and close: what began before is not published after
        self._publishing = threading.Lock()  # held to publish, and to end what is published to
        self._answered = self._dropped = self._refused = 0
        self._last_image = time.monotonic()
        self._presences = Presences()
        status.values({"answered": 0, "dropped": 0, "refused": 0})
        self._worker: NewestWorker[tuple[int, AnyImage]] = NewestWorker(self._work, "focus")

    @property
    def prompts(self) -> tuple[str, ...]:
        """What of a target the model takes."""
        return self._pipeline.model.prompts

    def resume(self) -> None:
        self._last_image = time.monotonic()
        self._running = True
        self._status.state(f"waiting for images on {self._inputs.image_topic}")

    def pause(self) -> None:
        self._worker.clear()
        self._end_session()

    def close(self) -> None:
        self._worker.stop()
        self._end_session()
        with self._publishing:
            self._outputs.destroy()

    def join(self, timeout_s: float) -> bool:
        """After ``close``: waits for the worker; False if an inference takes longer."""
        return self._worker.join(timeout_s)

    def on_image(self, image: AnyImage) -> None:
        self._last_image = time.monotonic()
        self._status.settle("camera")
        if not self.enabled:
            self._status.state("disabled by ~/enable")
        elif not self._outputs.heard:
            self._status.state("idle: nobody subscribes to an output")
        elif self._worker.put((self._session, image)):
            self._dropped += 1
            self._status.values({"dropped": self._dropped})

    def check_quiet(self) -> None:
        """To be called now and then: complains if no images come."""
        if self._running and time.monotonic() - self._last_image > QUIET_S:
            topic = self._inputs.image_topic
            self._status.complain("camera", f"no image has come on {topic} for {QUIET_S:g} s or more")

    def _end_session(self) -> None:
        with self._publishing:
            self._running = False
            self._session += 1

    def _work(self, job: tuple[int, AnyImage]) -> None:
        session, image = job
        try:
            self._publish(session, self._answer(image))
        except ValueError as error:
            self._refuse(session, "image", str(error))
        except EngineError as error:
            self._refuse(session, "model", str(error), ERROR)
        except Exception as error:  # the worker must live to answer the next image
            self._refuse(session, "model", f"{type(error).__name__} while answering an image: {error}", ERROR)
            self._node.get_logger().debug(traceback.format_exc())

    def _answer(self, image: AnyImage) -> Answer:
        parameters = self._parameters()
        request = self._inputs.request(image, parameters)
        result = self._pipeline.process(request.frame, request.targets, request.depth_hint)
        return Answer(image.header, result, request.info, self._presences.update(result), parameters)

    def _publish(self, session: int, answer: Answer) -> None:
        with self._publishing:
            if not self._is_on(session):
                return
            self._outputs.publish(answer)
        self._answered += 1
        age_ns = self._node.get_clock().now().nanoseconds - stamp_ns(answer.header.stamp)
        self._status.values(
            {
                "answered": self._answered,
                "latency_ms": f"{age_ns / 1e6:.1f}",
                "inference_ms": f"{answer.result.timings_ms.get('inference', 0.0):.1f}",
                "targets": len(answer.result.targets),
                "metric": answer.why_not_metric or "yes",
                "scale_source": answer.result.scale.source if answer.result.scale else "none",
            }
        )
        self._status.settle("image", "model")
        self._say_lost(answer)
        self._status.state(f"answering {self._inputs.image_topic}")

    def _say_lost(self, answer: Answer) -> None:
        if not answer.lost:
            self._status.settle("lost")
            return
        ids = ", ".join(f"'{presence.target_id}'" for presence in answer.lost)
        after_s = answer.parameters.lost_after
        self._status.complain("lost", f"not found for {after_s:g} s or more: target {ids}")

    def _is_on(self, session: int) -> bool:
        return session == self._session and self._node.context.ok()

    def _refuse(self, session: int, subject: str, sentence: str, level: bytes = WARN) -> None:
        if not self._is_on(session):
            return
        self._refused += 1
        self._status.values({"refused": self._refused})
        self._status.complain(subject, sentence, level)
