"""Real pairs of SEM images of one field at low and high dose (KRISS: tin spheres): does a diameter repeat as it claims?

    python -m benchmarks.accuracy.sem_kriss [--data ../shared/data] [--criteria threshold,model] [--json]

Ten pairs, five by dwell time (100 ns against 30 us) and five by line integration (1 against 50). Spheres are measured
in both images of a pair on their own, and paired by their places. The difference of the diameters is set beside its
predicted standard uncertainty (noise of both images). Two scans of one field differ in scale (another dwell time is
another scan mode; drift stretches a frame): that is measured in the *places* of the spheres, robustly, and taken off
the diameters. ``raw`` is the mean difference without it.

``noise``: the high-dose image with noise of the low-dose one drawn on it (variance over grey and correlation along the
row as measured there), against the high-dose image: what the propagation alone is worth, without anything that two
scans may differ in.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import REPOSITORY
from wafer import read_image
from wafer.contacts import ContactSettings
from wafer.contacts.contour import Contour
from wafer.contacts.evaluate import Found, find_contacts
from wafer.contours import GreyNoise

GROUPS = {"dwell time": ("time", "low", "high"), "line integration": ("Line", "Noisy", "Clean")}
ROWS, COLUMNS = (3, 437), (3, 509)  # without the drawn frame and the data bar
NEAR, ALIKE = 6.0, 6.0  # px: drift between the scans, and difference of diameter beyond which it is another sphere


def read_pairs(folder: Path, group: str, count: int = 5) -> list[tuple[np.ndarray, np.ndarray]]:
    kind, low, high = GROUPS[group]
    files = [sorted((folder / kind / side).glob("*.tif"))[:count] for side in (low, high)]
    return [
        (read_image(a, rows=ROWS, columns=COLUMNS).pixels, read_image(b, rows=ROWS, columns=COLUMNS).pixels)
        for a, b in zip(*files, strict=True)
    ]


def measured(pixels: np.ndarray, criterion: str) -> tuple[Found, list[Contour]]:
    found = find_contacts(pixels, ContactSettings(criterion=criterion, lattice=False))  # type: ignore[arg-type]
    return found, [s.contour for s in found.sites if s.state == "found" and s.contour is not None]


def matched(low: list[Contour], high: list[Contour]) -> list[tuple[Contour, Contour]]:
    """Spheres that are each other's nearest."""
    between = np.array([[np.hypot(*(a.centre - b.centre)) for b in high] for a in low])
    out = []
    for i, a in enumerate(low):
        j = int(np.argmin(between[i]))
        b = high[j]
        if int(np.argmin(between[:, j])) == i and between[i, j] < NEAR and abs(a.diameter - b.diameter) < ALIKE:
            out.append((a, b))
    return out


def relative_scale(pairs: list[tuple[Contour, Contour]]) -> tuple[float, float]:
    """Scale of the first scan over that of the second, less 1, in x and y: robust straight lines through the shifts of
    the places (iteratively weighted, Huber)."""
    place = np.array([b.centre for _, b in pairs])
    shift = np.array([a.centre - b.centre for a, b in pairs])
    design = np.column_stack([np.ones(len(place)), place - place.mean(axis=0)])
    out = []
    for axis in (0, 1):
        weight = np.ones(len(place))
        for _ in range(20):
            root = np.sqrt(weight)
            solution = np.linalg.lstsq(design * root[:, None], shift[:, axis] * root, rcond=None)[0]
            rest = np.abs(shift[:, axis] - design @ solution)
            weight = 1.0 / np.maximum(1.0, rest / (1.5 * 1.4826 * max(float(np.median(rest)), 1e-9)))
        out.append(float(solution[1 + axis]))
    return out[0], out[1]


