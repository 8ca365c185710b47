"""Parts with known shape, and known motions, for the tests of registration."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np

from metrology_core.data import PointSet, Rigid
from pointcloud.nominal.mesh import TriangleMesh
from pointcloud.nominal.tree import SurfaceTree


def freeform(n: int = 60) -> TriangleMesh:
    """An open wavy patch, 100 x 70, without any symmetry, 600 off the origin."""
    u, v = np.meshgrid(np.linspace(0.0, 1.0, n), np.linspace(0.0, 1.0, n), indexing="ij")
    z = 9.0 * np.sin(3.1 * u + 0.4) * np.cos(2.3 * v) + 6.0 * u * u * v + 4.0 * np.exp(-30.0 * ((u - 0.7) ** 2 + v**2))
    xyz = np.stack([100.0 * u + 600.0, 70.0 * v - 200.0, z], axis=-1).reshape(-1, 3)
    i = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).ravel()
    faces = np.concatenate([np.stack([i, i + n, i + n + 1], 1), np.stack([i, i + n + 1, i + 1], 1)])
    return TriangleMesh(xyz, faces, "mm")


def plate(symmetric: bool = False) -> TriangleMesh:
    """A block 80 x 50 x 8 with a step on one side; ``symmetric``: with the same step on both sides (C2)."""
    outline = [(0, 0), (80, 0), (80, 50), (0, 50)]
    if symmetric:
        outline = [(0, 0), (60, 0), (60, 10), (80, 10), (80, 50), (20, 50), (20, 40), (0, 40)]
    else:
        outline = [(0, 0), (60, 0), (60, 10), (80, 10), (80, 50), (0, 50)]
    return prism(np.array(outline, dtype=np.float64), 8.0)


def prism(outline: np.ndarray, height: float) -> TriangleMesh:
    """A closed prism over a simple polygon, counter-clockwise (ears cut one after the other)."""
    n = len(outline)
    left, caps = list(range(n)), []

    def area(a: int, b: int, c: int) -> float:
        p, q, r = outline[a], outline[b], outline[c]
        return float((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]))

    while len(left) > 3:
        for k in range(len(left)):
            a, b, c = left[k - 1], left[k], left[(k + 1) % len(left)]
            rest = [d for d in left if d not in (a, b, c)]
            inside = any(area(a, b, d) >= 0 and area(b, c, d) >= 0 and area(c, a, d) >= 0 for d in rest)
            if area(a, b, c) > 0 and not inside:
                caps.append((a, b, c))
                left.pop(k)
                break
    caps.append(tuple(left))  # type: ignore[arg-type]
    xyz = np.vstack([np.c_[outline, np.zeros(n)], np.c_[outline, np.full(n, height)]])
    faces = [(c, b, a) for a, b, c in caps] + [(a + n, b + n, c + n) for a, b, c in caps]
    for k in range(n):
        j = (k + 1) % n
        faces += [(k, j, j + n), (k, j + n, k + n)]
    return TriangleMesh(xyz, np.array(faces), "mm")


def tube(facets: int = 180, radius: float = 20.0, height: float = 60.0) -> TriangleMesh:
    """A tessellated cylinder without caps."""
    t = 2.0 * np.pi * np.arange(facets) / facets
    ring = np.c_[radius * np.cos(t), radius * np.sin(t)]
    xyz = np.vstack([np.c_[ring, np.zeros(facets)], np.c_[ring, np.full(facets, height)]])
    i, j = np.arange(facets), (np.arange(facets) + 1) % facets
    return TriangleMesh(
        xyz, np.concatenate([np.stack([i, j, j + facets], 1), np.stack([i, j + facets, i + facets], 1)]), "mm"
    )


@functools.cache
def blade(data_root: Path) -> SurfaceTree:
    """The blade of the shared data."""
    with np.load(data_root / "clouds" / "engeom_blade" / "engine_blade.npz") as z:
        return SurfaceTree(TriangleMesh(z["vertices"], z["faces"].astype(np.int64), "mm"))


def motion(rng: np.random.Generator, angle: float, shift: float, about: Any) -> Rigid:
    """A motion by ``angle`` rad about a random axis through ``about`` and a shift of length ``shift``."""
    axis, way = rng.standard_normal(3), rng.standard_normal(3)
    turn = Rigid.from_rotation_vector(angle * axis / np.linalg.norm(axis))
    about = np.asarray(about, dtype=np.float64)
    return Rigid(turn.rotation, about - turn.rotation @ about + shift * way / np.linalg.norm(way))


def points(xyz: Any, **more: Any) -> PointSet:
    return PointSet.from_array(xyz, unit="mm", frame="scanner", points_are="surface", **more)


def worst_shift(found: Rigid | None, true: Rigid, xyz: np.ndarray) -> float:
    """Largest distance between points moved by both motions (both from the scan into the nominal frame)."""
    assert found is not None
    back = true.inverse().apply(xyz)
    return float(np.abs(found.apply(back) - xyz).max())
