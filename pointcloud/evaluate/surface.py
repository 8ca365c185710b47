"""Form of the continuous surface behind a declared field of noise: drawn surfaces instead of a one-sided bias.

Used only where the instrument states how its noise is correlated (`Instrument.correlation_kernel`), for planes and
cylinders of up to `MOST_POINTS` points; everything else keeps the budget of `evaluate_uncertainty.extremes_of`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrology_core.features import basis
from metrology_core.quantity import Influence
from pointcloud.evaluate.types import EvaluatedFeature

FloatArray = NDArray[np.float64]
MOST_POINTS = 1000
PLACES = 700  # of the region: with the points they stay below what a drawn surface takes
DRAWS = 399


@dataclass(frozen=True, eq=False)
class DrawnForm:
    """Values (draws,) that the form of the continuous surface can have, the flags of the drawn surfaces, and words."""

    samples: FloatArray
    flags: tuple[str, ...]
    words: str


def drawn_form(feature: EvaluatedFeature, xyz: FloatArray, values: FloatArray, seed: int) -> DrawnForm | None:
    """Form over the measured region from deviations ``values`` (n,) of surface points xyz (n, 3) from the feature.

    The region of a cylinder is the sector and length of its points, that of a plane their convex hull. None where no
    field is declared, or the feature or its number of points is not one for drawn surfaces. Least-squares features have
    the range about the least-squares element of each draw, minimum zones the width of its zone.
    """
    if feature.field is None or feature.uncertain is None or len(xyz) > MOST_POINTS:
        return None
    geometry: Any = feature.uncertain.feature
    criterion = feature.request.criterion
    if geometry.kind not in ("plane", "cylinder") or criterion not in ("minimum_zone", "least_squares"):
        return None
    region = _region(geometry, xyz)
    if region is None:
        return None
    from metrology_core.uncertainty.fields import SurfaceModel

    model = SurfaceModel(geometry, xyz, region, feature.field)
    # deviations count excess material, the design distances: the sign of a form does not matter
    found = model.posterior(values, draws=DRAWS, seed=seed)
    middle = replace(found, surfaces=found.surfaces.mean(axis=0, keepdims=True))
    samples, centre = _form(found, model, criterion), float(_form(middle, model, criterion)[0])
    samples = np.sort(samples[np.isfinite(samples)])
    # a range is drawn larger than that of the mean surface, and the mean surface is as much larger than the true one:
    # where whole ridges are highest (lobes), the lower end would miss it
    bias = max(0.0, float(samples.mean()) - centre)
    place = (np.arange(len(samples)) + 0.5) / len(samples)
    samples = np.clip(samples - 2.0 * bias * np.clip(1.0 - 2.0 * place, 0.0, None), 0.0, None)
    if not found.resolved:
        samples[: math.ceil(0.05 * len(samples))] = 0.0  # form may be absent: 95 % intervals begin at zero
    words = (
        f"form of the surface between and under the points drawn {len(samples)} times ({len(region)} places, form of "
        f"about {found.sigma:.3g} over {found.length:.3g}, declared noise)"
    )
    if found.noise_factor > 1.0:
        words += f", half of the prior for {found.noise_factor:g} times of it, which the points suggest"
    return DrawnForm(samples, found.flags, words)


def _form(found: Any, model: Any, criterion: str) -> FloatArray:
    """Width of the zone, or range about the least-squares element, of each surface."""
    if criterion == "minimum_zone":
        return np.asarray(found.zone("minimum_zone")[0])
    return np.asarray(np.ptp(found.surfaces + found.chart() @ model.rows.T, axis=1))


def surface_influence(scope: str, name: str) -> Influence:
    """The cause that drawn surfaces stand for."""
    return Influence(f"surface/{scope}/{name}", f"noise and the surface between the points of {name} (drawn)", "B")


def _region(geometry: Any, xyz: FloatArray) -> FloatArray | None:
    """Places (m, 3) over the measured region, borders included; None where it has no extent."""
    if geometry.kind == "plane":
        from scipy.spatial import ConvexHull, QhullError

        u, v = basis(geometry.normal)
        flat = np.stack([(xyz - geometry.point) @ u, (xyz - geometry.point) @ v], axis=1)
        try:
            hull = ConvexHull(flat)
        except QhullError:
            return None
        low, span = flat.min(axis=0), np.ptp(flat, axis=0)
        # the bounding box gets more places where the hull fills less of it
        step = math.sqrt(float(hull.volume) / PLACES)
        count = np.maximum(2, np.ceil(span / step).astype(int) + 1)
        a, b = np.meshgrid(*(np.linspace(low[k], low[k] + span[k], count[k]) for k in (0, 1)), indexing="ij")
        places = np.stack([a.ravel(), b.ravel()], axis=1)
        inside = (places @ hull.equations[:, :2].T + hull.equations[:, 2] <= 1e-9 * float(span.max())).all(axis=1)
        places = np.concatenate([places[inside], flat[hull.vertices]])
        return np.asarray(geometry.point + places[:, :1] * u + places[:, 1:] * v)
    u, v = basis(geometry.axis)
    y = xyz - geometry.point
    height = y @ geometry.axis
    angle = np.sort(np.mod(np.arctan2(y @ v, y @ u), 2.0 * np.pi))
    gaps = np.diff(angle, append=angle[0] + 2.0 * np.pi)
    widest = int(np.argmax(gaps))
    whole = gaps[widest] < math.pi / 2.0
    sector = 2.0 * math.pi if whole else 2.0 * math.pi - float(gaps[widest])
    length = float(np.ptp(height))
    if length <= 0.0 or sector <= 0.0:
        return None
    radius = float(geometry.radius)
    step = math.sqrt(sector * radius * length / PLACES)
    around = min(PLACES // 3, max(12, math.ceil(sector * radius / step)))
    along = max(3, min(PLACES // around, math.ceil(length / step) + 1))
    first = 0.0 if whole else float(angle[(widest + 1) % len(angle)])
    theta = first + np.linspace(0.0, sector, around, endpoint=not whole)
    t, g = (x.ravel() for x in np.meshgrid(theta, np.linspace(height.min(), height.max(), along), indexing="ij"))
    out = geometry.point + radius * (np.cos(t)[:, None] * u + np.sin(t)[:, None] * v) + g[:, None] * geometry.axis
    return np.asarray(out)
