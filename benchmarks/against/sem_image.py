"""One 1024 x 1024 image with 48 edges, all but repeated frames, beside a straightforward NumPy and SciPy version.

Run: ``python -m benchmarks.against.sem_image [--rounds 7] [--json]`` (one thread; set ``ABBE_THREADS=1`` as well)

The plain version is what a careful user writes: local levels and the crossing nearest the seed in every row, NumPy for
all rows at once; widths, pitch, roughness; a debiased-Whittle fit of width and edge spectra by SciPy. It is handed the
windows of the edges. It has no tilt, noise model, per-edge sigma, defects, budget, picture, pitch walk or scale map.
Processor time stands beside wall time: on a busy machine only the former says something.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from typing import Any

import numpy as np

from benchmarks.accuracy.sem_edges import model
from benchmarks.common import environment, interleaved, print_environment, table
from metrology_core.blocks import threads
from metrology_core.data import Image
from wafer import SemLineSettings, find_edges, measure_sem_lines
from wafer.simulate import simulate_lines


def plain_edges(pixels: np.ndarray, seeds: np.ndarray, sign: np.ndarray, half: int) -> np.ndarray:
    """Crossing of the middle between the local extremes of the averaged linescan, nearest the seed; (edges, rows)."""
    scan = pixels.mean(axis=0)
    rows = np.arange(pixels.shape[0])[:, None]
    out = np.empty((seeds.size, pixels.shape[0]))
    for e, place in enumerate(seeds):
        first = max(0, round(float(place)) - half)
        part = scan[first : first + 2 * half + 1]
        level = 0.5 * (part.min() + part.max())
        signed = sign[e] * (pixels[:, first : first + 2 * half + 1] - level)
        change = (signed[:, :-1] < 0) & (signed[:, 1:] >= 0)
        k = np.argmin(np.where(change, np.abs(np.arange(change.shape[1]) - half), 999), axis=1)[:, None]
        a, b = signed[rows, k], signed[rows, k + 1]
        with np.errstate(invalid="ignore", divide="ignore"):
            x = first + k + a / (a - b)
        out[e] = np.where(change.any(axis=1), x[:, 0], np.nan)
    return out


def plain_whittle(traces: np.ndarray) -> np.ndarray:
    """Sigma, correlation length, H and noise of detrended traces by the expected periodogram; SciPy's minimiser."""
    from scipy.optimize import minimize

    n = traces.shape[1]
    data = (np.abs(np.fft.rfft(traces, axis=1)) ** 2).mean(axis=0)[1 : n // 2] / n
    lag = np.arange(n)
    weight = 1.0 - lag / n

    def cost(theta: np.ndarray) -> float:
        s2, xi, hurst, n2 = (
            math.exp(theta[0]),
            math.exp(theta[1]),
            1.0 / (1.0 + math.exp(-theta[2])),
            math.exp(theta[3]),
        )
        r = s2 * np.exp(-((lag / xi) ** (2.0 * hurst)))
        r[0] += n2
        folded = weight * r
        expected = (2.0 * np.fft.fft(folded).real - folded[0])[1 : n // 2]
        expected = np.maximum(expected, 1e-12)
        return float(np.sum(np.log(expected) + data / expected))

    tail = float(data[-data.size // 8 :].mean())
    total = float(data.mean())
    start = np.array([math.log(max(total - tail, 0.1 * total)), math.log(10.0), 0.4, math.log(tail)])
    return np.asarray(minimize(cost, start, method="Nelder-Mead", options={"maxiter": 600, "xatol": 1e-3}).x)


def plain_image(pixels: np.ndarray, seeds: np.ndarray, sign: np.ndarray, half: int) -> dict[str, Any]:
    """Pitch, widths and roughness of one image."""
    image = pixels.astype(np.float64)
    x = plain_edges(image, seeds, sign, half)
    y = np.arange(x.shape[1], dtype=np.float64)
    mean = np.nanmean(x, axis=1)
    left = np.flatnonzero(sign[:-1] > 0)
    width = x[left + 1] - x[left]

    def detrended(values: np.ndarray) -> np.ndarray:
        rest = np.where(np.isfinite(values), values, np.nanmean(values, axis=1, keepdims=True))
        rest = rest - rest.mean(axis=1, keepdims=True)
        t = y - y.mean()
        return rest - np.multiply.outer(rest @ t / (t @ t), t)

    w, e = detrended(width), detrended(x)
    pitch = float(np.polyfit(np.arange(left.size), 0.5 * (mean[left] + mean[left + 1]), 1)[0])
    return {
        "pitch": pitch, "cd": float(np.nanmean(width)), "lwr": float(np.sqrt((w**2).mean())),
        "whittle_width": plain_whittle(w), "whittle_edge": plain_whittle(e),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    m = model(4.0, 2.0, shape=(1024, 1024), pitch=42 * 0.8, cd=21 * 0.8, sigma=0.8)
    pixels = simulate_lines(m, seed=1).pixels
    image = Image(pixels, "nm", m.pixel)
    reference = find_edges(pixels)
    half = 10
    cpu: dict[str, list[float]] = {}

    def timed(name: str, work: Any) -> Any:
        def run() -> None:
            start = time.process_time()
            work()
            cpu.setdefault(name, []).append(time.process_time() - start)

        return run

    candidates = {
        "numpy + scipy, plain": lambda: plain_image(pixels, reference.seed, reference.polarity, half),
        **{
            f"abbe {c}": (lambda c=c: measure_sem_lines(image, SemLineSettings(criterion=c)))  # type: ignore[misc]
            for c in ("threshold", "sigmoid", "model")
        },
    }
    with threads(1):
        timings = interleaved({k: timed(k, v) for k, v in candidates.items()}, rounds=arguments.rounds)
    busy = {name: sorted(values[1:])[len(values[1:]) // 2] for name, values in cpu.items()}
    rates = {name: 1.0 / value for name, value in busy.items()}
    if arguments.json:
        walls = {name: item.to_dict() for name, item in timings.items()}
        facts = {"environment": environment(), "edges": int(reference.polarity.size), "timings": walls, "cpu_s": busy}
        print(json.dumps(facts, indent=1))
        return
    print_environment()
    print(f"{reference.polarity.size} edges x {pixels.shape[0]} rows, one thread")
    print(table(timings))
    for name, value in busy.items():
        print(f"{name:24} {1e3 * value:7.1f} ms of processor time, {rates[name]:5.1f} images/s/core")
    print(f"plain / abbe threshold: {busy['numpy + scipy, plain'] / busy['abbe threshold']:.2f}")


if __name__ == "__main__":
    main()
