"""The parameters of ``focus_node``."""

from __future__ import annotations

from dataclasses import dataclass

from focusdepth_core.engine.open import BACKENDS
from focusdepth_ros import qos
from focusdepth_ros.parameter_store import parameter


@dataclass(frozen=True)
class Parameters:
    model_dir: str = parameter(
        "",
        "Folder of the model (config.json, ONNX); empty: the one shipped with the package.",
        settable="unconfigured",
    )
    backend: str = parameter(
        "auto",
        "What runs the networks; auto: TensorRT where it and a GPU can be used, else ONNX Runtime, else torch.",
        choices=("auto", *BACKENDS),
        settable="unconfigured",
    )
    threads: int = parameter(
        0, "CPU threads per inference; 0: the backend's choice.", limits=(0, 256), settable="unconfigured"
    )
    finder_model_dir: str = parameter(
        "",
        "Folder of a slower model that finds targets by text on keyframes, for a model that takes none; empty: none.",
        name="finder.model_dir",
        settable="unconfigured",
    )
    keyframe_max_age: float = parameter(
        2.0,
        "Age in s up to which what the finder found is carried; it looks again after half of that.",
        name="keyframe.max_age",
        limits=(0.1, 60.0),
        settable="unconfigured",
    )
    keyframe_min_change: float = parameter(
        0.1,
        "Mean change of the image, from 0 to 1 and brightness aside, above which the finder looks again.",
        name="keyframe.min_change",
        limits=(0.0, 1.0),
        settable="unconfigured",
    )
    image_transport: str = parameter(
        "raw",
        "How images come: raw on `image`, or as JPEG or PNG on `image`/compressed.",
        choices=("raw", "compressed"),
        settable="unconfigured",
    )
    reliability: str = parameter(
        qos.AUTO,
        "QoS asked of image, camera_info, depth_hint and detections; auto: reliable where all publishers offer that.",
        name="qos.reliability",
        choices=qos.RELIABILITIES,
        settable="unconfigured",
    )
    depth: int = parameter(
        1,
        "QoS history of image; the newest frame is answered first, so that more than 1 only costs memory.",
        name="qos.depth",
        limits=(1, 100),
        settable="unconfigured",
    )
    rectified: bool = parameter(
        True, "Whether images are rectified, so that P of camera_info holds; else points are placed by K and D."
    )
    max_target_age: float = parameter(
        1.0,
        "Longest time in s between the stamps of `targets` or `detections` and the image they are used for.",
        limits=(0.0, 3600.0),
    )
    max_targets: int = parameter(
        16, "Most targets per image, since each costs time; the others are those of lowest score.", limits=(1, 256)
    )
    lost_after: float = parameter(
        2.0,
        "Time in s without being found after which a target counts as lost.",
        name="target.lost_after",
        limits=(0.0, 3600.0),
    )
    click_size: float = parameter(
        0.15, "Side in m of the cube around a point of `clicked_point` that becomes the target.", limits=(0.01, 10.0)
    )
    pair_wait: float = parameter(
        0.1,
        "Longest time in s that an image waits for its transform, or for depth_hint or first camera_info if published.",
        limits=(0.0, 10.0),
    )
    pair_tolerance: float = parameter(
        0.0, "Longest time in s between the stamps of an image and a depth_hint used for it.", limits=(0.0, 1.0)
    )
    max_scale_age: float = parameter(
        0.5,
        "Age in s of the newest depth_hint up to which its scale is used; after that there are no metric outputs.",
        name="scale.max_age",
        limits=(0.0, 3600.0),
    )
    max_residual: float = parameter(
        0.5,
        "Median relative error of the fit above which there are no metric outputs.",
        name="scale.max_residual",
        limits=(0.0, 10.0),
    )
    when_stale: str = parameter(
        "silent",
        "What depth/image_rect is without a usable scale: silent, or nan for an image of NaN.",
        name="scale.when_stale",
        choices=("silent", "nan"),
    )
    fixed_scale: float = parameter(
        0.0,
        "Scale that makes raw values metric, as in targets_3d, in place of a depth_hint; 0: none.",
        name="scale.fixed_scale",
        limits=(0.0, 1e4),
    )
    fixed_shift: float = parameter(
        0.0, "Shift that belongs to scale.fixed_scale, as in targets_3d.", name="scale.fixed_shift", limits=(-1e4, 1e4)
    )
    target_frame: str = parameter(
        "", "Frame of target_points and targets_3d by TF at the image's stamp; empty: the camera's optical frame."
    )
    min_rate: float = parameter(
        0.0, "Answers per s below which the status complains of a slow node or camera; 0: never.", limits=(0.0, 1000.0)
    )
    max_image_age: float = parameter(
        0.0, "Age in s, on arrival, above which an image is dropped and counted; 0: none is.", limits=(0.0, 3600.0)
    )
    drop_edge_px: int = parameter(
        1,
        "Width in px of the rim of each mask that gives no points in target_points and targets_3d.",
        name="target_points.drop_edge_px",
        limits=(0, 100),
    )
    voxel_size: float = parameter(
        0.0,
        "Side in m of cubes in each of which the points of target_points become one, at their mean; 0: all stay.",
        name="target_points.voxel_size",
        limits=(0.0, 1.0),
    )
    range_max: float = parameter(
        0.0,
        "Depth in m beyond which there are no points in target_points and targets_3d; 0: however far.",
        name="target_points.range_max",
        limits=(0.0, 1000.0),
    )
