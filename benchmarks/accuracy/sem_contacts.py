"""Unbiased local CD uniformity of simulated contacts over an ensemble, against the drawn spread; coverage of intervals.

    python -m benchmarks.accuracy.sem_contacts [--images 30] [--criteria threshold,model] [--json]

The truth is the spread of the model (``cdu``), not that of the contacts that happen to lie in one image. ``biased`` is
the plain standard deviation, noise included. ``variance`` compares mean squares: the mean of square roots of scattered
variances lies below the root of their mean (by 1 / (4 (n - 1)) for n contacts), which is no fault of the noise removal.
"""

from __future__ import annotations

import argparse
import json
import math
from typing import Any

import numpy as np

from metrology_core.data import Image
from wafer.contacts import ContactSettings, measure_contacts
from wafer.simulate.contacts import ContactModel, simulate_contacts

SETTINGS = ((1.0, 2.0, 0.8), (0.15, 6.0, 0.8), (0.15, 6.0, 0.4))  # electrons per grey, read noise, cdu in nm


def ensemble(electrons: float, read: float, cdu: float, criterion: str, images: int, seed: int) -> dict[str, Any]:
    m = ContactModel(shape=(384, 384), electrons_per_grey=electrons, read_noise=read, cdu=cdu)
    values, biased, hits, contacts = [], [], [], []
    for k in range(images):
        pixels = simulate_contacts(m, seed=seed + k).pixels
        settings = ContactSettings(criterion=criterion)  # type: ignore[arg-type]
        result = measure_contacts(Image(pixels, "nm", m.pixel), settings)
        one = result.measurements["sem.lcdu_1s"]
        low, high = one.coverage_interval(0.95)
        values.append(one.value)
        biased.append(result.measurements["sem.lcdu_biased_1s"].value)
        hits.append(low <= cdu <= high)
        contacts.append(result.details["sites"]["found"])
    v = np.array(values)
    return {
        "criterion": criterion, "electrons": electrons, "read": read, "cdu": cdu, "images": images,
        "contacts": float(np.mean(contacts)), "ratio": float(v.mean()) / cdu,
        "ratio_se": float(v.std(ddof=1)) / math.sqrt(images) / cdu,
        "variance": math.sqrt(float(np.mean(v**2))) / cdu,
        "biased": math.sqrt(float(np.mean(np.square(biased)))) / cdu, "coverage": float(np.mean(hits)),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=30)
    parser.add_argument("--criteria", default="threshold,model")
    parser.add_argument("--seed", type=int, default=700)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = [
        ensemble(*setting, criterion, arguments.images, arguments.seed + 1000 * n)
        for criterion in arguments.criteria.split(",")
        for n, setting in enumerate(SETTINGS)
    ]
    if arguments.json:
        print(json.dumps(rows, indent=1))
        return
    for r in rows:
        print(f"{r['criterion']:10} electrons {r['electrons']:.2f}, read {r['read']:.0f}, cdu {r['cdu']:.1f} nm, "
              f"{r['contacts']:.0f} contacts: LCDU / truth {r['ratio']:.4f} ({r['ratio_se']:.4f}), root mean square "
              f"{r['variance']:.4f}, biased {r['biased']:.4f}, coverage {r['coverage']:.3f}")  # fmt: skip


if __name__ == "__main__":
    main()
