"""The ``focus_node``: a lifecycle node around ``Pipeline.process``."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any, Optional
from weakref import WeakSet

from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from std_srvs.srv import SetBool, Trigger

from focusdepth_core.engine.model_folder import default_model_dir
from focusdepth_core.perception.finder import Finder
from focusdepth_core.perception.keyframes import Keyframes
from focusdepth_core.perception.pipeline import Pipeline
from focusdepth_ros.answering import Answering
from focusdepth_ros.inputs import AnyImage, Inputs
from focusdepth_ros.outputs import Outputs
from focusdepth_ros.parameter_store import ParameterStore
from focusdepth_ros.parameters import Parameters
from focusdepth_ros.process import run
from focusdepth_ros.status import ERROR, Status

Report = Callable[[str], None]
PipelineFactory = Callable[[Parameters], Pipeline]

UNVERIFIED = "engine unverified"
CHECK_PERIOD_S = 1.0
EXIT_S = 5.0  # the longest wait for an inference at the end of the process


def open_pipeline(
    parameters: Parameters, report: Optional[Report] = None, on_trouble: Optional[Report] = None
) -> Pipeline:
    """``on_trouble``: see ``Keyframes``."""
    model_dir, backend, threads = parameters.model_dir or default_model_dir(), parameters.backend, parameters.threads
    keyframes = None
    if parameters.finder_model_dir:
        finder = Finder.open(parameters.finder_model_dir, backend, threads, report)
        max_age, min_change = parameters.keyframe_max_age, parameters.keyframe_min_change
        keyframes = Keyframes(finder, max_age, min_change, report=on_trouble)
    return Pipeline.open(model_dir, backend, threads, report, keyframes)


class FocusNode(LifecycleNode):
    """Callbacks and transitions run in the executor's thread and never wait for an image's inference (a worker's job).

    configure opens the model and the publishers, activate the subscriptions; deactivate keeps model and targets.
    """

    _answering: Optional[Answering] = None  # while configured; of the class, as a constructor that fails still destroys

    def __init__(self, make_pipeline: Optional[PipelineFactory] = None, **kwargs: Any) -> None:
        """``make_pipeline``: in place of ``open_pipeline``; whatever it raises is a failure to configure."""
        self._closed: WeakSet[Answering] = WeakSet()  # which may still have an inference to end
        super().__init__("focus_node", **kwargs)
        default = partial(open_pipeline, report=self._on_report, on_trouble=self._on_trouble)
        self._make_pipeline = make_pipeline or default
        self._enabled = True
        self._store = ParameterStore(self, Parameters, is_unconfigured=lambda: self._answering is None)
        self._status = Status(self)
        self._inputs = Inputs(self, self._status, self._on_image, lambda: self._store.current)
        self.create_service(Trigger, "~/clear_targets", self._on_clear_targets)
        self.create_service(SetBool, "~/enable", self._on_enable)
        self.create_timer(CHECK_PERIOD_S, self._check, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._status.state("opening the model")
        self._status.values({"engine": ""})
        try:
            pipeline = self._make_pipeline(self._store.current)
            outputs = Outputs(self, self._status)
        except Exception as error:  # of whatever kind: the node must live to be configured anew
            self._status.forget_notes()
            return self._failed("configured", error, "unconfigured")
        self._status.settle("transition")
        self._answering = Answering(self, self._status, self._inputs, outputs, pipeline, lambda: self._store.current)
        self._answering.enabled = self._enabled
        model = pipeline.model
        self._status.values({"model": model.name, "license": model.license, "backend": pipeline.backend})
        self._status.state("inactive")
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        assert self._answering is not None
        try:
            self._inputs.open(self._answering.check_target)
        except Exception as error:  # such as a bad qos_overrides, of which rclpy would not tell
            self._inputs.close()
            return self._failed("activated", error, "inactive")
        self._status.settle("transition")
        self._answering.resume()
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        assert self._answering is not None
        self._inputs.close()
        self._answering.pause()
        self._status.settle_all()
        self._status.state("inactive")
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._release()
        self._status.state("unconfigured")
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._release()
        self._status.state("shut down")
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._release()
        self._status.state("unconfigured")
        return TransitionCallbackReturn.SUCCESS

    def destroy_node(self) -> None:
        if self._answering is not None:
            self._release()
        end = time.monotonic() + EXIT_S
        if not all(answering.join(max(0.0, end - time.monotonic())) for answering in self._closed):
            self.get_logger().warning(f"an inference has not ended within {EXIT_S:g} s; leaving it behind")
        super().destroy_node()

    def _failed(self, what: str, error: Exception, state: str) -> TransitionCallbackReturn:
        self._status.complain("transition", f"cannot be {what}: {error}", ERROR)
        self._status.state(state)
        self.get_logger().debug(traceback.format_exc())
        return TransitionCallbackReturn.FAILURE

    def _release(self) -> None:
        """Back to what the constructor made."""
        self._inputs.close()
        self._inputs.targets.clear()
        answering, self._answering = self._answering, None
        if answering is not None:
            answering.close()
            self._closed.add(answering)
        self._status.settle_all()
        self._status.forget_notes()

    def _on_report(self, sentence: str) -> None:
        """Of an engine: how far it is built, which is over with configure; that it is not verified, which stays; and
        at last what was chosen and why. Raises ``RuntimeError`` to end a build when the process is to end.
        """
        if not self.context.ok():
            raise RuntimeError("the node was told to end")
        if sentence.startswith(UNVERIFIED):
            self._status.note(sentence)
        else:
            self._status.values({"engine": sentence})
            self._status.state(sentence)

    def _on_trouble(self, sentence: str) -> None:
        """With targets that a finder saw."""
        if sentence:
            self._status.complain("finder", sentence)
        else:
            self._status.settle("finder")

    def _on_image(self, image: AnyImage) -> None:
        if self._answering is not None:
            self._answering.on_image(image)

    def _check(self) -> None:
        if self.get_parameter("use_sim_time").value and not self.get_clock().now().nanoseconds:
            self._status.complain("clock", "use_sim_time is set, but nothing has come on /clock: ages are unknown")
        else:
            self._status.settle("clock")
        if self._answering is not None:
            self._answering.check()

    def _on_clear_targets(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._inputs.targets.clear()
        response.success, response.message = True, "no target: the plain depth of the whole image follows"
        return response

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._enabled = request.data
        if self._answering is not None:
            self._answering.enabled = request.data
        response.success, response.message = True, "enabled" if request.data else "disabled"
        return response


def main(args: Optional[list[str]] = None) -> int:
    return run(FocusNode, args)


if __name__ == "__main__":
    sys.exit(main())