def with_noise(pixels: np.ndarray, noise: GreyNoise, rng: np.random.Generator) -> np.ndarray:
    """Grey values with normal noise of the model drawn on them, rounded and clipped to 8 bits."""
    ny, nx = pixels.shape
    ring = np.zeros(nx)
    ring[0] = 1.0
    ring[1 : len(noise.lags) + 1] = noise.lags
    ring[nx - len(noise.lags) :] = noise.lags[::-1]
    colour = np.sqrt(np.maximum(np.fft.rfft(ring).real, 0.0))
    white = np.fft.irfft(np.fft.rfft(rng.standard_normal((ny, nx)), axis=1) * colour, nx, axis=1)
    grey = pixels.astype(np.float64)
    return np.clip(np.rint(grey + white * np.sqrt(noise.variance(grey))), 0, 255).astype(np.uint8)


def summary(difference: np.ndarray, u: np.ndarray) -> dict[str, float]:
    sd, predicted = float(difference.std(ddof=1)), math.sqrt(float(np.mean(u**2)))
    centre = difference - np.median(difference)
    return {
        "spheres": int(difference.size), "mean": float(difference.mean()), "mean_se": sd / math.sqrt(difference.size),
        "sd": sd, "robust_sd": 1.4826 * float(np.median(np.abs(centre))), "predicted": predicted,
        "ratio": sd / predicted,
    }  # fmt: skip


def judge(folder: Path, group: str, criterion: str, count: int = 5, noise: bool = True) -> dict[str, Any]:
    """Differences of all spheres of a group, in pixels."""
    rng = np.random.Generator(np.random.PCG64(20))
    rows: list[tuple[float, float, float]] = []
    drawn: list[tuple[float, float]] = []
    scales = []
    for low, high in read_pairs(folder, group, count):
        noisy, first = measured(low, criterion)
        _, second = measured(high, criterion)
        pairs = matched(first, second)
        sx, sy = relative_scale(pairs)
        scales.append((sx, sy))
        for a, b in pairs:
            raw = a.diameter - b.diameter
            rows.append((raw, raw - 0.5 * (sx + sy) * b.diameter, math.hypot(a.diameter_u, b.diameter_u)))
        if noise:
            _, again = measured(with_noise(high, noisy.noise, rng), criterion)
            drawn += [(a.diameter - b.diameter, a.diameter_u) for a, b in matched(again, second)]
    values = np.array(rows)
    out: dict[str, Any] = {
        "group": group, "criterion": criterion, **summary(values[:, 1], values[:, 2]),
        "raw": float(values[:, 0].mean()), "scale": np.array(scales).tolist(),
    }  # fmt: skip
    if noise:
        out["noise"] = summary(*np.array(drawn).T)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("ABBE_DATA", REPOSITORY.parent / "shared/data"))
    )
    parser.add_argument("--criteria", default="threshold,model")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    folder = arguments.data / "wafer" / "kriss_sem" / "Data"
    if not folder.is_dir():
        raise SystemExit(f"no image pairs in {folder}")
    rows = [judge(folder, group, c) for c in arguments.criteria.split(",") for group in GROUPS]
    if arguments.json:
        print(json.dumps(rows, indent=1))
        return
    print("difference of the diameters of low and high dose in px; sd over the predicted standard uncertainty")
    for r in rows:
        for label, q in (("pairs", r), ("noise", r["noise"])):
            print(
                f"{r['criterion']:10} {r['group']:16} {label}: {q['spheres']:3d} spheres, mean {q['mean']:+.3f} "
                f"({q['mean_se']:.3f}), sd {q['sd']:.3f} (robust {q['robust_sd']:.3f}), "
                f"predicted {q['predicted']:.3f}, ratio {q['ratio']:.2f}"
                + (f"; raw mean {r['raw']:+.3f}" if q is r else "")
            )
        print(
            "           scale of low over high less 1, x / y per pair in %: "
            + ", ".join(f"{100 * x:+.2f} / {100 * y:+.2f}" for x, y in r["scale"])
        )


if __name__ == "__main__":
    main()
