"""A part under a virtual CMM, beside NumPy/SciPy and suncal: `python -m benchmarks.against.virtual_cmm`.

Ten features of 50 points (3 planes, 4 cylinders, circle, sphere, cone), 12 characteristics, three of them in a datum
system of plane, cylinder and cylinder; every trial one machine of the population behind ``MPE = 1.5 um + 3 um/m``.

NumPy/SciPy as it is done the obvious way: a loop over trials, `scipy.optimize.least_squares` with an analytic Jacobian,
started at the answer, SVD for planes, on the points that our machine displaced (drawing them is timed with ours only);
timed on a sample and extrapolated, and the line says so. The largest difference of a value between the two is printed.
suncal propagates scalars and has no fits of points: it gets the 12 results as correlated scalars with the covariance
that ours found, which is none of the work above; its line says so.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.common import interleaved, print_environment, table
from metrology_core.blocks import thread_count, threads
from metrology_core.features import Circle, Cone, Cylinder, Plane, Sphere
from metrology_core.virtual import (
    AskedCharacteristic,
    ProbedFeature,
    VirtualCMM,
    linear_measurement,
    repeat_measurement,
)
from pointcloud.datums_batch import motions
from pointcloud.evaluate.types import DatumRequest

N = 50
VOLUME = ((0.0, 0.0, 0.0), (700.0, 1000.0, 600.0))
AT = np.array([300.0, 400.0, 200.0])
DATUM = DatumRequest("ABC", "A", "B", "C")


def machine() -> VirtualCMM:
    return VirtualCMM(
        "CMM", "mm", 1.5e-3, 3e-6, VOLUME, noise=3e-4, tip_u=2e-4, temperature_u=0.2, expansion=11.5e-6
    )  # fmt: skip


def part() -> list[ProbedFeature]:
    """Ideal features of a flange with bores; points as a measuring program takes them."""
    rng = np.random.default_rng(1)
    rows: list[ProbedFeature] = []

    def plane(name: str, z: float, up: float) -> None:
        xyz = AT + np.column_stack([rng.uniform(-60, 60, (N, 2)), np.full(N, z)])
        normal = np.array([0.0, 0.0, up])
        rows.append(ProbedFeature(name, "plane", xyz, np.tile(normal, (N, 1)), Plane(xyz.mean(axis=0), normal)))

    def cylinder(name: str, x: float, y: float, radius: float, side: float) -> None:
        a = 2.0 * np.pi * (np.arange(N) % 10 + 0.1 * (np.arange(N) // 10)) / 10.0
        out = np.column_stack([np.cos(a), np.sin(a), np.zeros(N)])
        xyz = AT + [x, y, 0.0] + radius * out + np.outer(-4.0 - 5.0 * (np.arange(N) // 10), [0.0, 0.0, 1.0])
        start = Cylinder(AT + np.array([x, y, xyz[:, 2].mean() - AT[2]]), (0, 0, 1), radius)
        rows.append(ProbedFeature(name, "cylinder", xyz, side * out, start))

    plane("A", 0.0, 1.0)
    plane("top", 20.0, 1.0)
    plane("under", -40.0, -1.0)
    cylinder("B", 0.0, 0.0, 30.0, -1.0)
    cylinder("C", 47.5, 0.0, 4.0, -1.0)
    cylinder("hole", -12.0, 46.0, 5.0, -1.0)
    cylinder("shaft", 0.0, 0.0, 50.0, 1.0)
    a = 2.0 * np.pi * np.arange(N) / N
    out = np.column_stack([np.cos(a), np.sin(a), np.zeros(N)])
    centre = AT + np.array([20.0, -40.0, 5.0])
    rows.append(ProbedFeature("ring", "circle", centre + 8.0 * out, out, Circle(centre, (0, 0, 1), 8.0)))
    z, t = 1.0 - 0.8 * (np.arange(N) + 0.5) / N, np.arange(N) * 2.399963
    ball = np.column_stack([np.sqrt(1 - z * z) * np.cos(t), np.sqrt(1 - z * z) * np.sin(t), z])
    centre = AT + np.array([10.0, -47.0, 9.0])
    rows.append(ProbedFeature("ball", "sphere", centre + 6.0 * ball, ball, Sphere(centre, 6.0)))
    angle, h = np.radians(20.0), np.linspace(-5.0, 5.0, 5)[np.arange(N) // 10]
    a = 2.0 * np.pi * (np.arange(N) % 10 + 0.1 * (np.arange(N) // 10)) / 10.0
    round_ = np.column_stack([np.cos(a), np.sin(a), np.zeros(N)])
    xyz = AT + [0.0, 0.0, -60.0] + (20.0 + h * np.tan(angle))[:, None] * round_ + np.outer(h, [0.0, 0.0, 1.0])
    normal = np.cos(angle) * round_ - np.sin(angle) * np.array([0.0, 0.0, 1.0])
    start = Cone(AT + np.array([0.0, 0.0, -60.0]), (0, 0, 1), 20.0, angle)
    rows.append(ProbedFeature("cone", "cone", xyz, normal, start))
    return rows


ASKED = (
    AskedCharacteristic("B diameter", "iso14405.GG", ("B",)),
    AskedCharacteristic("shaft diameter", "iso14405.GG", ("shaft",)),
    AskedCharacteristic("hole diameter", "iso14405.GG", ("hole",)),
    AskedCharacteristic("ball diameter", "iso14405.GG", ("ball",)),
    AskedCharacteristic("ring diameter", "iso14405.GG", ("ring",)),
    AskedCharacteristic("height", "distance.point_plane", ("top", "A")),
    AskedCharacteristic("thickness", "distance.point_plane", ("under", "A")),
    AskedCharacteristic("C to B", "distance.point_axis", ("C", "B")),
    AskedCharacteristic("apex", "cone.apex_angle", ("cone",)),
    AskedCharacteristic("hole position", "iso1101.position.G", ("hole",), True, (-12.03, 46.04)),
    AskedCharacteristic("ball x", "coordinate.x", ("ball",), True),
    AskedCharacteristic("ring y", "coordinate.y", ("ring",), True),
)


def frame(features: Any) -> tuple[np.ndarray, np.ndarray]:
    return motions(DATUM, features, dict.fromkeys(features, None))


# --- the obvious way
def _svd_plane(xyz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    c = xyz.mean(axis=0)
    n = np.linalg.svd(xyz - c, full_matrices=False)[2][2]
    return c, n


def _scipy(kind: str, xyz: np.ndarray, start: Any) -> dict[str, np.ndarray]:
    """One feature by SciPy: axes near z as (x, y, slope, slope, radius[, cone slope]) about the start's point."""
    from scipy.optimize import least_squares

    if kind == "plane":
        c, n = _svd_plane(xyz)
        return {"point": c, "normal": n if n @ start.normal > 0 else -n}
    if kind == "sphere":

        def sphere(p: np.ndarray) -> np.ndarray:
            return np.linalg.norm(xyz - p[:3], axis=1) - p[3]

        def slopes(p: np.ndarray) -> np.ndarray:
            d = xyz - p[:3]
            return np.column_stack([-d / np.linalg.norm(d, axis=1)[:, None], -np.ones(len(d))])

        p = least_squares(sphere, np.array([*start.center, start.radius]), slopes, method="lm").x
        return {"center": p[:3], "radius": p[3]}
    if kind == "circle":
        c, n = _svd_plane(xyz)
        n = n if n[2] > 0 else -n
        u = np.cross(n, [0.0, 1.0, 0.0])
        u /= np.linalg.norm(u)
        v = np.cross(n, u)
        q = np.column_stack([(xyz - c) @ u, (xyz - c) @ v])

        def circle(p: np.ndarray) -> np.ndarray:
            return np.hypot(q[:, 0] - p[0], q[:, 1] - p[1]) - p[2]

        def gradient(p: np.ndarray) -> np.ndarray:
            r = np.hypot(q[:, 0] - p[0], q[:, 1] - p[1])
            return np.column_stack([(p[0] - q[:, 0]) / r, (p[1] - q[:, 1]) / r, -np.ones(len(r))])

        p = least_squares(circle, np.array([0.0, 0.0, start.radius]), gradient, method="lm").x
        return {"center": c + p[0] * u + p[1] * v, "normal": n, "radius": p[2]}
    y = xyz - start.point

    def parts(p: np.ndarray) -> tuple[np.ndarray, ...]:
        axis = np.array([p[2], p[3], 1.0])
        size = np.linalg.norm(axis)
        axis = axis / size
        d = y - [p[0], p[1], 0.0]
        g = d @ axis
        across = d - g[:, None] * axis
        f = np.linalg.norm(across, axis=1)
        return axis, size, g, across / f[:, None], f

    def residual(p: np.ndarray) -> np.ndarray:
        _, _, g, _, f = parts(p)
        return (f - p[4] - g * np.tan(p[5])) * np.cos(p[5]) if kind == "cone" else f - p[4]

    def jacobian(p: np.ndarray) -> np.ndarray:
        axis, size, g, e, f = parts(p)
        ex = np.eye(3)[:2] - np.outer(axis[:2], axis)  # tilts of the unit axis, times its size
        columns = [-e[:, 0], -e[:, 1], *(-(g / size) * (e @ row) for row in ex)]
        if kind != "cone":
            return np.column_stack([*columns, -np.ones(len(f))])
        c, s = np.cos(p[5]), np.sin(p[5])
        d = y - [p[0], p[1], 0.0]
        along = [-axis[0] * np.ones(len(f)), -axis[1] * np.ones(len(f)), *((d @ row) / size for row in ex)]
        columns = [c * a - s * b for a, b in zip(columns, along, strict=True)]
        return np.column_stack([*columns, -c * np.ones(len(f)), -s * (f - p[4]) - g * c])

    first = [0.0, 0.0, 0.0, 0.0, start.radius] + ([start.half_angle] if kind == "cone" else [])
    p = least_squares(residual, np.array(first), jacobian, method="lm").x
    axis = parts(p)[0]
    point = start.point + np.array([p[0], p[1], 0.0])
    point = point + ((xyz.mean(axis=0) - point) @ axis) * axis
    found = {"point": point, "axis": axis, "radius": p[4]}
    if kind == "cone":
        found["half_angle"] = p[5]
    return found


