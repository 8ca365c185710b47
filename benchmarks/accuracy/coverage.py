"""How often 95 % intervals hold the characteristic of the continuous surface: form from 0 to 100 times the noise.

    python -m benchmarks.accuracy.coverage [--trials 2000] [--ratios 0,1,3,10,30,100] [--assume as_is] [--seed 1]
        [--truth waves] [--save a.json] [--read a.json b.json] [--page docs/coverage.md]

Measurand: the characteristic of the continuous simulated surface, unfiltered, over the measured region: GG, GC, GX, GN
diameter and cylindricity of a bore, flatness of a plane, distance of two bores, angle of two planes, position of a bore
axis in a datum system of a plane and a bore. Truth: cosine waves of power-law spectrum (no Gaussian field), evaluated
on a fine grid: least squares by integrals, zones by `fit_many`. Errors: half of the variance Gaussian-correlated in the
chord over 2.5 mm, half independent. The evaluation knows neither: it assumes exponential correlation along the surface
over 2 mm with a share of 0.3 independent, and a form of unknown family, size, length and smoothness
(`uncertainty.fields.posterior`). ``--assume independent`` or ``half`` shows what a wrong declaration does: errors taken
as independent, or noise declared at half its size; ``--truth polynomials`` and ``machined`` give the surfaces other
kinds of form (`benchmarks.accuracy.coverage_forms`).
The ratio is peak-to-valley form over the standard deviation. Runs of several seeds are added: ``--save`` each,
``--read`` all.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy.coverage_forms import TRUTHS, form_of
from metrology_core.features import Cylinder, Plane
from metrology_core.fitting.many import fit_many
from metrology_core.uncertainty.fields import CorrelatedField, exponential
from metrology_core.uncertainty.fields.posterior import SurfaceModel

SIGMA = 1e-3  # mm, standard deviation of a point
RADIUS, HALF, WIDTH, DEPTH = 10.0, 15.0, 60.0, 40.0
BORE = Cylinder((0.0, 0.0, 0.0), (0.0, 0.0, 1.0), RADIUS)
SHEET = Plane((0.0, 0.0, 0.0), (0.0, 0.0, 1.0))
OFFSET = np.array([0.010, 0.005])  # mm, true position of the axis beside its errors of form
ZONES = ("minimum_zone", "maximum_inscribed", "minimum_circumscribed")
NAMES = ("GG diameter", "GC diameter", "GX diameter", "GN diameter", "cylindricity", "flatness", "distance of bores",
         "angle of planes", "position in datums")  # fmt: skip
ALWAYS = ("GG diameter", "distance of bores", "angle of planes")


def gregory(n: int) -> np.ndarray:
    """Weights (n,) of the rule of Gregory: the trapezoid is 2 % off for the tilt of an axis over 11 rows."""
    ends = np.array([3.0 / 8.0, 7.0 / 6.0, 23.0 / 24.0])
    return np.r_[ends, np.ones(n - 6), ends[::-1]] if n > 5 else np.ones(n)  # points of a measurement need none


class Part:
    """A nominal surface with a grid of places: points (n, 3), its own parameters u, v in [0, 1], area weights."""

    def __init__(self, kind: str, nu: int, nv: int) -> None:
        self.feature: Any = BORE if kind == "bore" else SHEET
        u = np.arange(nu) / nu if kind == "bore" else np.linspace(0.0, 1.0, nu)
        v = np.linspace(0.0, 1.0, nv)
        end_u = np.ones(nu) if kind == "bore" else gregory(nu)
        self.u, self.v = (x.ravel() for x in np.meshgrid(u, v, indexing="ij"))
        self.area = np.outer(end_u, gregory(nv)).ravel()
        if kind == "bore":
            a = 2.0 * np.pi * self.u
            self.xyz = np.stack([RADIUS * np.cos(a), RADIUS * np.sin(a), HALF * (2.0 * self.v - 1.0)], axis=1)
        else:
            self.xyz = np.stack([WIDTH * (self.u - 0.5), DEPTH * (self.v - 0.5), 0.0 * self.u], axis=1)


class Truth:
    """Characteristics of the continuous surfaces for unit peak-to-valley form, in the chart of the nominal feature."""

    def __init__(self, kind: str, trials: int, seed: int, truth: str) -> None:
        fine = Part(kind, 72, 25) if kind == "bore" else Part(kind, 49, 33)
        normals = fine.feature.normals(fine.xyz)
        self.forms: list[Any] = []
        self.chart, zones = [], {name: [] for name in ZONES}
        weight = fine.area / fine.area.sum()
        root = np.sqrt(weight)[:, None]
        a = 2.0 * np.pi * fine.u
        if kind == "bore":  # distance of the axis, its tilts, the radius: by integrals over the surface
            z = fine.xyz[:, 2]
            model = np.stack([np.cos(a), np.sin(a), z * np.cos(a), z * np.sin(a), np.ones(len(a))], axis=1)
        else:  # height and slopes; the normal tilts against the slope
            model = np.stack([np.ones(len(a)), -fine.xyz[:, 0], -fine.xyz[:, 1]], axis=1)
        scale = 1e-3  # mm of form for the zone fits: small against the radius, so everything is proportional to it
        for start in range(0, trials, 200):
            count = min(200, trials - start)
            heights = []
            for t in range(start, start + count):
                form = form_of(kind, np.random.default_rng([seed, kind == "bore", t]), truth)
                y = form(fine.u, fine.v)
                heights.append(y)
                self.forms.append(form)
            y = np.array(heights)
            found = self._zones(kind, fine, normals, y * scale, scale)
            size = found["minimum_zone"][0]
            self.scale = np.r_[self.scale, size] if start else size
            self.chart.extend(np.linalg.lstsq(model * root, (y / size[:, None]).T * root, rcond=None)[0].T)
            for name in ZONES:
                if name in found:
                    zones[name].append(found[name][1] / size)
        self.chart = np.array(self.chart)
        self.zones = {name: np.concatenate(rows) for name, rows in zones.items() if rows}

    @staticmethod
    def _zones(kind: str, fine: Part, normals: np.ndarray, y: np.ndarray, scale: float) -> dict[str, Any]:
        points = fine.xyz + y[:, :, None] * normals
        result = {}
        for name in ZONES if kind == "bore" else ZONES[:1]:
            found = fit_many(points, kind if kind == "plane" else "cylinder", criterion=name, start=fine.feature)
            radius = found.parameters["radius"] - RADIUS if kind == "bore" else np.zeros(len(y))
            form = np.array(found.form)
            for t in np.flatnonzero(found.status != "converged"):
                # ties and flat optima: the linear program of the same zone, by another library
                form[t], radius[t] = _program(fine, y[t], name)
            result[name] = (form / scale, radius / scale)
        return result


def _program(fine: Part, y: np.ndarray, criterion: str) -> tuple[float, float]:
    """(width of the zone or NaN, change of the radius) of a linearised zone by SciPy's simplex."""
    from scipy.optimize import linprog

    ones = np.ones(len(y))
    if fine.feature is SHEET:
        across = np.stack([ones, fine.xyz[:, 0], fine.xyz[:, 1]], axis=1)
    else:
        n, z = fine.xyz[:, :2] / RADIUS, fine.xyz[:, 2:]
        across = np.concatenate([n, z * n, ones[:, None]], axis=1)
    if criterion != "minimum_zone":
        across = across[:, :-1]
    upper = np.concatenate([-across, -ones[:, None]], axis=1), -y  # y - across x <= h
    lower = np.concatenate([across, -ones[:, None]], axis=1), y  # and its negative
    sides = {"minimum_zone": (upper, lower), "maximum_inscribed": (lower,), "minimum_circumscribed": (upper,)}[
        criterion
    ]
    a, b = np.concatenate([s[0] for s in sides]), np.concatenate([s[1] for s in sides])
    goal = np.r_[np.zeros(across.shape[1]), 1.0]
    found = linprog(goal, A_ub=a, b_ub=b, bounds=[(None, None)] * len(goal), method="highs")
    assert found.status == 0, found.message
    if criterion == "minimum_zone":
        return 2.0 * found.fun, float(found.x[-2]) if fine.feature is BORE else 0.0
    return np.nan, float(found.fun if criterion == "minimum_circumscribed" else -found.fun)


