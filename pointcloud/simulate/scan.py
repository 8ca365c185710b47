"""A simulated coordinate measuring machine: ball centres with noise along the path, tip error and geometry error."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pointcloud.simulate.fields import correlated_noise
from pointcloud.simulate.part import CIRCLES, Part
from pointcloud.simulate.surfaces import small_rotation

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Machine:
    """One machine in one state; lengths in mm.

    ``tip_radius`` is what the certificate says and ``tip_error`` what is added to it in truth. ``distortion`` (3, 3)
    multiplies machine coordinates (scales, squareness, a part not quite at 20 degC). ``lobing`` is a three-lobed
    error of the probe over the approach direction in the plane.
    """

    tip_radius: float = 1.5
    tip_error: float = 0.0
    noise: float = 4e-4
    correlation_length: float | None = 2.0
    lobing: float = 1.5e-4
    lobing_phase: float = 0.0
    distortion: FloatArray = field(default_factory=lambda: np.zeros((3, 3)))

    @classmethod
    def draw(
        cls,
        rng: np.random.Generator,
        *,
        noise: float = 4e-4,
        correlation_length: float | None = 2.0,
        tip_error_u: float = 3e-4,
        scale: float = 1.5e-6,
        squareness: float = 1.0e-6,
        thermal: float = 2.3e-6,
    ) -> Machine:
        """A machine from the population that the declared instrument describes.

        Scales and squareness are uniform within ``+-scale`` and ``+-squareness``; ``tip_error_u`` and ``thermal`` (the
        strain left after temperature correction) are standard deviations of normal errors.
        """
        s = rng.uniform(-scale, scale, 3) + rng.normal(0.0, thermal)
        q = rng.uniform(-squareness, squareness, 3)
        distortion = np.array([[s[0], q[0], q[1]], [0.0, s[1], q[2]], [0.0, 0.0, s[2]]])
        return cls(
            tip_error=float(rng.normal(0.0, tip_error_u)),
            noise=noise,
            correlation_length=correlation_length,
            lobing_phase=float(rng.uniform(0.0, 2.0 * np.pi)),
            distortion=distortion,
        )


@dataclass(frozen=True)
class Scan:
    """Ball centres (n, 3) in machine coordinates and the feature name of each."""

    xyz: FloatArray
    labels: tuple[str, ...]
    rotation: FloatArray
    translation: FloatArray


def circles(heights: int, per_circle: int) -> FloatArray:
    """Parameters (n, 2) of full circles at midpoint heights, each started a little further round."""
    u = (np.arange(per_circle) + 0.5) / per_circle
    rows = [np.stack([u + 0.37 * i / per_circle, np.full(per_circle, (i + 0.5) / heights)], 1) for i in range(heights)]
    return np.concatenate(rows)


def sunflower(n: int, inner: float, outer: float) -> FloatArray:
    """Parameters (n, 2) of points spread evenly over a flat ring (golden-angle spiral)."""
    k = (np.arange(n) + 0.5) / n
    radius = np.sqrt(inner**2 + k * (outer**2 - inner**2))
    turn = np.mod(np.arange(n) * 0.5 * (3.0 - np.sqrt(5.0)), 1.0)
    return np.stack([turn, (radius - inner) / (outer - inner)], axis=1)


#: what the measuring program probes: feature -> parameters (n, 2)
PROGRAM: dict[str, FloatArray] = {
    "flange": sunflower(320, 35.0, 60.0),
    "bore": circles(CIRCLES["bore"], 96),
    "seat_1": circles(CIRCLES["seat_1"], 96),
    "seat_2": circles(CIRCLES["seat_2"], 96),
    "clocking": circles(CIRCLES["clocking"], 48),
    "hole": circles(CIRCLES["hole"], 48),
    "cone": circles(CIRCLES["cone"], 72),
    "ball": sunflower(140, 0.0, 1.0) ** np.array([1.0, 2.0]),  # v counts area on the cap
    "section": np.stack([(np.arange(360) + 0.5) / 360.0, np.full(360, 0.5)], axis=1),
}


def scan(part: Part, machine: Machine, rng: np.random.Generator) -> Scan:
    """Measure ``part``: its own small displacement on the table, then ball centres feature by feature."""
    rotation = small_rotation(rng.normal(0.0, 4e-3, 3))
    translation = np.array([310.0, 220.0, 140.0]) + rng.normal(0.0, 1.5, 3)
    points: list[FloatArray] = []
    labels: list[str] = []
    for name, uv in PROGRAM.items():
        surface = part.surfaces[name]
        contact = surface.point(uv[:, 0], uv[:, 1])
        normal = surface.normal(uv[:, 0], uv[:, 1])
        error = correlated_noise(rng, contact, machine.noise, machine.correlation_length)
        approach = np.arctan2(normal[:, 1], normal[:, 0])
        error = error + machine.lobing * np.cos(3.0 * approach + machine.lobing_phase) * np.hypot(*normal[:, :2].T)
        centre = contact + (machine.tip_radius + machine.tip_error + error)[:, None] * normal
        placed = centre @ rotation.T + translation
        points.append(placed + placed @ machine.distortion.T)
        labels.extend([name] * len(uv))
    return Scan(np.concatenate(points), tuple(labels), rotation, translation)
