"""Candidate poses from local shape: Open3D's FPFH histograms matched, and our own seeded RANSAC over the matches.

Open3D's own RANSAC draws from all threads at once, so its answer changes from run to run; this one does not. Source: M.
A. Fischler & R. C. Bolles, Comm. ACM 24 (1981) 381; edge-length test after A. G. Buch et al., ICRA 2013.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pointcloud.registration.se3 import Pose

FloatArray = NDArray[np.float64]
_DRAWS = 60_000
_BATCH = 20_000
_VOTERS = 12_000  # pairs that vote for a pose, an even part of all
_NEIGHBOURS = 3  # matches kept per point: symmetric parts have several right ones
_EDGE = 0.9  # ratio of corresponding edges of a rigid triple


def matches(source: FloatArray, target: FloatArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs (source index, target index) of similar histograms (n, 33), (m, 33): the nearest few of each point."""
    from scipy.spatial import cKDTree

    k = min(_NEIGHBOURS, len(target))
    _, index = cKDTree(target).query(source, k=k)
    index = np.asarray(index).reshape(len(source), k)
    return np.repeat(np.arange(len(source)), k), index.ravel()


def consensus(
    source: FloatArray, target: FloatArray, pairs: tuple[NDArray[np.int64], NDArray[np.int64]], near: float,
    rng: np.random.Generator, keep: int,
) -> list[Pose]:  # fmt: skip
    """The ``keep`` poses, different from each other, that bring most matched pairs within ``near``."""
    p, q = source[pairs[0]], target[pairs[1]]
    m = len(p)
    if m < 3:
        return []
    step = -(-m // _VOTERS)
    voters, their = np.ascontiguousarray(p[::step]), np.ascontiguousarray(q[::step])
    reach = 0.25 * float(np.linalg.norm(np.ptp(source, axis=0)))
    best: list[tuple[int, FloatArray, FloatArray]] = []
    for _ in range(_DRAWS // _BATCH):
        triple = rng.integers(0, m, (_BATCH, 3))
        a, b = p[triple], q[triple]
        ea = np.linalg.norm(a - np.roll(a, 1, axis=1), axis=2)
        eb = np.linalg.norm(b - np.roll(b, 1, axis=1), axis=2)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.minimum(ea, eb) / np.maximum(ea, eb)
        good = (ratio > _EDGE).all(axis=1) & (ea.min(axis=1) > reach * 0.5)
        chosen = np.flatnonzero(good)[:4000]
        if not len(chosen):
            continue
        rotation, ca, cb = kabsch(a[chosen], b[chosen])
        for r, u, v in zip(rotation, ca, cb):
            d = (voters - u) @ r.T + v - their
            best.append((int(np.count_nonzero(np.einsum("ij,ij->i", d, d) <= near * near)), r, v - r @ u))
    best.sort(key=lambda row: -row[0])
    poses: list[Pose] = []
    middle = source.mean(axis=0)
    for count, r, t in best:
        if count < 3 or len(poses) >= keep:
            break
        pose = Pose(r, middle, r @ middle + t)
        if not any(
            pose.rotated_by(o) < 0.15 and float(np.linalg.norm(pose.target - o.target)) < 4.0 * near for o in poses
        ):
            poses.append(pose)
    return poses


def kabsch(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Rotations (k, 3, 3) and the middles (k, 3) that bring points a (k, m, 3) onto b (W. Kabsch, Acta Cryst. A32)."""
    ca, cb = a.mean(axis=1), b.mean(axis=1)
    h = np.einsum("kmi,kmj->kij", b - cb[:, None], a - ca[:, None])
    u, _, vt = np.linalg.svd(h)
    sign = np.sign(np.linalg.det(u @ vt))
    u[:, :, 2] *= np.where(sign == 0.0, 1.0, sign)[:, None]
    return u @ vt, ca, cb


def feature_candidates(
    scan: FloatArray, scan_normals: FloatArray | None, nominal: FloatArray, nominal_normals: FloatArray, edge: float,
    seed: int, keep: int,
) -> list[Pose]:  # fmt: skip
    """Poses from FPFH matches of evenly thinned points. Raises `MissingDependencyError` without Open3D."""
    from pointcloud.open3d_bridge import feature_histograms

    if len(scan) < 20 or len(nominal) < 20:
        return []
    radius = 5.0 * edge
    there, _ = feature_histograms(nominal, nominal_normals, radius)
    poses: list[Pose] = []
    first, normals = feature_histograms(scan, scan_normals, radius)
    versions = [first] if scan_normals is not None else [first, feature_histograms(scan, -normals, radius)[0]]
    for k, here in enumerate(versions):  # estimated normals may all point inward
        rng = np.random.default_rng([seed, 0xF9, k])
        poses += consensus(scan, nominal, matches(here, there), 1.5 * edge, rng, keep)
    return poses
