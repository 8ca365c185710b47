"""Which criteria beside plain least squares exist for which feature."""

from __future__ import annotations

from metrology_core.kernels import layout

SLOT, PARALLEL_PLANES = 8, 9  # kinds beyond those of the kernels

# Criteria that the compiled minimax solves, where the feature is one of the kernels' own.
ZONE_CRITERIA = (
    "minimum_zone",
    "minimum_zone_outside",
    "minimum_zone_inside",
    "maximum_inscribed",
    "minimum_circumscribed",
)
# Parallel elements of these are of the same kind: a one-sided zone is the minimum zone seen from one of its borders.
_PARALLEL = (
    layout.PLANE, layout.CIRCLE, layout.SPHERE, layout.CYLINDER, layout.CONE, layout.TORUS, SLOT, PARALLEL_PLANES,
)  # fmt: skip
INSCRIBED = (layout.CIRCLE, layout.SPHERE, layout.CYLINDER, PARALLEL_PLANES)
# Shape that must be known before there is a largest or smallest one: its name in `fixed`.
SHAPE = {layout.CONE: "half_angle", layout.TORUS: "major_radius", layout.ELLIPSE: "axis_ratio"}


def criteria_of(kind: int, dimension: int) -> tuple[str, ...]:
    """The criteria that exist for a feature, in the order of `table.CRITERIA`, least squares left out.

    Minimum zone and least absolute deviations: every feature. One-sided least squares: where distances have a sign
    (not the line in space). One-sided zones: where moreover the parallel of the feature is of its own kind (not the
    ellipse). Inscribed and circumscribed: circle, sphere, cylinder, parallel planes; cone, torus and ellipse with a
    fixed shape (`SHAPE`).
    """
    in_space = kind == layout.LINE and dimension == 3
    parallel = kind in _PARALLEL or (kind == layout.LINE and dimension == 2)
    names = ["minimum_zone"]
    if kind in INSCRIBED or kind in SHAPE:
        names += ["maximum_inscribed", "minimum_circumscribed"]
    names.append("least_absolute")
    if parallel:
        names += ["minimum_zone_outside", "minimum_zone_inside"]
    if not in_space:
        names += ["least_squares_outside", "least_squares_inside"]
    return tuple(names)


def compiled(kind: int, criterion: str) -> bool:
    """Whether the kernels solve this pair (least squares and zones of their own features)."""
    if kind >= SLOT:
        return False
    if criterion in ("maximum_inscribed", "minimum_circumscribed"):
        return kind in INSCRIBED
    return criterion == "least_squares" or criterion in ZONE_CRITERIA
