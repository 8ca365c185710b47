"""How often the interval of a simulated uncertainty holds the truth: scanner, microscope and profiler, through runs.

    python -m benchmarks.accuracy.virtual_instruments [--kind scanner] [--parts 100] [--seed 1] [--trials 1000] [--json]

A lot of parts is written to disk, each measured by an instrument of its own, and goes through `abbe run` with a recipe
that names a virtual instrument; its intervals are compared with the truth of the parts. The instruments that measured
are others than the virtual ones: lenses with radial distortion instead of smooth polynomials, figures that are uniform
instead of normal, Laplace or Student noise, waves of other shapes. Their sizes are those that the recipe declares:
standard deviations where it declares a standard uncertainty, and for the scanner sphere distances whose standard
deviation on the worst test line is half of the MPE. So coverage near 95 % says that the declared figures become the
right intervals, whatever the shape of the errors.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrology_core.units import convert

FloatArray = NDArray[np.float64]


@dataclass
class Measured:
    """Points of one part as an instrument gives them: coordinates, feature and view of each; and what is true."""

    xyz: FloatArray
    features: list[str]
    views: list[str] = field(default_factory=list)
    truth: dict[str, float] = field(default_factory=dict)

    def text(self) -> str:
        head = "x,y,z,feature" + (",view" if self.views else "")
        rows = [
            ",".join([*(repr(float(c)) for c in p), name, *([self.views[i]] if self.views else [])])
            for i, (p, name) in enumerate(zip(self.xyz, self.features, strict=True))
        ]
        return "\n".join([head, *rows]) + "\n"


def uniform(rng: np.random.Generator, sd: float, size: Any = None) -> Any:
    """Uniform numbers of a standard deviation."""
    return rng.uniform(-math.sqrt(3.0) * sd, math.sqrt(3.0) * sd, size)


# --- scanner: two balls and a boss on a plate, three views, a camera with radial distortion
MPE, NOISE, REGISTER_T, REGISTER_R, STANDOFF = 0.04, 0.008, 0.006, 3e-5, 500.0
HALF = np.array([120.0, 120.0, 80.0])
SCANNER = """\
id: SL-1
type: scanner
noise: 8 um
scanner:
  distance_mpe: 40 um
  field: [240 mm, 240 mm, 160 mm]
  standoff: 500 mm
  registration: {rotation_u: 0.03 mrad, translation_u: 6 um}
  views:
    - {name: top, position: [0 mm, 0 mm, 500 mm], target: [0 mm, 0 mm, 0 mm]}
    - {name: left, target: [0 mm, 0 mm, 0 mm], direction: [0.8, 0.1, -0.6]}
    - {name: right, target: [0 mm, 0 mm, 0 mm], direction: [-0.8, 0.1, -0.6]}
