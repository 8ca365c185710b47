"""Closest points and sides against brute force: `python -m benchmarks.accuracy.closest_point [--queries N] [--long N]`.

Distances: 1e6 queries for each mesh (slivers, folds, open borders, spikes; at the origin and 1 m from it) against every
triangle in turn, in float64 by another formula (coordinates along and across the longest edge); and a subset in
extended precision. Sides: points at 1e-11 to 1e-1 of the size around faces, edges and vertices of closed solids against
the winding number (A. Van Oosterom & J. Strackee, IEEE Trans. Biomed. Eng. 30 (1983) 125), and of the same solids with
faces taken away, where the foot is inside the border of what is left; feet on an open border must be flagged there, and
no others. Exit status 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable

import numba
import numpy as np

from benchmarks.common import print_environment
from metrology_core.blocks import run_blocks
from pointcloud.nominal.mesh import TriangleMesh
from pointcloud.nominal.tree import SurfaceTree
from tests.oracles.closest_brute import brute_distance
from tests.pointcloud.nominal import solids

Mesh = tuple[np.ndarray, np.ndarray]
EXACT = 1e-12  # of the part's size: the goal
BLOCK = 4096


def folded(leaves: int = 14, angle: float = 1e-6) -> Mesh:
    """An open strip folded to and fro: neighbours lie `angle` rad apart, borders all around."""
    width, length = 30.0, 20.0
    lift = width * math.tan(angle)
    x = np.where(np.arange(leaves + 1) % 2 == 0, 0.0, width)
    z = lift * np.arange(leaves + 1)
    v = np.concatenate([np.column_stack([x, np.full(leaves + 1, y), z]) for y in (0.0, length)])
    k = np.arange(leaves)
    f = [np.stack([k, k + 1, k + leaves + 2], -1), np.stack([k, k + leaves + 2, k + leaves + 1], -1)]
    return v, np.concatenate(f)


def spindle(n: int = 150) -> Mesh:
    """A double cone of needle triangles: two vertices where 150 of them meet."""
    angle = np.arange(n) * 2 * np.pi / n
    ring = np.column_stack([0.05 * np.cos(angle), 0.05 * np.sin(angle), np.zeros(n)])
    v = np.vstack([ring, [[0, 0, 30.0], [0, 0, -20.0]]])
    k, j = np.arange(n), (np.arange(n) + 1) % n
    return v, np.concatenate([np.stack([k, j, np.full(n, n)], -1), np.stack([j, k, np.full(n, n + 1)], -1)])


MESHES: dict[str, Callable[[], Mesh]] = {
    "box": solids.box,
    "torus": lambda: solids.torus(24, 14),
    "star": solids.star,
    "knife": solids.knife,
    "slivers": solids.slivers,
    "sheet": solids.sheet,
    "folded": folded,
    "spindle": spindle,
}
SOLIDS = ("box", "torus", "star", "knife", "spindle")


# --- the twin
def frames(mesh: Mesh) -> np.ndarray:
    """(m, 12): corner, unit along the longest edge (3), unit across it (3), its length, height, foot of the apex."""
    v, f = mesh
    corners = v[f].astype(np.longdouble)
    length = np.sqrt(np.sum((np.roll(corners, -1, axis=1) - corners) ** 2, axis=2))
    k, rows = np.argmax(length, axis=1), np.arange(len(f))
    a, b, c = corners[rows, k], corners[rows, (k + 1) % 3], corners[rows, (k + 2) % 3]
    e = (b - a) / length[rows, k][:, None]
    u = c - a
    g = u - np.sum(u * e, axis=1)[:, None] * e
    g = g - np.sum(g * e, axis=1)[:, None] * e
    h = np.sqrt(np.sum(g * g, axis=1))
    g = np.where(h[:, None] > 0, g / np.where(h > 0, h, 1)[:, None], 0)
    return np.column_stack([a, e, g, length[rows, k], h, np.sum(u * e, axis=1)]).astype(np.float64)


@numba.njit(nogil=True, cache=True)
def _segment2(px, py, pz, ax, ay, az, bx, by, bz):  # type: ignore[no-untyped-def]
    ex, ey, ez = bx - ax, by - ay, bz - az
    wx, wy, wz = px - ax, py - ay, pz - az
    ee = ex * ex + ey * ey + ez * ez
    t = (wx * ex + wy * ey + wz * ez) / ee if ee > 0.0 else 0.0
    if t >= 1.0:
        wx, wy, wz = px - bx, py - by, pz - bz
    elif t > 0.0:
        wx, wy, wz = wx - t * ex, wy - t * ey, wz - t * ez
    return wx * wx + wy * wy + wz * wz


@numba.njit(nogil=True, cache=True)
def _distances(points, frame, corners, start, stop, out):  # type: ignore[no-untyped-def]
    for i in range(start, stop):
        x, y, z = points[i]
        best = np.inf
        for s in range(len(frame)):
            f = frame[s]
            wx, wy, wz = x - f[0], y - f[1], z - f[2]
            p = wx * f[3] + wy * f[4] + wz * f[5]
            q = wx * f[6] + wy * f[7] + wz * f[8]
            inside = False
            if f[10] > 0.0:
                r = q / f[10]
                inside = r > 0.0 and p > r * f[11] and p < f[9] * (1.0 - r) + r * f[11]
            if inside:
                rx = wx - p * f[3] - q * f[6]
                ry = wy - p * f[4] - q * f[7]
                rz = wz - p * f[5] - q * f[8]
                d2 = rx * rx + ry * ry + rz * rz
            else:
                d2 = np.inf
                for k in range(3):
                    a, b = corners[s, k], corners[s, (k + 1) % 3]
                    d2 = min(d2, _segment2(x, y, z, a[0], a[1], a[2], b[0], b[1], b[2]))
            best = min(best, d2)
        out[i] = math.sqrt(best)


@numba.njit(nogil=True, cache=True)
def _segments(points, ends, start, stop, out):  # type: ignore[no-untyped-def]
    for i in range(start, stop):
        x, y, z = points[i]
        best = np.inf
        for s in range(len(ends)):
            a, b = ends[s, 0], ends[s, 1]
            best = min(best, _segment2(x, y, z, a[0], a[1], a[2], b[0], b[1], b[2]))
        out[i] = math.sqrt(best)


@numba.njit(nogil=True, cache=True)
def _winding(points, corners, start, stop, out):  # type: ignore[no-untyped-def]
    for i in range(start, stop):
        x, y, z = points[i]
        total = 0.0
        for s in range(len(corners)):
            c = corners[s]
            ax, ay, az = c[0, 0] - x, c[0, 1] - y, c[0, 2] - z
            bx, by, bz = c[1, 0] - x, c[1, 1] - y, c[1, 2] - z
            cx, cy, cz = c[2, 0] - x, c[2, 1] - y, c[2, 2] - z
            # the volume from edges and the nearest corner: differences of the mesh's own coordinates first
            ux, uy, uz = c[1, 0] - c[0, 0], c[1, 1] - c[0, 1], c[1, 2] - c[0, 2]
            vx, vy, vz = c[2, 0] - c[0, 0], c[2, 1] - c[0, 1], c[2, 2] - c[0, 2]
            nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
            la, lb, lc = (
                math.sqrt(ax * ax + ay * ay + az * az),
                math.sqrt(bx * bx + by * by + bz * bz),
                math.sqrt(cx * cx + cy * cy + cz * cz),
            )
            if la <= lb and la <= lc:
                volume = ax * nx + ay * ny + az * nz
            elif lb <= lc:
                volume = bx * nx + by * ny + bz * nz
            else:
                volume = cx * nx + cy * ny + cz * nz
            down = (
                la * lb * lc
                + (ax * bx + ay * by + az * bz) * lc
                + (bx * cx + by * cy + bz * cz) * la
                + (cx * ax + cy * ay + cz * az) * lb
            )
            total += math.atan2(volume, down)
        out[i] = total / (2.0 * math.pi)


def blocked(kernel: Callable[..., None], points: np.ndarray, *more: np.ndarray) -> np.ndarray:
    """A twin over all points on all threads."""
    n = len(points)
    out = np.empty(n)
    run_blocks(lambda a, b: kernel(points, *more, a * BLOCK, min(n, b * BLOCK), out), -(-n // BLOCK))
    return out


# --- queries
def queries(mesh: Mesh, size: float, n: int, seed: int) -> np.ndarray:
    """One part anywhere in a box twice as large; the rest around faces, edges and vertices, 1e-11 to 1e-1 of the size
    away in any direction."""
    v, f = mesh
    rng = np.random.default_rng(seed)
    far = n // 5
    w = rng.dirichlet([1.0] * 3, n - far)
    kind = np.arange(n - far) % 3
    w[kind == 1, 2] = 0.0  # on an edge
    w[kind == 2, 1:] = 0.0  # on a vertex
    w = rng.permuted(w / w.sum(axis=1, keepdims=True), axis=1)
    on = np.einsum("ij,ijk->ik", w, v[f[rng.integers(len(f), size=n - far)]])
    off = rng.normal(size=(n - far, 3))
    off /= np.linalg.norm(off, axis=1)[:, None]
    near = on + off * size * 10.0 ** rng.uniform(-11, -1, (n - far, 1))
    middle, half = (v.max(axis=0) + v.min(axis=0)) / 2, np.ptp(v, axis=0)
    return np.concatenate([near, middle + rng.uniform(-1.0, 1.0, (far, 3)) * np.maximum(half, 0.2 * size)])


def distances(name: str, offset: float, n: int, n_long: int) -> tuple[float, float, float]:
    """Worst difference relative to the size: to float64 brute force, to extended precision; seconds of the twin."""
    v, f = MESHES[name]()
    v = v + offset
    tree = SurfaceTree(TriangleMesh(v, f, "mm"))
    points = queries((v, f), tree.size, n, 7)
    found = np.abs(tree.closest(points).signed)
    start = time.perf_counter()
    twin = blocked(_distances, points, frames((v, f)), np.ascontiguousarray(v[f]))
    took = time.perf_counter() - start
    off = np.abs(found - twin) / tree.size
    some = np.unique(np.r_[np.argsort(off)[-n_long // 2 :], np.arange(0, n, max(1, 2 * n // n_long))])
    truth = brute_distance(points[some], v, f)
    exact = np.abs(found[some] - truth).max() / tree.size
    return float(off.max()), float(exact), took


def winding(points: np.ndarray, mesh: Mesh) -> np.ndarray:
    return blocked(_winding, points, np.ascontiguousarray(mesh[0][mesh[1]]))


def sides(name: str, n: int) -> tuple[int, int, int, np.ndarray]:
    """(points judged, wrong, not decided by the twin, counts by region) around a closed solid."""
    mesh = MESHES[name]()
    tree = SurfaceTree(TriangleMesh(*mesh, "mm"))
    points = queries(mesh, tree.size, n, 11)
    found = tree.closest(points)
    w = winding(points, mesh)
    clear = np.abs(found.signed) > EXACT * tree.size
    decided = np.abs(w - np.round(w)) < 0.2
    judged = clear & decided
    wrong = judged & ((found.distance < 0.0) != (np.round(w) > 0.5))
    return int(judged.sum()), int(wrong.sum()), int((clear & ~decided).sum()), np.bincount(found.region, minlength=3)


def shells(name: str, n: int) -> tuple[int, int, int, int]:
    """(points judged, wrong sides, wrong flags, flagged) where every fifth face of a solid is missing."""
    mesh = MESHES[name]()
    stays = np.flatnonzero(np.arange(len(mesh[1])) % 5 != 2)
    rest = mesh[1][stays]
    part = (mesh[0], rest)
    tree, solid = SurfaceTree(TriangleMesh(*part, "mm")), SurfaceTree(TriangleMesh(*mesh, "mm"))
    points = queries(part, solid.size, n, 13)
    found, closed = tree.closest(points), solid.closest(points)
    eps = EXACT * solid.size
    edges = np.concatenate([rest[:, [0, 1]], rest[:, [1, 2]], rest[:, [2, 0]]])
    _, index, count = np.unique(np.sort(edges, axis=1), axis=0, return_index=True, return_counts=True)
    ends = np.ascontiguousarray(mesh[0][edges[index[count == 1]]])
    to_border = blocked(_segments, points, ends)
    foot_to_border = blocked(_segments, np.ascontiguousarray(found.foot), ends)
    flag = found.on_open_border
    wrong_flag = (flag & (to_border > np.abs(found.signed) + eps)) | (~flag & (foot_to_border == 0.0))
    wrong_flag |= flag & ~np.isnan(found.distance)
    w = winding(points, mesh)
    same = stays[found.face] == closed.face  # the foot on the whole solid is the foot here: its side is the truth
    judged = ~flag & same & (np.abs(found.signed) > eps) & (np.abs(w - np.round(w)) < 0.2)
    wrong = judged & ((found.distance < 0.0) != (np.round(w) > 0.5))
    return int(judged.sum()), int(wrong.sum()), int(wrong_flag.sum()), int(flag.sum())


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=1_000_000)
    parser.add_argument("--long", type=int, default=600, help="queries in extended precision for each mesh")
    parser.add_argument("--meshes", default=",".join(MESHES))
    chosen = parser.parse_args(arguments)
    names = chosen.meshes.split(",")
    print_environment()
    good = True
    print(f"\ndistances, {chosen.queries} queries each; differences relative to the part's size (goal {EXACT:g})")
    print(f"{'mesh':10s} {'offset mm':>9s} {'float64 brute force':>20s} {'extended precision':>20s}")
    for name in names:
        for offset in (0.0, 1000.0):
            off, exact, took = distances(name, offset, chosen.queries, chosen.long)
            good &= max(off, exact) <= EXACT
            print(f"{name:10s} {offset:9g} {off:20.2e} {exact:20.2e}   (twin {took:.0f} s)", flush=True)
    print(f"\nsides of closed solids, |d| > {EXACT:g} of the size")
    print(f"{'solid':10s} {'judged':>9s} {'wrong':>6s} {'undecided':>9s}  feet in faces, edges, vertices")
    for name in (name for name in names if name in SOLIDS):
        judged, wrong, unclear, regions = sides(name, chosen.queries)
        good &= wrong == 0
        print(f"{name:10s} {judged:9d} {wrong:6d} {unclear:9d}  {regions[0]}, {regions[1]}, {regions[2]}", flush=True)
    print("\nthe same with every fifth face missing: sides inside the borders, flags on them")
    print(f"{'shell':10s} {'judged':>9s} {'wrong':>6s} {'wrong flags':>11s} {'flagged':>9s}")
    for name in (name for name in names if name in SOLIDS):
        judged, wrong, flags, flagged = shells(name, chosen.queries)
        good &= wrong == 0 and flags == 0
        print(f"{name:10s} {judged:9d} {wrong:6d} {flags:11d} {flagged:9d}", flush=True)
    print("\nall goals met" if good else "\nA GOAL IS MISSED")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
