"""Single-row edges of simulated CD-SEM images: error against the Cramer-Rao bound, the own sd, and the named criterion.

    python -m benchmarks.accuracy.sem_edges [--images 4] [--criteria threshold,model] [--quick] [--drift] [--json]

The bound, and the place where each criterion lies on a noise-free image, come from the drawn model and not from the
evaluation: ``ratio`` is the RMS error over the true bound (lost edges are counted in ``lost``), ``claimed`` the RMS
error over the standard deviation that the edge finder states, ``bias`` the mean error against the named criterion in
pixels (positive outward, from dark to bright backward) with its standard error.
"""

from __future__ import annotations

import argparse
import json
import math
from typing import Any

import numpy as np

from wafer.edges import CRITERIA, find_edges
from wafer.simulate import SemModel, simulate_lines
from wafer.simulate.sem import edge_response, threshold_offset

PX = 0.8
LOW, HIGH = 25000.0, 37000.0  # 16 bit: room for four standard deviations on both sides at a contrast to noise of 2


def model(cnr: float, blur_px: float, *, poisson: float = 0.5, **changes: Any) -> SemModel:
    """An image model of this contrast to noise (rms of both sides); ``poisson`` is the share of shot noise."""
    variance = ((HIGH - LOW) / cnr) ** 2
    electrons = 0.5 * (LOW + HIGH) / (poisson * variance) if poisson > 0.0 else math.inf
    fields: dict[str, Any] = {
        "shape": (512, 800), "pixel": (PX, PX), "pitch": 40 * PX, "cd": 20 * PX, "blur": blur_px * PX, "bits": 16,
        "space_level": LOW, "line_level": HIGH, "electrons_per_grey": electrons,
        "read_noise": math.sqrt((1.0 - poisson) * variance),
    }  # fmt: skip
    return SemModel(**{**fields, **changes})


def section(m: SemModel) -> tuple[np.ndarray, np.ndarray]:
    """Noise-free grey over the distance from the left edge of a line in px, half a space to half a line."""
    px = m.pixel[0]
    half = 1.5 * m.pitch / px
    table = edge_response(m, half)
    u = np.linspace(-half, half, table.size)
    x = np.arange(-0.5 * (m.pitch - m.cd) / px, 0.5 * m.cd / px, 0.01)
    total = np.zeros_like(x)
    for k in (-1, 0, 1):
        for place, sign in ((k * m.pitch / px, 1.0), ((k * m.pitch + m.cd) / px, -1.0)):
            total += np.interp(sign * (x - place), u, table, left=0.0, right=1.0) - 0.5
    return x, m.space_level + (m.line_level - m.space_level) * total


def true_bound(m: SemModel) -> float:
    """Cramer-Rao bound of the place of one edge in one row in px: all pixels of the window, levels known."""
    x, grey = section(m)
    variance = m.read_noise**2 + (grey / m.electrons_per_grey if math.isfinite(m.electrons_per_grey) else 0.0)
    return float(np.sum(np.gradient(grey, x) ** 2 / variance) * 0.01) ** -0.5


def named_place(m: SemModel, criterion: str) -> float:
    """How far outside the true edge the criterion lies on the noise-free section, in px."""
    if criterion in ("threshold", "model"):
        return threshold_offset(m) / m.pixel[0]
    x, grey = section(m)
    if criterion == "max_gradient":
        wide = np.interp(x + 1.0, x, grey) - np.interp(x - 1.0, x, grey)
        return -float(x[np.argmax(wide)])
    if criterion == "linear_approximation":
        slope = sum(d * np.interp(x + d, x, grey) for d in range(-2, 3)) / 10.0
        mean = sum(np.interp(x + d, x, grey) for d in range(-2, 3)) / 5.0
        k = int(np.argmax(slope))
        return -float(x[k] - (mean[k] - grey.min()) / slope[k])
    from scipy.optimize import curve_fit

    found, _ = curve_fit(
        lambda t, a, b, c, w: a + (b - a) / (1.0 + np.exp(-(t - c) / w)), x, grey, [LOW, HIGH, 0.0, 1.0]
    )
    return -float(found[2])


