"""Edge curves brought onto the two faces that they part.

Files may hold an edge as a spline through points, micrometres or nanometres off its faces. Where both faces are known
exactly and meet at an angle, the edge is their intersection, so the curve is moved there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pointcloud.nominal.cad_bridge import CadModel
from pointcloud.nominal.surface import FloatArray

LOOSE = 1e-9  # mm: curves farther than this from a face of theirs are moved; the goal at edges is 1e-6
FARTHEST = 1e-4  # mm: ten times what joined faces may gape; a curve that is farther off is not meant to be the edge
# (and ends as near as this are one corner)
_FLAT = 0.995  # cosine between the faces' normals above which their intersection is not definite (6 degrees)
_DEGREE = 7  # of the pieces: their ends and six places between are on both faces
_PIECES = 256
Carriers = Callable[[FloatArray, NDArray[np.int32]], tuple[FloatArray, FloatArray, NDArray[np.bool_]]]
CurveAt = Callable[[int, FloatArray], FloatArray]


def tightened(model: CadModel, at: CurveAt, carriers: Carriers) -> tuple[CadModel, float]:
    """The model with its loose edge curves on both faces, and how far the worst of them was off (0 for none).

    ``at`` gives places of a curve, ``carriers`` feet, normals and whether they are good, on faces. Ends go to the place
    that all faces of the corner have in common. A curve stays as it is where the faces are nearly flat there, where it
    is farther off than `FARTHEST`, where no spline of `_PIECES` pieces follows the intersection, or where a corner of
    it stays because another curve there does.
    """
    if not len(model.table):
        return model, 0.0
    edges, first, uses = np.unique(model.curve_edge, return_index=True, return_counts=True)
    every = [_Edge(model, int(c), model.curve_face[model.curve_edge == e], at) for e, c in zip(edges, first)]
    for edge, n in zip(every, uses.tolist()):
        edge.off = _off(at(edge.curve, edge.places), edge.faces, carriers) if n == 2 else np.inf
    if not any(LOOSE < edge.off <= FARTHEST for edge in every):
        return model, 0.0
    corner = _corners(np.concatenate([edge.ends for edge in every])).reshape(-1, 2)
    goal = np.full((corner.max() + 1, 3), np.nan)
    for k in range(len(goal)):
        rows, side = np.nonzero(corner == k)
        place = np.mean([every[r].ends[s] for r, s in zip(rows, side)], axis=0)
        faces = np.unique(np.concatenate([every[r].faces for r in rows]))
        if all(np.abs(every[r].ends[s] - place).max() <= FARTHEST for r, s in zip(rows, side)):
            goal[k] = _common(place, faces, carriers)
    new: list[tuple[FloatArray, FloatArray] | None] = []
    for edge, (a, b) in zip(every, corner):
        shift = goal[[a, b]] - edge.ends
        edge.wants = np.linalg.norm(shift, axis=1) > LOOSE
        wanted = edge.off <= FARTHEST and (edge.off > LOOSE or bool(edge.wants.any()))
        new.append(_moved(edge, shift, at, carriers) if wanted and np.isfinite(shift).all() else None)
    # a corner moves with all curves that end there or not at all
    stays = np.isnan(goal[:, 0])
    while True:
        for edge, row, ends in zip(every, new, corner):
            if row is None:
                stays[ends[edge.wants]] = True
        drop = [i for i, row in enumerate(new) if row is not None and stays[corner[i][every[i].wants]].any()]
        if not drop:
            break
        for i in drop:
            new[i] = None
    moved = {edge.number: row for edge, row in zip(every, new) if row is not None}
    if not moved:
        return model, 0.0
    return _with(model, moved), max(edge.off for edge in every if edge.number in moved)


class _Edge:
    """One edge: the first of its curves, its faces, breaks of its spline, places to look at, and its two ends."""

    def __init__(self, model: CadModel, curve: int, faces: NDArray[np.int32], at: CurveAt) -> None:
        degree, _, count, k0, _ = model.table[curve]
        self.curve, self.faces, self.number = curve, faces, int(model.curve_edge[curve])
        self.breaks = np.unique(model.knots[k0 : k0 + count + degree + 1][degree : count + 1])
        pieces = zip(self.breaks, self.breaks[1:])
        self.places = np.unique(np.concatenate([np.linspace(a, b, 17) for a, b in pieces]))
        self.ends = at(curve, self.breaks[[0, -1]])
        self.off = np.inf
        self.wants = np.zeros(2, dtype=bool)  # whether an end is to move


def _corners(ends: FloatArray) -> NDArray[np.int64]:
    """Number of the corner of each end: ends nearer than `FARTHEST` are one."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    pairs = cKDTree(ends).query_pairs(FARTHEST, output_type="ndarray")
    links = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(ends), len(ends)))
    return np.asarray(connected_components(links, directed=False)[1], dtype=np.int64)