def errors(xyz: np.ndarray) -> np.ndarray:
    """Root of the covariance of the simulated errors: chordal Gaussian over 2.5 mm and independent, half and half."""
    d = np.linalg.norm(xyz[:, None] - xyz[None], axis=2)
    return SIGMA * np.linalg.cholesky(0.5 * np.exp(-(d**2) / (2.0 * 2.5**2)) + (0.5 + 1e-9) * np.eye(len(xyz)))


def declared(assume: str) -> CorrelatedField:
    size = SIGMA / 2.0 if assume == "half" else SIGMA
    if assume == "independent":
        return CorrelatedField(0.0, exponential(2.0), size)
    return CorrelatedField(size * np.sqrt(0.7), exponential(2.0), size * np.sqrt(0.3))


def run(
    trials: int, ratios: list[float], assume: str, seed: int, truth_of: str
) -> dict[tuple[str, float], dict[str, float]]:
    """Sums of hits, widths in um (angle: urad) and flags, by characteristic and ratio."""
    parts = {"bore": (Part("bore", 16, 5), Part("bore", 60, 13)), "plane": (Part("plane", 9, 7), Part("plane", 33, 23))}
    field = declared(assume)
    models = {
        kind: SurfaceModel(points.feature, points.xyz, region.xyz, field, weights=region.area)
        for kind, (points, region) in parts.items()
    }
    roots = {kind: errors(points.xyz) for kind, (points, _) in parts.items()}
    truths = {kind: Truth(kind, trials + 1, seed, truth_of) for kind in parts}
    table = {}
    for ratio in ratios:
        hits: dict[str, list[bool]] = {name: [] for name in NAMES}
        widths: dict[str, list[float]] = {name: [] for name in NAMES}
        unresolved, larger = {"bore": 0, "plane": 0}, {"bore": 0, "plane": 0}
        before: dict[str, Any] = {}

        def judge(
            name: str,
            interval: tuple[float, float],
            true: float,
            hits: dict[str, list[bool]] = hits,
            widths: dict[str, list[float]] = widths,
        ) -> None:
            hits[name].append(interval[0] <= true <= interval[1])
            widths[name].append((interval[1] - interval[0]) * (1e6 if "angle" in name else 1e3))

        for t in range(trials + 1):
            here = {}
            for kind, (points, _) in parts.items():
                rng = np.random.default_rng([seed, 7, kind == "bore", t, round(1000 * ratio)])
                truth = truths[kind]
                size = ratio * SIGMA
                z = size / truth.scale[t] * truth.forms[t](points.u, points.v)
                z = z + roots[kind] @ rng.standard_normal(len(z))
                found = models[kind].posterior(z, seed=int(rng.integers(1 << 62)))
                chart, true = found.chart(), size * truth.chart[t]
                here[kind] = (chart, true)
                unresolved[kind] += not found.resolved
                larger[kind] += "noise_larger_than_declared" in found.flags
                width, zone = found.zone("minimum_zone")
                judge("cylindricity" if kind == "bore" else "flatness", found.interval(width, lower_bound=0.0), size)
                if kind == "bore":
                    judge("GG diameter", found.interval(2.0 * chart[:, 4]), 2.0 * true[4])
                    judge("GC diameter", found.interval(2.0 * zone[:, 4]), 2.0 * size * truth.zones["minimum_zone"][t])
                    gauss = 2.0 * chart[:, 4]
                    for name, criterion in (("GX diameter", ZONES[1]), ("GN diameter", ZONES[2])):
                        drawn = found.interval(2.0 * found.zone(criterion)[0], without_form=gauss)
                        judge(name, drawn, 2.0 * size * truth.zones[criterion][t])
            if before:
                pairs(here, before, found, judge)
            before = here
        for name in NAMES:
            kind = "plane" if name in ("flatness", "angle of planes") else "bore"
            table[name, ratio] = {
                "hits": int(np.sum(hits[name])), "width": float(np.sum(widths[name])), "n": len(hits[name]),
                "unresolved": int(unresolved[kind]), "larger": int(larger[kind]), "parts": trials + 1,
            }  # fmt: skip
    return table