def obvious(rows: list[ProbedFeature], moved: dict[str, np.ndarray]) -> np.ndarray:
    """(T, 12) values by a loop over trials."""
    out = []
    for t in range(len(moved["A"])):
        f = {row.name: _scipy(row.kind, moved[row.name][t], row.start) for row in rows}
        z, a, b, c = f["A"]["normal"], f["A"]["point"], f["B"], f["C"]

        def pierce(one: dict[str, np.ndarray], at: np.ndarray, z: np.ndarray = z) -> np.ndarray:
            return one["point"] + ((at - one["point"]) @ z) / (one["axis"] @ z) * one["axis"]

        origin = pierce(b, a)
        x = pierce(c, origin) - origin
        x = x - (x @ z) * z
        x /= np.linalg.norm(x)
        turn = np.vstack([x, np.cross(z, x), z])
        xyz = moved["hole"][t]
        along = (xyz - f["hole"]["point"]) @ f["hole"]["axis"]
        ends = [turn @ (f["hole"]["point"] + g * f["hole"]["axis"] - origin) for g in (along.min(), along.max())]
        out.append([
            2 * b["radius"], 2 * f["shaft"]["radius"], 2 * f["hole"]["radius"], 2 * f["ball"]["radius"],
            2 * f["ring"]["radius"], abs((f["top"]["point"] - a) @ z), abs((f["under"]["point"] - a) @ z),
            np.linalg.norm(np.cross(c["point"] - b["point"], b["axis"])), 2 * f["cone"]["half_angle"],
            2 * max(np.hypot(e[0] + 12.03, e[1] - 46.04) for e in ends),
            (turn @ (f["ball"]["center"] - origin))[0], (turn @ (f["ring"]["center"] - origin))[1],
        ])  # fmt: skip
    return np.array(out)


