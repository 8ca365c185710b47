"""Nested variance components: how often the intervals hold the truth, balanced and not, large and small.

python -m benchmarks.accuracy.components --trials 400
"""

from __future__ import annotations

import argparse

import numpy as np

from metrology_core.statistics import nested_components

# name: lots, wafers, fields, images; uneven counts of fields and images; standard deviations from lot to image
CASES = {
    "balanced": ((4, 4, 8, 3), False, (0.5, 0.5, 0.5, 0.5)),
    "balanced, small": ((3, 3, 5, 2), False, (0.3, 0.2, 0.4, 0.5)),
    "uneven": ((4, 4, 8, 3), True, (0.5, 0.5, 0.5, 0.5)),
    "uneven, small": ((4, 3, 4, 2), True, (0.2, 0.3, 0.5, 0.5)),
    "uneven, no wafers": ((4, 3, 6, 2), True, (0.5, 0.0, 0.3, 0.5)),
}


def draw(
    stream: np.random.Generator, counts: tuple[int, ...], uneven: bool, sd: tuple[float, ...]
) -> tuple[list[float], dict[str, list[int]]]:
    """Values and labels of one design."""
    values: list[float] = []
    labels: dict[str, list[int]] = {"lot": [], "wafer": [], "field": []}
    lots, wafers, fields, images = counts
    for lot in range(lots):
        a = sd[0] * stream.standard_normal()
        for wafer in range(wafers):
            b = sd[1] * stream.standard_normal()
            for place in range(int(stream.integers(2, 2 * fields)) if uneven else fields):
                c = sd[2] * stream.standard_normal()
                for _ in range(int(stream.integers(1, 2 * images)) if uneven else images):
                    values.append(float(a + b + c + sd[3] * stream.standard_normal()))
                    for key, value in zip(labels, (lot, wafer, place), strict=True):
                        labels[key].append(value)
    return values, labels


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=200)
    trials = parser.parse_args().trials
    print(f"{trials} designs each; coverage of 95 % intervals of s, bias of s^2")
    print(f"{'case':20} {'lot':>6} {'wafer':>6} {'field':>6} {'image':>6} {'total':>6}   largest bias / its s.e.")
    for name, (counts, uneven, sd) in CASES.items():
        inside, variances = [], []
        for k in range(trials):
            stream = np.random.Generator(np.random.PCG64(np.random.SeedSequence([3, k])))
            values, labels = draw(stream, counts, uneven, sd)
            found = nested_components(values, labels, bottom="image", seed=k)
            total = float(np.hypot.reduce(sd))
            inside.append([c.low <= s <= c.high for c, s in zip(found.components, sd, strict=True)]
                          + [found.total_low <= total <= found.total_high])  # fmt: skip
            variances.append([c.variance for c in found.components])
        off = (np.mean(variances, axis=0) - np.array(sd) ** 2) / (np.std(variances, axis=0) / np.sqrt(trials))
        cells = " ".join(f"{100 * c:6.1f}" for c in np.mean(inside, axis=0))
        print(f"{name:20} {cells}   {off[np.argmax(np.abs(off))]:+.1f}")


if __name__ == "__main__":
    main()