def pairs(here: dict[str, Any], before: dict[str, Any], any_posterior: Any, judge: Any) -> None:
    """Characteristics of two or three features, each with errors and form of its own."""
    (a, true_a), (b, true_b) = here["bore"], before["bore"]
    judge("distance of bores", any_posterior.interval(a[:, 0] - b[:, 0]), true_a[0] - true_b[0])
    (p, true_p), (q, true_q) = here["plane"], before["plane"]
    judge("angle of planes", any_posterior.interval(p[:, 1] - q[:, 1]), true_p[1] - true_q[1])

    def position(axis: np.ndarray, datum: np.ndarray, sheet: np.ndarray) -> np.ndarray:
        """Twice the larger offset of the two ends: axis against the datum axis point, square to the datum plane."""
        offset = OFFSET + axis[..., :2] - datum[..., :2]
        lean = axis[..., 2:4] - sheet[..., 1:3]
        return 2.0 * np.maximum(
            np.linalg.norm(offset + HALF * lean, axis=-1), np.linalg.norm(offset - HALF * lean, axis=-1)
        )

    centre = position(a.mean(axis=0), b.mean(axis=0), p.mean(axis=0))
    drawn = any_posterior.interval(position(a, b, p), at_mean=float(centre))
    judge("position in datums", (max(0.0, drawn[0]), drawn[1]), float(position(true_a, true_b, true_p)))