certificate: "simulated"
valid_until: "2027-03-31"
"""
_LOOKS = {"top": (0.0, 0.0, -1.0), "left": (0.8, 0.1, -0.6), "right": (-0.8, 0.1, -0.6)}


def _sensor(direction: tuple[float, float, float]) -> FloatArray:
    """(3, 3) rows: axes of a sensor that looks along ``direction``."""
    z = -np.array(direction) / np.linalg.norm(direction)
    x = np.cross([0.0, 1.0, 0.0], z)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z])


def _lens(p: FloatArray, c: FloatArray) -> FloatArray:
    """Errors (n, 3) of a camera at places (n, 3) in its field: scale, radial distortion, tilted and bowed depth."""
    q = p / HALF
    r2 = q[:, 0] ** 2 + q[:, 1] ** 2
    lateral = (c[0] + c[1] * r2)[:, None] * q[:, :2] + (c[2] * q[:, 2] * q[:, 0])[:, None] * [1.0, 0.0]
    depth = c[3] * q[:, 2] + c[4] * (r2 - 0.7) + c[5] * q[:, 0] * q[:, 1]
    return np.column_stack([lateral, depth])


def _worst_line() -> float:
    """Largest standard deviation of a length over the lines of the test for coefficients of standard deviation 1."""
    worst = 0.0
    for a in np.ndindex(3, 3, 3):
        for b in np.ndindex(3, 3, 3):
            ends = np.stack([(np.array(e) - 1.0) * HALF for e in (a, b)])
            away = ends[1] - ends[0]
            length = np.linalg.norm(away)
            if length < 0.2 * np.linalg.norm(HALF):
                continue
            errors = np.stack([_lens(ends, row) for row in np.eye(6)])
            worst = max(worst, float(np.sum(((errors[:, 1] - errors[:, 0]) @ (away / length)) ** 2)))
    return math.sqrt(worst)


def _scanner_surfaces(rng: np.random.Generator) -> tuple[dict[str, tuple[FloatArray, FloatArray]], dict[str, float]]:
    """True surface points and normals by feature, and the truth."""
    size = {name: rng.normal(0.0, 0.02) for name in ("left", "right", "boss")}
    place = rng.normal(0.0, 0.03, (2, 3))
    balls = {"left": np.array([-50.0, 0.0, 18.0]) + place[0], "right": np.array([50.0, 5.0, 18.0]) + place[1]}
    made: dict[str, tuple[FloatArray, FloatArray]] = {}
    for name, centre in balls.items():
        k = np.arange(150)
        z = 1.0 - 0.75 * (k + 0.5) / 150
        t = 2.399963 * k
        n = np.column_stack([np.sqrt(1 - z * z) * np.cos(t), np.sqrt(1 - z * z) * np.sin(t), z])
        made[name] = centre + (12.0 + size[name]) * n, n
    flat = np.stack(np.meshgrid(np.linspace(-75, 75, 18), np.linspace(-60, 60, 14)), -1).reshape(-1, 2)
    clear = np.hypot(flat[:, 0], flat[:, 1] + 30.0) > 18.0
    flat = flat[clear & np.array([all(np.hypot(*(p - c[:2])) > 14.0 for c in balls.values()) for p in flat])]
    made["plate"] = np.column_stack([flat, np.zeros(len(flat))]), np.tile([0.0, 0.0, 1.0], (len(flat), 1))
    tilt = rng.normal(0.0, 3e-4, 2)
    axis = np.array([tilt[0], tilt[1], 1.0]) / math.hypot(1.0, *tilt)
    u = np.cross([0.0, 1.0, 0.0], axis)
    u /= np.linalg.norm(u)
    v = np.cross(axis, u)
    a, h = (g.ravel() for g in np.meshgrid(np.arange(40) * 2 * np.pi / 40, np.linspace(4.0, 28.0, 6)))
    n = np.cos(a)[:, None] * u + np.sin(a)[:, None] * v
    made["boss"] = np.array([0.0, -30.0, 0.0]) + h[:, None] * axis + (15.0 + size["boss"]) * n, n
    xyz = made["boss"][0]
    foot = np.array([0.0, -30.0, 0.0])
    along = (xyz - foot) @ axis
    length = float(np.ptp(along))
    pierce = foot  # the axis passes the plate there
    x = balls["right"] - pierce
    x[2] = 0.0
    x /= np.linalg.norm(x)
    y = np.cross([0.0, 0.0, 1.0], x)
    ball = balls["left"] - pierce
    there = np.array([ball @ x, ball @ y])
    truth = {
        "ball distance": float(np.linalg.norm(balls["right"] - balls["left"])),
        "left diameter": 24.0 + 2.0 * size["left"],
        "boss diameter": 30.0 + 2.0 * size["boss"],
        "ball height": float(balls["left"][2]),
        "boss perpendicularity": length * float(np.linalg.norm(axis[:2])),
        "plate flatness": 0.0,
        "left position": 2.0 * float(np.linalg.norm(there - _POSITION)),
    }
    return made, truth


_POSITION = np.array([-23.76, 53.25])  # of the left ball in A|B|C, near its mean place


def scanner_part(rng: np.random.Generator, size: float) -> Measured:
    made, truth = _scanner_surfaces(rng)
    c = uniform(rng, size, 6)
    turn = {name: uniform(rng, REGISTER_R, 3) for name in _LOOKS}
    shift = {name: uniform(rng, REGISTER_T, 3) for name in _LOOKS}
    rows, names, views = [], [], []
    for name, (xyz, normals) in made.items():
        cosines = np.stack([-(normals @ np.array(d)) / np.linalg.norm(d) for d in _LOOKS.values()])
        # any view that sees a point well enough may have given it
        chance = np.where(cosines > 0.4, cosines, 0.0)
        kept = np.flatnonzero(chance.max(axis=0) > 0.0)
        for i in kept:
            pick = list(_LOOKS)[int(rng.choice(3, p=chance[:, i] / chance[:, i].sum()))]
            axes = _sensor(_LOOKS[pick])
            local = axes @ xyz[i]
            sight = np.array([0.0, 0.0, STANDOFF]) - local
            sight /= np.linalg.norm(sight)
            error = (
                _lens(local[None], c)[0]
                + rng.laplace(0.0, NOISE / math.sqrt(2.0)) / (sight @ (axes @ normals[i])) * sight
            )
            local = local + error
            local = local + np.cross(turn[pick], local) + shift[pick]
            rows.append(axes.T @ local)
            names.append(name)
            views.append(pick)
    return Measured(np.array(rows), names, views, truth)


SCANNER_RECIPE = """\
schema: abbe/recipe/1
name: scanned plate
seed: 5
inputs:
  files: ["parts/*.csv"]
  unit: mm
  points_are: surface
  acquisition: {time: "2026-05-04T10:20:30+02:00"}