def judge(m: SemModel, criterion: str, images: int, seed: int = 1) -> dict[str, float]:
    """RMS error, ratios, bias and losses of one setting over ``images`` images."""
    place, bound = named_place(m, criterion), true_bound(m)
    squares = number = lost = total = 0.0
    biases, claims = [], []
    for k in range(images):
        image = simulate_lines(m, seed=1000 * seed + k)
        found = find_edges(image.pixels, criterion=criterion)  # type: ignore[arg-type]
        truth = np.sort(np.concatenate([image.left, image.right]), axis=0)
        middle = truth.mean(axis=1)
        nearest = np.argmin(np.abs(middle[None, :] - found.seed[:, None]), axis=1)
        # outward: against the polarity
        error = -(found.x - truth[nearest]) * found.polarity[:, None] - place
        for sign, noise in found.noise_sd.items():
            mine = found.polarity == sign
            error[mine] += noise.bias  # what the widths are corrected by
            claims.append(noise.sd)
        biases.append(float(np.nanmean(error)))
        good = np.isfinite(error)
        squares += float(np.nansum((error - biases[-1]) ** 2))
        number += float(good.sum())
        lost += float((~good).sum())
        total += error.size
    rms = math.sqrt(squares / number)
    claimed = math.sqrt(float(np.mean(np.square(claims))))
    return {
        "rms": rms, "bound": bound, "ratio": rms / bound, "claimed": rms / claimed, "bias": float(np.mean(biases)),
        "bias_se": float(np.std(biases, ddof=1)) / math.sqrt(images) if images > 1 else rms / math.sqrt(number),
        "lost": lost / total,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--criteria", default=",".join(CRITERIA))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--drift", action="store_true", help="the drift over dose only")
    parser.add_argument("--seed", type=int, default=1, help="images from 1000 times this number on")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = []
    criteria = arguments.criteria.split(",")
    for criterion in criteria:
        for cnr in () if arguments.drift else (2.0, 4.0) if arguments.quick else (2.0, 3.0, 5.0, 10.0):
            for blur in (1.5, 3.0) if arguments.quick else (1.5, 2.0, 3.0):
                rows.append(
                    {"criterion": criterion, "cnr": cnr, "blur": blur}
                    | judge(model(cnr, blur), criterion, arguments.images, arguments.seed)
                )
    drift = []
    for criterion in criteria:
        # one electron count per pixel, 20 times as many, no other noise
        low, high = (
            judge(model(c, 2.0, poisson=0.9), criterion, arguments.images, arguments.seed) for c in (2.5, 2.5 * 20**0.5)
        )
        drift.append(
            {
                "criterion": criterion, "nm": (low["bias"] - high["bias"]) * PX,
                "se": math.hypot(low["bias_se"], high["bias_se"]) * PX,
            }
        )  # fmt: skip
    if arguments.json:
        print(json.dumps({"edges": rows, "dose_drift_over_20": drift}, indent=1))
        return
    print(f"{'criterion':20} {'CNR':>4} {'blur':>4} {'rms':>7} {'bound':>7} {'ratio':>6} {'claimed':>7} "
          f"{'bias':>8} {'(se)':>7} {'lost':>8}   px")  # fmt: skip
    for r in rows:
        print(f"{r['criterion']:20} {r['cnr']:4.0f} {r['blur']:4.1f} {r['rms']:7.3f} {r['bound']:7.3f} "
              f"{r['ratio']:6.3f} {r['claimed']:7.3f} {r['bias']:8.4f} {r['bias_se']:7.4f} "
              f"{r['lost']:8.3%}")  # fmt: skip
    for d in drift:
        print(f"dose drift over 20x, {d['criterion']}: {d['nm']:+.4f} ({d['se']:.4f}) nm for each edge")


if __name__ == "__main__":
    main()
