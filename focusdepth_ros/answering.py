"""From an image message to a published answer."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from rclpy.node import Node

from focusdepth_core.engine.base import EngineError
from focusdepth_core.perception.pipeline import Pipeline
from focusdepth_core.perception.target import Target
from focusdepth_ros import reports
from focusdepth_ros.answer import Answer
from focusdepth_ros.image_msgs import ImageMemory
from focusdepth_ros.inputs import AnyImage, Inputs
from focusdepth_ros.outputs import Outputs
from focusdepth_ros.pairing import stamp_ns
from focusdepth_ros.parameters import Parameters
from focusdepth_ros.presence import Presences
from focusdepth_ros.slot import NewestWorker
from focusdepth_ros.status import ERROR, WARN, Status
from focusdepth_ros.traffic import Traffic
from focusdepth_ros.transforms import Placement

QUIET_S = 3.0  # without an image or an answer until the status says so
ON_THE_WAY = ("camera_info", "depth_hint", "targets", "transform", "finder")  # what may be wrong before an answer


class Job(NamedTuple):
    session: int
    arrived: float  # by time.monotonic
    image: AnyImage


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
        self._publishing = threading.Lock()  # held to publish and to tell of it, and to end what is published to
        self._traffic = Traffic()
        self._last_image = self._last_answer = time.monotonic()
        self._presences = Presences()
        self._memory = ImageMemory()
        status.values(self._traffic.counts)
        self._worker: NewestWorker[Job] = NewestWorker(self._work, "focus")

    @property
    def check_target(self) -> Callable[[Target], None]:
        """Raises ``ValueError`` for a target that the model cannot be asked for."""
        return self._pipeline.check

    def resume(self) -> None:
        self._last_image = self._last_answer = time.monotonic()
        self._traffic.restart()
        self._running = True
        self._status.state(self._waiting)

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
        self._last_image = arrived = time.monotonic()
        self._status.settle("camera")
        self._traffic.count("received")
        if not self.enabled:
            self._rest("disabled by ~/enable")
        elif not self._outputs.heard:
            self._rest("idle: nobody subscribes to an output")
        elif not self._is_too_old(image) and self._worker.put(Job(self._session, arrived, image)):
            self._traffic.count("dropped")

    def check(self) -> None:
        """To be called every second or so: tells rates, and complains if images come late, doubly or not at all."""
        if not self._running:
            return
        self._inputs.check()
        self._outputs.check()
        rates = self._traffic.rates()
        is_expected, is_quiet = self.enabled and self._outputs.heard, time.monotonic() - self._last_image > QUIET_S
        if is_quiet or not is_expected:
            self._status.forget_passing()
        if is_quiet:
            if is_expected:
                self._status.state(self._waiting)
            topic = self._inputs.image_topic
            self._status.complain("camera", f"no image has come on {topic} for {QUIET_S:g} s or more")
        self._status.values(self._traffic.counts)
        self._status.passing(reports.costs(self._traffic, rates))
        least = self._parameters().min_rate if is_expected else 0.0
        reports.check_rate(self._status, rates.received, rates.answered, least)

    @property
    def _waiting(self) -> str:
        return f"waiting for images on {self._inputs.image_topic}"

    def _rest(self, why: str) -> None:
        """An image is not looked at, so that nothing more is known of the targets."""
        self._status.settle("lost", "scale", "targets", "transform")
        self._status.state(why)

    def _is_too_old(self, image: AnyImage) -> bool:
        most_s, age_s = self._parameters().max_image_age, self._age_s(image)
        if not 0 < most_s < age_s:
            self._status.settle("old image")
            return False
        self._traffic.count("too_old")
        self._tell_silence()
        self._status.complain(
            "old image",
            f"images are {age_s:.1f} s old when they come, more than max_image_age = {most_s:g} s, and are dropped; "
            "are the clocks alike, and use_sim_time with a simulator or a bag?",
        )
        return True

    def _age_s(self, image: AnyImage) -> float:
        return (self._node.get_clock().now().nanoseconds - stamp_ns(image.header.stamp)) / 1e9

    def _end_session(self) -> None:
        with self._publishing:
            self._running = False
            self._session += 1
            self._status.forget_passing()

    def _work(self, job: Job) -> None:
        try:
            self._publish(job, self._answer(job))
        except ValueError as error:
            self._refuse(job, "image", str(error))
        except EngineError as error:
            self._refuse(job, "model", str(error), ERROR)
        except Exception as error:  # the worker must live to answer the next image
            self._refuse(job, "model", f"{type(error).__name__} while answering an image: {error}", ERROR)
            self._node.get_logger().debug(traceback.format_exc())
        if not self._is_on(job.session):  # what it complained of came after all complaints were settled
            self._status.settle(*ON_THE_WAY)

    def _answer(self, job: Job) -> Answer:
        parameters = self._parameters()
        request = self._inputs.request(job.image, job.arrived, parameters)
        result = self._pipeline.process(request.frame, request.targets, request.depth_hint)
        presences = self._presences.update(result)
        about_image = job.image.header, result, request.info, presences, parameters
        answer = Answer(*about_image, why_no_hint=request.why_no_hint, memory=self._memory)
        return answer if answer.why_not_metric else replace(answer, placement=self._place(answer))

    def _place(self, answer: Answer) -> Placement | None:
        source, parameters = answer.header.frame_id, answer.parameters
        target = parameters.target_frame or source
        try:
            placement = self._inputs.transforms.find(target, source, answer.header.stamp, parameters.pair_wait)
        except ValueError as error:
            self._status.complain("transform", f"{error}; there are no points in {target}")
            return None
        self._status.settle("transform")
        return placement

    def _publish(self, job: Job, answer: Answer) -> None:
        with self._publishing:
            if self._is_on(job.session):
                self._outputs.publish(answer)
                self._tell(job, answer)

    def _tell(self, job: Job, answer: Answer) -> None:
        took_ms = 1e3 * (time.monotonic() - job.arrived)
        self._traffic.took(took_ms - answer.result.timings_ms.get("inference", 0.0))
        self._traffic.count("answered")
        self._last_answer = time.monotonic()
        self._status.values(self._traffic.counts)
        self._status.passing(reports.answer(answer, self._age_s(job.image)))
        self._status.settle("image", "model")
        reports.check_lost(self._status, answer)
        reports.check_scale(self._status, answer)
        self._status.state(reports.state(answer, self._inputs.image_topic))

    def _is_on(self, session: int) -> bool:
        return session == self._session and self._node.context.ok()

    def _refuse(self, job: Job, subject: str, sentence: str, level: bytes = WARN) -> None:
        with self._publishing:
            if self._is_on(job.session):
                self._traffic.count("refused")
                self._tell_silence()
                self._status.complain(subject, sentence, level)

    def _tell_silence(self) -> None:
        """After a while without an answer nothing holds that was told of the last one."""
        if time.monotonic() - self._last_answer > QUIET_S:
            self._status.forget_passing()
            self._status.state(f"no image of {self._inputs.image_topic} has been answered for {QUIET_S:g} s or more")
