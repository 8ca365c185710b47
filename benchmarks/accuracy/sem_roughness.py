"""Debiased-Whittle roughness of simulated edges: ensemble bias and coverage of sigma, correlation length, H and noise.

    python -m benchmarks.accuracy.sem_roughness [--trials 200] [--images 0] [--cnr 1.5,2,4] [--shape 1024x1024] [--json]
    python -m benchmarks.accuracy.sem_roughness --few [--trials 200]

Edges are drawn exactly (circulant embedding) with white noise added to single rows: what an edge finder gives.
``--few``: LWR and LER of few, short lines, both edges of each drawn, from three lines of 20 correlation lengths on.
``--images`` adds the whole chain: simulated CD-SEM images, edges, unbiased LWR and LER, and the same images with every
second row taken (down-sampling by two).
"""

from __future__ import annotations

import argparse
import json
import math
from types import SimpleNamespace
from typing import Any

import numpy as np

from metrology_core.data import Image
from metrology_core.spreads import bounded_spread, log_error, log_normal_spread
from wafer.lines.places import residuals
from wafer.lines.roughness import residuals_of
from wafer.roughness import HURST_BOUNDS, Pairs, Roughness, fit_roughness, traces
from wafer.roughness.whittle import PARAMETERS
from wafer.simulate.roughness import rough_edges, rough_lines

# correlation length in rows, Hurst exponent, noise of a row over sigma
SETTINGS = ((12.5, 0.6, 0.3), (12.5, 0.6, 0.8), (12.5, 0.6, 1.5), (31.25, 0.5, 0.8), (7.5, 0.8, 0.8), (12.5, 0.9, 0.8))
# lines, rows, noise of an edge over sigma, correlation of the two edges; correlation length 12.5 rows, H 0.6
FEW = ((3, 256, 0.5, 0.0), (3, 448, 0.8, 0.0), (5, 256, 0.8, 0.0), (5, 448, 0.3, 0.0), (5, 448, 1.5, 0.0),
       (11, 256, 0.3, 0.0), (11, 256, 1.0, 0.0), (11, 448, 0.3, 0.0), (11, 448, 0.8, 0.0), (11, 448, 1.5, 0.0),
       (11, 448, 0.5, 0.6), (11, 448, 0.5, -0.6), (24, 448, 0.8, 0.0), (24, 1024, 0.8, 0.0))  # fmt: skip


def ends(fit: Roughness) -> np.ndarray:
    """(4, 2) 95 % intervals as they are reported."""
    spreads = [
        bounded_spread(value, u, *HURST_BOUNDS) if i == 2 else log_normal_spread(value, u, log_error(bend, dof))
        for i, (value, u, bend, dof) in enumerate(
            zip(fit.parameters, np.sqrt(np.diag(fit.covariance)), fit.shape.bend, fit.shape.dof, strict=True)
        )
    ]
    return np.quantile(spreads, [0.025, 0.975], axis=1).T