instrument: {file: instrument.yaml}
measure:
  kind: features
  simulation: {trials: TRIALS}
  features:
    - {name: left, feature: sphere, select: {label: left}, material: inside}
    - {name: right, feature: sphere, select: {label: right}, material: inside}
    - {name: plate, feature: plane, select: {label: plate}, material: inside, direction: [0, 0, 1]}
    - {name: boss, feature: cylinder, select: {label: boss}, material: inside, direction: [0, 0, 1]}
  datum_system: {name: ABC, primary: plate, secondary: boss, tertiary: right}
  characteristics:
    - {name: ball distance, characteristic: distance.point_point, of: [left, right],
        nominal: 100.12 mm, tolerance: {plus_minus: 0.25 mm}}
    - {name: left diameter, characteristic: iso14405.GG, of: left, nominal: 24 mm, tolerance: {plus_minus: 0.15 mm}}
    - {name: boss diameter, characteristic: iso14405.GG, of: boss, nominal: 30 mm, tolerance: {plus_minus: 0.15 mm}}
    - {name: ball height, characteristic: distance.point_plane, of: [left, plate],
        nominal: 18 mm, tolerance: {plus_minus: 0.2 mm}}
    - {name: boss perpendicularity, characteristic: iso1101.perpendicularity.G, of: [boss, plate],
        tolerance: {max: 0.1 mm}}
    - {name: plate flatness, characteristic: form.G.peak_to_valley, of: plate, tolerance: {max: 0.2 mm}}
    - {name: left position, characteristic: iso1101.position.G, of: left, in: ABC, at: [-23.76 mm, 53.25 mm],
        tolerance: {max: 0.5 mm}}
