"""Registration beside Open3D, small_gicp and engeom in one run: `python -m benchmarks.against.registration`.

A scan of 1e6 points (5 um of noise) of a 100 mm part whose middle is a metre from the origin, turned by 0.5 degrees and
shifted by 0.5 mm, onto a nominal of 1e6 triangles. Ours goes to the triangles. Open3D's and small_gicp's point-to-plane
go to as many points of the nominal as the scan has, with the normals that they estimate themselves (20 neighbours),
and are given the coordinates about the part's middle, which suits them; engeom goes to the triangles.
Ours and Open3D take turns; the slow ones run once, with their work bounded: the error shows what they reached. It is
the largest distance between vertices of the part moved by the found and by the true motion.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any

import numpy as np

from benchmarks.common import interleaved, print_environment
from benchmarks.parts import PLACE, bumpy_torus, optional
from metrology_core.data import PointSet, Rigid
from pointcloud.nominal.mesh import TriangleMesh
from pointcloud.nominal.tree import SurfaceTree
from pointcloud.registration import align
from pointcloud.registration.target import sample_mesh

REACH = 1.5  # mm: correspondence distance of the peers


class Scene:
    """The part, the scan as it lies, and the true motion back."""

    def __init__(self, triangles: int, n: int) -> None:
        self.vertices, self.faces = bumpy_torus(triangles)
        rng = np.random.default_rng(2)
        on = sample_mesh(self.vertices, self.faces, n, 1)
        on = on[rng.permutation(n)] + 5e-3 * rng.standard_normal((n, 3))
        axis = np.array([1.0, -2.0, 2.0]) / 3.0
        turn = Rigid.from_rotation_vector(math.radians(0.5) * axis)
        shift = np.array([0.3, -0.2, 0.35])
        self.true = Rigid(turn.rotation, PLACE - turn.rotation @ PLACE + shift)
        self.scan = self.true.inverse().apply(on)
        self.target = sample_mesh(self.vertices, self.faces, n, 5)

    def error(self, rotation: np.ndarray, translation: np.ndarray, about: np.ndarray) -> float:
        """um; the motion acts on coordinates about ``about``."""
        back = self.true.inverse().apply(self.vertices[::7])
        there = (back - about) @ rotation.T + translation + about
        return float(np.linalg.norm(there - self.vertices[::7], axis=1).max() * 1e3)


def ours(scene: Scene) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Calls with the tree given and with the tree built inside."""
    mesh = TriangleMesh(scene.vertices, scene.faces, "mm")
    tree = SurfaceTree(mesh)
    points = PointSet.from_array(scene.scan, unit="mm", frame="scanner", points_are="surface")

    def run(nominal: Any) -> Any:
        return align(points, nominal, start=Rigid.identity(), search_limit=REACH, check=False).require()

    return lambda: run(tree), lambda: run(SurfaceTree(mesh))


def open3d_calls(o3d: Any, scene: Scene) -> dict[str, Callable[[], Any]]:
    reg = o3d.pipelines.registration

    def cloud(xyz: np.ndarray) -> Any:
        return o3d.geometry.PointCloud(o3d.utility.Vector3dVector(xyz - PLACE))

    source, target = cloud(scene.scan), cloud(scene.target)
    search = o3d.geometry.KDTreeSearchParamKNN(20)
    given = cloud(scene.target)
    given.estimate_normals(search)
    criteria = reg.ICPConvergenceCriteria(1e-12, 1e-12, 30)
    method = reg.TransformationEstimationPointToPlane()

    def icp(goal: Any) -> np.ndarray:
        found = reg.registration_icp(source, goal, REACH, np.eye(4), method, criteria)
        return np.asarray(found.transformation)

    def with_normals() -> np.ndarray:
        target.estimate_normals(search)
        return icp(target)

    return {"Open3D point-to-plane, normals given": lambda: icp(given), "Open3D, estimating normals": with_normals}


