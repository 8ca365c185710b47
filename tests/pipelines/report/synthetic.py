"""Run folders for the report's tests: real plan, journal and records, with content made up from a seed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from metrology_core.conformity import DecisionRule, Tolerance, decide
from metrology_core.measurement import Measurement, worst_verdict
from metrology_core.quantity import Influence, Measured
from pipelines.journal import Journal
from pipelines.plan import InputRef, Plan, Task
from pipelines.record import Record, write_record
from pipelines.store import RunFolder

RECIPE_SHA = hashlib.sha256(b"recipe").hexdigest()


@dataclass
class Part:
    """A part of a synthetic lot: its name and what became of it."""

    name: str
    outcome: str = "measured"
    document: dict[str, Any] | None = None
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    reason: Mapping[str, Any] | None = None

    @property
    def verdict(self) -> str:
        rows = (self.document or {}).get("measurements", [])
        return worst_verdict([m["decision"]["verdict"] for m in rows if m["decision"]])


def write_run(folder: Path, parts: Iterable[Part], *, name: str = "blade ring") -> Path:
    """A run folder of the parts, in order; parts without a document have no record."""
    parts = list(parts)
    tasks = []
    for i, part in enumerate(parts):
        sha = hashlib.sha256(f"{i} {part.name}".encode()).hexdigest()
        tasks.append(Task(sha, part.name, (InputRef(f"parts/{i:03d}.csv", sha, 1000 + i),), {"part": part.name}))
    plan = Plan(RECIPE_SHA, {"name": name}, {}, "0.1.0", 7, tuple(tasks))
    (folder / "measurements").mkdir(parents=True)
    (folder / "plan.json").write_bytes(plan.to_bytes())
    run = RunFolder(folder)
    with Journal(folder / "journal.jsonl") as journal:
        for task, part in zip(tasks, parts, strict=True):
            digest = None
            if part.document is not None:
                head = {"id": task.id, "part": part.name, "recipe_sha256": RECIPE_SHA, "recipe_name": name}
                inputs = [{**ref.to_dict(), "reader": "text"} for ref in task.inputs]
                part.document["task"] = {**head, "inputs": inputs, "seed": 7, "version": "0.1.0"}
                digest = write_record(run.record_path(task.id), Record(part.document, part.arrays))
            if part.outcome == "not_run":
                continue
            event = "quarantined" if part.outcome == "crashed" else "task_done"
            flags = list((part.document or {}).get("flags", ()))
            journal.append(
                event,
                task=task.id,
                part=part.name,
                attempt=1,
                outcome=part.outcome,
                verdict=part.verdict,
                flags=flags,
                reason=part.reason,
                record_sha256=digest,
                seconds=0.5,
            )
    return folder


def measured(value: float, unit: str, parts: Mapping[str, float], **extra: Any) -> Measured:
    influences = {
        "noise": Influence("noise", "Probing noise", "A", 240.0),
        "mpe": Influence("mpe", "Length measurement error of the instrument (MPE)", "B"),
        "expansion": Influence("expansion", "Thermal expansion of the part", "B"),
        "pixel": Influence("pixel", "Pixel size", "B"),
    }
    return Measured(value, unit, dict(parts), {k: influences[k] for k in parts}, **extra)


def measurement(
    name: str,
    characteristic: str,
    m: Measured | None,
    *,
    unit: str = "mm",
    title: str = "",
    nominal: float | None = None,
    limits: tuple[float | None, float | None] | None = None,
    flags: tuple[str, ...] = (),
    method: str = "",
    provisional: bool = False,
) -> dict[str, Any]:
    tolerance = None if limits is None else Tolerance(*limits, unit, nominal)
    rule = DecisionRule.iso14253()
    decision = None if m is None or tolerance is None else decide(m, tolerance, rule, provisional=provisional)
    row = Measurement(name, characteristic, title, unit, m, nominal, tolerance, decision, method, flags)
    return row.to_dict()


def blade_part(name: str, seed: int, *, bore: float = 0.0, dent: float = 0.0, n: int = 9000) -> Part:
    """A ring: flange plane, bore cylinder, conical seat, lobed; ``bore`` (mm) off size, ``dent`` (mm) on the flange."""
    rng = np.random.default_rng(seed)
    k = n // 3
    phi, r = rng.uniform(0, 2 * np.pi, k), np.sqrt(rng.uniform(32.0**2, 55.0**2, k))
    flange_dev = 0.004 * np.cos(2 * phi) * (r / 55) ** 2 + rng.normal(0, 0.0012, k)
    flange_dev += dent * np.exp(-(((r * np.cos(phi) - 40) ** 2 + (r * np.sin(phi) - 12) ** 2) / 18.0))
    flange = np.stack([r * np.cos(phi), r * np.sin(phi), flange_dev], 1)
    p2, z2 = rng.uniform(0, 2 * np.pi, k), rng.uniform(-40, -1, k)
    bore_dev = -bore + 0.002 * np.cos(3 * p2) + rng.normal(0, 0.0012, k)
    rb = 30.0 - bore_dev
    cylinder = np.stack([rb * np.cos(p2), rb * np.sin(p2), z2], 1)
    p3, z3 = rng.uniform(0, 2 * np.pi, k), rng.uniform(-40, -1, k)
    cone_dev = 0.003 * np.sin(p3) + rng.normal(0, 0.0012, k)
    rc = 55.0 + z3 * np.tan(np.radians(10)) + cone_dev
    cone = np.stack([rc * np.cos(p3), rc * np.sin(p3), z3], 1)
    xyz, value = np.concatenate([flange, cylinder, cone]), np.concatenate([flange_dev, bore_dev, cone_dev])
    feature = np.repeat(np.arange(3, dtype=np.int16), k)
    u_len = {"noise": 0.00012, "mpe": 0.0009, "expansion": 0.0003}
    u_form = {"noise": 0.0007, "mpe": 0.0009}
    flat = float(np.ptp(flange_dev))
    rows = [
        measurement(
            "bore diameter",
            "iso14405.GG",
            measured(60.002 + 2 * bore + rng.normal(0, 0.001), "mm", u_len),
            title="least-squares size",
            nominal=60.0,
            limits=(59.99, 60.015),
            method=f"cylinder, least squares (G), {k} points, unfiltered, compensated to 20 degC",
        ),
        measurement(
            "flange flatness (G)",
            "form.G.peak_to_valley",
            measured(flat, "mm", u_form, lower_bound=0.0),
            title="peak to valley about the least-squares plane",
            limits=(0.0, 0.02),
            flags=("independent_noise_assumed",),
            method=f"plane, least squares (G), extreme to extreme of {k} normal distances, unfiltered",
        ),
        measurement(
            "seat angle",
            "angle.half",
            measured(10.0 + rng.normal(0, 0.004), "deg", {"noise": 0.002, "mpe": 0.003}),
            unit="deg",
            nominal=10.0,
            limits=(9.98, 10.02),
            method="cone, least squares (G), half angle",
        ),
        measurement(
            "hole position",
            "iso1101.position.G",
            measured(abs(rng.normal(0.018, 0.006)), "mm", {"noise": 0.0004, "mpe": 0.0016}, lower_bound=0.0),
            limits=(0.0, 0.05),
            method="centre of the least-squares circle in A|B|C, twice the radial distance",
        ),
        measurement("bore depth", "distance", None, nominal=40.0, limits=(39.9, 40.1), flags=("not_evaluated",)),
    ]
    if seed != 6:
        rows.pop()  # one part of the lot has a characteristic that could not be evaluated
    flags = tuple(sorted({f for m in rows for f in m["flags"]} | ({"partial_result"} if seed == 6 else set())))
    document = {
        "schema": "abbe/record/1",
        "acquisition": {"part": name, "lot": "L17", "operation": "OP40", "drawing": "D-1001 B"},
        "kind": "features",
        "outcome": "measured_with_flags",
        "verdict": "none",
        "flags": list(flags),
        "reason": None,
        "features": [
            {
                "name": "flange",
                "feature": "plane",
                "criterion": "least_squares",
                "status": "converged",
                "unit": "mm",
                "n_points": k,
                "parameters": {"point": [0.0, 0.0, 0.0], "normal": [0.0, 0.0, 1.0]},
                "standard_uncertainty": {"point": [0.0, 0.0, 0.00002], "normal": [1e-6, 1e-6, 0.0]},
                "form": {"value": flat, "u": 0.0011},
                "rms": 0.0031,
                "flags": [],
                "optimality": {},
            },
            {
                "name": "bore",
                "feature": "cylinder",
                "criterion": "least_squares",
                "status": "converged",
                "unit": "mm",
                "n_points": k,
                "parameters": {"point": [0.0, 0.0, -20.0], "axis": [0.0, 0.0, 1.0], "radius": 30.0 + bore},
                "standard_uncertainty": {"radius": 0.00002, "axis": [2e-6, 2e-6, 0.0]},
                "form": {"value": 0.0101, "u": None},
                "rms": 0.0019,
                "flags": ["form_not_resolved"],
                "optimality": {},
            },
            {
                "name": "seat",
                "feature": "cone",
                "criterion": "least_squares",
                "status": "converged",
                "unit": "mm",
                "n_points": k,
                "rms": 0.0024,
                "flags": [],
                "optimality": {},
                "parameters": {
                    "point": [0.0, 0.0, 0.0],
                    "axis": [0.0, 0.0, 1.0],
                    "radius": 55.0,
                    "half_angle": 0.17453,
                },
                "standard_uncertainty": {"half_angle": 1.2e-5},
                "form": {"value": 0.0123, "u": 0.0012},
            },
        ],
        "measurements": rows,
        "views": [
            {
                "kind": "deviation_map",
                "name": "deviation",
                "unit": "mm",
                "xyz": "deviation/xyz",
                "value": "deviation/value",
                "feature": "deviation/feature",
                "feature_names": ["flange", "bore", "seat"],
                "tolerance": None,
                "tolerances": [
                    {"lower": -0.01, "upper": 0.01},
                    {"lower": -0.0075, "upper": 0.005},
                    {"lower": -0.02, "upper": 0.02},
                ],
                "u": 0.0006,
                "reference": "least-squares feature of each",
                "n_total": 12 * n,
                "worst": [int(i) for i in np.argsort(-np.abs(value))[:40]],
            }
        ],
        "datum_system": {"name": "ABC", "datums": [{"letter": "A", "feature": "flange", "criterion": "least_squares"}]},
        "instrument": {
            "id": "CMM-07",
            "type": "cmm",
            "mpe_constant": 0.0015,
            "mpe_per_length": 3e-6,
            "noise": 0.0004,
            "unit": "mm",
            "certificate": "DKD-123",
            "valid_until": "2027-06-30",
        },
    }
    arrays = {"deviation/xyz": xyz, "deviation/value": value, "deviation/feature": feature}
    return Part(name, "measured_with_flags", document, arrays)


def sem_part(name: str, seed: int, *, cd: float = 16.0, lost: int = 0, size: int = 420) -> Part:
    """An image of bright lines with rough edges, and the edges that made it."""
    rng = np.random.default_rng(seed)
    pixel, pitch = 0.827, 32.0 / 0.827
    count = int((size - 20) // pitch)
    rows = np.arange(size)
    kernel = np.exp(-np.abs(np.arange(-40, 41)) / 9.0)

    def rough() -> np.ndarray:
        return np.convolve(rng.normal(0, 0.25, size + 80), kernel / np.sqrt((kernel**2).sum()), "valid")

    edges = np.empty((2 * count, size))
    x = np.arange(size)
    image = np.full((size, size), 70.0)
    for i in range(count):
        middle = 20 + pitch * (i + 0.5)
        edges[2 * i], edges[2 * i + 1] = middle - cd / pixel / 2 + rough(), middle + cd / pixel / 2 + rough()
        a, b = x[None] - edges[2 * i][:, None], x[None] - edges[2 * i + 1][:, None]
        image += 60 / (1 + np.exp(-a / 1.2)) - 60 / (1 + np.exp(-b / 1.2))
        image += 70 * np.exp(-((a / 2.2) ** 2)) + 70 * np.exp(-((b / 2.2) ** 2))
    image = np.clip(image + rng.normal(0, 16, image.shape), 0, 255).astype(np.uint8)
    if lost:
        edges[5, 100 : 100 + lost] = np.nan
    width = (edges[1::2] - edges[::2]) * pixel
    per_line: list[dict[str, Any]] = [
        {
            "line": i,
            "cd": float(np.nanmean(w)),
            "lwr_biased_3s": float(3 * np.nanstd(w)),
            "unit": "nm",
            "lost": int(np.isnan(w).sum()),
        }
        for i, w in enumerate(width)
    ]
    mean = float(np.mean([r["cd"] for r in per_line]))
    lwr = float(np.sqrt(np.mean([float(r["lwr_biased_3s"]) ** 2 for r in per_line])))
    method = "edges at 50 % threshold, linear detrending, unsmoothed, box 347 nm"
    document = {
        "schema": "abbe/record/1",
        "acquisition": {"part": name, "wafer": "W03", "field": "4,-2"},
        "kind": "sem_lines",
        "outcome": "measured",
        "verdict": "none",
        "flags": ["lost_edges"] if lost else [],
        "reason": None,
        "features": [],
        "measurements": [
            measurement(
                "CD",
                "sem.cd_line",
                measured(mean, "nm", {"noise": 0.03, "pixel": 0.08}),
                unit="nm",
                title="linewidth",
                nominal=16.0,
                limits=(14.4, 17.6),
                method=method,
                provisional=True,
            ),
            measurement(
                "LWR",
                "sem.lwr_biased_3s",
                measured(lwr, "nm", {"noise": 0.11}, lower_bound=0.0),
                unit="nm",
                limits=(0.0, 4.0),
                flags=("biased_roughness",),
                method=method,
            ),
        ],
        "views": [
            {
                "kind": "sem_edges",
                "name": "image",
                "image": "sem/image",
                "edges": "sem/edges",
                "rows": "sem/rows",
                "sides": ["left", "right"] * count,
                "line_index": [i // 2 for i in range(2 * count)],
                "pixel_size": {"x": pixel, "y": pixel, "unit": "nm"},
                "per_line": per_line,
                "criterion": "threshold, 50 %",
            }
        ],
        "datum_system": None,
        "instrument": None,
    }
    outcome = "measured_with_flags" if lost else "measured"
    return Part(name, outcome, document, {"sem/image": image, "sem/edges": edges, "sem/rows": rows.astype(float)})


READER_REASON = {
    "code": "ReaderError",
    "message": "line 812 has 2 columns; expected 3 (x, y, z)",
    "where": "parts/corrupt.csv:812",
    "remedy": "export the file again; it ends in the middle of a line",
}


def blade_lot(count: int = 12, *, n: int = 9000) -> list[Part]:
    """A lot with parts off size, one dented, one unusable, one crashed, and one that was never run."""
    parts = [blade_part(f"part-{i:03d}", i, n=n) for i in range(1, count + 1)]
    parts[4] = blade_part("part-005", 5, bore=0.016, n=n)
    parts[7] = blade_part("part-008", 8, dent=0.034, n=n)
    parts[9] = blade_part("part-010", 10, bore=0.006, n=n)
    parts.insert(3, Part("corrupt", "unusable_data", None, reason=READER_REASON))
    crash = {"code": "WorkerKilled", "message": "the worker died three times on this part (signal 9)", "where": None}
    parts.append(Part("giant", "crashed", None, reason={**crash, "remedy": "look at the size of the file"}))
    parts.append(Part("part-099", "not_run"))
    return parts


def wafer_lot() -> list[Part]:
    parts = [sem_part(f"W03-F{i:02d}", i) for i in range(1, 6)]
    parts += [sem_part("W03-F06", 6, cd=18.4), sem_part("W03-F07", 7, lost=60)]
    blank = {"code": "EdgeError", "message": "no edges: the image is blank", "where": "images/w03-f08.png"}
    return [*parts, Part("W03-F08", "unusable_data", None, reason={**blank, "remedy": "look at the image"})]


def surface_part(name: str, seed: int, *, dent: float = -0.13, n: int = 20000) -> Part:
    """A bent sheet against its nominal mesh: a dent, a strip without data, a section; limits of +-0.06 mm."""
    rng = np.random.default_rng(seed)

    def height(x: np.ndarray) -> np.ndarray:
        return 8.0 * np.cos(x / 22.0)

    def normal(x: np.ndarray) -> np.ndarray:
        m = np.stack([8.0 / 22.0 * np.sin(x / 22.0), np.zeros_like(x), np.ones_like(x)], 1)
        return m / np.linalg.norm(m, axis=1)[:, None]

    gx, gy = np.meshgrid(np.linspace(-40, 40, 61), np.linspace(-25, 25, 41), indexing="ij")
    vertices = np.stack([gx.ravel(), gy.ravel(), height(gx.ravel())], 1)
    corner = (np.arange(60)[:, None] * 41 + np.arange(40)[None]).ravel()
    triangles = np.concatenate(
        [np.stack([corner, corner + 41, corner + 42], 1), np.stack([corner, corner + 42, corner + 1], 1)]
    )
    x, y = rng.uniform(-40, 24, n), rng.uniform(-25, 25, n)  # nothing beyond x = 24
    foot, out = np.stack([x, y, height(x)], 1), normal(x)
    value = 0.02 * np.sin(y / 6) + rng.normal(0, 0.004, n)
    value += dent * np.exp(-((x + 5) ** 2 + (y - 3) ** 2) / 25.0)
    near = np.abs(y - 3.0) < 0.5
    line = np.linspace(-40, 40, 200)
    arrays = {
        "deviation/xyz": foot + value[:, None] * out,
        "deviation/value": value,
        "deviation/feature": np.zeros(n, np.int64),
        "deviation/normals": out,
        "deviation/u": np.where(x < 0, 0.004, 0.008),
        "nominal/vertices": vertices,
        "nominal/triangles": triangles,
        "section/0/nominal": np.stack([line, height(line)], 1),
        "section/0/outward": normal(line)[:, ::2],
        "section/0/foot": foot[near][:, ::2],
        "section/0/direction": out[near][:, ::2],
        "section/0/value": value[near],
    }
    worst = int(np.argmax(np.abs(value)))
    limits = {"lower": -0.06, "upper": 0.06}
    view = {
        "kind": "deviation_map", "name": "deviation", "unit": "mm", "xyz": "deviation/xyz", "value": "deviation/value",
        "feature": "deviation/feature", "normals": "deviation/normals", "feature_names": ["surface"],
        "tolerances": [limits], "u": 0.008, "point_u": "deviation/u", "reference": "nominal mesh", "n_total": n,
        "worst": [worst], "surface": {"vertices": "nominal/vertices", "triangles": "nominal/triangles"},
        "sections": [
            {"name": "y = 3 mm", "axes": ["x", "z"], "limits": limits, "thickness": 0.5,
             **{key: f"section/0/{key}" for key in ("nominal", "outward", "foot", "direction", "value")}}
        ],
        "places": [
            {"label": "A", "value": float(value[worst]), "u": 0.004, "share": float(value[worst] / 0.06), "n": 812,
             "area": 31.0, "extent": 7.5, "position": foot[worst].tolist(), "guard": False}
        ],
        "coverage": {"area": 4231.0, "without_data": 846.2, "distance": 1.0},
        "statistics": {"mean": float(value.mean()), "sd": float(value.std()), "inside": 0.97, "below": 0.03},
    }  # fmt: skip
    part = blade_part(name, seed)
    assert part.document is not None
    part.document["views"] = [view]
    part.arrays = arrays
    return part
