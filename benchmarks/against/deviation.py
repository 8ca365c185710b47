"""Signed distances beside engeom, libigl, Open3D and trimesh in one run: `python -m benchmarks.against.deviation`.

1e6 points in random order within 0.1 mm of a 100 mm part whose middle is a metre from the origin, against meshes of
80,000 and 1,000,000 triangles. Candidates take turns; trees are built before where the peer lets one (the build is
timed apart); libigl builds inside each call, so a build of ours is added to the line that is compared with it. Errors
beside the times: ours against brute force in extended and double precision on a subset, the others against ours on all
points; sides against the winding number. Open3D is given the coordinates as they are and, in another line, centred in
double precision first. Two threads everywhere. A peer that is not installed is named as absent.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from importlib import metadata

import numpy as np

from benchmarks.accuracy.closest_point import _distances as brute
from benchmarks.accuracy.closest_point import blocked, frames, winding
from benchmarks.common import interleaved, print_environment
from benchmarks.parts import PLACE, bumpy_torus, optional, scan_of
from pointcloud.nominal.mesh import TriangleMesh
from pointcloud.nominal.tree import SurfaceTree
from tests.oracles.closest_brute import brute_distance

Call = Callable[[], np.ndarray]


def peers(v: np.ndarray, f: np.ndarray, p: np.ndarray) -> tuple[dict[str, Call], dict[str, float], list[str]]:
    """Calls that return (n,) signed distances, seconds of building, and the absent."""
    calls: dict[str, Call] = {}
    build: dict[str, float] = {}
    absent: list[str] = []
    start = time.perf_counter()
    if (engeom := optional("engeom.geom3")) is not None:
        mesh = engeom.Mesh3(v, f.astype(np.uint32))
        mesh.measure_deviations(p[:1], "point")  # whatever is built at the first question
        build["engeom"] = time.perf_counter() - start
        calls["engeom"] = lambda: mesh.measure_deviations(p, "point")
    else:
        absent.append("engeom")
    if (igl := optional("igl")) is not None:
        kind = igl.SignedDistanceType.SIGNED_DISTANCE_TYPE_PSEUDONORMAL
        wide = f.astype(np.int64)
        calls["libigl, with its build"] = lambda: igl.signed_distance(p, v, wide, kind)[0]
    else:
        absent.append("libigl")
    if (o3d := optional("open3d")) is not None:
        for name, shift in (("Open3D float32", np.zeros(3)), ("Open3D float32, centred", PLACE)):
            start = time.perf_counter()
            scene = o3d.t.geometry.RaycastingScene(nthreads=2)
            scene.add_triangles(o3d.core.Tensor((v - shift).astype(np.float32)), o3d.core.Tensor(f.astype(np.uint32)))
            build[name] = time.perf_counter() - start

            def ask(scene: object = scene, shift: np.ndarray = shift) -> np.ndarray:
                return scene.compute_signed_distance(  # type: ignore[attr-defined]
                    o3d.core.Tensor((p - shift).astype(np.float32)), nthreads=2
                ).numpy()

            calls[name] = ask
    else:
        absent.append("Open3D")
    return calls, build, absent


def trimesh_line(v: np.ndarray, f: np.ndarray, p: np.ndarray, ours: np.ndarray, count: int) -> str:
    trimesh = optional("trimesh")
    if trimesh is None:
        return "trimesh: absent"
    mesh = trimesh.Trimesh(v, f, process=False)
    start = time.perf_counter()
    try:
        found = -trimesh.proximity.signed_distance(mesh, p[:count])  # its sign is + inside
    except (ImportError, ValueError, RuntimeError) as error:  # it needs packages of its own
        return f"trimesh: {type(error).__name__}: {error}"
    took = (time.perf_counter() - start) * len(p) / count
    off = np.abs(np.abs(found) - np.abs(ours[:count])).max() * 1e3
    return f"trimesh ({count} points, time scaled to {len(p)}): {took:.1f} s, largest error {off:.2g} um"


def run(triangles: int, n: int, rounds: int, subset: int, trimesh_points: int) -> dict[str, float]:
    v, f = bumpy_torus(triangles)
    mesh = TriangleMesh(v, f, "mm")
    p, away = scan_of(v, f, n, 0.1, 1)
    built = []
    for _ in range(4):
        start = time.perf_counter()
        tree = SurfaceTree(mesh)
        built.append(time.perf_counter() - start)
    print(f"\n{len(f)} triangles, {n} points; tree and pseudonormals built in {min(built[1:]):.3f} s (best of 3)")
    found = tree.closest(p)
    some = np.random.default_rng(3).choice(n, subset, replace=False)
    twin = blocked(brute, np.ascontiguousarray(p[some]), frames((v, f)), np.ascontiguousarray(v[f]))
    off = np.abs(np.abs(found.signed[some]) - twin).max() * 1e3
    long = np.abs(np.abs(found.signed[some[:5]]) - brute_distance(p[some[:5]], v, f)).max() * 1e3
    print(f"ours against brute force: {off:.1e} um ({subset} points, float64), {float(long):.1e} um (5, extended)")
    calls, build, absent = peers(v, f, p)
    for name in absent:
        print(f"{name}: absent")
    answers = {name: np.asarray(call()) for name, call in calls.items()}
    doubtful = np.flatnonzero(
        np.any([np.sign(a) != np.sign(away) for a in (found.distance, *answers.values())], axis=0)
    )
    side = np.where(away < 0.0, -1.0, 1.0)
    judged = doubtful[:subset]
    side[judged] = np.where(np.round(winding(np.ascontiguousarray(p[judged]), (v, f))) > 0.5, -1.0, 1.0)
    candidates: dict[str, Call] = {
        "ours": lambda: tree.closest(p).signed,
        "ours, with its build": lambda: SurfaceTree(mesh).closest(p).signed,
        **calls,
    }
    times = interleaved(candidates, rounds=rounds)
    base, whole = times["ours"], times["ours, with its build"]
    ratios = {}
    print(
        f"{'':26s} {'median s':>9s} {'best s':>8s} {'/ ours':>7s} {'build s':>8s} {'worst um':>9s} {'wrong side':>10s}"
    )
    for name, item in times.items():
        against = whole if name.startswith("libigl") else base
        answer = found.signed if name.startswith("ours") else answers[name]
        worst = np.abs(np.abs(answer) - np.abs(found.signed)).max() * 1e3
        wrong = int(np.count_nonzero((answer < 0.0) != (side < 0.0)))
        ratios[name] = item.median / against.median
        print(
            f"{name:26s} {item.median:9.3f} {item.best:8.3f} {ratios[name]:7.2f} {build.get(name, 0.0):8.2f} "
            f"{worst:9.1e} {wrong:10d}"
        )
    print(trimesh_line(v, f, p, found.signed, trimesh_points))
    return ratios


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--triangles", default="80000,1000000")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--subset", type=int, default=300)
    parser.add_argument("--trimesh-points", type=int, default=2000)
    chosen = parser.parse_args(arguments)
    print_environment()
    for name in ("engeom", "libigl", "open3d", "trimesh"):
        try:
            print(f"# {name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    for text in chosen.triangles.split(","):
        run(int(text), chosen.points, chosen.rounds, chosen.subset, chosen.trimesh_points)
    return 0


if __name__ == "__main__":
    sys.exit(main())
