"""Edge placement errors on simulated shapes: bias, and how often the intervals hold the truth.

python -m benchmarks.accuracy.sem_contours --trials 40

The truth is the drawn polygon, rendered by area coverage, at its true place; smooth roughness (H = 1, long against the
beam), so that what the beam levels out is not part of the comparison. Vertices near corners and on line ends are left
out, as in the characteristic.
"""

from __future__ import annotations

import argparse
import math
from typing import Any

import numpy as np

from metrology_core.data import Image
from wafer.contours import registration as reg
from wafer.contours.design import Design, edges_of
from wafer.contours.evaluate import ContourResult, ContourSettings, measure_contours
from wafer.simulate.shapes import ShapeImage, elbows, holes, line_ends, rectangle, signed_area, simulate_shapes

PATTERNS = {
    "elbows": elbows(),
    "line ends": [*line_ends(), rectangle(-190.0, -150.0, -170.0, 150.0)],
    "holes": holes(4, 4, 44.0, 88.0),
}
CASES: dict[str, dict[str, Any]] = {
    "dose 1": {},
    "dose 0.3": {"electrons_per_grey": 0.3},
    "dose 0.15": {"electrons_per_grey": 0.15},
    "rotated, scaled": {"rotation": 0.4, "scale": 0.003},
}


def signed_distance(x: np.ndarray, y: np.ndarray, ux: np.ndarray, uy: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Signed distances from the nearest facing edges of ``rows`` (m, 6)."""
    from wafer.kernels.polygons import nearest_edges

    n = x.size
    edge, along, out = np.empty(n, np.int64), np.empty(n), np.empty(n)
    x, y, ux, uy = (np.ascontiguousarray(a) for a in (x, y, ux, uy))
    nearest_edges(x, y, ux, uy, rows, 0.3, 40.0, 0, n, edge, along, out)
    return out


def edge_rows(polygon: np.ndarray) -> np.ndarray:
    """Rows for the nearest-edge kernel of a dense true contour in pixels."""
    ahead = np.roll(polygon, -1, axis=0)
    d = ahead - polygon
    length = np.hypot(*d.T)
    sense = 1.0 if signed_area(polygon) > 0.0 else -1.0
    good = length > 1e-9
    normal = sense * np.column_stack((d[:, 1], -d[:, 0]))[good] / length[good, None]
    return np.column_stack((polygon[good], ahead[good], normal))


def true_errors(image: ShapeImage, result: ContourResult) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(measured - true, standard uncertainty, true) of the edge placement errors on design edges."""
    v = result.vertices
    mine = np.flatnonzero((v["kind"] == 0) & (v["state"] == 0))
    px = image.model.pixel[0]
    rows = np.concatenate([edge_rows(p) for p in image.polygons])
    off = signed_distance(v["x"][mine], v["y"][mine], v["nx"][mine], v["ny"][mine], rows)
    x, y = v["x"][mine] - off * v["nx"][mine], v["y"][mine] - off * v["ny"][mine]
    middle = reg.middle_of(image.model.shape)
    values = np.array((image.model.shift[0], -image.model.shift[1], math.radians(image.model.rotation),
                       image.model.scale, 0.0, 0.0))  # fmt: skip
    turn, place = reg.transform_of(values, np.zeros(2))
    design = edges_of(Design(image.design, "nm")).mapped(place, turn)
    true = signed_distance((x - middle[0]) * px, (y - middle[1]) * px, v["nx"][mine], v["ny"][mine], design)
    return v["epe"][mine] - true, v["epe_u"][mine], true


def drawn(pattern: str, case: str, seed: int, size: int = 512) -> tuple[ShapeImage, ContourResult]:
    """One image with a place and a bias of its own, measured."""
    stream = np.random.Generator(np.random.PCG64(np.random.SeedSequence([7, seed])))
    changes = CASES[case]
    image = simulate_shapes(
        PATTERNS[pattern], seed=seed, shape=(size, size), roughness=0.5, correlation_length=25.0, hurst=1.0,
        corner_radius=5.0, shift=tuple(stream.uniform(-12.0, 12.0, 2)), bias=float(stream.uniform(-1.0, 1.0)),
        **changes,
    )  # fmt: skip
    free = ("rotation", "scale") if "rotation" in changes else ()
    result = measure_contours(
        Image(image.pixels, "nm", image.model.pixel),
        ContourSettings(origin=(0.0, 0.0), free=free, criterion="model"),
        design=Design(image.design, "nm"),
    )
    return image, result


def trial(pattern: str, case: str, seed: int) -> tuple[np.ndarray, np.ndarray, ContourResult]:
    """Errors and standard uncertainties of one image, and its result."""
    image, result = drawn(pattern, case, seed)
    return *true_errors(image, result)[:2], result


def judge(pattern: str, case: str, seeds: range, size: int = 512) -> dict[str, float]:
    """Figures of one setting over the images of ``seeds``."""
    errors, claims, inside, squares, means, spreads, flagged = [], [], [], [], [], [], 0
    for seed in seeds:
        image, result = drawn(pattern, case, seed, size)
        e, u, true = true_errors(image, result)
        errors.append(e)
        claims.append(u)
        inside.append(float(np.mean(np.abs(e) < 1.96 * u)))
        squares.append(float(np.mean((true - image.model.bias) ** 2)))
        low, high = result.measurements["sem.epe_mean"].coverage_interval(0.95)
        means.append(low <= image.model.bias <= high)
        spreads.append(result.measurements["sem.epe_1s"].coverage_interval(0.95))
        flagged += "registration_unmodelled" in result.flags
    process = math.sqrt(float(np.mean(squares)))
    e, u = np.concatenate(errors), np.concatenate(claims)
    return {
        "vertices": e.size, "bias": float(e.mean()), "rms": math.sqrt(float(np.mean(e**2))), "u": float(u.mean()),
        "coverage": float(np.mean(inside)), "between": float(np.std(inside)), "mean": float(np.mean(means)),
        "process": process, "spread": float(np.mean([low <= process <= high for low, high in spreads])),
        "below": float(np.mean([high < process for _, high in spreads])), "flagged": flagged,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=512, help="Pixels along each side of an image.")
    parser.add_argument("--patterns", default=",".join(PATTERNS))
    parser.add_argument("--cases", default=";".join(CASES))
    given = parser.parse_args()
    print(
        f"{given.trials} images of {given.size} px each; errors in nm (pixel 0.8 nm); coverage of 95 % intervals in %"
    )
    print(
        "pattern      case               vertices  bias    rms   mean u  coverage  sd   epe_mean  epe_1s (above) flags"
    )
    for pattern in given.patterns.split(","):
        for case in given.cases.split(";"):
            r = judge(pattern, case, range(given.seed, given.seed + given.trials), given.size)
            print(
                f"{pattern:12} {case:18} {r['vertices']:8.0f} {r['bias']:7.3f} {r['rms']:6.3f} {r['u']:7.3f}"
                f" {100 * r['coverage']:9.1f} {100 * r['between']:4.1f} {100 * r['mean']:9.1f}"
                f" {100 * r['spread']:8.1f} ({100 * r['below']:.1f}) {r['flagged']:9.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
