from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("focusdepth_ros.msg", reason="needs the built package: ./run build")

import numpy as np
import rclpy
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lifecycle_msgs.msg import Transition
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSReliabilityPolicy
from std_msgs.msg import String

from focusdepth_ros import focus_node, inputs
from focusdepth_ros.image_msgs import pixels
from focusdepth_ros.msg import FocusTargetArray
from focusdepth_ros.parameter_store import ParameterStore, ros_name
from focusdepth_ros.parameters import Parameters
from tests.ros.harness import FRAME_ID, Rig, camera_info, depth_hint, fake_pipeline, image, roi
from tests.ros.test_transforms import tf2  # noqa: F401  a fixture

ROOT = Path(__file__).parents[2]
CONFIG, SOURCES = ROOT / "config" / "focus.yaml", ROOT / "focusdepth_ros"
NAMES = {ros_name(spec): spec for spec in fields(Parameters)}


@pytest.fixture
def node(ros: None) -> Iterator[Node]:
    node = rclpy.create_node("store")
    yield node
    node.destroy_node()


@pytest.fixture
def store(node: Node) -> ParameterStore[Parameters]:
    return ParameterStore(node, Parameters)


def set_parameter(node: Node, name: str, value: Any) -> tuple[bool, str]:
    (result,) = node.set_parameters([Parameter(name, value=value)])
    return result.successful, result.reason


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_is_described(node: Node, name: str) -> None:
    ParameterStore(node, Parameters)
    descriptor = node.describe_parameter(name)
    assert len(descriptor.description) > 20 and descriptor.description.endswith(".")
    assert node.get_parameter(name).value == NAMES[name].default


@pytest.mark.parametrize("field", [spec.name for spec in NAMES.values()])
def test_every_parameter_is_read(field: str) -> None:
    sources = [path.read_text() for path in SOURCES.rglob("*.py")]
    assert any(re.search(rf"(parameters|_parameters\(\))\.{field}\b", source) for source in sources)


@pytest.mark.parametrize("name", [name for name, spec in NAMES.items() if spec.metadata["limits"]])
def test_values_beyond_the_range_are_refused(node: Node, name: str) -> None:
    store = ParameterStore(node, Parameters)
    spec = NAMES[name]
    low, high = spec.metadata["limits"]
    kind = type(spec.default)
    for value in (kind(low), kind(high)):
        assert set_parameter(node, name, value) == (True, "")
        assert getattr(store.current, spec.name) == value
    for value in (kind(low - 1), kind(high + 1)):
        successful, reason = set_parameter(node, name, value)
        assert not successful and name in reason
    assert getattr(store.current, spec.name) == kind(high)


@pytest.mark.parametrize("name", NAMES)
def test_values_of_another_type_are_refused(node: Node, name: str) -> None:
    ParameterStore(node, Parameters)
    successful, reason = set_parameter(node, name, [1, 2])
    assert not successful and reason


@pytest.mark.parametrize("name", [name for name, spec in NAMES.items() if isinstance(spec.default, float)])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_refused(node: Node, name: str, value: float) -> None:
    ParameterStore(node, Parameters)
    successful, reason = set_parameter(node, name, value)
    assert not successful and name in reason


@pytest.mark.parametrize("name", [name for name, spec in NAMES.items() if spec.metadata["choices"]])
def test_only_known_choices_are_taken(node: Node, name: str) -> None:
    store = ParameterStore(node, Parameters)
    spec = NAMES[name]
    for choice in spec.metadata["choices"]:
        assert set_parameter(node, name, choice) == (True, "")
        assert getattr(store.current, spec.name) == choice
    successful, reason = set_parameter(node, name, "fast")
    assert not successful
    assert reason == f"{name} = 'fast' is unknown; use one of {', '.join(spec.metadata['choices'])}"


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(sorted(NAMES)),
    st.one_of(st.booleans(), st.integers(-(2**62), 2**62), st.floats(), st.text(max_size=50), st.lists(st.floats())),
)
def test_whatever_is_set_is_taken_as_it_is_or_refused_with_a_reason(
    node: Node, store: ParameterStore[Parameters], name: str, value: Any
) -> None:
    before = node.get_parameter(name).value
    successful, reason = set_parameter(node, name, value)
    after = node.get_parameter(name).value
    assert (after == value and type(after) is type(before)) if successful else (after == before and reason)
    assert getattr(store.current, NAMES[name].name) == after


