"""`SurfaceTree`: closest points on a triangle mesh, exact in double precision, with sides.

A flat tree of eight-way boxes over triangles in cache order (`pointcloud.kernels.build`), searched as described in
`pointcloud.kernels.closest`.
"""

from __future__ import annotations

import functools
import math
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrology_core.blocks import run_blocks
from metrology_core.errors import ParameterError
from pointcloud.nominal.follow import FOLLOWED, FollowedPoints
from pointcloud.nominal.mesh import TriangleMesh
from pointcloud.nominal.order import curve_order
from pointcloud.nominal.surface import ClosestPoints, FloatArray, as_points, check_limits

_BLOCK = 2048  # queries that share a chain of seeds; triangles in a task of building
_BATCH = 1 << 21  # queries that are sorted together
_SLACK = 64 * 2.0**-24  # of the part's half size: four times the worst rounding of the single-precision sieve
_NOWHERE, _NOTHING = np.empty((0, 3)), np.empty(0)
_SERIAL_CUTS = 5  # levels cut before the parts are handed to threads


def _blocks(n: int, size: int = _BLOCK) -> int:
    return -(-n // size)


class SurfaceTree:
    """Search structure over the triangles of a mesh; implements `NominalSurface`.

    ``closest`` gives exact closest points over faces, edges and vertices. The side is that of the angle-weighted
    pseudonormal of the face, edge or vertex (evaluated so that rounding cannot turn it on knife edges and spikes);
    feet on the border of an open surface have none. ``chord_tolerance`` says how far the triangles may be from the
    nominal that they stand for. The same bits for any number of threads.

    Counts: ``open_edges``, ``non_manifold_edges``, ``reversed_edges`` (neighbours that disagree about the outside).
    """

    def __init__(self, mesh: TriangleMesh, *, chord_tolerance: float = 0.0) -> None:
        if not (math.isfinite(chord_tolerance) and chord_tolerance >= 0.0):
            raise ParameterError("the chord tolerance is a length", expected=">= 0", got=repr(chord_tolerance))
        self.mesh = mesh
        self._chord = float(chord_tolerance)
        low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
        half = float((high - low).max()) / 2.0
        # a power of two: scaling is exact
        self._scale = 2.0 ** -math.ceil(math.log2(half)) if half > 0.0 else 1.0
        self._centre = (low + high) / 2.0
        self._low, self._extent = low, max(float((high - low).max()), 1e-300)
        self._build()

    # --- what it is
    @property
    def unit(self) -> str:
        return self.mesh.unit

    @property
    def chord_tolerance(self) -> float:
        return self._chord

    @cached_property
    def size(self) -> float:
        """Length of the diagonal of the box."""
        low, high = self.mesh.bounds
        return float(np.linalg.norm(high - low))

    @property
    def n_faces(self) -> int:
        return self.mesh.n_triangles

    @property
    def is_closed(self) -> bool:
        """Every edge joins exactly two triangles that agree about the outside."""
        return self.open_edges == self.non_manifold_edges == self.reversed_edges == 0

    # --- building
    def _build(self) -> None:
        from pointcloud.kernels import build, order, topology
        from pointcloud.kernels.lanes import BOX_ROWS, LEAF_ROWS, WIDTH

        mesh, m = self.mesh, self.mesh.n_triangles
        if m >= 1 << 28:
            raise ParameterError("too many triangles for one tree", expected=f"< {1 << 28}", got=str(m))
        faces = np.ascontiguousarray(mesh.faces, dtype=np.int32)
        records = np.empty((m, 4), dtype=np.float32)
        words = records.view(np.int32)
        source = np.ascontiguousarray((mesh.vertices - self._centre) * self._scale)
        run_blocks(
            lambda a, b: build.centroids(source, faces, a * _BLOCK, min(m, b * _BLOCK), records, words), _blocks(m)
        )
        ranges = [(0, m)]
        for _ in range(_SERIAL_CUTS):
            parts = []
            for lo, hi in ranges:
                if hi - lo <= 64 * WIDTH:
                    parts.append((lo, hi))
                else:
                    middle = build.cut(records, words, lo, hi)
                    parts += [(lo, middle), (middle, hi)]
            ranges = parts
        table = np.array(ranges, dtype=np.int64)
        run_blocks(
            lambda a, b: build.sort_ranges(records, words, table, a, b, np.empty((128, 2), dtype=np.int64)), len(table)
        )
        face_of = np.ascontiguousarray(words[:, 3])
        rank = np.full(len(source), -1, dtype=np.int32)
        tri = np.empty((m, 3), dtype=np.int32)
        used = order.first_touch(face_of, faces, rank, tri)
        vertices = np.empty((used, 3))
        run_blocks(
            lambda a, b: build.move_vertices(
                mesh.vertices, self._centre, self._scale, rank, a * _BLOCK, min(len(rank), b * _BLOCK), vertices
            ),
            _blocks(len(rank)),
        )
        normals, heights = np.empty((m, 3)), np.empty(m)
        run_blocks(
            lambda a, b: build.plane_normals(vertices, tri, a * _BLOCK, min(m, b * _BLOCK), normals, heights),
            _blocks(m),
        )
        # boxes and triangles of the leaves, then level over level up to one node
        n_leaves = -(-m // WIDTH)
        leaves = np.empty(n_leaves * LEAF_ROWS * WIDTH, dtype=np.float32)
        boxes = np.empty((n_leaves, BOX_ROWS), dtype=np.float32)
        step = _BLOCK // WIDTH
        run_blocks(
            lambda a, b: build.fill_leaves(vertices, tri, normals, a * step, min(n_leaves, b * step), leaves, boxes),
            _blocks(n_leaves, step),
        )
        counts = [n_leaves]
        while counts[-1] > 1:
            counts.append(-(-counts[-1] // WIDTH))
        counts = counts[::-1]  # top first
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        n_inner = int(starts[-2])
        nodes = np.empty(max(1, n_inner) * BOX_ROWS * WIDTH, dtype=np.float32)
        first = np.empty(n_inner, dtype=np.int32)
        for level in range(len(counts) - 2, -1, -1):
            above = np.empty((counts[level], BOX_ROWS), dtype=np.float32)
            build.join_boxes(boxes, 0, counts[level], nodes, starts[level], above)
            first[starts[level] : starts[level + 1]] = starts[level + 1] + WIDTH * np.arange(counts[level])
            boxes = above
        self._topology(topology, vertices, tri, normals)
        self._tree = (nodes, leaves, first, vertices, tri, normals)
        self._face_of = face_of

    def _topology(self, topology: Any, vertices: FloatArray, tri: NDArray[np.int32], normals: FloatArray) -> None:
        m, n = len(tri), len(vertices)
        begin, around = np.empty(n + 1, dtype=np.int32), np.empty(3 * m, dtype=np.int32)
        topology.list_triangles(tri, begin, around)
        across = np.empty((m, 3), dtype=np.int32)
        packed = np.zeros(_blocks(m), dtype=np.int64)

        def neighbours(a: int, b: int) -> None:
            for block in range(a, b):
                packed[block] = topology.find_neighbours(
                    tri, begin, around, block * _BLOCK, min(m, (block + 1) * _BLOCK), across
                )

        run_blocks(neighbours, len(packed))
        mask = (1 << 21) - 1
        self.open_edges = int((packed & mask).sum())
        self.non_manifold_edges = int((packed >> 21 & mask).sum())
        self.reversed_edges = int((packed >> 42 & mask).sum()) // 2
        self.faces_without_area = int(np.count_nonzero(~normals.any(axis=1)))
        if self.faces_without_area:
            topology.lend_normals(vertices, tri, across, normals, 8)
        pseudo, kinds = np.empty((n, 3)), np.empty(n, dtype=np.uint8)
        run_blocks(
            lambda a, b: topology.vertex_normals(
                vertices, tri, begin, around, across, normals, a * _BLOCK, min(n, b * _BLOCK), pseudo, kinds
            ),
            _blocks(n),
        )
        self._neighbours = (across, begin, around, pseudo, kinds)

    @cached_property
    def _slot_of(self) -> NDArray[np.int32]:
        """(m,) place of each face in the tree."""
        slots = np.empty(self.n_faces, dtype=np.int32)
        slots[self._face_of] = np.arange(self.n_faces, dtype=np.int32)
        return slots

    # --- asking
    def order(self, points: Any) -> NDArray[np.int32]:
        """(n,) indices of points along a space-filling curve over the part; ``points[order]`` is searched fastest, with
        ``ordered=True``."""
        xyz = as_points(points)
        return self._morton(xyz, 0, len(xyz))

    def _morton(self, xyz: FloatArray, start: int, n: int) -> NDArray[np.int32]:
        return curve_order(xyz, self._low - 0.0625 * self._extent, 1.125 * self._extent, start, n)

    def closest(
        self,
        points: Any,
        *,
        limit: float | None = None,
        normals: Any = None,
        max_angle: float | None = None,
        seeds: Any = None,
        ordered: bool = False,
        out: ClosestPoints | None = None,
    ) -> ClosestPoints:
        """Closest points of ``points`` ((n, 3) array or `PointSet`), in their order.

        ``limit``: search no further (points beyond are marked). ``normals`` and ``max_angle`` (rad): only faces whose
        normal is within the angle of the point's, so that the two sides of a thin wall are not confused; needs
        ``limit``. ``seeds`` (n,): faces to start from, for example the answer of a previous pose. ``ordered``: the
        points come in an order in which neighbours follow each other (a scan line, `order`): they are not sorted. None
        of these but the limits changes the answer. ``out`` is filled and returned where given.

        Points that are not finite, beyond the limits, or over an open border are marked, see `ClosestPoints`. Raises
        `ParameterError` for wrong shapes.
        """
        xyz = as_points(points)
        n = len(xyz)
        reach, directions, cos_min = check_limits(n, limit, normals, max_angle)
        result = ClosestPoints.empty(n) if out is None else out
        if result.rows.shape != (n, 8):
            raise ParameterError("the rows do not fit", expected=f"({n}, 8)", got=str(result.rows.shape))
        slots = self._seeds(seeds, n)
        numbers = np.array([self._scale, *self._centre, (reach * self._scale) ** 2, cos_min, _SLACK, 0.0])
        for start in range(0, n, _BATCH):
            count = min(_BATCH, n - start)
            order = np.empty(0, dtype=np.int32) if ordered else self._morton(xyz, start, count)
            self._search(xyz, order, start, slots[start : start + count], directions, numbers, result)
        return result

    def follow(self, n: int, *, limit: float | None = None) -> FollowedPoints:
        """A search for the same ``n`` points again and again while they move little; see `FollowedPoints`."""
        reach, directions, cos_min = check_limits(n, limit, None, None)
        numbers = np.array([self._scale, *self._centre, (reach * self._scale) ** 2, cos_min, _SLACK, FOLLOWED])
        return FollowedPoints(n, functools.partial(self._search, directions=directions, numbers=numbers))

    def _seeds(self, seeds: Any, n: int) -> NDArray[np.int32]:
        if seeds is None:
            return np.full(n, -1, dtype=np.int32)
        faces = np.asarray(seeds)
        if faces.shape != (n,) or faces.dtype.kind not in "iu":
            raise ParameterError("seeds are faces", expected=f"integers ({n},)", got=f"{faces.dtype} {faces.shape}")
        if n and (faces.max() >= self.n_faces):
            raise ParameterError("a seed names a face that does not exist", expected=f"< {self.n_faces}")
        return np.where(faces >= 0, self._slot_of[np.maximum(faces, 0)], -1).astype(np.int32)

    def _search(
        self,
        xyz: FloatArray,
        order: NDArray[np.int32],
        start: int,
        seeds: NDArray[np.int32],
        directions: FloatArray,
        numbers: FloatArray,
        result: ClosestPoints,
        before: FloatArray = _NOWHERE,
        others: FloatArray = _NOTHING,
    ) -> None:
        from pointcloud.kernels import closest as kernels

        n = len(seeds)
        size = _BLOCK if n >= 16 * _BLOCK else _BLOCK // 8  # a new chain of seeds costs one search from the top

        def work(a: int, b: int) -> None:
            kernels.closest(
                xyz, order, start, size, a, b, *self._tree, *self._neighbours, self._face_of, numbers, directions,
                seeds, before, others, result.rows, result.words, np.empty(kernels.STACK, dtype=np.int32),
                np.empty(kernels.STACK, dtype=np.float32), np.empty(8, dtype=np.float32),
            )  # fmt: skip

        run_blocks(work, _blocks(n, size))

    def along(self, points: Any, directions: Any, *, limit: float | None = None) -> ClosestPoints:
        """Nearest place where the line through each point along ``directions`` ((3,) or (n, 3)) meets the mesh.

        The distance is measured along the line, positive on the outer side of the face that is met (excess material).
        Lines that meet nothing within ``limit`` are marked `beyond_limit`. Raises `ParameterError`.
        """
        from pointcloud.kernels import closest as layout
        from pointcloud.kernels import rays as kernels

        xyz = as_points(points)
        n = len(xyz)
        reach, _, _ = check_limits(n, limit, None, None)
        vectors = np.atleast_2d(np.ascontiguousarray(directions, dtype=np.float64))
        if vectors.shape not in ((1, 3), (n, 3)):
            raise ParameterError("directions do not fit", expected=f"(3,) or ({n}, 3)", got=str(vectors.shape))
        with np.errstate(invalid="ignore", divide="ignore"):
            vectors = vectors / np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
        result = ClosestPoints.empty(n)
        numbers = np.array([self._scale, *self._centre, (reach * self._scale) ** 2, -2.0, _SLACK])
        nodes, _, first, vertices, tri, normals = self._tree
        for start in range(0, n, _BATCH):
            order = self._morton(xyz, start, min(_BATCH, n - start))

            def work(a: int, b: int, start: int = start, order: NDArray[np.int32] = order) -> None:
                kernels.along(
                    xyz, order, start, _BLOCK, a, b, nodes, first, vertices, tri, normals, self._face_of, numbers,
                    vectors, result.rows, result.words, np.empty(layout.STACK, dtype=np.int32),
                    np.empty(layout.STACK), np.empty(3), np.empty(3),
                )  # fmt: skip

            run_blocks(work, _blocks(len(order)))
        return result

    def groups_within(
        self, points: FloatArray, radius: FloatArray, group_of: NDArray[np.int32]
    ) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32], FloatArray]:
        """Every group of faces (``group_of`` (m,)) that comes within ``radius`` (n,) of a point, by its nearest face.

        Returns point (k,), group (k,), face (k,) and foot (k, 3), ordered by point. At most
        `pointcloud.kernels.groups.MOST` groups for one point, the nearest ones.
        """
        from pointcloud.kernels import closest as layout
        from pointcloud.kernels import groups as kernels

        xyz = as_points(points)
        n = len(xyz)
        by_slot = np.ascontiguousarray(np.asarray(group_of, dtype=np.int32)[self._face_of])
        counts = np.zeros(n, dtype=np.int32)
        groups, slots = (np.empty((n, kernels.MOST), dtype=np.int32) for _ in range(2))
        square, feet = np.empty((n, kernels.MOST)), np.empty((n, kernels.MOST, 3))
        numbers = np.array([self._scale, *self._centre, np.inf, -2.0, _SLACK])
        limits = np.ascontiguousarray(radius, dtype=np.float64)

        def work(a: int, b: int) -> None:
            kernels.groups_within(
                xyz, limits, a * _BLOCK, min(n, b * _BLOCK), *self._tree, by_slot, numbers, counts, groups, slots,
                square, feet, np.empty(layout.STACK, dtype=np.int32), np.empty(8, dtype=np.float32),
            )  # fmt: skip

        run_blocks(work, _blocks(n))
        taken = np.arange(kernels.MOST) < counts[:, None]
        point = np.repeat(np.arange(n), counts)
        return point, groups[taken], self._face_of[slots[taken]], feet[taken] / self._scale + self._centre
