"""Images of contacts and of arbitrary shapes: processor time of one image on one thread.

    python -m benchmarks.speed.sem_features [--rounds 5] [--json]

A 1024 x 1024 image with some 400 contacts on a lattice, found and measured with the noise of each propagated from the
pixels; the same image as contours (some 20 000 vertices); elbows against their design, registered.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

from benchmarks.common import environment, print_environment
from metrology_core.blocks import threads
from metrology_core.data import Image
from wafer.contacts import ContactSettings, measure_contacts
from wafer.contours.design import Design
from wafer.contours.evaluate import ContourSettings, measure_contours
from wafer.simulate.contacts import simulate_contacts
from wafer.simulate.shapes import elbows, simulate_shapes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    contacts = simulate_contacts(seed=1, shape=(1024, 1024))
    holes = Image(contacts.pixels, "nm", contacts.model.pixel)
    design = elbows()
    drawn = simulate_shapes(design, seed=2, shape=(1024, 1024))
    shapes = Image(drawn.pixels, "nm", drawn.model.pixel)
    polygons = Design(tuple(design), "nm")
    work: dict[str, Callable[[], Any]] = {
        **{
            f"contacts, {c}": (lambda c=c: measure_contacts(holes, ContactSettings(criterion=c)))  # type: ignore[misc]
            for c in ("threshold", "model")
        },
        "contours of the contacts": lambda: measure_contours(holes, ContourSettings()),
        "elbows against their design": lambda: measure_contours(
            shapes, ContourSettings(origin=(0.0, 0.0)), design=polygons
        ),
    }
    seconds: dict[str, list[float]] = {name: [] for name in work}
    results: dict[str, Any] = {}
    with threads(1):
        for turn in range(arguments.rounds + 1):
            for name, run in work.items():
                start = time.process_time()
                results[name] = run()
                if turn:  # the first compiles
                    seconds[name].append(time.process_time() - start)
    counts = {
        name: len(result.per_contact) if hasattr(result, "per_contact") else int(result.details["vertices"])
        for name, result in results.items()
    }
    middle = {name: sorted(values)[len(values) // 2] for name, values in seconds.items()}
    if arguments.json:
        print(json.dumps({"environment": environment(), "seconds": seconds, "features_or_vertices": counts}, indent=1))
        return
    print_environment()
    for name, value in middle.items():
        best = min(seconds[name])
        print(f"{name:32} {value:7.2f} s of processor time, best {best:.2f} s; {counts[name]} sites or vertices")


if __name__ == "__main__":
    main()