"""

# --- microscope: four holes in a foil, barrel distortion, an edge criterion that is off
IMAGE = np.array([2000.0, 1500.0])
MICROSCOPE = """\
id: VM-2
type: microscope
noise: 0.4 um
scale_u: 0.02 %
edge_offset_u: 0.15 um
distortion_u: 0.3 um
microscope: {field: [2000 um, 1500 um]}
certificate: "simulated"
valid_until: "2027-03-31"
"""


def microscope_part(rng: np.random.Generator, size: float) -> Measured:
    centres = np.array([[300.0, 300.0], [1700.0, 320.0], [1650.0, 1200.0], [320.0, 1180.0]]) + rng.normal(0, 2, (4, 2))
    radii = np.array([120.0, 60.0, 90.0, 60.0]) + rng.normal(0.0, 0.5, 4)
    pixel = uniform(rng, 2e-4, 2)
    barrel, shear = uniform(rng, 0.3 * math.sqrt(0.5), 2) * size
    offset = uniform(rng, 0.15)
    rows, names = [], []
    for k, (centre, radius) in enumerate(zip(centres, radii, strict=True)):
        t = (np.arange(180) + 0.5) * 2 * np.pi / 180
        out = np.column_stack([np.cos(t), np.sin(t)])
        # offset: out of the material, into the hole
        noise = 0.4 * rng.standard_t(6.0, 180) * math.sqrt(4.0 / 6.0)
        true = centre + radius * out
        q = 2.0 * true / IMAGE - 1.0
        r2 = np.einsum("ij,ij->i", q, q)
        lens = barrel * (r2 - 1.0)[:, None] * q + shear * (q[:, ::-1] ** 2 - 1.0 / 3.0)
        seen = true * (1.0 + pixel) + lens - (offset + noise)[:, None] * out
        rows.append(np.column_stack([seen, np.zeros(180)]))
        names += [f"hole_{k + 1}"] * 180
    truth = {f"hole {k + 1} diameter": 2.0 * float(radii[k]) for k in range(4)}
    truth |= {
        "pitch": float(np.linalg.norm(centres[1] - centres[0])),
        "diagonal": float(np.linalg.norm(centres[2] - centres[0])),
        "roundness": 0.0,
    }
    return Measured(np.concatenate(rows), names, [], truth)


def _barrel_size() -> float:
    """Factor by which the lens has a mean square distortion of 2 x 0.3^2 (x and y) over the image."""
    u = np.linspace(-1.0, 1.0, 201)
    q = np.stack(np.meshgrid(u, u), -1).reshape(-1, 2)
    r2 = np.einsum("ij,ij->i", q, q)
    each = [(r2 - 1.0)[:, None] * q, q[:, ::-1] ** 2 - 1.0 / 3.0]
    mean = sum(float(np.mean(np.sum(row**2, axis=1))) for row in each) * 0.3**2 * 0.5
    return math.sqrt(2.0 * 0.3**2 / mean)


MICROSCOPE_RECIPE = """\
schema: abbe/recipe/1
name: foil with holes
seed: 6
inputs:
  files: ["parts/*.csv"]
  unit: um
  points_are: surface
  acquisition: {time: "2026-05-04T10:20:30+02:00"}
instrument: {file: instrument.yaml}
measure:
  kind: features
  simulation: {trials: TRIALS}
  features:
HOLES
  characteristics:
    - {name: hole 1 diameter, characteristic: iso14405.GG, of: hole_1, nominal: 240 um, tolerance: {plus_minus: 4 um}}
    - {name: hole 2 diameter, characteristic: iso14405.GG, of: hole_2, nominal: 120 um, tolerance: {plus_minus: 4 um}}
    - {name: hole 3 diameter, characteristic: iso14405.GG, of: hole_3, nominal: 180 um, tolerance: {plus_minus: 4 um}}
    - {name: hole 4 diameter, characteristic: iso14405.GG, of: hole_4, nominal: 120 um, tolerance: {plus_minus: 4 um}}
    - {name: pitch, characteristic: distance.point_point, of: [hole_1, hole_2],
        nominal: 1400 um, tolerance: {plus_minus: 20 um}}
    - {name: diagonal, characteristic: distance.point_point, of: [hole_1, hole_3],
        nominal: 1622 um, tolerance: {plus_minus: 20 um}}
    - {name: roundness, characteristic: form.G.peak_to_valley, of: hole_1, tolerance: {max: 8 um}}