def suncal_run(trials: int, cov: np.ndarray, base: np.ndarray) -> Callable[[], Any] | None:
    try:
        import suncal
        from suncal.uncertainty.model import Model as Peer
    except Exception as error:  # noqa: BLE001 - a peer that does not import is named and left out
        print(f"# suncal left out: {type(error).__name__}: {error}")
        return None
    print(f"# suncal {suncal.__version__}: scalars only, no fits; each characteristic is an input with our covariance")
    sd = np.sqrt(np.diag(cov))

    def run() -> Any:
        names = [f"c{i}" for i in range(len(base))]
        peer = Peer(*(f"y{i} = {name} * 1.0" for i, name in enumerate(names)))
        for i, name in enumerate(names):
            peer.var(name).measure(float(base[i])).typeb(dist="normal", std=float(sd[i]))
        for i in range(len(base)):
            for j in range(i):
                peer.variables.correlate(names[i], names[j], float(cov[i, j] / (sd[i] * sd[j])))
        return peer.monte_carlo(samples=trials)

    try:
        run()
    except Exception as error:  # noqa: BLE001
        print(f"# suncal left out: {type(error).__name__}: {error}")
        return None
    return run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--sample", type=int, default=40, help="trials of the loop over SciPy")
    parser.add_argument("--threads", type=int, default=thread_count())
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    print_environment()
    print(f"# threads: {given.threads}; {given.trials} trials, 10 features of {N} points, {len(ASKED)} characteristics")
    rows, cmm = part(), machine()
    moved = {
        row.name: row.points + cmm.modes(row.points, row.normals, scope=row.name).displacements(0, given.sample)
        for row in rows
    }
    with threads(given.threads):
        found = repeat_measurement(cmm, rows, ASKED, trials=given.trials, datum=frame)
        candidates: dict[str, Callable[[], Any]] = {
            "ours, Monte Carlo": lambda: repeat_measurement(cmm, rows, ASKED, trials=given.trials, datum=frame),
            "ours, linear law (budget by cause)": lambda: linear_measurement(cmm, rows, ASKED, datum=frame),
        }
        peer = suncal_run(given.trials, found.covariance, found.base)
        if peer is not None:
            candidates["suncal, 12 given scalars (no fits)"] = peer
        timings = interleaved(candidates, rounds=given.rounds)
    print(table(timings))
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        theirs = obvious(rows, moved)
        seconds.append(time.perf_counter() - began)
    loop = min(seconds) / given.sample * given.trials
    ours = timings["ours, Monte Carlo"]
    print(f"NumPy/SciPy loop, fits alone, extrapolated from {given.sample} trials: {loop:.1f} s "
          f"({loop / ours.median:.0f} times ours, which draws the errors too)")  # fmt: skip
    worst = np.abs(theirs - found.values[: given.sample]).max()
    print(f"# largest difference of a value between the two: {worst:.1e} mm or rad")
    linear = linear_measurement(cmm, rows, ASKED, datum=frame)
    print(f"# {'characteristic':16s} {'u by trials':>12s} {'u linear':>12s}")
    for i, name in enumerate(found.names):
        print(f"# {name:16s} {found.u[i]:12.3e} {linear.u[i]:12.3e}")
    print(f"# goal: 3 s; ours: median {ours.median:.2f} s, best {ours.best:.2f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
