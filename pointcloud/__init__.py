"""Point clouds: readers, nominals, deviation, simulation. Names are loaded when first used."""

from __future__ import annotations

import importlib
from typing import Any

_LAZY = {
    "read_points": "pointcloud.readers.api",
    "read_mesh": "pointcloud.nominal.mesh",
    "read_qif": "pointcloud.readers.qif",
    "detect_format": "pointcloud.readers.registry",
    "FORMATS": "pointcloud.readers.registry",
    "TriangleMesh": "pointcloud.nominal.mesh",
    "QifDocument": "pointcloud.readers.qif_model",
    "SurfaceTree": "pointcloud.nominal.tree",
    "FeatureSurface": "pointcloud.nominal.features",
    "FeatureGroup": "pointcloud.nominal.features",
    "clean_mesh": "pointcloud.nominal.clean",
    "deviate": "pointcloud.deviation.field",
    "DeviationField": "pointcloud.deviation.field",
    "DeviationUncertainty": "pointcloud.deviation.uncertainty",
}
__all__ = [
    "FORMATS",
    "DeviationField",
    "DeviationUncertainty",
    "FeatureGroup",
    "FeatureSurface",
    "QifDocument",
    "SurfaceTree",
    "TriangleMesh",
    "clean_mesh",
    "deviate",
    "detect_format",
    "read_mesh",
    "read_points",
    "read_qif",
]


def __getattr__(name: str) -> Any:
    try:
        module = _LAZY[name]
    except KeyError:
        raise AttributeError(f"module 'pointcloud' has no attribute {name!r}") from None
    return getattr(importlib.import_module(module), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
