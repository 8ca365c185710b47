"""Registration: the rigid motion of a scan onto its nominal, with its uncertainty and what the data leave free.

Names are loaded when first used.
"""

from __future__ import annotations

import importlib
from typing import Any

_LAZY = {
    "align": "pointcloud.registration.entry",
    "align_together": "pointcloud.registration.together",
    "JointRegistration": "pointcloud.registration.together",
    "DatumTarget": "pointcloud.registration.rps",
    "three_two_one": "pointcloud.registration.rps",
    "read_rps": "pointcloud.registration.rps_file",
    "write_rps": "pointcloud.registration.rps_file",
    "Registration": "pointcloud.registration.result",
    "FreeMotion": "pointcloud.registration.free",
}
__all__ = [*_LAZY]


def __getattr__(name: str) -> Any:
    try:
        module = _LAZY[name]
    except KeyError:
        raise AttributeError(f"module 'pointcloud.registration' has no attribute {name!r}") from None
    return getattr(importlib.import_module(module), name)