def goal(name: str, ratio: float) -> tuple[float, float]:
    """What is asked: 93 to 97 %, but from below only for form and zone sizes under a ratio of 30."""
    return (0.93, 0.97) if name in ALWAYS or ratio >= 30.0 else (0.93, 1.0)


def rows(table: dict[tuple[str, float], dict[str, float]], ratios: list[float]) -> list[str]:
    lines = ["| characteristic | " + " | ".join(f"{r:g}" for r in ratios) + " |", "|---|" + "---|" * len(ratios)]
    for name in NAMES:
        cells = []
        for r in ratios:
            cell = table[name, r]
            low, high = goal(name, r)
            share = cell["hits"] / cell["n"]
            slack = 2.0 * np.sqrt(0.95 * 0.05 / cell["n"])
            mark = "" if low <= share <= high else " *" if low - slack <= share <= high + slack else " **"
            cells.append(f"{100 * share:.1f}{mark} ({cell['width'] / cell['n']:.2g})")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    for kind, name in (("bore", "cylindricity"), ("plane", "flatness")):
        for flag, key in (("form_not_resolved", "unresolved"), ("noise_larger_than_declared", "larger")):
            share = " | ".join(f"{100 * table[name, r][key] / table[name, r]['parts']:.0f}" for r in ratios)
            lines.append(f"| `{flag}`, {kind}, % | {share} |")
    return lines


WORDS = {
    "as_is": "The evaluation knows the size of the errors, and their correlation roughly",
    "independent": "The evaluation takes the errors as independent (they are not)",
    "half": "The evaluation is told half of the errors' standard deviation",
    "polynomials": "The same evaluation, lobes times polynomials",
    "machined": "The same evaluation, forms that machining leaves",
}


