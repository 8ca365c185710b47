"""Row-wise line edges of one simulated CD-SEM image: time and error against what people compose from other libraries.

Run: ``python -m benchmarks.against.sem_edges [--rounds 5] [--threads 2] [--json]``

The peers smooth the image (Gaussian, 2 px), which averages neighbouring rows: their error per row is smaller, and
their rows are correlated, so that the roughness they give is not that of the edge. ``find_edges`` uses single rows
unfiltered unless it is asked to smooth. The peers are handed the windows of the edges and the grey level;
``find_edges`` finds both, the tilt and the noise as well. Like for like: ``same blur, windows and level`` gets what
the peers get and adds the standard deviation of every place. OpenCV and Abbe use ``--threads``; NumPy, SciPy and
scikit-image have one. SciPy's fit per edge runs on a sample of the edges; its time is scaled to all of them.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable

import numpy as np

from benchmarks.common import environment, interleaved, print_environment, table
from metrology_core.blocks import threads
from metrology_core.data import Image
from wafer import SemLineSettings, find_edges, measure_sem_lines
from wafer.edges.locate import Shape, Windows
from wafer.edges.smoothed import smoothed_edges, smoothed_noise
from wafer.simulate import SemModel, simulate_lines
from wafer.smoothing import Smoothing

SAMPLE = 400  # edges given to SciPy
ALIKE = "abbe same blur, windows and level"
SCIPY = f"scipy curve_fit, {SAMPLE} edges"


def crossings(image: np.ndarray, places: np.ndarray, sign: np.ndarray, level: float, half: int) -> np.ndarray:
    """Vectorised NumPy: in each window the crossing of the level nearest its middle, linear interpolation."""
    ny = image.shape[0]
    out = np.empty((places.size, ny))
    rows = np.arange(ny)[:, None]
    for e, place in enumerate(places):
        first = max(0, int(round(place)) - half)
        window = image[:, first : first + 2 * half + 1].astype(np.float64)
        signed = sign[e] * (window - level)
        change = (signed[:, :-1] < 0) & (signed[:, 1:] >= 0)
        distance = np.where(change, np.abs(np.arange(change.shape[1]) - half), 999)
        k = np.argmin(distance, axis=1)[:, None]
        a, b = signed[rows, k], signed[rows, k + 1]
        with np.errstate(invalid="ignore", divide="ignore"):
            x = first + k + a / (a - b)
        out[e] = np.where(change.any(axis=1), x[:, 0], np.nan)
    return out


def rms(found: np.ndarray, truth: np.ndarray, sign: np.ndarray) -> tuple[float, float, float]:
    """Scatter about the own mean offset, mean offset outward, share lost; pixels."""
    error = (found - truth) * -sign[:, None]
    return float(np.nanstd(error)), float(np.nanmean(error)), float(np.isnan(found).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()

    import cv2
    from scipy.optimize import curve_fit
    from skimage.filters import gaussian
    from skimage.measure import find_contours

    cv2.setNumThreads(arguments.threads)
    simulated = simulate_lines(SemModel(shape=(1024, 1024), pitch=34.0, cd=17.0), seed=1)
    pixels = simulated.pixels
    image = Image(pixels, "nm", simulated.model.pixel)
    reference = find_edges(pixels)
    sign = reference.polarity
    truth_all = np.sort(np.concatenate([simulated.left, simulated.right]), axis=0)
    pick = [int(np.argmin(np.abs(truth_all.mean(axis=1) - place))) for place in reference.seed]
    truth = truth_all[pick]
    level = float(np.median(reference.level))
    half = 10
    results: dict[str, np.ndarray] = {}

    def keep(name: str, work: Callable[[], np.ndarray]) -> Callable[[], None]:
        def run() -> None:
            results[name] = work()

        return run

    def contours() -> np.ndarray:
        soft = gaussian(pixels.astype(np.float64), 2.0)
        out = np.full(truth.shape, np.nan)
        for line in find_contours(soft, level):
            place = float(np.median(line[:, 1]))
            e = int(np.argmin(np.abs(reference.seed - place)))
            whole = np.abs(line[:, 0] - np.rint(line[:, 0])) < 1e-9
            out[e, np.rint(line[whole, 0]).astype(int)] = line[whole, 1]
        return out

    chosen = np.random.default_rng(1).integers(0, truth.size, SAMPLE)

    def logistic(x: np.ndarray, low: float, high: float, centre: float, width: float) -> np.ndarray:
        return low + (high - low) / (1.0 + np.exp(-(x - centre) / width))

    def scipy_fits() -> np.ndarray:
        out = np.full(truth.shape, np.nan)
        for index in chosen:
            e, y = divmod(int(index), truth.shape[1])
            first = max(0, int(round(reference.seed[e])) - half)
            window = pixels[y, first : first + 2 * half + 1].astype(np.float64)
            x = np.arange(first, first + window.size, dtype=np.float64)
            start = [50.0, 140.0, reference.seed[e], 1.2] if sign[e] > 0 else [140.0, 50.0, reference.seed[e], 1.2]
            try:
                out[e, y] = curve_fit(logistic, x, window, p0=start, maxfev=400)[0][2]
            except RuntimeError:
                continue
        return out

    ours = {
        f"abbe find_edges {c}": keep(f"abbe find_edges {c}", lambda c=c: find_edges(pixels, criterion=c).x)  # type: ignore[misc]
        for c in ("threshold", "max_gradient", "sigmoid", "model")
    }
    n = sign.size
    smoothing = Smoothing("gaussian", 2.0)
    windows = Windows(reference.seed, np.full(n, float(half)), np.full(n, float(half)), sign, 0.0, 0.0)
    low, high = float(np.median(reference.low)), float(np.median(reference.high))
    steep = float(np.mean([p.slope for p in find_edges(pixels, smoothing=smoothing).profiles.values()]))
    one = np.ones(n)
    shape = Shape(level * one, low * one, high * one, steep * one, 2.0 * one)
    noise = smoothed_noise(reference.noise, smoothing)
    ours[ALIKE] = keep(ALIKE, lambda: smoothed_edges(pixels, windows, shape, noise, smoothing)[0])
    ours["abbe find_edges threshold, blur 2 px"] = keep(
        "abbe find_edges threshold, blur 2 px", lambda: find_edges(pixels, smoothing=smoothing).x
    )
    whole = {
        f"abbe measure_sem_lines {c}": (lambda c=c: measure_sem_lines(image, SemLineSettings(criterion=c)))  # type: ignore[misc]
        for c in ("threshold", "sigmoid")
    }
    peers = {
        "numpy crossing, unfiltered": keep(
            "numpy crossing, unfiltered", lambda: crossings(pixels, reference.seed, sign, level, half)
        ),
        "cv2 blur 2 px + numpy crossing": keep(
            "cv2 blur 2 px + numpy crossing",
            lambda: crossings(
                cv2.GaussianBlur(pixels.astype(np.float32), (0, 0), 2.0), reference.seed, sign, level, half
            ),
        ),
        "skimage blur 2 px + find_contours": keep("skimage blur 2 px + find_contours", contours),
        SCIPY: keep(SCIPY, scipy_fits),
    }
    cpu: dict[str, list[float]] = {}

    def counted(name: str, work: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            start = time.process_time()
            work()
            cpu.setdefault(name, []).append(time.process_time() - start)

        return run

    with threads(arguments.threads):
        timings = interleaved(
            {k: counted(k, v) for k, v in {**ours, **whole, **peers}.items()}, rounds=arguments.rounds
        )
    busy = {name: statistics.median(values[1:]) for name, values in cpu.items()}
    errors = {name: rms(found, truth, sign) for name, found in results.items()}
    per_edge = timings[SCIPY].median / SAMPLE
    bound = math.sqrt(float(np.mean([profile.crb**2 for profile in reference.profiles.values()])))
    facts = {
        "edges": int(truth.shape[0]),
        "rows": int(truth.shape[1]),
        "cramer_rao_px": bound,
        "images_per_second_threshold": 1.0 / timings["abbe measure_sem_lines threshold"].median,
        "images_per_second_sigmoid": 1.0 / timings["abbe measure_sem_lines sigmoid"].median,
        "scipy_over_abbe_sigmoid": per_edge * truth.size / timings["abbe find_edges sigmoid"].median,
        "scipy_over_abbe_model": per_edge * truth.size / timings["abbe find_edges model"].median,
        "opencv_over_abbe_alike": timings["cv2 blur 2 px + numpy crossing"].median / timings[ALIKE].median,
        "skimage_over_abbe_alike": timings["skimage blur 2 px + find_contours"].median / timings[ALIKE].median,
        # of all threads together: what says something on a busy machine
        "processor_opencv_over_abbe_alike": busy["cv2 blur 2 px + numpy crossing"] / busy[ALIKE],
        "processor_skimage_over_abbe_alike": busy["skimage blur 2 px + find_contours"] / busy[ALIKE],
        "processor_scipy_over_abbe_sigmoid": busy[SCIPY] / SAMPLE * truth.size / busy["abbe find_edges sigmoid"],
        "processor_scipy_over_abbe_model": busy[SCIPY] / SAMPLE * truth.size / busy["abbe find_edges model"],
        "threads": arguments.threads,
    }
    if arguments.json:
        rows = {name: {"scatter_px": e[0], "offset_px": e[1], "lost": e[2]} for name, e in errors.items()}
        timed = {name: item.to_dict() for name, item in timings.items()}
        print(json.dumps({"environment": environment(), "facts": facts, "timings": timed, "errors": rows}, indent=1))
        return
    print_environment()
    print(table(timings))
    print(f"\n{'':36} {'scatter':>8} {'offset':>8} {'lost':>8}   px; Cramer-Rao bound of one row {bound:.3f}")
    for name, (scatter, offset, lost) in errors.items():
        share = "sample" if "scipy" in name else f"{lost:.3%}"
        print(f"{name:36} {scatter:8.3f} {offset:8.3f} {share:>8}")
    for name, value in facts.items():
        print(f"{name}: {value:.4g}")


if __name__ == "__main__":
    main()