def small_gicp_call(gicp: Any, scene: Scene, kind: str, passes: int) -> np.ndarray:
    source, target = gicp.PointCloud(scene.scan - PLACE), gicp.PointCloud(scene.target - PLACE)
    tree = gicp.KdTree(target, num_threads=2)
    gicp.estimate_normals_covariances(target, tree, 20, num_threads=2)
    if kind == "GICP":
        gicp.estimate_normals_covariances(source, gicp.KdTree(source, num_threads=2), 20, num_threads=2)
    found = gicp.align(
        target, source, tree, registration_type=kind, max_correspondence_distance=REACH, num_threads=2,
        max_iterations=passes, rotation_epsilon=1e-8, translation_epsilon=1e-7,
    )  # fmt: skip
    return np.asarray(found.T_target_source)


def engeom_call(geom3: Any, align3: Any, scene: Scene, patience: int) -> np.ndarray:
    mesh = geom3.Mesh3(scene.vertices, scene.faces.astype(np.uint32))
    params = align3.AlignParams3(center=geom3.Point3(*PLACE))
    found = align3.points_to_mesh(scene.scan, mesh, params, refinement_steps=0, patience=patience)
    transform = found.alignment.full_transform
    return np.asarray(transform.as_numpy())


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--triangles", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slow", action="store_true", help="also the peers that take a minute, once each")
    parser.add_argument("--passes", type=int, default=10, help="bound of small_gicp's iterations")
    parser.add_argument("--patience", type=int, default=2, help="bound of engeom's evaluations, for each parameter")
    chosen = parser.parse_args(arguments)
    print_environment()
    for name in ("open3d", "small_gicp", "engeom"):
        try:
            print(f"# {name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            print(f"# {name}: absent")
    scene = Scene(chosen.triangles, chosen.points)
    given, building = ours(scene)
    results: dict[str, np.ndarray] = {}
    calls: dict[str, Callable[[], Any]] = {"ours, tree given": given, "ours, tree built inside": building}
    o3d = optional("open3d")
    if o3d is not None:
        calls |= open3d_calls(o3d, scene)

    def kept(name: str, call: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> None:
            results[name] = call()

        return run

    times = interleaved({name: kept(name, call) for name, call in calls.items()}, rounds=chosen.rounds)
    print(f"\n{chosen.points} points onto {len(scene.faces)} triangles")
    print(f"{'':40s} {'median s':>9s} {'best s':>8s} {'/ tree given':>12s} {'/ tree inside':>13s} {'error um':>9s}")
    one, two = times["ours, tree given"].median, times["ours, tree built inside"].median
    for name, item in times.items():
        found: Any = results[name]
        if name.startswith("ours"):
            motion = found.target_from_source
            off = scene.error(motion.rotation, motion.translation, np.zeros(3))
        else:
            off = scene.error(found[:3, :3], found[:3, 3], PLACE)
        print(
            f"{name:40s} {item.median:9.2f} {item.best:8.2f} {item.median / one:12.2f} {item.median / two:13.2f} "
            f"{off:9.3f}"
        )
    if not chosen.slow:
        return 0
    slow: dict[str, Callable[[], np.ndarray]] = {}
    if (gicp := optional("small_gicp")) is not None:
        slow["small_gicp PLANE_ICP"] = lambda: small_gicp_call(gicp, scene, "PLANE_ICP", chosen.passes)
        slow["small_gicp GICP"] = lambda: small_gicp_call(gicp, scene, "GICP", chosen.passes)
    geom3, align3 = optional("engeom.geom3"), optional("engeom.align3")
    if geom3 is not None and align3 is not None:
        slow["engeom points_to_mesh"] = lambda: engeom_call(geom3, align3, scene, chosen.patience)
    for name, call in slow.items():
        start = time.perf_counter()
        try:
            matrix = call()
        except (AttributeError, TypeError, ValueError, RuntimeError) as error:
            print(f"{name:40s} {type(error).__name__}: {error}")
            continue
        took = time.perf_counter() - start
        about = np.zeros(3) if name.startswith("engeom") else PLACE
        off = scene.error(matrix[:3, :3], matrix[:3, 3], about)
        print(f"{name:40s} {took:9.2f} {'once':>8s} {took / one:12.2f} {took / two:13.2f} {off:9.3f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