def test_a_bad_choice_at_the_start_is_refused(ros: None) -> None:
    overrides = [Parameter("qos.reliability", value="sometimes")]
    node = rclpy.create_node("store", parameter_overrides=overrides)
    with pytest.raises(ValueError, match=r"qos\.reliability = 'sometimes' is unknown"):
        ParameterStore(node, Parameters)
    node.destroy_node()


def test_what_configure_reads_is_fixed_until_cleanup(make_rig: Any) -> None:
    rig = make_rig()
    fixed = [name for name, spec in NAMES.items() if spec.metadata["settable"] == "unconfigured"]
    assert {"model_dir", "backend"} <= set(fixed)
    rig.start()
    for name in fixed:
        successful, reason = set_parameter(rig.node, name, NAMES[name].default)
        assert (successful, reason) == (False, f"{name} is read by configure: clean the node up before setting it")
    assert set_parameter(rig.node, "max_target_age", 2.0)[0]
    assert rig.transition(Transition.TRANSITION_DEACTIVATE)
    assert rig.transition(Transition.TRANSITION_CLEANUP)
    for name in fixed:
        assert set_parameter(rig.node, name, NAMES[name].default)[0]


def test_the_topics_that_qos_reliability_is_asked_of_are_named(make_rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "Detection2DArray", FocusTargetArray)  # where vision_msgs is not installed
    rig = make_rig(qos__reliability="best_effort")
    rig.start()
    described = rig.node.describe_parameter("qos.reliability").description
    asked = {
        topic.removeprefix("/")
        for topic, _ in rig.node.get_subscriber_names_and_types_by_node("focus_node", "/")
        for end in rig.node.get_subscriptions_info_by_topic(topic)
        if end.node_name == "focus_node" and end.qos_profile.reliability == QoSReliabilityPolicy.BEST_EFFORT
    }
    assert {"image", "detections"} <= asked <= set(re.findall(r"\w+", described))


def three_d(rig: Rig, seconds: int) -> Any:
    """Of the only target, in an image that has a hint of its stamp."""
    info = camera_info(seconds)
    info.k[0] = info.p[0] / 2  # of the image before it was rectified
    rig.send("camera_info", info)
    rig.send("depth_hint", depth_hint(seconds))
    rig.send("image", image(seconds))
    return rig.answer(seconds, "targets_3d").targets[0]


def points(rig: Rig, seconds: int) -> Any:
    three_d(rig, seconds)
    return rig.answer(seconds, "target_points")


def scale_age(rig: Rig, seconds: int) -> float:
    """Of an image without a hint, 1 s after one with; NaN without a scale."""
    three_d(rig, seconds - 1)
    rig.send("image", image(seconds))
    return rig.answer(seconds, "targets_3d").scale_age


def late_scale_age(rig: Rig, seconds: int) -> float:
    """Of an image whose hint comes when the network runs, or after half a second in which it does not run."""
    three_d(rig, seconds - 1)
    rig.engine.started.clear()
    rig.send("image", image(seconds))
    rig.engine.started.wait(0.5)
    rig.send("depth_hint", depth_hint(seconds))
    return rig.answer(seconds, "targets_3d").scale_age


def apart_scale_age(rig: Rig, seconds: int) -> float:
    """Of an image whose hint is stamped 20 ms later."""
    three_d(rig, seconds - 1)
    hint = depth_hint(seconds)
    hint.header.stamp.nanosec += 20_000_000
    rig.send("depth_hint", hint)
    rig.send("image", image(seconds))
    return rig.answer(seconds, "targets_3d").scale_age


def noisy_has_scale(rig: Rig, seconds: int) -> bool:
    """Of an image whose hint is 10 % off here and there."""
    hint = depth_hint(seconds)
    hint.data = (pixels(hint) * np.random.default_rng(0).normal(1, 0.1, (84, 112))).astype(np.float32).tobytes()
    for topic, msg in {"camera_info": camera_info(seconds), "depth_hint": hint, "image": image(seconds)}.items():
        rig.send(topic, msg)
    return rig.answer(seconds, "targets_3d").has_scale


