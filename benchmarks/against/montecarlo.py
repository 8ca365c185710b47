"""Monte Carlo of JCGM 101's gauge block beside NumPy and suncal in one run: `python -m benchmarks.against.montecarlo`.

The same work for all: 1e6 trials of the nine-input model of 9.5, standard uncertainty, shortest 99 % interval.
NumPy is vectorised as a careful user writes it; suncal (if installed) gets the same distributions with t by its scale.
Candidates take turns, warm; medians, best times and ratios are printed, and each result, so that equal work is seen.
Set OPENBLAS_NUM_THREADS=1; two threads are used here (`--threads`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.common import interleaved, print_environment, table
from metrology_core.blocks import threads
from metrology_core.uncertainty import ArcSine, CurvilinearTrapezoidal, Model, Normal, Rectangular, StudentT

P = 0.99
BASE = 50_000_000.0


def model(Ls, D, d1, d2, alpha, theta0, cycle, dalpha, dtheta):  # type: ignore[no-untyped-def]
    return Ls + D + d1 + d2 - Ls * (dalpha * (theta0 + cycle) + alpha * dtheta)


INPUTS = {
    "Ls": StudentT(50_000_623, 18, scale=25),
    "D": StudentT(215, 24, scale=6),
    "d1": StudentT(0, 5, scale=4),
    "d2": StudentT(0, 8, scale=7),
    "alpha": Rectangular(9.5e-6, 13.5e-6),
    "theta0": Normal(-0.1, 0.2),
    "cycle": ArcSine(-0.5, 0.5),
    "dalpha": CurvilinearTrapezoidal(-1e-6, 1e-6, 0.1e-6),
    "dtheta": CurvilinearTrapezoidal(-0.05, 0.05, 0.025),
}


def shortest(y: np.ndarray) -> tuple[float, float, float]:
    u = float(y.std(ddof=1))
    y.sort()
    q = int(P * len(y) + 0.5)
    r = int(np.argmin(y[q:] - y[: len(y) - q]))
    return u, float(y[r]) - BASE, float(y[r + q]) - BASE


def ours(trials: int) -> tuple[float, float, float]:
    drawn = Model(model, INPUTS).monte_carlo(trials=trials, p=P)
    low, high = drawn.interval()
    return float(drawn.u[0]), low - BASE, high - BASE


def ours_compiled(trials: int) -> Callable[[], tuple[float, float, float]]:
    import numba

    compiled = numba.njit(model)

    def run() -> tuple[float, float, float]:
        drawn = Model(compiled, INPUTS).monte_carlo(trials=trials, p=P)
        low, high = drawn.interval()
        return float(drawn.u[0]), low - BASE, high - BASE

    return run


def plain_numpy(trials: int) -> tuple[float, float, float]:
    rng = np.random.default_rng(1)

    def ctrap(a: float, b: float, d: float) -> np.ndarray:
        low = (a - d) + 2.0 * d * rng.random(trials)
        return low + ((a + b) - 2.0 * low) * rng.random(trials)

    y = model(
        50_000_623 + 25 * rng.standard_t(18, trials),
        215 + 6 * rng.standard_t(24, trials),
        4 * rng.standard_t(5, trials),
        7 * rng.standard_t(8, trials),
        rng.uniform(9.5e-6, 13.5e-6, trials),
        rng.normal(-0.1, 0.2, trials),
        0.5 * np.cos(np.pi * rng.random(trials)),
        ctrap(-1e-6, 1e-6, 0.1e-6),
        ctrap(-0.05, 0.05, 0.025),
    )
    return shortest(y)


def suncal_run(trials: int) -> Callable[[], tuple[float, float, float]] | None:
    try:
        import suncal
        from suncal.uncertainty.model import Model as Peer
    except Exception as error:  # noqa: BLE001 - a peer that does not import is named and left out
        print(f"# suncal left out: {type(error).__name__}: {error}")
        return None
    print(f"# suncal {suncal.__version__}")

    def run() -> tuple[float, float, float]:
        peer = Peer("Y = Ls + D + d1 + d2 - Ls*(dalpha*(theta0+cyc) + alpha*dtheta)")
        t: Any = {"Ls": (50_000_623, 25, 18), "D": (215, 6, 24), "d1": (0, 4, 5), "d2": (0, 7, 8)}
        for name, (value, scale, df) in t.items():
            peer.var(name).measure(value).typeb(dist="t", scale=scale, df=df)
        peer.var("alpha").measure(11.5e-6).typeb(dist="uniform", a=2e-6)
        peer.var("theta0").measure(-0.1).typeb(dist="normal", std=0.2)
        peer.var("cyc").measure(0.0).typeb(dist="arcsine", a=0.5)
        peer.var("dalpha").measure(0.0).typeb(dist="curvtrap", a=1e-6, d=0.1e-6)
        peer.var("dtheta").measure(0.0).typeb(dist="curvtrap", a=0.05, d=0.025)
        found = peer.monte_carlo(samples=trials)
        return shortest(np.array(found.samples["Y"], dtype=float))

    try:
        run()
    except Exception as error:  # noqa: BLE001
        print(f"# suncal left out: {type(error).__name__}: {error}")
        return None
    return run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    n = arguments.trials
    print_environment()
    candidates: dict[str, Callable[[], object]] = {
        "ours (Python model)": lambda: ours(n),
        "ours (Numba model)": ours_compiled(n),
        "NumPy vectorised": lambda: plain_numpy(n),
    }
    peer = suncal_run(n)
    if peer is not None:
        candidates["suncal"] = peer
    with threads(arguments.threads):
        for name, run in candidates.items():
            u, low, high = run()  # type: ignore[misc]
            print(f"{name:20s} u = {u:6.2f} nm, shortest 99 % [{low:7.2f}, {high:7.2f}], width {high - low:7.2f}")
        timings = interleaved(candidates, rounds=arguments.rounds)
    print(table(timings))
    for name, timing in timings.items():
        print(
            f"{name:20s} {timing.median / timings['ours (Python model)'].median:6.2f} x by the medians, "
            f"{timing.best / timings['ours (Python model)'].best:6.2f} x by the best"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
