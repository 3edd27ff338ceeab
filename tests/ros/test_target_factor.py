"""A target's own factor reaches everything in metres, and nothing that a fixed scale gives."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("focusdepth_ros.msg", reason="needs the built package: ./run build")

from rclpy.parameter import Parameter
from sensor_msgs.msg import Image

from focusdepth_ros.image_msgs import pixels, to_image
from tests.ros.harness import Rig, camera_info, depth_hint, header, image, roi

INSIDE = np.s_[35:45, 40:60]  # of the mask


def nearer_hint(seconds: int) -> Image:
    """Four fifths of what the fake network's depth is, on the target."""
    metres = pixels(depth_hint(seconds)).copy()
    metres[25:55, 30:70] *= 0.8
    return to_image(metres, "32FC1", header(seconds))


def ask(rig: Rig, seconds: int) -> None:
    rig.focus(roi(30, 25, 40, 30))
    for topic, msg in {"camera_info": camera_info, "depth_hint": nearer_hint, "image": image}.items():
        rig.send(topic, msg(seconds))


def test_depth_points_and_quantiles_are_corrected(paired: Rig) -> None:
    ask(paired, 1)
    (target,) = paired.answer(1, "targets_3d").targets
    assert target.factor == pytest.approx(0.8, rel=0.02)
    depth_m, hint_m = pixels(paired.answer(1, "depth/image_rect")), pixels(nearer_hint(1))
    np.testing.assert_allclose(depth_m[INSIDE], hint_m[INSIDE], rtol=0.03)
    assert depth_m[10, 50] == pytest.approx(hint_m[10, 50], rel=0.03)
    assert target.depth_quantiles[1] == pytest.approx(np.median(hint_m[25:55, 30:70]), rel=0.03)
    assert target.centroid.z == pytest.approx(target.depth_quantiles[1], rel=0.03)


def test_a_fixed_scale_is_taken_as_it_is(paired: Rig) -> None:
    paired.node.set_parameters([Parameter("scale.fixed_scale", value=0.5), Parameter("scale.fixed_shift", value=1.5)])
    ask(paired, 1)
    array = paired.answer(1, "targets_3d")
    (target,) = array.targets
    assert (array.scale_source, target.factor) == ("parameter", 1.0)
    by_scale = np.sort(1 / (0.5 * np.array(target.raw_quantiles) + 1.5))
    np.testing.assert_allclose(target.depth_quantiles, by_scale, rtol=1e-5)
