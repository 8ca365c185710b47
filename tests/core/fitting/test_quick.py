"""Short ways to the same answers: quick starts, the first fit of a large set, covariance on demand, shared ranges."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle
import threading
import time

import numpy as np
import pytest

from metrology_core import blocks, fit
from metrology_core.features import Cone, Cylinder, Feature, Sphere
from metrology_core.fitting import passes, search, solver
from metrology_core.fitting.table import find
from metrology_core.kernels import layout

KINDS = ("cylinder", "cone", "torus")


def surface(kind: str, rng: np.random.Generator) -> np.ndarray:
    """65 to 400 points of a random piece: arc, proportions, noise and lobes of all sorts."""
    n, arc = int(rng.integers(65, 400)), math.radians(10.0 ** rng.uniform(1.0, 2.556))
    t = rng.uniform(0.0, arc, n)
    if kind == "torus":
        r, first = 10.0 * 10.0 ** rng.uniform(-1.3, -0.05), rng.uniform(0.0, 2.0 * math.pi)
        s = first + rng.uniform(0.0, math.radians(10.0 ** rng.uniform(1.3, 2.556)), n)
        rho, z = 10.0 + r * np.cos(s), r * np.sin(s)
    else:
        slope = 0.0 if kind == "cylinder" else math.tan(math.radians(rng.uniform(2.0, 85.0)))
        length = 10.0 * 10.0 ** rng.uniform(-1.3, 1.3)
        z = rng.uniform(-0.5, 0.5, n) * (min(length, 19.0 / slope) if slope else length)
        rho = 10.0 + z * slope
    x = np.column_stack((rho * np.cos(t), rho * np.sin(t), z))
    noise = float(np.ptp(x, axis=0).max()) * 10.0 ** rng.choice((-14.0, -6.0, -4.0, -3.0))
    x += noise * rng.standard_normal((n, 3))
    if rng.random() < 0.3:
        x += 2.0 * noise * np.cos(3.0 * t)[:, None] * x / np.linalg.norm(x, axis=1)[:, None]
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    return np.ascontiguousarray(x @ turn.T + rng.uniform(-300.0, 300.0, 3))


@pytest.mark.parametrize("kind", KINDS)
def test_a_quick_start_ends_where_the_wide_search_does(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    row, rng = find(kind, 3, "least_squares"), np.random.default_rng(20)
    p = layout.N_PARAMETERS[row.kind]
    squares = p * (p + 1) - p * (p - 1) // 2
    quick, believed = search._quick_start, []

    def watched(*arguments: object) -> bool:
        believed.append(quick(*arguments))  # type: ignore[arg-type]
        return believed[-1]

    for _ in range(60):
        x = surface(kind, rng)
        monkeypatch.setattr(search, "_quick_start", watched)
        short = solver.least_squares(row, x, np.empty(0), {}, None)
        if not believed[-1]:
            continue
        monkeypatch.setattr(search, "_quick_start", lambda *_: False)
        wide = solver.least_squares(row, x, np.empty(0), {}, None)
        # 1e-9: both are stationary to rounding; 1e-28 n: a hundred squared roundings of points that fit exactly
        assert short.sums[squares] <= wide.sums[squares] * (1.0 + 1e-9) + 1e-28 * len(x)
        assert short.outcome == "converged" or wide.outcome != "converged"
    assert sum(believed) >= 8  # of 60: else this has shown nothing


@pytest.mark.parametrize("kind", ("sphere", "circle", *KINDS))
def test_a_large_set_begins_near_the_answer_and_ends_at_it(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    n = passes.NEAR_FROM
    t, z = rng.uniform(0.0, 1.0, n), rng.uniform(-1.0, 1.0, n)
    ring = np.column_stack((np.cos(t), np.sin(t), np.zeros(n)))
    up = np.array((0.0, 0.0, 1.0))
    x = {
        "sphere": 20.0 * (np.sqrt(1.0 - z * z)[:, None] * ring + z[:, None] * up),
        "circle": 20.0 * ring,
        "cylinder": 20.0 * ring + 15.0 * z[:, None] * up,
        "cone": (20.0 + 4.0 * z)[:, None] * ring + 15.0 * z[:, None] * up,
        "torus": (20.0 + 6.0 * np.cos(3.0 * z))[:, None] * ring + 6.0 * np.sin(3.0 * z)[:, None] * up,
    }[kind] + 4e-3 * rng.standard_normal((n, 3))
    near = fit(x, kind).require()
    monkeypatch.setattr(passes, "NEAR_FROM", 10**9)
    far = fit(x, kind).require()
    assert near.optimality["passes"] < far.optimality["passes"]
    # both stop at rounding: 1e-12 is the limit of the reference sets, times the condition of a 57 degree arc (about 60)
    for name, value in near.parameters.items():
        assert np.allclose(value, far.parameters[name], rtol=0.0, atol=6e-11), name


def test_covariance_on_demand_is_that_of_any_copy() -> None:
    x = surface("cylinder", np.random.default_rng(1))
    result = fit(x, "cylinder")
    again = pickle.loads(pickle.dumps(result))  # before anybody looked
    twin = copy.copy(result)
    replaced = dataclasses.replace(fit(x, "cylinder"), unit="mm")
    assert "covariance" not in vars(result)
    assert result.covariance is result.covariance
    assert not result.covariance.flags.writeable
    for other in (again, twin, replaced):
        assert np.array_equal(other.covariance, result.covariance)
    assert replaced.unit == "mm"
    with pytest.raises(AttributeError, match="covarianec"):
        _ = result.covarianec  # type: ignore[attr-defined]
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.covariance = np.eye(5)  # type: ignore[misc]


def test_a_free_thread_takes_what_a_busy_one_leaves() -> None:
    done: list[tuple[int, int, str]] = []
    first = threading.Event()

    def work(start: int, stop: int) -> None:
        if start == 0:  # this range holds its thread until the others have done all the rest
            first.wait(10.0)
        done.append((start, stop, threading.current_thread().name))
        if len(done) == 7:
            first.set()

    with blocks.threads(2):
        blocks.run_blocks(work, 16, shares=4)
    assert sorted((a, b) for a, b, _ in done) == [(2 * k, 2 * k + 2) for k in range(8)]
    slow = next(name for a, _, name in done if a == 0)
    assert sum(name == slow for *_, name in done) == 1


def test_an_error_in_a_shared_range_reaches_the_caller() -> None:
    def work(start: int, stop: int) -> None:
        time.sleep(0.001)
        if stop == 16:
            raise RuntimeError("in the last range")

    with blocks.threads(3), pytest.raises(RuntimeError, match="last range"):
        blocks.run_blocks(work, 16, shares=2)


@pytest.mark.parametrize("kind", ["cylinder", "sphere", "cone"])
@pytest.mark.parametrize("seed", range(6))
def test_a_few_strays_do_not_hide_the_minimum(kind: str, seed: int) -> None:
    """One point in a thousand 87 mm away: every point counts, yet the search ends no higher than from the truth."""
    rng = np.random.default_rng(seed)
    t, z = rng.uniform(0.0, 2.0 * np.pi, 1000), rng.uniform(0.0, 30.0, 1000)
    if kind == "sphere":
        points = rng.standard_normal((1000, 3))
        points *= 10.0 / np.linalg.norm(points, axis=1)[:, None]
        truth: Feature = Sphere(center=(0, 0, 0), radius=10.0)
    else:
        slope = 0.2 if kind == "cone" else 0.0
        r = 10.0 + slope * z
        points = np.column_stack((r * np.cos(t), r * np.sin(t), z))
        truth = (
            Cone(point=(0, 0, 0), axis=(0, 0, 1), radius=10.0, half_angle=float(np.arctan(slope)))
            if slope
            else Cylinder(point=(0, 0, 0), axis=(0, 0, 1), radius=10.0)
        )
    points = points + rng.normal(0.0, 0.003, points.shape)
    points[0] += 50.0
    found, known = fit(points, kind, unit="mm"), fit(points, kind, unit="mm", start=truth)
    assert found.status != "converged" or found.rms <= known.rms * (1.0 + 1e-9)
