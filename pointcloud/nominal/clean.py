"""Repair of a nominal mesh, with a report of what was found and what was done.

Nothing is merged by distance: two vertices are one when their coordinates are equal. Triangles without area stay,
because they hold their neighbours together; they take no part in distances.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrology_core import flags as _flags
from metrology_core.errors import ParameterError
from pointcloud.nominal.mesh import TriangleMesh

_NO_AREA = 1e-14  # height over longest edge, below which the direction of a normal is rounding


@dataclass(frozen=True)
class MeshReport:
    """What was found in a mesh, and what cleaning changed. Counts; areas in unit squared, volume in unit cubed.

    ``turned_faces`` were turned to agree with their neighbours, ``inverted`` says that the whole closed surface had its
    outside inside. ``volume`` is that of the cleaned mesh and None where it is not closed.
    """

    vertices: int
    faces: int
    components: int
    non_finite_vertices: int
    faces_with_missing_vertices: int
    merged_vertices: int
    unused_vertices: int
    collapsed_faces: int
    duplicate_faces: int
    opposed_faces: int
    faces_without_area: int
    open_edges: int
    non_manifold_edges: int
    turned_faces: int
    not_orientable: bool
    inverted: bool
    closed: bool
    area: float
    volume: float | None
    flags: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {**asdict(self), "flags": list(self.flags)}

    def words(self) -> tuple[str, ...]:
        """Sentences for a report, one per finding; nothing for a clean closed mesh."""
        rows = (
            (self.non_finite_vertices, "vertices are not finite; their triangles were removed"),
            (self.merged_vertices, "vertices were equal to another and merged"),
            (self.collapsed_faces, "triangles had the same vertex twice and were removed"),
            (self.duplicate_faces, "triangles were there twice; one of each was kept"),
            (self.opposed_faces, "triangles coincide with one of opposite direction (a sheet without thickness)"),
            (self.faces_without_area, "triangles have no area; they were kept and take no part in distances"),
            (self.turned_faces, "triangles were turned to agree with their neighbours"),
            (self.open_edges, "edges are open borders: points beside them have no sign"),
            (self.non_manifold_edges, "edges join more than two triangles"),
        )
        found = [f"{count} {text}" for count, text in rows if count]
        if self.inverted:
            found.append("the closed surface was inside out and was turned")
        if self.not_orientable:
            found.append("the surface has no two sides (Moebius); signs mean nothing on it")
        return tuple(found)


def clean_mesh(mesh: TriangleMesh, *, orient: bool = True) -> tuple[TriangleMesh, MeshReport]:
    """A cleaned mesh and the report. ``orient`` turns triangles that disagree with their neighbours (the larger area
    of a component is right) and a closed surface that is inside out.

    Flags of the mesh: ``mesh_cleaned``, ``mesh_open``, ``mesh_non_manifold``, ``mesh_reoriented``, ``mesh_inverted``,
    ``mesh_not_orientable``, ``mesh_faces_without_area``.
    """
    return clean_arrays(mesh.vertices, mesh.faces, unit=mesh.unit, orient=orient, like=mesh)


def clean_arrays(
    vertices: Any, faces: Any, *, unit: str, orient: bool = True, like: TriangleMesh | None = None
) -> tuple[TriangleMesh, MeshReport]:
    """As `clean_mesh`, from arrays that may hold non-finite vertices (flag ``mesh_non_finite``) or name missing ones.

    Raises `ParameterError` where no triangle is left.
    """
    xyz = np.array(vertices, dtype=np.float64)
    tri = np.asarray(faces)
    if xyz.ndim != 2 or xyz.shape[1] != 3:
        raise ParameterError("vertices are points", expected="shape (n, 3)", got=str(xyz.shape))
    if tri.ndim != 2 or tri.shape[1] != 3 or tri.dtype.kind not in "iu":
        raise ParameterError("faces are indices", expected="integers (m, 3)", got=f"{tri.dtype} {tri.shape}")
    tri = tri.astype(np.int64)
    n_in, m_in = len(xyz), len(tri)
    inside = ((tri >= 0) & (tri < n_in)).all(axis=1)
    missing = int(m_in - np.count_nonzero(inside))
    tri = tri[inside]
    finite = np.asarray(np.isfinite(xyz).all(axis=1))
    non_finite = int(n_in - np.count_nonzero(finite))
    tri = tri[finite[tri].all(axis=1)]
    used = np.zeros(n_in, dtype=bool)
    used[tri.ravel()] = True
    unused = int(n_in - np.count_nonzero(used))
    xyz, tri, merged = _merge(xyz, tri, used)
    keep = (tri[:, 0] != tri[:, 1]) & (tri[:, 1] != tri[:, 2]) & (tri[:, 2] != tri[:, 0])
    collapsed = int(len(tri) - np.count_nonzero(keep))
    tri = tri[keep]
    tri, duplicates, opposed = _duplicates(tri)
    if not len(tri):
        raise ParameterError(
            "no triangle is left", got=f"{m_in} triangles", remedy="look at the file: it holds no surface"
        )
    tri, facts = _orient(xyz, tri, orient)
    area, volume = facts["area"], facts["volume"]
    names = set(like.flags if like is not None else ())
    for flag, here in (
        ("mesh_non_finite", non_finite and m_in),
        ("mesh_cleaned", merged or collapsed or duplicates or missing),
        ("mesh_faces_without_area", facts["flat"]),
        ("mesh_open", facts["open"]),
        ("mesh_non_manifold", facts["crowded"] or opposed),
        ("mesh_reoriented", facts["turned"]),
        ("mesh_inverted", facts["inverted"]),
        ("mesh_not_orientable", facts["torn"]),
    ):
        if here:
            names.add(flag)
    marks = _flags.merge(names)
    report = MeshReport(
        len(xyz), len(tri), facts["components"], non_finite, missing, merged, unused, collapsed, duplicates, opposed,
        facts["flat"], facts["open"], facts["crowded"], facts["turned"], facts["torn"], facts["inverted"],
        facts["closed"], area, volume, marks,
    )  # fmt: skip
    if like is not None:
        return replace(like, vertices=xyz, faces=tri, flags=marks), report
    return TriangleMesh(xyz, tri, unit, flags=marks), report


def _merge(xyz: NDArray[Any], tri: NDArray[Any], used: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], int]:
    """Equal vertices become the first of them; unused ones go. The order of appearance stays."""
    index = np.flatnonzero(used)
    plain = xyz[index] + 0.0  # -0.0 and 0.0 are one place
    order = np.lexsort((plain[:, 2], plain[:, 1], plain[:, 0]))  # stable: of equals the first in the file comes first
    ranked = plain[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (ranked[1:] != ranked[:-1]).any(axis=1)
    leader = order[np.flatnonzero(new)][np.cumsum(new) - 1] if len(order) else order
    stands_for = np.empty(len(order), dtype=np.int64)
    stands_for[order] = leader
    heads = np.unique(stands_for)
    place = np.full(len(xyz), -1, dtype=np.int64)
    number = np.empty(len(order), dtype=np.int64)
    number[heads] = np.arange(len(heads))
    place[index] = number[stands_for]
    return xyz[index[heads]], place[tri], int(len(order) - len(heads))


def _duplicates(tri: NDArray[Any]) -> tuple[NDArray[Any], int, int]:
    """Remove repeats of a triangle in the same direction; count pairs in opposite directions."""
    if not len(tri):
        return tri, 0, 0
    start = np.argmin(tri, axis=1)
    rows = np.arange(len(tri))
    turned = np.stack([tri[rows, start], tri[rows, (start + 1) % 3], tri[rows, (start + 2) % 3]], axis=1)
    order = np.lexsort((turned[:, 2], turned[:, 1], turned[:, 0]))
    ranked = turned[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (ranked[1:] != ranked[:-1]).any(axis=1)
    keep = np.sort(order[new])
    flat = np.sort(tri[keep], axis=1)
    order = np.lexsort((flat[:, 2], flat[:, 1], flat[:, 0]))
    same = (flat[order][1:] == flat[order][:-1]).all(axis=1)
    return tri[keep], int(len(tri) - len(keep)), int(np.count_nonzero(same))


def _orient(xyz: NDArray[Any], tri: NDArray[Any], orient: bool) -> tuple[NDArray[Any], dict[str, Any]]:
    from pointcloud.kernels import build, topology

    small = np.ascontiguousarray(tri, dtype=np.int32)
    m, n = len(small), len(xyz)
    begin, around = np.empty(n + 1, dtype=np.int32), np.empty(3 * m, dtype=np.int32)
    across = np.empty((m, 3), dtype=np.int32)
    topology.list_triangles(small, begin, around)
    open_edges = crowded = reversed_ = 0
    for start in range(0, m, 1 << 19):
        packed = topology.find_neighbours(small, begin, around, start, min(m, start + (1 << 19)), across)
        # half-edges of more triangles than fit a field of 21 bits cannot come from a range of 2^19 triangles
        open_edges += packed & 0x1FFFFF
        crowded += packed >> 21 & 0x1FFFFF
        reversed_ += packed >> 42
    normals, heights = np.empty((m, 3)), np.empty(m)
    centre = (xyz.min(axis=0) + xyz.max(axis=0)) / 2.0
    local = np.ascontiguousarray(xyz - centre)
    build.plane_normals(local, small, 0, m, normals, heights)
    corners = local[small]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    areas = 0.5 * np.sqrt(np.einsum("ij,ij->i", cross, cross))
    component, turn, torn, count = _components(small, begin, around, across, topology)
    turned = 0
    if reversed_ and orient and not torn:
        right = np.bincount(component, areas * (turn == 0), count) >= np.bincount(component, areas * (turn == 1), count)
        flip = np.where(right[component], turn == 1, turn == 0)
        turned = int(np.count_nonzero(flip))
        small = np.where(flip[:, None], small[:, ::-1], small)
        corners = np.where(flip[:, None, None], corners[:, ::-1], corners)
    closed = not (open_edges or crowded or (reversed_ and not orient) or torn)
    volume = None
    inverted = False
    if closed:
        # tetrahedra about the middle of the box: the sum is the volume of a closed surface (divergence theorem)
        volume = float(np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6.0)
        if volume < 0.0:
            inverted = True
            if orient:
                small, volume = small[:, ::-1], -volume
    return small.astype(np.int64), {
        "area": float(areas.sum()), "volume": volume, "flat": int(np.count_nonzero(heights < _NO_AREA)),
        "open": int(open_edges), "crowded": int(crowded), "turned": turned, "inverted": inverted, "torn": torn,
        "components": count, "closed": closed,
    }  # fmt: skip


def _components(
    small: NDArray[Any], begin: NDArray[Any], around: NDArray[Any], across: NDArray[Any], topology: Any
) -> tuple[NDArray[Any], NDArray[Any], bool, int]:
    """Component of each triangle, whether it must be turned, whether a surface has one side only, how many."""
    m = len(small)
    reach = across.copy()
    parity = np.zeros((m, 3), dtype=np.uint8)
    for s, k in np.argwhere(across == topology.REVERSED):
        a, b = small[s, k], small[s, (k + 1) % 3]
        others = around[begin[a] : begin[a + 1]]
        other = next(int(t) for t in others if t != s and b in small[t])
        reach[s, k], parity[s, k] = other, 1
    reach[reach < 0] = -1
    component = np.full(m, -1, dtype=np.int32)
    turn = np.zeros(m, dtype=np.uint8)
    stack = np.empty(3 * m + 1, dtype=np.int32)
    count = topology.flood(reach, parity, np.arange(m, dtype=np.int32), component, turn, stack)
    return component, turn, count < 0, abs(int(count))
