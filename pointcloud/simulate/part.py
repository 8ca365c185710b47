"""A simulated turbine-blade ring: what the drawing says, what one part really is, and what it is truly worth.

Part frame: z out of the flange, origin on the flange in the bore axis, x towards the clocking hole; lengths in mm.
The flange is the top of the ring, the blade section stands on it. All deviations are excess material.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointcloud.simulate import dense
from pointcloud.simulate.fields import CosineField, lobing, waviness
from pointcloud.simulate.section import SplineSection, aerofoil_points
from pointcloud.simulate.surfaces import Annulus, Cap, Extruded, Revolved, Surface, small_rotation

FloatArray = NDArray[np.float64]

CLOCKING_AT = (47.5, 0.0)
HOLE_AT = (-12.0, 46.0)
BALL_AT = (10.0, -47.0, 9.0)
BALL_RADIUS = 6.0
SECTION_HEIGHT = 15.0
CONE_HALF_ANGLE = np.radians(20.0)
#: circles that the measuring program takes of a round feature, at midpoints of equal heights; zones of axes are
#: defined over the length between the outer two
CIRCLES = {"bore": 5, "seat_1": 3, "seat_2": 3, "clocking": 3, "hole": 3, "cone": 4}
#: how a part may be spoilt, and the characteristic that shows it
FAULTS = {
    "bore": "bore diameter",
    "hole": "hole position",
    "section": "blade section profile",
    "flange": "flange flatness",
}


@dataclass(frozen=True)
class Part:
    """One real part: its surfaces by feature name, in the part frame."""

    serial: str
    surfaces: dict[str, Surface]
    nominal_section: SplineSection
    fault: str | None = None
    process: dict[str, float] = field(default_factory=dict)


def nominal_section_points() -> FloatArray:
    """Points (n, 2) of the nominal blade section in the datum frame, mm."""
    return aerofoil_points()


def make_part(serial: str, rng: np.random.Generator, *, section: SplineSection, fault: str | None = None) -> Part:
    """Draw one part from the process; ``fault`` (a key of `FAULTS`) spoils one characteristic clearly.

    The bore comes from two machines (bimodal), the offsets are skewed: real processes are not normal.
    """
    p = {
        "bore": (-0.0012 if rng.random() < 0.5 else 0.0010) + rng.normal(0.0, 0.0006),
        "seat_1": rng.normal(0.0, 0.0010),
        "seat_2": rng.gamma(2.0, 0.0006) - 0.0012,
        "clocking": rng.normal(0.0, 0.0012),
        "hole": rng.normal(0.0015, 0.0012),
        "cone_angle": rng.normal(0.0, 4e-5),
        "hole_dx": rng.gamma(2.0, 0.002) - 0.004,
        "hole_dy": rng.normal(0.0, 0.003),
        "section_dx": rng.normal(0.0, 0.003),
        "section_dy": rng.normal(0.0, 0.003),
        "section_twist": rng.normal(0.0, 1.5e-4),
        "cup": rng.normal(0.0, 0.0010),
        "ball": rng.normal(0.0, 0.0008),
        "ball_dx": rng.normal(0.0, 0.004),
        "ball_dy": rng.normal(0.0, 0.004),
        "ball_dz": rng.normal(0.0, 0.004),
    }
    tilt = {name: rng.normal(0.0, 4e-5, 2) for name in ("bore", "seat_1", "seat_2", "clocking", "hole", "cone")}
    offset = {name: rng.normal(0.0, 0.0015, 2) for name in ("seat_1", "seat_2", "clocking", "cone")}
    if fault == "bore":
        p["bore"] += 0.020
    elif fault == "hole":
        p["hole_dx"] += 0.045
        p["hole_dy"] -= 0.035
    elif fault == "flange":
        p["cup"] += 0.018
    elif fault is not None and fault != "section":
        raise ValueError(f"unknown fault {fault!r}; one of {sorted(FAULTS)}")

    def shaped(amplitudes: dict[int, float], rms: float, kv: float = 1.0) -> CosineField:
        # lobing, waves round the axis, and one half wave along it (taper with its ends rounded)
        taper = CosineField(
            np.array([rng.normal(0.0, rms)]), np.zeros(1), np.array([0.5]), rng.uniform(-0.2, 0.2, 1) * np.pi
        )
        return lobing(rng, amplitudes) + waviness(rng, rms, ku=(6, 18), kv=kv) + taper

    def axis_turn(name: str) -> FloatArray:
        return small_rotation((tilt[name][0], tilt[name][1], 0.0))

    def shift(name: str) -> FloatArray:
        return np.array([offset[name][0], offset[name][1], 0.0])

    flange_form = waviness(rng, 0.0007, ku=(1, 7), kv=1.2) + CosineField(
        np.array([p["cup"], 0.0012]), np.array([0.0, 2.0]), np.array([0.5, 0.1]), np.array([0.0, rng.uniform(0.0, 6.0)])
    )
    section_form = waviness(rng, 0.0030, ku=(2, 9), kv=0.05)
    if fault == "section":
        section_form = section_form + CosineField(
            np.full(5, 0.012), np.arange(1.0, 6.0), np.zeros(5), -2.0 * np.pi * 0.22 * np.arange(1.0, 6.0)
        )
    pivot = np.array([-47.5, 0.0, SECTION_HEIGHT])
    surfaces: dict[str, Surface] = {
        "flange": Annulus("flange", deviation=flange_form, inner=35.0, outer=60.0),
        "bore": Revolved(
            "bore", -1.0, shaped({2: 0.0012, 3: 0.0015, 5: 0.0006}, 0.0004), axis_turn("bore"),
            pivot=np.array([0.0, 0.0, -14.0]), radius=30.0 + p["bore"], low=-24.0, high=-4.0,
        ),
        "seat_1": Revolved(
            "seat_1", 1.0, shaped({2: 0.0010, 3: 0.0012, 4: 0.0005}, 0.0004), axis_turn("seat_1"),
            pivot=np.array([0.0, 0.0, -33.0]), shift=shift("seat_1"), radius=50.0 + p["seat_1"], low=-38.0, high=-28.0,
        ),
        "seat_2": Revolved(
            "seat_2", 1.0, shaped({3: 0.0014, 7: 0.0004}, 0.0004), axis_turn("seat_2"),
            pivot=np.array([0.0, 0.0, -50.0]), shift=shift("seat_2"), radius=45.0 + p["seat_2"], low=-55.0, high=-45.0,
        ),
        "clocking": Revolved(
            "clocking", -1.0, shaped({2: 0.0008, 3: 0.0005}, 0.0003), axis_turn("clocking"),
            pivot=np.array([*CLOCKING_AT, -6.0]), shift=shift("clocking"), center=CLOCKING_AT,
            radius=4.0 + p["clocking"], low=-11.0, high=-1.5,
        ),
        "hole": Revolved(
            "hole", -1.0, shaped({2: 0.0010, 3: 0.0006}, 0.0003), axis_turn("hole"),
            pivot=np.array([*HOLE_AT, -6.0]), shift=np.array([p["hole_dx"], p["hole_dy"], 0.0]), center=HOLE_AT,
            radius=5.0 + p["hole"], low=-11.0, high=-1.5,
        ),
        "cone": Revolved(
            "cone", -1.0, shaped({2: 0.0009, 3: 0.0010}, 0.0004), axis_turn("cone"),
            pivot=np.array([0.0, 0.0, -50.0]), shift=shift("cone"), radius=33.0,
            half_angle=-(CONE_HALF_ANGLE + p["cone_angle"]), low=-55.0, high=-45.0,
        ),
        "ball": Cap(
            "ball", 1.0, waviness(rng, 0.0003, ku=(1, 4), kv=1.0),
            shift=np.array([p["ball_dx"], p["ball_dy"], p["ball_dz"]]),
            center=BALL_AT, radius=BALL_RADIUS + p["ball"], colatitude=np.radians(75.0),
        ),
        "section": Extruded(
            "section", 1.0, section_form, small_rotation((0.0, 0.0, p["section_twist"])), pivot=pivot,
            shift=np.array([p["section_dx"], p["section_dy"], 0.0]), curve=section,
            low=SECTION_HEIGHT - 1.0, high=SECTION_HEIGHT + 1.0,
        ),
    }  # fmt: skip
    return Part(serial, surfaces, section, fault, p)


@dataclass(frozen=True)
class Truth:
    """True values by characteristic name (mm, rad), and the true datum frame (rotation rows = axes, origin)."""

    values: dict[str, float]
    axes: FloatArray
    origin: FloatArray
    elements: dict[str, Any] = field(default_factory=dict)


def true_values(part: Part) -> Truth:
    """Characteristics of the continuous surfaces: every associated element is least squares, nothing is filtered.

    - sizes: diameter of the least-squares cylinder or sphere; cone: its full angle;
    - flatness, cylindricity: extreme-to-extreme normal distance from the least-squares element;
    - datum frame: +z the flange normal, origin where the bore axis pierces the flange, +x toward the clocking hole's
      axis where that pierces the flange;
    - clocking distance: from the middle of the clocking hole's axis to the bore axis; ball: centre in the datum frame;
    - position: twice the largest distance of the hole's axis from its true place, over the measured height (between
      the outer circles of the measuring program, as for all axes);
    - perpendicularity: diameter of the cylinder, square to the flange, that holds the bore axis over its height;
    - coaxiality: twice the largest distance of the axis from the bore axis over the measured height;
    - profile: twice the largest normal distance of the section from the nominal curve in the datum frame.
    """
    grids = {name: dense.sample(s) for name, s in part.surfaces.items() if not isinstance(s, Extruded)}
    flange = dense.plane(grids["flange"])
    round_ones: dict[str, dense.TrueRevolved] = {}
    for name, surface in part.surfaces.items():
        if isinstance(surface, Revolved):
            begin = dense.TrueRevolved(
                np.array([*surface.center, surface.middle]),
                np.array([0.0, 0.0, 1.0]),
                surface.radius,
                surface.half_angle,
                np.zeros(0),
            )
            round_ones[name] = dense.revolved(grids[name], begin, cone=surface.half_angle != 0.0)

    def pierce(name: str) -> FloatArray:
        e = round_ones[name]
        t = ((flange.point - e.point) @ flange.normal) / (e.axis @ flange.normal)
        out: FloatArray = e.point + t * e.axis
        return out

    origin = pierce("bore")
    x = pierce("clocking") - origin
    x /= np.linalg.norm(x)
    y = np.cross(flange.normal, x)
    axes = np.stack([x, y, flange.normal])

    def ends(name: str) -> FloatArray:
        surface = part.surfaces[name]
        assert isinstance(surface, Revolved)
        e = round_ones[name]
        margin = 0.5 * (surface.high - surface.low) / CIRCLES[name]
        return np.stack([e.at_height(surface.low + margin), e.at_height(surface.high - margin)])

    def local(xyz: FloatArray) -> FloatArray:
        out: FloatArray = (xyz - origin) @ axes.T
        return out

    hole_ends = local(ends("hole"))
    bore_ends = local(ends("bore"))
    bore = round_ones["bore"]

    def coaxial(name: str) -> float:
        d = ends(name) - bore.point
        return 2.0 * float(np.max(np.linalg.norm(d - np.outer(d @ bore.axis, bore.axis), axis=1)))

    section = part.surfaces["section"]
    u = np.arange(6000) / 6000.0
    outline = local(section.point(u, np.full(u.shape, 0.5)))
    profile = part.nominal_section.deviation(outline[:, :2], u)
    ball = dense.sphere(grids["ball"], np.asarray(BALL_AT), BALL_RADIUS)
    ball_center = local(ball.center)
    clocking = round_ones["clocking"].point - bore.point
    values = {
        "bore diameter": 2.0 * bore.radius,
        "bore cylindricity": float(np.ptp(bore.residuals)),
        "bore perpendicularity": float(np.linalg.norm((bore_ends[1] - bore_ends[0])[:2])),
        "flange flatness": float(np.ptp(flange.residuals)),
        "seat 1 diameter": 2.0 * round_ones["seat_1"].radius,
        "seat 2 diameter": 2.0 * round_ones["seat_2"].radius,
        "seat 1 coaxiality": coaxial("seat_1"),
        "clocking distance": float(np.linalg.norm(np.cross(clocking, bore.axis))),
        "hole diameter": 2.0 * round_ones["hole"].radius,
        "hole position": 2.0 * float(np.max(np.hypot(*(hole_ends[:, :2] - np.asarray(HOLE_AT)).T))),
        "cone angle": 2.0 * abs(round_ones["cone"].half_angle),
        "ball diameter": 2.0 * ball.radius,
        "ball x": float(ball_center[0]),
        "ball y": float(ball_center[1]),
        "ball z": float(ball_center[2]),
        "blade section profile": 2.0 * float(np.max(np.abs(profile))),
    }
    return Truth(values, axes, origin, {"flange": flange, **round_ones, "ball": ball, "profile": profile})
