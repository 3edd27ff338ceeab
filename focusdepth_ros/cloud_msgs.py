"""sensor_msgs/PointCloud2 of coloured, labelled points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

# Four bytes per field, as in PCL's PointXYZRGBL; rgb holds 0x00RRGGBB in the bits of a float.
FIELDS = [
    PointField(name=name, offset=4 * i, datatype=datatype, count=1)
    for i, (name, datatype) in enumerate(
        [
            ("x", PointField.FLOAT32),
            ("y", PointField.FLOAT32),
            ("z", PointField.FLOAT32),
            ("rgb", PointField.FLOAT32),
            ("label", PointField.UINT32),
        ]
    )
]
POINT_STEP = 4 * len(FIELDS)


def to_cloud(points: Sequence[np.ndarray], rgb: Sequence[np.ndarray], header: Header) -> PointCloud2:
    """An unorganised, dense cloud of parts, which are labelled from 1. ``points``: N,3 metres each; ``rgb``: N uint32
    each, 0x00RRGGBB.
    """
    count = sum(len(part) for part in points)
    rows = np.empty((count, len(FIELDS)), np.float32)
    words = rows.view(np.uint32)
    start = 0
    for label, (part, colours) in enumerate(zip(points, rgb), start=1):
        end = start + len(part)
        for axis in range(3):  # a third of the time of all at once
            rows[start:end, axis] = part[:, axis]
        words[start:end, 3] = colours
        words[start:end, 4] = label
        start = end
    msg = PointCloud2(
        header=header,
        height=1,
        width=count,
        fields=FIELDS,
        is_bigendian=False,
        point_step=POINT_STEP,
        row_step=count * POINT_STEP,
        is_dense=True,
    )
    msg.data.frombytes(rows.reshape(-1).view(np.uint8).data)  # setting data makes copies
    return msg
