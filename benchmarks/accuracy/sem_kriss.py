"""Real pairs of SEM images of one field at low and high dose (KRISS: tin spheres): does a diameter repeat as it claims?

    python -m benchmarks.accuracy.sem_kriss [--data ../shared/data] [--criteria threshold,model] [--json]

Ten pairs, five by dwell time (100 ns against 30 us) and five by line integration (1 against 50), compared by
`wafer.contacts.match_contacts`. The difference of the diameters is set beside its predicted standard uncertainty (noise
of both images). Two scans of one field differ in scale (another dwell time is another scan mode; drift stretches a
frame): that is measured in the *places* of the spheres, and taken off the diameters. ``raw`` is the mean difference
without it.

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
from metrology_core.data import Image
from wafer import read_image
from wafer.contacts import ContactMatch, ContactSettings, match_contacts
from wafer.contours import GreyNoise

GROUPS = {"dwell time": ("time", "low", "high"), "line integration": ("Line", "Noisy", "Clean")}
ROWS, COLUMNS = (3, 437), (3, 509)  # without the drawn frame and the data bar
PIXEL = 5.82813  # nm, as the publisher states it


def read_pairs(folder: Path, group: str, count: int = 5) -> list[tuple[np.ndarray, np.ndarray]]:
    kind, low, high = GROUPS[group]
    files = [sorted((folder / kind / side).glob("*.tif"))[:count] for side in (low, high)]
    return [
        (read_image(a, rows=ROWS, columns=COLUMNS).pixels, read_image(b, rows=ROWS, columns=COLUMNS).pixels)
        for a, b in zip(*files, strict=True)
    ]


def image_of(pixels: np.ndarray) -> Image:
    return Image(pixels, "nm", (PIXEL, PIXEL))


def compared(low: np.ndarray, high: np.ndarray, criterion: str) -> ContactMatch:
    settings = ContactSettings(criterion=criterion, lattice=False)  # type: ignore[arg-type]
    return match_contacts(image_of(low), image_of(high), settings)


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
    scales, without = [], 0
    for low, high in read_pairs(folder, group, count):
        found = compared(low, high, criterion)
        scales.append([(m.value, m.u) for m in (found.measurements["scale_x"], found.measurements["scale_y"])])
        without += sum("outside" not in row["reason"] for row in found.unpaired)
        rows += [(r["difference"], r["difference_equal_scale"], r["u"]) for r in found.pairs]
        if noise:
            again = compared(with_noise(high, found.results[0].noise, rng), high, criterion)
            # the second image is the first without the drawn noise: its own noise is in both
            u = {k: row["diameter_u"] for k, row in enumerate(again.results[0].per_contact) if "diameter_u" in row}
            drawn += [(r["difference"], u[r["one"]]) for r in again.pairs]
    values = np.array(rows) / PIXEL
    out: dict[str, Any] = {
        "group": group, "criterion": criterion, **summary(values[:, 1], values[:, 2]),
        "raw": float(values[:, 0].mean()), "scale": scales, "without": without,
    }  # fmt: skip
    if noise:
        out["noise"] = summary(*(np.array(drawn).T / PIXEL))
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
            f"           {r['without']} without partner; scale of low over high less 1, x / y per pair in %: "
            + ", ".join(" / ".join(f"{100 * v:+.2f}({100 * u:.2f})" for v, u in pair) for pair in r["scale"])
        )


if __name__ == "__main__":
    main()