MEANING = {
    "as_is": "At 100 what hangs on the tilt of a bore is held too often: to know that there is nothing between five "
    "rows takes more than five rows. A form that is not resolved has an interval from 0.",
    "independent": "What is averaged over the surface (sizes, angles) is then claimed too well; how much depends on "
    "how far the errors reach beside the distance of the points.",
    "half": "What is beyond the declared noise may be rough form. With the flag `noise_larger_than_declared` intervals "
    "cover both explanations; without it form is overstated. Declare the noise rather too large than too small.",
    "polynomials": "Lobes times Legendre polynomials along the bore, products of them on the plane, sizes after "
    "Student's t with 4 degrees of freedom: few large ones. They rise towards the edges, as no stationary field does.",
    "machined": "Barrel, taper, banana bend, 2, 3, 4 and 5 lobes that change along the bore, bell mouth; twist, bow in "
    "any direction, saddle and dents of clamps on the plane; short waves of a fiftieth on both, which at 100 are about "
    "as large as the noise and look like it. The bell mouth falls by 1/e over 6 to 12 mm, the rows are 7.5 mm apart; "
    "one of 3 to 6 mm is held in 60 % at 100: no interval knows what lies between the rows. At 10 zones of bores are "
    "held too rarely: form is then seen, but not how rough it is between the points.",
}


def page(tables: dict[str, dict[tuple[str, float], dict[str, float]]]) -> str:
    """The page docs/coverage.md."""
    text = ["# Coverage of intervals for continuous surfaces", "", "Written by"]
    text += [
        "`python -m benchmarks.accuracy.coverage --read a.json b.json --page docs/coverage.md` from `--save` runs.",
        "",
    ]
    text += [" ".join((__doc__ or "").split("\n\n", 2)[2].split()).replace("``", "`"), ""]
    text += [
        "Goal: 93 to 97 % for GG diameter, distance, angle everywhere and for all at 30 and more; below at least 93 %.",
        "",
    ]
    for assume, table in tables.items():
        ratios = sorted({ratio for _, ratio in table})
        counts = sorted({int(table[name, r]["n"]) for name in NAMES for r in ratios})
        n = counts[0]
        text += [f"## {WORDS[assume]}", "", MEANING[assume], ""]
        text += [
            f"{n} simulated measurements a cell; % of 95 % intervals that hold the truth (mean width, um; angle urad)"
        ]
        text += [
            f"by form over noise. * misses the goal, ** by over two standard errors ({200 * np.sqrt(0.0475 / n):.1f}).",
            "",
        ]
        text += [*rows(table, ratios), ""]
    return "\n".join(text)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--ratios", default="0,1,3,10,30,100")
    parser.add_argument("--assume", default="as_is", help="as_is, independent, half, or several with commas")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--truth", choices=TRUTHS, default="waves")
    parser.add_argument("--save", type=Path, help="also keep the figures as JSON")
    parser.add_argument("--read", type=Path, nargs="*", default=[], help="figures of earlier runs instead of a run")
    parser.add_argument("--page", type=Path, help="also write the page")
    chosen = parser.parse_args(arguments)
    ratios = [float(text) for text in chosen.ratios.split(",")]
    tables: dict[str, dict[tuple[str, float], dict[str, float]]] = {}
    begin = time.process_time()
    for file in chosen.read:
        for row in json.loads(file.read_text(encoding="utf-8")):
            sums = tables.setdefault(row["assume"], {}).setdefault((row["name"], row["ratio"]), {})
            for key, value in row.items():
                if key not in ("assume", "name", "ratio"):
                    sums[key] = sums.get(key, 0.0) + value
    for assume in () if chosen.read else chosen.assume.split(","):
        if assume not in WORDS:
            parser.error(f"--assume: expected {', '.join(WORDS)}, got {assume!r}")
        if chosen.truth != "waves" and assume != "as_is":
            parser.error("other kinds of truth are for --assume as_is")
        label = assume if chosen.truth == "waves" else chosen.truth
        tables[label] = run(chosen.trials, ratios, assume, chosen.seed, chosen.truth)
    text = page(tables)
    sys.stdout.write(f"{text}\n{time.process_time() - begin:.0f} s of processor time\n")
    if chosen.save:
        kept = [{"assume": a, "name": k, "ratio": r, **v} for a, t in tables.items() for (k, r), v in t.items()]
        chosen.save.write_text(json.dumps(kept), encoding="utf-8")
    if chosen.page:
        # the last section is that of `coverage_evaluate`
        old = chosen.page.read_text(encoding="utf-8") if chosen.page.exists() else ""
        _, found, end = old.partition("\n## End to end\n")
        chosen.page.write_text(f"{text}{found}{end}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
