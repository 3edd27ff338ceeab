"""Message types by name: as classes of this installation, and as definitions for a bag."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_share_directory
from rosbags.typesys import Stores, get_types_from_msg, get_typestore


def message_class(name: str) -> Any:
    """Of "package/msg/Name". Raises ``ValueError`` if the package is not installed."""
    package, _, kind = name.split("/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), kind)
    except (ImportError, AttributeError):
        raise ValueError(f"message type {name} is not installed here") from None


class Definitions:
    """The types of the ROS distribution, and on demand those of other packages as they are installed."""

    def __init__(self) -> None:
        distribution = f"ROS2_{os.environ.get('ROS_DISTRO', '').upper()}"
        self.store = get_typestore(getattr(Stores, distribution, Stores.LATEST))

    def need(self, name: str) -> None:
        if name in self.store.types:
            return
        package = name.split("/")[0]
        types: dict[str, Any] = {}
        for path in sorted((Path(get_package_share_directory(package)) / "msg").glob("*.msg")):
            types.update(get_types_from_msg(path.read_text(encoding="utf-8"), f"{package}/msg/{path.stem}"))
        self.store.register(types)
