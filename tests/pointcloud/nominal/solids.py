"""Triangle meshes with known answers: closed solids with slivers, folds and spikes, open shells."""

from __future__ import annotations

import numpy as np

Mesh = tuple[np.ndarray, np.ndarray]


def box(sides: tuple[float, float, float] = (40.0, 25.0, 15.0)) -> Mesh:
    """A box about the origin, 12 triangles, outward."""
    v = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float) - 0.5
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))]
    return v * np.array(sides), np.array(faces)


def torus(nu: int, nv: int, ring: float = 35.0, tube: float = 12.0, bump: float = 0.05) -> Mesh:
    """A torus about z, with bumps."""
    u = np.linspace(0, 2 * np.pi, nu, endpoint=False)
    v = np.linspace(0, 2 * np.pi, nv, endpoint=False)
    a, b = np.meshgrid(u, v, indexing="ij")
    r = tube * (1 + bump * np.sin(5 * a) * np.cos(3 * b))
    xyz = np.stack([(ring + r * np.cos(b)) * np.cos(a), (ring + r * np.cos(b)) * np.sin(a), r * np.sin(b)], -1)
    i, j = np.meshgrid(np.arange(nu), np.arange(nv), indexing="ij")
    k, m = (i + 1) % nu, (j + 1) % nv
    p, q, s, t = i * nv + j, k * nv + j, k * nv + m, i * nv + m
    faces = np.concatenate([np.stack([p, q, s], -1).reshape(-1, 3), np.stack([p, s, t], -1).reshape(-1, 3)])
    return xyz.reshape(-1, 3), faces


def sheet(n: int = 12, size: float = 50.0) -> Mesh:
    """An open wavy sheet over a square, normals to +z."""
    x = np.linspace(-size / 2, size / 2, n)
    a, b = np.meshgrid(x, x, indexing="ij")
    xyz = np.stack([a, b, 2.0 * np.sin(a / 9.0) * np.cos(b / 7.0)], -1).reshape(-1, 3)
    i, j = np.meshgrid(np.arange(n - 1), np.arange(n - 1), indexing="ij")
    p, q, s, t = i * n + j, (i + 1) * n + j, (i + 1) * n + j + 1, i * n + j + 1
    return xyz, np.concatenate([np.stack([p, q, s], -1).reshape(-1, 3), np.stack([p, s, t], -1).reshape(-1, 3)])


def star(n: int = 9, outer: float = 30.0, inner: float = 4.0, height: float = 6.0) -> Mesh:
    """A star-shaped prism: sharp convex and concave edges, long thin triangles."""
    angle = np.arange(2 * n) * np.pi / n
    r = np.where(np.arange(2 * n) % 2 == 0, outer, inner)
    ring = np.stack([r * np.cos(angle), r * np.sin(angle)], -1)
    low = np.column_stack([ring, np.full(2 * n, -height)])
    high = np.column_stack([ring, np.full(2 * n, height)])
    v = np.vstack([low, high, [[0, 0, -height], [0, 0, height]]])
    m = 2 * n
    k, j = np.arange(m), (np.arange(m) + 1) % m
    return v, np.concatenate(
        [
            np.stack([k, j, j + m], -1),
            np.stack([k, j + m, k + m], -1),
            np.stack([j, k, np.full(m, 2 * m)], -1),
            np.stack([k + m, j + m, np.full(m, 2 * m + 1)], -1),
        ]
    )


def knife(angle: float = 1e-5, length: float = 60.0) -> Mesh:
    """A wedge with an edge of `angle` rad: nearly opposite normals, and triangles of great length to height."""
    h = length * np.tan(angle / 2)
    v = np.array([[0, -20, 0], [0, 20, 0], [length, -20, -h], [length, 20, -h], [length, -20, h], [length, 20, h]])
    faces = [(0, 5, 1), (0, 4, 5), (0, 1, 3), (0, 3, 2), (2, 5, 4), (2, 3, 5), (0, 2, 4), (1, 5, 3)]
    return v.astype(float), np.array(faces)


def slivers(seed: int = 5, n: int = 60) -> Mesh:
    """A soup of triangles of every aspect ratio, needles and caps down to 1e-11 of their length, and some without
    area."""
    rng = np.random.default_rng(seed)
    a = rng.uniform(-30, 30, (n, 3))
    along = rng.normal(size=(n, 3))
    along /= np.linalg.norm(along, axis=1)[:, None]
    across = np.cross(along, rng.normal(size=(n, 3)))
    across /= np.linalg.norm(across, axis=1)[:, None]
    long = 10.0 ** rng.uniform(-1, 1.5, n)[:, None]
    thin = long * 10.0 ** rng.uniform(-11, 0, n)[:, None]
    thin[::10] = 0.0
    b = a + long * along
    c = a + rng.uniform(0, 1, (n, 1)) * long * along + thin * across
    return np.concatenate([a, b, c]), np.arange(3 * n).reshape(3, n).T


def beside(mesh: Mesh, n: int, reach: float, seed: int) -> np.ndarray:
    """Points near the surface: on a triangle, and up to `reach` away in any direction."""
    v, f = mesh
    rng = np.random.default_rng(seed)
    w = rng.dirichlet([0.4, 0.4, 0.4], n)  # often near corners and edges
    on = np.einsum("ij,ijk->ik", w, v[f[rng.integers(len(f), size=n)]])
    off = rng.normal(size=(n, 3))
    off /= np.linalg.norm(off, axis=1)[:, None]
    return on + off * reach * 10.0 ** rng.uniform(-9, 0, n)[:, None]