def _common(place: FloatArray, faces: NDArray[np.int32], carriers: Carriers) -> FloatArray:
    """The place nearest to a corner that all its faces hold; NaN where there is none."""
    x = place
    for _ in range(5):
        foot, normal, good = carriers(np.repeat(x[None], len(faces), axis=0), faces.astype(np.int32))
        if not good.all():
            break
        rest = np.einsum("ij,ij->i", foot - x, normal)
        if np.abs(rest).max() <= 0.01 * LOOSE:
            return x if np.linalg.norm(x - place) <= FARTHEST else np.full(3, np.nan)
        x = x + np.linalg.lstsq(normal, rest, rcond=0.05)[0]  # nearly flat edges leave a way free
    return np.full(3, np.nan)


def _with(model: CadModel, moved: dict[int, tuple[FloatArray, FloatArray]]) -> CadModel:
    """The model with other curves for some edges."""
    poles, knots, table = [], [], model.table.copy()
    n_poles, n_knots = 0, 0
    for c, (degree, p0, count, k0, _) in enumerate(model.table.tolist()):
        edge = int(model.curve_edge[c])
        if edge in moved:
            own_knots, own_poles = moved[edge]
            table[c, 0], table[c, 2] = _DEGREE, len(own_poles)
        else:
            own_knots, own_poles = model.knots[k0 : k0 + count + degree + 1], model.poles[p0 : p0 + count]
        table[c, 1], table[c, 3] = n_poles, n_knots
        knots.append(own_knots)
        poles.append(own_poles)
        n_poles, n_knots = n_poles + len(own_poles), n_knots + len(own_knots)
    return replace(model, knots=np.concatenate(knots), poles=np.concatenate(poles), table=table)


def _moved(edge: _Edge, shift: FloatArray, at: CurveAt, carriers: Carriers) -> tuple[FloatArray, FloatArray] | None:
    """Knots and poles of the edge on both faces, its ends shifted; None where it stays."""
    breaks = edge.breaks
    # Chebyshev's places between 0 and 1, ends included, and Bernstein's polynomials there
    x = 0.5 - 0.5 * np.cos(np.pi * np.arange(_DEGREE + 1) / _DEGREE)
    bernstein, between = _bernstein(x), _bernstein(0.5 * (x[1:] + x[:-1]))
    while len(breaks) - 1 <= _PIECES:
        t = breaks[:-1, None] + np.diff(breaks)[:, None] * x
        t[:, -1] = breaks[1:]
        # ends of pieces appear twice; both get the same place
        flat, back = np.unique(t.ravel(), return_inverse=True)
        share = ((flat - breaks[0]) / (breaks[-1] - breaks[0]))[:, None]
        on = _snapped(at(edge.curve, flat) + (1.0 - share) * shift[0] + share * shift[1], edge.faces, carriers)
        if on is None:
            return None
        rows = on[back.reshape(-1)].reshape(len(t), _DEGREE + 1, 3)
        bezier = np.linalg.solve(bernstein, rows)
        bezier[:, 0], bezier[:, -1] = rows[:, 0], rows[:, -1]
        if _off((between @ bezier).reshape(-1, 3), edge.faces, carriers) <= 0.1 * LOOSE:
            poles = np.concatenate([bezier[:, :-1].reshape(-1, 3), bezier[-1:, -1]])
            knots = np.concatenate([breaks[:1], np.repeat(breaks, _DEGREE), breaks[-1:]])
            return knots, np.column_stack([poles, np.ones(len(poles))])
        breaks = np.sort(np.concatenate([breaks, 0.5 * (breaks[1:] + breaks[:-1])]))
    return None


def _bernstein(x: FloatArray) -> FloatArray:
    from scipy.special import comb

    k = np.arange(_DEGREE + 1)
    return np.asarray(comb(_DEGREE, k) * x[:, None] ** k * (1.0 - x[:, None]) ** (_DEGREE - k))


def _off(points: FloatArray, faces: NDArray[np.int32], carriers: Carriers) -> float:
    """Largest distance from either face; infinite where a foot is not good."""
    worst = 0.0
    for face in faces.tolist():
        foot, _, good = carriers(points, np.full(len(points), face, dtype=np.int32))
        if not good.all():
            return np.inf
        worst = max(worst, float(np.linalg.norm(points - foot, axis=1).max()))
    return worst


def _snapped(points: FloatArray, faces: NDArray[np.int32], carriers: Carriers) -> FloatArray | None:
    """The places of both faces nearest to points beside their intersection; None where it is not definite."""
    x = points
    for _ in range(4):  # Newton's method from micrometres away: the second step is rounding, unless a radius is tiny
        (f1, n1, good1), (f2, n2, good2) = (carriers(x, np.full(len(x), f, dtype=np.int32)) for f in faces.tolist())
        if not (good1.all() and good2.all()):
            return None
        cosine = np.einsum("ij,ij->i", n1, n2)
        if np.abs(cosine).max() > _FLAT:
            return None
        d1, d2 = np.einsum("ij,ij->i", f1 - x, n1), np.einsum("ij,ij->i", f2 - x, n2)
        det = 1.0 - cosine * cosine
        a, b = (d1 - cosine * d2) / det, (d2 - cosine * d1) / det
        x = x + a[:, None] * n1 + b[:, None] * n2
    return x if np.linalg.norm(x - points, axis=1).max() <= 10.0 * FARTHEST else None