def few_lines(setting: tuple[int, int, float, float], trials: int, seed: int) -> list[dict[str, Any]]:
    """LWR and LER of the same lines, through the residuals as an image gives them."""
    lines, rows, noise, c = setting
    rng = np.random.default_rng(seed)
    truth = {"lwr": np.array([math.sqrt(2.0 - 2.0 * c), 12.5, 0.6, math.sqrt(2.0) * noise]),
             "ler": np.array([1.0, 12.5, 0.6, noise])}  # fmt: skip
    values: dict[str, list[np.ndarray]] = {"lwr": [], "ler": []}
    limits: dict[str, list[np.ndarray]] = {"lwr": [], "ler": []}
    for _ in range(trials):
        both = rough_lines(
            lines, rows, sigma=1.0, correlation_length=12.5, hurst=0.6, left_right_correlation=c, rng=rng
        )
        x = np.stack(both, axis=1).reshape(2 * lines, rows) + noise * rng.standard_normal((2 * lines, rows))
        found: Any = SimpleNamespace(x=x, rows=np.arange(rows), middle=0.5 * (rows - 1))
        rest = residuals_of(found, np.arange(0, 2 * lines, 2), "linear")
        for stem, residual, pairs in (
            ("lwr", rest.width, None), ("ler", rest.edges, Pairs(float(np.mean(rest.products)), rest.shifted)),
        ):  # fmt: skip
            given = traces(residual, "linear")
            assert given is not None
            fit = fit_roughness(given, pairs=pairs)
            if fit.status == "converged":
                values[stem].append(fit.parameters)
                limits[stem].append(ends(fit))
    out = []
    for stem, true in truth.items():
        value, limit = np.array(values[stem]), np.array(limits[stem])
        above, below = (true > limit[:, :, 1]).mean(axis=0), (true < limit[:, :, 0]).mean(axis=0)
        row = {
            "what": stem,
            "lines": lines,
            "rows": rows,
            "noise": noise,
            "correlation": c,
            "converged": len(value) / trials,
        }
        for i, name in enumerate(PARAMETERS):
            row |= {
                f"{name}_ratio": value[:, i].mean() / true[i], f"{name}_coverage": 1.0 - above[i] - below[i],
                f"{name}_above": above[i], f"{name}_below": below[i],
            }  # fmt: skip
        out.append(row)
    return out


def draw_and_fit(setting: tuple[float, float, float], trials: int, lines: int, rows: int, seed: int) -> dict[str, Any]:
    xi, hurst, noise = setting
    rng = np.random.default_rng(seed)
    y = np.arange(rows) - 0.5 * (rows - 1)
    values, spreads, limits, solved = [], [], [], 0
    for _ in range(trials):
        edges = rough_edges(lines, rows, sigma=1.0, correlation_length=xi, hurst=hurst, rng=rng)
        edges = edges + noise * rng.standard_normal(edges.shape)
        given = traces(residuals(y, edges, "linear"), "linear")
        assert given is not None
        fit = fit_roughness(given)
        solved += fit.status == "converged"
        values.append(fit.parameters)
        spreads.append(np.sqrt(np.diag(fit.covariance)))
        limits.append(ends(fit))
    value, u = np.array(values), np.array(spreads)
    truth = np.array([1.0, xi, hurst, noise])
    limit = np.array(limits)
    covered = ((truth >= limit[:, :, 0]) & (truth <= limit[:, :, 1])).mean(axis=0)
    return {
        "xi": xi, "hurst": hurst, "noise": noise, "converged": solved / trials,
        **{
            f"{name}_{what}": float(number[i])
            for i, name in enumerate(PARAMETERS)
            for what, number in (
                ("ratio", value.mean(axis=0) / truth),
                ("ratio_se", value.std(axis=0) / truth / math.sqrt(trials)),
                ("coverage", covered),
                ("sd_over_u", value.std(axis=0) / np.sqrt((u**2).mean(axis=0))),
            )
        },
    }  # fmt: skip


