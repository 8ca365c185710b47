"""The drawing of the simulated part and its recipe: one table, so that truth, recipe and tests cannot drift apart."""

from __future__ import annotations

from dataclasses import dataclass

from pointcloud.simulate.part import BALL_AT, BALL_RADIUS, HOLE_AT


@dataclass(frozen=True)
class Requirement:
    """One characteristic: id of the registry, features, nominal and tolerance as recipe texts."""

    name: str
    characteristic: str
    of: str
    tolerance: dict[str, str]
    nominal: str | None = None
    to: str | None = None
    at: tuple[str, ...] = ()
    datum: bool = False
    curve: bool = False


def _mm(value: float) -> str:
    return f"{value:g} mm"


#: feature name -> kind, material side, sign hint of normal or axis
FEATURES: dict[str, tuple[str, str | None, tuple[int, int, int] | None]] = {
    "flange": ("plane", "inside", (0, 0, 1)),
    "bore": ("cylinder", "outside", (0, 0, 1)),
    "seat_1": ("cylinder", "inside", (0, 0, 1)),
    "seat_2": ("cylinder", "inside", (0, 0, 1)),
    "clocking": ("cylinder", "outside", (0, 0, 1)),
    "hole": ("cylinder", "outside", (0, 0, 1)),
    "cone": ("cone", "outside", None),
    "ball": ("sphere", "inside", None),
    "section": ("points", None, None),
}
DATUMS = ("flange", "bore", "clocking")

REQUIREMENTS: tuple[Requirement, ...] = (
    Requirement("bore diameter", "iso14405.GG", "bore", {"minus": "10 um", "plus": "15 um"}, "60 mm"),
    Requirement("bore cylindricity", "form.G.peak_to_valley", "bore", {"max": "18 um"}),
    Requirement("bore perpendicularity", "iso1101.perpendicularity.G", "bore", {"max": "15 um"}, to="flange"),
    Requirement("flange flatness", "form.G.peak_to_valley", "flange", {"max": "18 um"}),
    Requirement("seat 1 diameter", "iso14405.GG", "seat_1", {"plus_minus": "15 um"}, "100 mm"),
    Requirement("seat 2 diameter", "iso14405.GG", "seat_2", {"plus_minus": "15 um"}, "90 mm"),
    Requirement("seat 1 coaxiality", "iso1101.coaxiality.G", "seat_1", {"max": "30 um"}, to="bore"),
    Requirement("clocking distance", "distance.point_axis", "clocking", {"plus_minus": "20 um"}, "47.5 mm", to="bore"),
    Requirement("hole diameter", "iso14405.GG", "hole", {"plus_minus": "20 um"}, "10 mm"),
    Requirement(
        "hole position",
        "iso1101.position.G",
        "hole",
        {"max": "50 um"},
        at=(_mm(HOLE_AT[0]), _mm(HOLE_AT[1])),
        datum=True,
    ),
    Requirement("cone angle", "cone.apex_angle", "cone", {"plus_minus": "6 arcmin"}, "40 deg"),
    Requirement("ball diameter", "iso14405.GG", "ball", {"plus_minus": "15 um"}, _mm(2.0 * BALL_RADIUS)),
    Requirement("ball x", "coordinate.x", "ball", {"plus_minus": "40 um"}, _mm(BALL_AT[0]), datum=True),
    Requirement("ball y", "coordinate.y", "ball", {"plus_minus": "40 um"}, _mm(BALL_AT[1]), datum=True),
    Requirement("ball z", "coordinate.z", "ball", {"plus_minus": "40 um"}, _mm(BALL_AT[2]), datum=True),
    Requirement("blade section profile", "iso1101.line_profile", "section", {"max": "60 um"}, datum=True, curve=True),
)

_HEAD = """\
# Written by the simulator of Abbe: the measuring plan of a simulated turbine-blade ring.
schema: abbe/recipe/1
name: {name}
seed: {seed}
inputs:
  files: ["parts/*.csv"]
  format: text
  unit: mm
  points_are: ball_centre
  tip_radius: {tip_radius:g} mm
  tip_radius_u: {tip_radius_u:g} um
  frame: machine
  acquisition: {{lot: {lot}, operation: "OP40", drawing: "D-1001 B", time: "2026-05-04T10:20:30+02:00"}}
  acquisition_from_name: "part-(?P<serial>[0-9]+)"
instrument:
  id: CMM-07
  type: cmm
  mpe: {{constant: 1.5 um, per_length: 3 um/m}}
  noise: {noise:g} um
  correlation_length: {correlation:g} mm
  tip: {{value: {tip_radius:g} mm, u: {tip_radius_u:g} um}}
  temperature: {{value: 20.0 degC, u: 0.2 K}}
  expansion: {{value: 11.5e-6 1/K, u: 0.5e-6 1/K}}
  certificate: "simulated"
  valid_until: "2027-06-30"
decision: {{rule: iso14253-1, proving: conformity, probability: 0.95}}
measure:
  kind: features
  features:
"""


def recipe_text(
    *,
    name: str = "blade ring",
    lot: str = "L17",
    seed: int = 0,
    tip_radius: float = 1.5,
    tip_radius_u: float = 0.3,
    noise: float = 0.4,
    correlation: float = 2.0,
) -> str:
    """The recipe (YAML) for a lot; ``tip_radius`` and ``correlation`` in mm, ``tip_radius_u`` and ``noise`` in um."""
    lines = [
        _HEAD.format(
            name=name,
            lot=lot,
            seed=seed,
            tip_radius=tip_radius,
            tip_radius_u=tip_radius_u,
            noise=noise,
            correlation=correlation,
        ).rstrip("\n")
    ]
    for feature, (kind, material, direction) in FEATURES.items():
        entry = f"name: {feature}, feature: {kind}, select: {{label: {feature}}}"
        if material is not None:
            entry += f", material: {material}"
        if direction is not None:
            entry += f", direction: [{', '.join(map(str, direction))}]"
        lines.append(f"    - {{{entry}}}")
    primary, secondary, tertiary = DATUMS
    lines.append(f"  datum_system: {{name: ABC, primary: {primary}, secondary: {secondary}, tertiary: {tertiary}}}")
    lines.append("  characteristics:")
    for row in REQUIREMENTS:
        of = row.of if row.to is None else f"[{row.of}, {row.to}]"
        entry = f"name: {row.name}, characteristic: {row.characteristic}, of: {of}"
        if row.datum:
            entry += ", in: ABC"
        if row.at:
            entry += f", at: [{', '.join(row.at)}]"
        if row.nominal is not None:
            entry += f", nominal: {row.nominal}"
        if row.curve:
            entry += ", nominal_curve: {file: nominal/section.csv, unit: mm}"
        limits = ", ".join(f"{key}: {value}" for key, value in row.tolerance.items())
        lines.append(f"    - {{{entry}, tolerance: {{{limits}}}}}")
    return "\n".join(lines) + "\n"
