"""Which zone criteria exist for which feature."""

from __future__ import annotations

from metrology_core.kernels import layout

ZONE_CRITERIA = (
    "minimum_zone",
    "minimum_zone_outside",
    "minimum_zone_inside",
    "maximum_inscribed",
    "minimum_circumscribed",
)
# Parallel elements of these are of the same kind: a one-sided zone is the minimum zone seen from one of its borders.
_PARALLEL = (layout.PLANE, layout.CIRCLE, layout.SPHERE, layout.CYLINDER, layout.CONE, layout.TORUS)
_INSCRIBED = (layout.CIRCLE, layout.SPHERE, layout.CYLINDER)


def zone_criteria(kind: int, dimension: int) -> tuple[str, ...]:
    """The zone criteria that exist for a feature.

    Minimum zone: every feature. One-sided zones: where the parallel of the feature is of its own kind (not the
    ellipse, and not the line in space, which has no sides). Inscribed and circumscribed: circle, sphere, cylinder.
    """
    names = ["minimum_zone"]
    if kind in _PARALLEL or (kind == layout.LINE and dimension == 2):
        names += ["minimum_zone_outside", "minimum_zone_inside"]
    if kind in _INSCRIBED:
        names += ["maximum_inscribed", "minimum_circumscribed"]
    return tuple(names)