""".replace(
    "HOLES",
    "\n".join(
        f"    - {{name: hole_{k}, feature: circle, select: {{label: hole_{k}}}, material: outside, "
        "direction: [0, 0, 1], fixed: [direction]}"
        for k in range(1, 5)
    ),
)

# --- profiler: three bumps on a substrate, heights over a grid
PROFILER = """\
id: WLI-3
type: profiler
noise: 0.05 um
scale_u: 0.05 %
linearity_u: 0.08 um
flatness_u: 0.06 um
profiler: {z_range: [-10 um, 90 um], z_scale_u: 0.15 %, field: [600 um, 400 um]}
certificate: "simulated"
valid_until: "2027-03-31"
"""


def profiler_part(rng: np.random.Generator, size: float) -> Measured:
    del size
    centres = np.array([[120.0, 200.0, 20.0], [300.0, 205.0, 20.0], [480.0, 195.0, 20.0]]) + rng.normal(0, 0.5, (3, 3))
    radii = 45.0 + rng.normal(0.0, 0.3, 3)
    rows, names = [], []
    for k in range(3):
        i = np.arange(220)
        r = 0.75 * radii[k] * np.sqrt((i + 0.5) / 220)
        t = 2.399963 * i
        xy = centres[k, :2] + np.column_stack([r * np.cos(t), r * np.sin(t)])
        z = centres[k, 2] + np.sqrt(radii[k] ** 2 - r**2)
        rows.append(np.column_stack([xy, z]))
        names += [f"bump_{k + 1}"] * 220
    g = np.stack(np.meshgrid(np.linspace(10, 590, 30), np.linspace(10, 390, 20)), -1).reshape(-1, 2)
    g = g[np.array([all(np.hypot(*(p - c[:2])) > 55.0 for c in centres) for p in g])]
    rows.append(np.column_stack([g, np.zeros(len(g))]))
    names += ["substrate"] * len(g)
    xyz = np.concatenate(rows)
    z = xyz[:, 2]
    scale = uniform(rng, 1.5e-3)
    lateral = uniform(rng, 5e-4, 2)
    share = (z + 10.0) / 100.0
    # a cubic and a quartic that vanish at the ends of the range, each of mean square 1 over it
    bend = (
        share * (1 - share) * (share - 0.5) * math.sqrt(840.0) * rng.choice([-1.0, 1.0])
        + share * (1 - share) * math.sqrt(30.0) * rng.choice([-1.0, 1.0])
    ) * (0.08 / math.sqrt(2.0))
    u, v = xyz[:, 0] / 600.0, xyz[:, 1] / 400.0
    flat = 0.06 * (
        math.sqrt(2.0) * np.cos(2 * np.pi * (u + rng.random())) * np.cos(rng.random())
        + math.sqrt(2.0) * np.cos(2 * np.pi * (v + rng.random())) * np.cos(rng.random())
    )
    heights = z * (1.0 + scale) + bend + flat + rng.laplace(0.0, 0.05 / math.sqrt(2.0), len(z))
    seen = np.column_stack([xyz[:, :2] * (1.0 + lateral), heights])
    truth = {
        "bump height": float(centres[0, 2]),
        "bump 1 diameter": 2.0 * float(radii[0]),
        "bump 2 diameter": 2.0 * float(radii[1]),
        "pitch": float(np.linalg.norm(centres[1] - centres[0])),
        "span": float(np.linalg.norm(centres[2] - centres[0])),
        "flatness": 0.0,
    }
    return Measured(seen, names, [], truth)


PROFILER_RECIPE = """\
schema: abbe/recipe/1
name: bumps
seed: 7
inputs:
  files: ["parts/*.csv"]
  unit: um
  points_are: surface
  acquisition: {time: "2026-05-04T10:20:30+02:00"}
instrument: {file: instrument.yaml}
measure:
  kind: features
  simulation: {trials: TRIALS}
  features:
    - {name: bump_1, feature: sphere, select: {label: bump_1}, material: inside}
    - {name: bump_2, feature: sphere, select: {label: bump_2}, material: inside}
    - {name: bump_3, feature: sphere, select: {label: bump_3}, material: inside}
    - {name: substrate, feature: plane, select: {label: substrate}, material: inside, direction: [0, 0, 1]}
  characteristics:
    - {name: bump height, characteristic: distance.point_plane, of: [bump_1, substrate],
        nominal: 20 um, tolerance: {plus_minus: 4 um}}
    - {name: bump 1 diameter, characteristic: iso14405.GG, of: bump_1, nominal: 90 um, tolerance: {plus_minus: 6 um}}
    - {name: bump 2 diameter, characteristic: iso14405.GG, of: bump_2, nominal: 90 um, tolerance: {plus_minus: 6 um}}
    - {name: pitch, characteristic: distance.point_point, of: [bump_1, bump_2],
        nominal: 180 um, tolerance: {plus_minus: 5 um}}
    - {name: span, characteristic: distance.point_point, of: [bump_1, bump_3],
        nominal: 360 um, tolerance: {plus_minus: 5 um}}
    - {name: flatness, characteristic: form.G.peak_to_valley, of: substrate, tolerance: {max: 3 um}}
