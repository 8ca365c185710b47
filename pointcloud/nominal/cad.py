"""`CadSurface`: exact closest points on CAD faces, edges and vertices.

Hybrid: the triangles of a tessellation find every face and edge that can be nearest (within the chord tolerance), and
Newton's method on the exact surfaces and curves gives the feet. A foot counts only inside its trimmed face, which is
decided against the exact border curves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrology_core.blocks import run_blocks
from metrology_core.features import Feature
from pointcloud.kernels import codes
from pointcloud.nominal.cad_bridge import CadFace, CadModel, SplineSurface, model_of, read_shape
from pointcloud.nominal.cad_carriers import settle
from pointcloud.nominal.cad_edges import tightened
from pointcloud.nominal.features import evaluate_feature
from pointcloud.nominal.mesh import TriangleMesh
from pointcloud.nominal.surface import ClosestPoints, FloatArray, as_points, check_limits
from pointcloud.nominal.tree import SurfaceTree

_BLOCK = 1024
_BATCH = 1 << 17  # points whose candidates are held at once
_FLAT = 0.9  # cosine between the normals of two faces above which their edge counts as nearly flat
_TIE = 1e-9  # of the size: feet as near as this are one place (a vertex of several edges)
Pairs = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32], FloatArray]


@dataclass(frozen=True, eq=False)
class _Nearest:
    """The best foot of each point so far."""

    square: FloatArray
    foot: FloatArray
    normal: FloatArray
    sign: FloatArray
    code: NDArray[np.int32]
    face: NDArray[np.int32]


class CadSurface:
    """A CAD shape as a nominal, exact; implements `NominalSurface`. Lengths in mm.

    ``face`` of the answers is the triangle of ``mesh`` beside the foot; ``cad_face_of[face]`` is the CAD face, so it
    serves as ``regions`` of a deviation. ``chord_tolerance`` is 0, because the feet are on the exact surface;
    ``deflection`` is that of the triangles, asked for, and ``measured_deflection`` what they show. ``edges_moved`` in
    mm: how far edge curves were off their faces that have been moved onto them, see `pointcloud.nominal.cad_edges`.
    """

    def __init__(self, model: CadModel) -> None:
        self.model = model
        self.mesh = TriangleMesh(model.vertices, model.triangles, "mm", model.source, flags=model.flags)
        self.tree = SurfaceTree(self.mesh)
        self.cad_face_of = model.face_of
        # OpenCascade may miss the tolerance it was asked for; half as much again for what the samples miss
        self._delta = 1.5 * max(model.deflection, self.measured_deflection)
        self.model, self.edges_moved = tightened(model, self._curve_at, self._feet_beside)
        self._borders()

    # --- what it is
    @property
    def unit(self) -> str:
        return self.mesh.unit

    @property
    def size(self) -> float:
        return self.tree.size

    @property
    def chord_tolerance(self) -> float:
        return 0.0

    @property
    def deflection(self) -> float:
        return self.model.deflection

    @property
    def n_faces(self) -> int:
        return self.mesh.n_triangles

    @property
    def description(self) -> str:
        """Words for the method of a result."""
        return (
            f"exact CAD surface ({'; '.join(self.model.words)}), search over {self.n_faces} triangles of chord "
            f"tolerance {self.measured_deflection:.2g} mm"
            + (f", edge curves moved onto their faces by up to {self.edges_moved:.1g} mm" if self.edges_moved else "")
        )

    @cached_property
    def measured_deflection(self) -> float:
        """Largest distance from the middles of the triangles and of their sides to the exact surface, mm."""
        corners, uv = self.mesh.corners, self.model.uv
        worst = 0.0
        for w in ((1 / 3, 1 / 3, 1 / 3), (0.5, 0.5, 0), (0, 0.5, 0.5), (0.5, 0, 0.5)):
            weights = np.array(w)
            points = np.einsum("k,ikc->ic", weights, corners)
            foot, _, good = self._carrier_feet(points, self.cad_face_of, np.einsum("k,ikc->ic", weights, uv))
            distance = np.linalg.norm(points - foot, axis=1)
            worst = max(worst, float(distance[good].max(initial=0.0)))
        return worst

    @cached_property
    def _asked(self) -> NDArray[np.bool_]:
        """(faces,) whether feet on a face's carrier need parameters to start from."""
        return np.array([not isinstance(item.carrier, Feature) for item in self.model.faces])

    # --- borders
    def _borders(self) -> None:
        """Polylines of all border curves as triangles without width, so that the same tree searches them."""
        table = self.model.table
        self._segment_curve = np.empty(0, dtype=np.int32)
        self._border: SurfaceTree | None = None
        if not len(table):
            return
        starts, curve, t0, t1 = [], [], [], []
        count = 0
        for c in range(len(table)):
            params, points = self._sampled(c)
            starts.append(points)
            k = len(points) - 1
            curve.append(np.full(k, c, dtype=np.int32))
            t0.append(params[:-1])
            t1.append(params[1:])
            count += k
        lengths = [len(points) for points in starts]
        first = np.concatenate([np.arange(n - 1) + o for n, o in zip(lengths, np.cumsum([0, *lengths[:-1]]))])
        self._segment_curve = np.concatenate(curve)
        self._segment_t = np.stack([np.concatenate(t0), np.concatenate(t1)], axis=1)
        faces = np.stack([first, first + 1, first + 1], axis=1)
        self._border = SurfaceTree(TriangleMesh(np.concatenate(starts), faces, "mm"))
        edge = self.model.curve_edge
        uses = np.bincount(edge, minlength=int(edge.max(initial=-1)) + 1)
        self._curve_open = uses[edge] < 2
        order = np.argsort(edge, kind="stable")
        self._partner = np.full(len(edge), -1, dtype=np.int32)
        same = edge[order][1:] == edge[order][:-1]
        self._partner[order[1:][same]] = order[:-1][same]
        self._partner[order[:-1][same]] = order[1:][same]

    def _sampled(self, c: int) -> tuple[FloatArray, FloatArray]:
        """Parameters and points of a curve whose chords stay within the deflection."""
        degree, _, count, k0, _ = self.model.table[c]
        knots = self.model.knots[k0 : k0 + count + degree + 1]
        spans = np.unique(knots[degree : count + 1])
        pieces = 4
        while True:
            t = np.unique(np.concatenate([np.linspace(a, b, pieces + 1) for a, b in zip(spans, spans[1:])]))
            both = np.sort(np.concatenate([t, (t[1:] + t[:-1]) / 2]))
            points = self._curve_at(c, both)
            ends, middle = points[::2], points[1::2]
            chord = ends[1:] - ends[:-1]
            length = np.maximum(np.linalg.norm(chord, axis=1), 1e-300)
            sagitta = np.linalg.norm(np.cross(middle - ends[:-1], chord), axis=1) / length
            if sagitta.max(initial=0.0) <= 0.5 * self.deflection or pieces >= 1024:
                return t, ends
            pieces *= 2

    def _curve_at(self, c: int, t: FloatArray) -> FloatArray:
        from scipy.interpolate import BSpline

        degree, p0, count, k0, _ = (int(x) for x in self.model.table[c])
        spline = BSpline(self.model.knots[k0 : k0 + count + degree + 1], self.model.poles[p0 : p0 + count], degree)
        rows = spline(t)
        return np.asarray(rows[:, :3] / rows[:, 3:])

    # --- exact feet
    def _carrier_feet(
        self, points: FloatArray, face: NDArray[np.int32], uv: FloatArray
    ) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
        """Feet on the untrimmed carriers, outward normals, and whether they are good."""
        foot, normal = np.full((len(points), 3), np.nan), np.full((len(points), 3), np.nan)
        good = np.zeros(len(points), dtype=bool)
        order = np.argsort(face, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(face[order])) + 1):
            if len(rows):
                item = self.model.faces[face[rows[0]]]
                foot[rows], normal[rows], good[rows] = _feet_on(item, points[rows], uv[rows])
        return foot, normal, good

    def _feet_beside(
        self, points: FloatArray, face: NDArray[np.int32]
    ) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
        """Feet on carriers of points on or beside the triangles of their faces."""
        asked = self._asked[face]
        uv = np.zeros((len(points), 2))
        uv[asked] = self._nearest_parameters(points[asked], face[asked])
        return self._carrier_feet(points, face, uv)

    def _curve_feet(
        self, points: FloatArray, curve: NDArray[np.int32], t: FloatArray
    ) -> tuple[FloatArray, FloatArray, NDArray[np.int64]]:
        """Feet on border curves, unit tangents, and ends (-1, 0, 1)."""
        from pointcloud.kernels import spline

        n = len(points)
        foot, tangent, ends = np.empty((n, 3)), np.empty((n, 3)), np.zeros(n, dtype=np.int64)
        start = np.array(t, dtype=np.float64)

        def work(a: int, b: int) -> None:
            spline.curve_feet(
                points, curve, self.model.knots, self.model.poles, self.model.table, a * _BLOCK, min(n, b * _BLOCK),
                start, foot, tangent, ends, *_scratch(3),
            )  # fmt: skip

        run_blocks(work, -(-n // _BLOCK))
        with np.errstate(invalid="ignore", divide="ignore"):
            tangent = tangent / np.linalg.norm(tangent, axis=1)[:, None]
        return foot, tangent, ends

    # --- candidates
    def _candidates(
        self, tree: SurfaceTree, group_of: NDArray[np.int32], points: FloatArray, radius: FloatArray
    ) -> Pairs:
        """Pairs (point, group, triangle, foot) of every group with something within the radius of a point."""
        point, group, triangle, feet = tree.groups_within(points, radius, group_of)
        return point, group, triangle, feet

    def closest(
        self,
        points: Any,
        *,
        limit: float | None = None,
        normals: Any = None,
        max_angle: float | None = None,
        seeds: Any = None,
    ) -> ClosestPoints:
        """Closest points of ``points`` (n, 3) in mm, see `NominalSurface.closest`.

        Accuracy: feet inside faces to rounding, at edges 1e-9 mm where the edge is the intersection of its faces (see
        `pointcloud.nominal.cad_edges`), else the agreement of its curve with them (the tolerance of the model,
        typically 1e-7 mm). Where the distance is not small against the radius of a concave
        surface, another foot of the same face may be nearer; the triangles are searched, so that does not happen within
        the chord tolerance.
        """
        xyz = as_points(points)
        reach, directions, cos_min = check_limits(len(xyz), limit, normals, max_angle)
        slackened = None if limit is None else reach + 2.0 * self._delta
        rough = self.tree.closest(
            xyz, limit=slackened, normals=normals,
            max_angle=None if max_angle is None else min(math.pi, max_angle + 0.2), seeds=seeds,
        )  # fmt: skip
        for start in range(0, len(xyz), _BATCH):
            rows = np.arange(start, min(len(xyz), start + _BATCH))
            rows = rows[rough.found[rows]]
            if len(rows):
                self._refine(xyz, rows, rough, directions, cos_min)
        _apply_limit(rough, reach)
        return rough

    def _refine(
        self, xyz: FloatArray, rows: NDArray[np.int64], rough: ClosestPoints, directions: FloatArray, cos_min: float
    ) -> None:
        p = np.ascontiguousarray(xyz[rows])
        near = np.abs(rough.signed[rows])
        delta = self._delta
        point, face, triangle, at = self._candidates(
            self.tree, self.cad_face_of, p, near + 2.0 * delta + 1e-9 * self.size
        )
        uv = self._parameters(triangle, at)
        foot, normal, good = self._carrier_feet(p[point], face, uv)
        moved = np.linalg.norm(foot - at, axis=1)
        # a foot that left the neighbourhood of its triangle belongs to another part of the carrier
        far = 0.5 * np.linalg.norm(p[point] - at, axis=1) + 8.0 * delta
        good &= moved <= far
        # a foot stopped by the end of a spline's range is not perpendicular: the border curve there will be
        rest = p[point] - foot
        height = np.einsum("ij,ij->i", rest, normal)
        tilt = np.linalg.norm(rest - height[:, None] * normal, axis=1)
        with np.errstate(invalid="ignore"):
            good &= tilt <= 1e-7 * np.abs(height) + 1e-12 * self.size
        inside = good.copy()
        margin = 4.0 * delta + 0.5 * near
        if self._border is not None:
            inside &= self._inside(foot, normal, face, at, good, margin[point] + moved)
        square = np.sum((p[point] - foot) ** 2, axis=1)
        square = np.where(inside, square, np.inf)
        if len(directions):
            with np.errstate(invalid="ignore"):
                square = np.where(np.einsum("ij,ij->i", directions[rows][point], normal) >= cos_min, square, np.inf)
        best = _best_of(square, point, len(p))
        have = best >= 0
        pick = best[have]
        square_b, foot_b, normal_b = np.full(len(p), np.inf), np.full((len(p), 3), np.nan), np.full((len(p), 3), np.nan)
        square_b[have], foot_b[have], normal_b[have] = square[pick], foot[pick], normal[pick]
        side = np.einsum("ij,ij->i", p - foot_b, normal_b)
        result = _Nearest(
            square_b, foot_b, normal_b, np.where(side < 0.0, -1.0, 1.0), np.full(len(p), codes.FACE, dtype=np.int32),
            rough.face[rows].copy(),
        )  # fmt: skip
        result.face[have] = triangle[pick]
        # where no foot inside a face is close enough to rule out a border, look at the border curves
        if self._border is not None:
            self._edges(p, near + 4.0 * delta, result, directions[rows] if len(directions) else directions, cos_min)
        lost = ~np.isfinite(result.square)
        keep = ~lost
        index = rows[keep]
        rough.rows[index, 0:3] = result.foot[keep]
        rough.rows[index, 3] = result.sign[keep] * np.sqrt(result.square[keep])
        rough.rows[index, 4:7] = result.normal[keep]
        rough.words[index, 14] = result.face[keep]
        rough.words[index, 15] = result.code[keep]
        gone = rows[lost]
        if len(gone) and len(directions):
            rough.rows[gone, :7] = np.nan
            rough.words[gone, 14] = -1
            rough.words[gone, 15] = codes.NOTHING | codes.NO_SIGN | codes.ANGLE
        elif len(gone):
            rough.words[gone, 15] |= codes.APPROXIMATE

    def _parameters(self, triangle: NDArray[np.int32], at: FloatArray) -> FloatArray:
        """(k, 2) surface parameters of points on triangles, linear between the corners."""
        corners = self.mesh.vertices[self.mesh.faces[triangle]]
        a, b, q = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0], at - corners[:, 0]
        aa, bb, ab = (np.einsum("ij,ij->i", x, y) for x, y in ((a, a), (b, b), (a, b)))
        qa, qb = np.einsum("ij,ij->i", q, a), np.einsum("ij,ij->i", q, b)
        det = np.maximum(aa * bb - ab * ab, 1e-300)
        s, t = np.clip((qa * bb - qb * ab) / det, 0.0, 1.0), np.clip((qb * aa - qa * ab) / det, 0.0, 1.0)
        uv = self.model.uv[triangle]
        return np.asarray(uv[:, 0] + s[:, None] * (uv[:, 1] - uv[:, 0]) + t[:, None] * (uv[:, 2] - uv[:, 0]))

    def _inside(
        self, foot: FloatArray, normal: FloatArray, face: NDArray[np.int32], at: FloatArray, good: NDArray[np.bool_],
        radius: FloatArray,
    ) -> NDArray[np.bool_]:  # fmt: skip
        """Whether feet are within the trimmed face: on its side of the nearest of its border curves."""
        assert self._border is not None
        inside = good.copy()
        rows = np.flatnonzero(good)
        where, curve, segment, place = self._candidates(
            self._border, self._segment_curve, np.ascontiguousarray(foot[rows]), radius[rows]
        )
        own = self.model.curve_face[curve] == face[rows][where]
        where, curve, segment, place = where[own], curve[own], segment[own], place[own]
        if not len(where):
            return inside
        pair = rows[where]
        e, tangent, ends = self._curve_feet(foot[pair], curve, self._segment_start(segment, place))
        rest = foot[pair] - e
        distance = np.linalg.norm(rest, axis=1)
        # at a common end the curve that leaves it nearest to the direction of the foot decides
        leaving = np.where(ends == 0, 0.0, -ends * np.einsum("ij,ij->i", rest, tangent))
        nearest = _tied(distance, leaving, where, len(rows), _TIE * self.size)
        pick = nearest[nearest >= 0]
        natural = np.array([item.outward * item.natural for item in self.model.faces])
        along_natural = normal[pair[pick]] * natural[face[pair[pick]]][:, None]
        inward = np.cross(along_natural, tangent[pick]) * self.model.curve_turn[curve[pick]][:, None]
        side = np.einsum("ij,ij->i", rest[pick], inward)
        inside[pair[pick]] = side >= -1e-13 * self.size
        return inside

    def _segment_start(self, segment: NDArray[np.int32], place: FloatArray) -> FloatArray:
        """Curve parameter beside a place on a segment."""
        assert self._border is not None
        mesh = self._border.mesh
        a, b = mesh.vertices[mesh.faces[segment, 0]], mesh.vertices[mesh.faces[segment, 1]]
        length = np.maximum(np.linalg.norm(b - a, axis=1), 1e-300)
        share = np.clip(np.linalg.norm(place - a, axis=1) / length, 0.0, 1.0)
        t = self._segment_t[segment]
        return np.asarray(t[:, 0] + share * (t[:, 1] - t[:, 0]))

    def _edges(
        self, p: FloatArray, radius: FloatArray, result: _Nearest, directions: FloatArray, cos_min: float
    ) -> None:
        """Take the nearest border place where it is nearer than the foot inside a face; with its side."""
        assert self._border is not None
        where, curve, segment, place = self._candidates(self._border, self._segment_curve, p, radius)
        if not len(where):
            return
        e, tangent, ends = self._curve_feet(np.ascontiguousarray(p[where]), curve, self._segment_start(segment, place))
        rest = p[where] - e
        distance = np.linalg.norm(rest, axis=1)
        leaving = np.where(ends == 0, 0.0, -ends * np.einsum("ij,ij->i", rest, tangent))
        nearest = _tied(distance, leaving, where, len(p), _TIE * self.size)
        have = np.flatnonzero(nearest >= 0)
        pick = nearest[have]
        take = distance[pick] ** 2 < result.square[have] * (1.0 - 1e-12)
        have, pick = have[take], pick[take]
        if not len(have):
            return
        c = curve[pick]
        partner = self._partner[c]
        n1 = self._normal_at(e[pick], c, segment[pick])
        n2 = self._normal_at(e[pick], np.where(partner >= 0, partner, c), segment[pick])
        open_ = self._curve_open[c]
        r = rest[pick]
        total = n1 + n2
        flat = np.einsum("ij,ij->i", n1, n2) > _FLAT
        # into the second face, along it: below the first face where the edge is convex
        natural = np.array([item.outward * item.natural for item in self.model.faces])
        second = np.where(partner >= 0, partner, c)
        into = np.cross(n2 * natural[self.model.curve_face[second]][:, None], tangent[pick])  # one curve, one tangent
        into = into * self.model.curve_turn[second][:, None]
        convex = np.where(np.einsum("ij,ij->i", into, n1) > 0.0, -1.0, 1.0)
        value = np.where(flat, np.einsum("ij,ij->i", r, total), convex)
        length = np.linalg.norm(total, axis=1)
        mean = np.where((length > 1e-9)[:, None], total / np.where(length > 1e-9, length, 1.0)[:, None], n1)
        if len(directions):
            fits = np.einsum("ij,ij->i", directions[have], mean) >= cos_min
            have, pick, open_, value, mean = have[fits], pick[fits], open_[fits], value[fits], mean[fits]
        result.square[have] = distance[pick] ** 2
        result.foot[have] = e[pick]
        result.normal[have] = mean
        result.sign[have] = np.where(open_, 1.0, np.where(value < 0.0, -1.0, 1.0))
        code = np.where(ends[pick] == 0, codes.EDGE, codes.VERTEX)
        result.code[have] = np.where(open_, code | codes.OPEN_BORDER | codes.NO_SIGN, code)

    def _normal_at(self, places: FloatArray, curve: NDArray[np.int32], segment: NDArray[np.int32]) -> FloatArray:
        """Outward normals of the curves' faces at places on them."""
        return self._feet_beside(places, self.model.curve_face[curve])[1]

    def _nearest_parameters(self, places: FloatArray, face: NDArray[np.int32]) -> FloatArray:
        """Parameters of the triangles of a given face nearest to places on its border."""
        uv = np.zeros((len(places), 2))
        if not len(places):
            return uv
        point, group, triangle, at = self._candidates(
            self.tree, self.cad_face_of, np.ascontiguousarray(places), np.full(len(places), 4.0 * self._delta)
        )
        own = group == face[point]
        uv[point[own]] = self._parameters(triangle[own], at[own])
        return uv


def _feet_on(item: CadFace, points: FloatArray, uv: FloatArray) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    """Feet on one carrier, outward normals, whether they are good."""
    carrier = item.carrier
    if isinstance(carrier, Feature):
        _, normal, foot, _ = evaluate_feature(carrier, points)
        return foot, normal * item.outward, _finite(foot, normal)
    foot, normal, good = _newton(carrier, points, uv)
    settle(item.poles, lambda p, start: _newton(carrier, p, start), points, foot, normal, good)
    return foot, normal * item.outward, good


def _newton(carrier: Any, points: FloatArray, uv: FloatArray) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    """Feet by Newton's method from starts, natural normals, whether it settled."""
    if isinstance(carrier, SplineSurface):
        from pointcloud.kernels import spline

        n = len(points)
        foot, normal, good = np.empty((n, 3)), np.empty((n, 3)), np.zeros(n, dtype=np.bool_)
        local = np.ascontiguousarray(points)
        start = np.ascontiguousarray(uv)

        def work(a: int, b: int) -> None:
            spline.surface_feet(
                local, carrier.knots_u, carrier.knots_v, carrier.degree_u, carrier.degree_v, carrier.poles,
                carrier.closed_u, carrier.closed_v, a * _BLOCK, min(n, b * _BLOCK), start, foot, normal, good,
                *_scratch(6, two=True),
            )  # fmt: skip

        run_blocks(work, -(-n // _BLOCK))
        return foot, normal, good
    foot, normal = carrier(points, uv)
    return foot, normal, _finite(foot, normal) & _upright(points - foot, normal)


def _upright(rest: FloatArray, normal: FloatArray) -> NDArray[np.bool_]:
    """Whether ways to feet run along the normals: else Newton's method stopped on its way or at an end."""
    height = np.einsum("ij,ij->i", rest, normal)
    tilt = np.linalg.norm(rest - height[:, None] * normal, axis=1)
    return np.asarray(tilt <= 1e-7 * np.abs(height) + 1e-9)


def _finite(foot: FloatArray, normal: FloatArray) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(foot).all(axis=1) & np.isfinite(normal).all(axis=1))


def _scratch(rows: int, *, two: bool = False) -> tuple[FloatArray, ...]:
    from pointcloud.kernels.spline import DEGREES

    b = np.empty((3, DEGREES))
    head = (b, np.empty((3, DEGREES))) if two else (b,)
    return (*head, np.empty((2, DEGREES)), np.empty((rows, 4)), np.empty((rows, 3)))


def _best_of(square: FloatArray, point: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """(n,) index of the smallest finite value of each point; -1 for none. The first of equals."""
    order = np.lexsort((np.arange(len(square)), square, point))
    order = order[np.isfinite(square[order])]
    best = np.full(n, -1, dtype=np.int64)
    first = np.unique(point[order], return_index=True)
    best[first[0]] = order[first[1]]
    return best


def _tied(distance: FloatArray, leaving: FloatArray, point: NDArray[np.int64], n: int, tie: float) -> NDArray[np.int64]:
    """(n,) index of the nearest of each point; of those as near within the tie, the one with the largest `leaving`."""
    least = np.full(n, np.inf)
    np.minimum.at(least, point, distance)
    near = np.flatnonzero(distance <= least[point] + tie)
    order = near[np.lexsort((near, distance[near], -leaving[near], point[near]))]
    best = np.full(n, -1, dtype=np.int64)
    first = np.unique(point[order], return_index=True)
    best[first[0]] = order[first[1]]
    return best


def _apply_limit(found: ClosestPoints, reach: float) -> None:
    if math.isinf(reach):
        return
    with np.errstate(invalid="ignore"):
        beyond = np.abs(found.signed) > reach
    found.rows[beyond, :7] = np.nan
    found.words[beyond, 14] = -1
    found.words[beyond, 15] = codes.NOTHING | codes.NO_SIGN | codes.BEYOND_LIMIT


def read_cad(
    path: str | Path, *, deflection: float = 0.01, angle: float = 0.2, root: str | Path | None = None
) -> CadSurface:
    """A STEP or IGES file as an exact nominal (lengths in mm; OpenCascade converts what the file states).

    ``deflection`` (mm) and ``angle`` (rad) set the triangles of the search and of pictures; they do not change the
    distances. Needs the extra ``[cad]``; raises `MissingDependencyError` without it, `ReaderError` for bad files.
    """
    shape, source, flags = read_shape(path, root=root)
    model = model_of(shape, deflection=deflection, angle=angle, source=source)
    return CadSurface(replace(model, flags=flags))


def cad_from_shape(shape: Any, *, deflection: float = 0.01, angle: float = 0.2) -> CadSurface:
    """As `read_cad`, from an OpenCascade shape in mm."""
    return CadSurface(model_of(shape, deflection=deflection, angle=angle))
