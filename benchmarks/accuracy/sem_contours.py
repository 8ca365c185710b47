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


def true_errors(image: ShapeImage, result: ContourResult) -> tuple[np.ndarray, np.ndarray]:
    """(measured - true, standard uncertainty) of the edge placement errors on design edges."""
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
    return v["epe"][mine] - true, v["epe_u"][mine]


def trial(pattern: str, case: str, seed: int) -> tuple[np.ndarray, np.ndarray, ContourResult]:
    """One image with a place of its own."""
    stream = np.random.Generator(np.random.PCG64(np.random.SeedSequence([7, seed])))
    changes = CASES[case]
    image = simulate_shapes(
        PATTERNS[pattern], seed=seed, roughness=0.5, correlation_length=25.0, hurst=1.0, corner_radius=5.0,
        shift=tuple(stream.uniform(-12.0, 12.0, 2)), bias=float(stream.uniform(-1.0, 1.0)), **changes,
    )  # fmt: skip
    free = ("rotation", "scale") if "rotation" in changes else ()
    result = measure_contours(
        Image(image.pixels, "nm", image.model.pixel),
        ContourSettings(origin=(0.0, 0.0), free=free, criterion="model"),
        design=Design(image.design, "nm"),
    )
    return *true_errors(image, result), result


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=20)
    trials = parser.parse_args().trials
    print(f"{trials} images each; errors in nm (pixel 0.8 nm)")
    print("pattern      case               vertices  bias    rms   mean u  coverage 95 %  sd between images")
    for pattern in PATTERNS:
        for case in CASES:
            errors, inside, u = [], [], []
            for seed in range(trials):
                e, s, _ = trial(pattern, case, seed)
                errors.append(e)
                u.append(s)
                inside.append(float(np.mean(np.abs(e) < 1.96 * s)))
            e, s = np.concatenate(errors), np.concatenate(u)
            print(
                f"{pattern:12} {case:18} {e.size:8d} {e.mean():7.3f} {np.sqrt(np.mean(e**2)):6.3f} {s.mean():7.3f}"
                f" {100 * np.mean(inside):9.1f} {100 * np.std(inside):14.1f}"
            )


if __name__ == "__main__":
    main()