"""


@dataclass(frozen=True)
class Kind:
    """One instrument: its file, the recipe, how a part is measured by the true instrument, and the size of its lens."""

    instrument: str
    recipe: str
    part: Callable[[np.random.Generator, float], Measured]
    size: Callable[[], float]
    unit: str


KINDS = {
    "scanner": Kind(SCANNER, SCANNER_RECIPE, scanner_part, lambda: 0.5 * MPE / _worst_line(), "mm"),
    "microscope": Kind(MICROSCOPE, MICROSCOPE_RECIPE, microscope_part, _barrel_size, "um"),
    "profiler": Kind(PROFILER, PROFILER_RECIPE, profiler_part, lambda: 1.0, "um"),
}


def write_lot(folder: Path, kind: str, parts: int, seed: int, trials: int) -> dict[str, dict[str, float]]:
    """A lot on disk, every part measured by an instrument of its own; the truth by name of the part."""
    made, size = KINDS[kind], KINDS[kind].size()
    (folder / "parts").mkdir(parents=True)
    (folder / "instrument.yaml").write_text(made.instrument, encoding="utf-8")
    (folder / "recipe.yaml").write_text(made.recipe.replace("TRIALS", str(trials)), encoding="utf-8")
    truth = {}
    for index in range(parts):
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy=seed, spawn_key=(index,))))
        part = made.part(rng, size)
        name = f"part-{index + 1:04d}"
        (folder / "parts" / f"{name}.csv").write_text(part.text(), encoding="utf-8")
        truth[name] = part.truth
    return truth


def run(kind: str, parts: int, seed: int, trials: int) -> dict[str, Any]:
    """Coverage, errors and uncertainties by characteristic, in um."""
    from pipelines.run import run_recipe
    from pipelines.store import RunFolder

    folder = Path(tempfile.mkdtemp())
    try:
        truth = write_lot(folder / "lot", kind, parts, seed, trials)
        run_recipe(folder / "lot" / "recipe.yaml", out=folder / "run", report=False)
        done = RunFolder(folder / "run")
        rows: dict[str, list[tuple[bool, float, float, float]]] = {}
        for outcome in done.outcomes():
            if outcome.record_sha256 is None or not outcome.outcome.startswith("measured"):
                raise RuntimeError(f"{outcome.part}: {outcome.outcome}, {outcome.reason}")
            name = Path(done.task(outcome.task_id).inputs[0].path).stem
            for m in done.read_record(outcome.task_id).document["measurements"]:
                true = convert(truth[name][m["name"]], KINDS[kind].unit, m["unit"])
                low, high = m["interval"]
                um = [convert(x, m["unit"], "um") for x in (m["value"] - true, m["u"], high - low)]
                rows.setdefault(m["name"], []).append((low <= true <= high, *um))  # type: ignore[arg-type]
    finally:
        shutil.rmtree(folder)
    table = {}
    for name, items in rows.items():
        hit, error, u, width = (np.array(column, dtype=np.float64) for column in zip(*items, strict=True))
        table[name] = {
            "coverage": float(hit.mean()),
            "rms_error_um": float(np.sqrt(np.mean(error**2))),
            "mean_u_um": float(u.mean()),
            "mean_width_um": float(width.mean()),
        }
    return {"kind": kind, "parts": parts, "seed": seed, "trials": trials, "characteristics": table}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kind", choices=[*KINDS, "all"], default="all")
    parser.add_argument("--parts", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = [
        run(kind, options.parts, options.seed, options.trials)
        for kind in (KINDS if options.kind == "all" else [options.kind])
    ]
    if options.json:
        print(json.dumps(results))
        return 0
    for result in results:
        print(f"\n{result['kind']}: {result['parts']} parts, each by its own instrument; um")
        print(f"{'characteristic':24s} {'coverage':>8s} {'rms error':>10s} {'mean u':>8s} {'width':>8s}")
        for name, row in result["characteristics"].items():
            print(
                f"{name:24s} {100 * row['coverage']:7.1f}% {row['rms_error_um']:10.3f} {row['mean_u_um']:8.3f} "
                f"{row['mean_width_um']:8.3f}"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
