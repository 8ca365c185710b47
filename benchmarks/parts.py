"""Large parts and scans of them for the benchmarks of deviation and registration."""

from __future__ import annotations

import importlib
from types import ModuleType

import numpy as np

PLACE = np.array([577.0, 577.0, -577.0])  # a metre from the origin


def bumpy_torus(triangles: int) -> tuple[np.ndarray, np.ndarray]:
    """A closed torus of 100 mm with bumps, a metre from the origin: vertices (n, 3) float64 mm, faces (m, 3) int64.

    The bumps have no common period, so that only one pose fits.
    """
    nv = max(8, round((triangles / 4) ** 0.5))
    nu = round(triangles / (2 * nv))
    u = np.linspace(0, 2 * np.pi, nu, endpoint=False)
    v = np.linspace(0, 2 * np.pi, nv, endpoint=False)
    a, b = np.meshgrid(u, v, indexing="ij")
    r = 12.0 * (1.0 + 0.05 * np.sin(5 * a) * np.cos(3 * b) + 0.04 * np.cos(2 * a + b) + 0.03 * np.sin(a) * np.cos(b))
    ring = 37.0
    xyz = np.stack([(ring + r * np.cos(b)) * np.cos(a), (ring + r * np.cos(b)) * np.sin(a), r * np.sin(b)], -1)
    i, j = np.meshgrid(np.arange(nu), np.arange(nv), indexing="ij")
    k, m = (i + 1) % nu, (j + 1) % nv
    p, q, s, t = i * nv + j, k * nv + j, k * nv + m, i * nv + m
    faces = np.concatenate([np.stack([p, q, s], -1).reshape(-1, 3), np.stack([p, s, t], -1).reshape(-1, 3)])
    return xyz.reshape(-1, 3) + PLACE, faces


def scan_of(vertices: np.ndarray, faces: np.ndarray, n: int, reach: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, 3) points in random order on the triangles, moved along their normals, and the moves (n,), uniform in
    +-reach."""
    rng = np.random.default_rng(seed)
    face = rng.integers(len(faces), size=n)
    corners = vertices[faces[face]]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.linalg.norm(normal, axis=1)[:, None]
    away = rng.uniform(-reach, reach, n)
    on = np.einsum("ij,ijk->ik", rng.dirichlet([1.0] * 3, n), corners)
    return on + away[:, None] * normal, away


def optional(name: str) -> ModuleType | None:
    """A peer's module, or None where it does not import."""
    try:
        return importlib.import_module(name)
    except (ImportError, OSError, RuntimeError):
        return None