def is_lost(rig: Rig, seconds: int) -> bool:
    """Of a text that is not found in two images, 1 s apart."""
    rig.focus(String(data=f"mug {seconds}"))
    three_d(rig, seconds - 1)
    return three_d(rig, seconds).lost


@pytest.mark.parametrize(
    ("name", "observe", "effects"),
    [
        ("rectified", lambda *at: round(three_d(*at).centroid.x, 1), {True: 0.2, False: 0.4}),
        ("target_points.voxel_size", lambda *at: points(*at).width > 100, {0.0: True, 1.0: False}),
        ("target_frame", lambda *at: points(*at).header.frame_id, {"": FRAME_ID, "base": "base"}),
        ("pair_wait", late_scale_age, {10.0: 0.0, 0.0: 1.0}),
        ("pair_tolerance", apart_scale_age, {0.03: 0.0, 0.01: 1.0}),
        ("scale.max_residual", noisy_has_scale, {0.2: True, 0.02: False}),
        ("scale.max_age", scale_age, {1.5: 1.0, 0.5: math.nan}),
        ("target.lost_after", is_lost, {1.5: False, 0.5: True}),
    ],
)
@pytest.mark.usefixtures("tf2")
def test_a_value_that_is_set_counts_from_the_next_image(
    make_rig: Any, name: str, observe: Any, effects: dict[Any, Any]
) -> None:
    rig = make_rig(lambda _: fake_pipeline(rig.engine, ("box", "text")), pair_wait=0.3, scale__max_age=2.0)
    rig.start("targets_3d", "target_points")
    rig.focus(roi(60, 20, 30, 40))
    seen = {}
    for seconds, value in zip((2, 4), effects):
        assert set_parameter(rig.node, name, value) == (True, "")
        seen[value] = observe(rig, seconds)
    np.testing.assert_equal(seen, effects)


def test_the_shipped_file_holds_every_parameter_with_its_default() -> None:
    shipped = yaml.safe_load(CONFIG.read_text())["/**"]["ros__parameters"]
    flat: dict[str, Any] = {}
    for name, value in shipped.items():
        flat.update({f"{name}.{key}": v for key, v in value.items()} if isinstance(value, dict) else {name: value})
    assert flat == {name: spec.default for name, spec in NAMES.items()}


def test_the_shipped_file_reaches_a_node_of_any_name(ros: None) -> None:
    arguments = ["--ros-args", "--params-file", str(CONFIG)]
    node = rclpy.create_node(
        "eyes", namespace="robot", cli_args=arguments, automatically_declare_parameters_from_overrides=True
    )
    assert set(NAMES) <= set(node.get_parameters_by_prefix(""))
    node.destroy_node()


def test_models_are_opened_as_the_parameters_say(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: dict[str, Any] = {}

    def opens(name: str) -> Any:
        return lambda *args, **_: opened.update({name: args}) or name

    monkeypatch.setattr(focus_node.Pipeline, "open", lambda *args: opened.update(pipeline=args))
    monkeypatch.setattr(focus_node.Finder, "open", opens("finder"))
    monkeypatch.setattr(focus_node, "Keyframes", opens("keyframes"))
    finder = {"finder_model_dir": "slow", "keyframe_max_age": 5.0, "keyframe_min_change": 0.3}
    focus_node.open_pipeline(Parameters(model_dir="fast", backend="torch", threads=3, **finder))
    assert opened == {
        "finder": ("slow", "torch", 3, None),
        "keyframes": ("finder", 5.0, 0.3),
        "pipeline": ("fast", "torch", 3, None, "keyframes"),
    }


def test_without_a_scale_an_image_of_nan_can_be_had_beside_a_target(make_rig: Any) -> None:
    rig = make_rig(scale__when_stale="nan", pair_wait=10.0)
    rig.start("depth/image_rect")
    rig.focus(roi(10, 20, 30, 40))
    rig.send("camera_info", camera_info(1))
    rig.send("depth_hint", depth_hint(1, 20, 10))  # of no use
    rig.send("image", image(1))
    assert np.isnan(pixels(rig.answer(1, "depth/image_rect"))).all()