def image_chain(
    cnr: float, images: int, seed: int, criterion: str = "threshold", shape: tuple[int, int] = (1024, 1024)
) -> dict[str, Any]:
    """Unbiased over true LWR, LER and its length and exponent, through images; and after down-sampling by two."""
    from benchmarks.accuracy.sem_edges import model
    from wafer import SemLineSettings, measure_sem_lines
    from wafer.simulate import simulate_lines

    truth = {"lwr": math.sqrt(2.0) * 0.8, "ler": 0.8}
    ratios: dict[str, list[float]] = {}
    hits: dict[str, list[bool]] = {}
    lost: dict[str, int] = {}
    for k in range(images):
        drawn = simulate_lines(model(cnr, 2.0, shape=shape, sigma=0.8), seed=seed + k)
        for label, step in (("", 1), ("_half", 2)):
            image = Image(drawn.pixels[::step], "nm", (0.8, 0.8 * step))
            m = measure_sem_lines(image, SemLineSettings(criterion=criterion)).measurements  # type: ignore[arg-type]
            for name, value in truth.items():
                got = m.get(f"sem.{name}_unbiased_1s")
                if got is None:  # roughness and noise not told apart: counted
                    lost[name + label] = lost.get(name + label, 0) + 1
                    continue
                low, high = got.coverage_interval(0.95)
                ratios.setdefault(name + label, []).append(got.value / value)
                hits.setdefault(name + label, []).append(low <= value <= high)
            ratios.setdefault("biased_lwr" + label, []).append(m["sem.lwr_biased_1s"].value / truth["lwr"])
            for name, what, value in (("xi", "correlation_length", 10.0), ("hurst", "hurst", 0.6)):
                if f"sem.lwr_{what}" in m:
                    ratios.setdefault(name + label, []).append(m[f"sem.lwr_{what}"].value / value)
    out: dict[str, Any] = {"cnr": cnr, "images": images, "criterion": criterion, "rows": shape[0], "columns": shape[1]}
    for name, each in ratios.items():
        out[name] = float(np.mean(each))
        out[f"{name}_se"] = float(np.std(each, ddof=1) / math.sqrt(len(each)))
        if name in lost:
            out[f"{name}_lost"] = lost[name]
        if name in hits:
            out[f"{name}_coverage"] = float(np.mean(hits[name]))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--images", type=int, default=0)
    parser.add_argument("--few", action="store_true")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--criterion", default="threshold")
    parser.add_argument("--cnr", default="1.5,2,4")
    parser.add_argument("--shape", default="1024x1024", help="rows x columns of the images")
    parser.add_argument("--image-seed", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.few:
        few = [r for i, s in enumerate(FEW) for r in few_lines(s, arguments.trials, arguments.seed + i)]
        if arguments.json:
            print(json.dumps(few, indent=1))
            return
        print(f"{arguments.trials} trials: mean / truth, coverage of 95 % (truth above the interval, below it)")
        for r in few:
            cells = [
                f"{n} {r[n + '_ratio']:.3f} {r[n + '_coverage']:.3f} ({r[n + '_above']:.3f}, {r[n + '_below']:.3f})"
                for n in PARAMETERS
            ]
            print(
                f"{r['what']} {r['lines']:2} lines of {r['rows']:4} rows, noise {r['noise']:.1f}, "
                f"c {r['correlation']:+.1f}, converged {r['converged']:.3f}: " + "; ".join(cells)
            )
        return
    ny, nx = (int(part) for part in arguments.shape.split("x"))
    rows = (
        [draw_and_fit(s, arguments.trials, 40, 1024, arguments.seed + i) for i, s in enumerate(SETTINGS)]
        if arguments.trials
        else []
    )
    chain = (
        [
            image_chain(float(c), arguments.images, arguments.image_seed, arguments.criterion, (ny, nx))
            for c in arguments.cnr.split(",")
        ]
        if arguments.images
        else []
    )
    if arguments.json:
        print(json.dumps({"edges": rows, "images": chain}, indent=1))
        return
    print(f"{arguments.trials} trials of 40 edges x 1024 rows: mean / truth (standard error), coverage of 95 %, sd / u")
    for r in rows:
        cells = [
            f"{n} {r[n + '_ratio']:.4f} ({r[n + '_ratio_se']:.4f}) {r[n + '_coverage']:.3f} {r[n + '_sd_over_u']:.2f}"
            for n in PARAMETERS
        ]
        print(f"xi {r['xi']:5.1f} H {r['hurst']:.1f} noise {r['noise']:.1f}: " + "; ".join(cells))
    for c in chain:
        print(", ".join(f"{k} {v:.4f}" if isinstance(v, float) else f"{k} {v}" for k, v in c.items()))


if __name__ == "__main__":
    main()
