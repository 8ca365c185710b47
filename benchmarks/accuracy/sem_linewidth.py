"""Linewidth, space and pitch through whole simulated CD-SEM images: bias, coverage of 95 % intervals, down-sampling.

    python -m benchmarks.accuracy.sem_linewidth [--images 60] [--criteria threshold,model] [--cnr 4] [--json]

The truth is that of the *process*: the drawn width plus twice the place of the criterion on the noise-free section of
one edge (`benchmarks.accuracy.sem_edges.named_place`), not the mean over the few lines that happen to lie in the image.
So the scatter between lines counts, and so does what the evaluation does not know: roughness, noise, blur, blooms.
``half``: the same image with every second row left out, and ``binned``: 2 x 2 pixels averaged into one; change of the
mean width. ``--plain`` leaves both out.
"""

from __future__ import annotations

import argparse
import json
import math
from typing import Any

import numpy as np

from benchmarks.accuracy.sem_edges import model, named_place
from metrology_core.data import Image
from wafer import SemLineSettings, measure_sem_lines
from wafer.simulate import simulate_lines

SETTINGS = ((2.0, 2.0), (4.0, 1.5), (4.0, 3.0), (10.0, 2.0))  # contrast to noise, blur in pixels


def bias_and_coverage(cnr: float, blur: float, criterion: str, images: int, seed: int, plain: bool) -> dict[str, Any]:
    m = model(cnr, blur, shape=(512, 800), sigma=0.8)
    px, py = m.pixel
    offset = 2.0 * named_place(m, criterion) * px
    truth = {"sem.cd_line": m.cd + offset, "sem.cd_space": m.pitch - m.cd - offset, "sem.pitch": m.pitch}
    errors: dict[str, list[float]] = {name: [] for name in truth}
    hits: dict[str, list[bool]] = {name: [] for name in truth}
    u: dict[str, list[float]] = {name: [] for name in truth}
    changes: dict[str, list[float]] = {"half": [], "binned": []}
    settings = SemLineSettings(criterion=criterion)  # type: ignore[arg-type]
    for k in range(images):
        pixels = simulate_lines(m, seed=seed + k).pixels
        found = measure_sem_lines(Image(pixels, "nm", (px, py)), settings).measurements
        for name, value in truth.items():
            low, high = found[name].coverage_interval(0.95)
            errors[name].append(found[name].value - value)
            hits[name].append(low <= value <= high)
            u[name].append(found[name].u)
        if plain:
            continue
        ny, nx = (s // 2 * 2 for s in pixels.shape)
        binned = pixels[:ny, :nx].reshape(ny // 2, 2, nx // 2, 2).astype(np.float64).mean(axis=(1, 3))
        for label, image in (
            ("half", Image(np.ascontiguousarray(pixels[::2]), "nm", (px, 2.0 * py))),
            ("binned", Image(binned, "nm", (2.0 * px, 2.0 * py))),
        ):
            other = measure_sem_lines(image, settings).measurements
            changes[label].append(other["sem.cd_line"].value / found["sem.cd_line"].value - 1.0)
    out: dict[str, Any] = {"criterion": criterion, "cnr": cnr, "blur": blur, "images": images}
    for name in truth:
        stem = name.removeprefix("sem.")
        each = np.array(errors[name])
        out[f"{stem}_bias"] = float(each.mean())
        out[f"{stem}_bias_se"] = float(each.std(ddof=1)) / math.sqrt(images)
        out[f"{stem}_sd"] = float(each.std(ddof=1))
        out[f"{stem}_u"] = math.sqrt(float(np.mean(np.square(u[name]))))
        out[f"{stem}_coverage"] = float(np.mean(hits[name]))
    for label, values in changes.items():
        out[f"{label}_change"] = float(np.mean(values)) if values else math.nan
        out[f"{label}_worst"] = float(np.max(np.abs(values))) if values else math.nan
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--criteria", default="threshold,model")
    parser.add_argument("--cnr", type=float, help="this contrast to noise only")
    parser.add_argument("--seed", type=int, default=900)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = [
        bias_and_coverage(cnr, blur, criterion, arguments.images, arguments.seed + 1000 * n, arguments.plain)
        for criterion in arguments.criteria.split(",")
        for n, (cnr, blur) in enumerate(SETTINGS)
        if arguments.cnr in (None, cnr)
    ]
    if arguments.json:
        print(json.dumps(rows, indent=1))
        return
    print(
        "lengths in nm; coverage of 95 % intervals; change of the width by half the rows and by 2 x 2 binning (worst)"
    )
    for r in rows:
        print(
            f"{r['criterion']:10} CNR {r['cnr']:4.1f} blur {r['blur']:.1f} px: "
            + "; ".join(
                f"{stem} {r[stem + '_bias']:+.4f} ({r[stem + '_bias_se']:.4f}) sd {r[stem + '_sd']:.4f} "
                f"u {r[stem + '_u']:.4f} {r[stem + '_coverage']:.3f}"
                for stem in ("cd_line", "cd_space", "pitch")
            )
            + (
                ""
                if arguments.plain
                else f"; half {r['half_change']:+.3%} ({r['half_worst']:.3%}), binned {r['binned_change']:+.3%} "
                f"({r['binned_worst']:.3%})"
            )
        )


if __name__ == "__main__":
    main()
