"""The one door to OpenCascade: files and shapes become plain arrays of faces, edges and triangles.

Lengths are in millimetres: OpenCascade converts what the file states. Elementary surfaces become features, B-spline
surfaces and all edge curves become knots and poles; other surfaces keep a callable that asks OpenCascade each point.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrology_core.errors import MissingDependencyError, ParameterError, ReaderError
from metrology_core.features import Cone, Cylinder, Feature, Plane, Sphere, Torus
from metrology_core.provenance import Source, digest_bytes
from pointcloud.nominal.cad_carriers import Pole, derivatives, poles_of, revolved
from pointcloud.nominal.surface import FloatArray
from pointcloud.readers._raw import load

UNIT = "mm"
IntArray = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class SplineSurface:
    """Rational B-spline surface: flat knot vectors, degrees, homogeneous poles (nu, nv, 4), closed directions."""

    knots_u: FloatArray
    knots_v: FloatArray
    degree_u: int
    degree_v: int
    poles: FloatArray
    closed_u: bool
    closed_v: bool


@dataclass(frozen=True, eq=False)
class CadFace:
    """A face: its carrier (a feature, a spline, or a callable (points, uv) -> feet, natural normals), ``outward`` (+1
    where the part's outside is along the carrier's normal), whether the natural normal Su x Sv of its parameters runs
    along the carrier's normal (``natural``), and the ``poles`` of a carrier that is no feature."""

    carrier: Feature | SplineSurface | Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]
    kind: str
    outward: float
    natural: float
    poles: tuple[Pole, ...] = ()


@dataclass(frozen=True, eq=False)
class CadModel:
    """Faces, border curves and triangles of a shape.

    Triangles: ``vertices`` (n, 3), ``triangles`` (m, 3) outward, ``face_of`` (m,), ``uv`` (m, 3, 2) parameters of the
    corners. Border curves: one for each use of an edge by a face (no seams, no degenerate edges): ``curve_face`` (c,),
    ``curve_edge`` (c,), ``curve_turn`` (c,) +1 where the face lies to the left of the curve seen against its
    natural normal; ``knots``, ``poles`` (p, 4), ``table`` (c, 5) as in `pointcloud.kernels.spline.curve_feet`.
    ``deflection`` is the chord tolerance that was asked for.
    """

    faces: tuple[CadFace, ...]
    vertices: FloatArray
    triangles: NDArray[np.int64]
    face_of: IntArray
    uv: FloatArray
    curve_face: IntArray
    curve_edge: IntArray
    curve_turn: FloatArray
    knots: FloatArray
    poles: FloatArray
    table: NDArray[np.int64]
    deflection: float
    source: Source | None = None
    words: tuple[str, ...] = field(default_factory=tuple)
    flags: tuple[str, ...] = ()


def ocp(name: str) -> Any:
    """A module of OpenCascade; raises `MissingDependencyError` with the command that installs it."""
    try:
        return importlib.import_module(f"OCP.{name}")
    except ImportError as error:
        raise MissingDependencyError(
            f"OpenCascade cannot be loaded: {error}",
            remedy="install it: python -m pip install 'abbe[cad]' (or cadquery-ocp-novtk)",
        ) from error


def _call(owner: Any, name: str) -> Any:
    """A static function; whether its name ends in _s depends on the version."""
    found = getattr(owner, f"{name}_s", None)
    return found if found is not None else getattr(owner, name)


def _silence() -> None:
    """OpenCascade tells the terminal what it reads; a library does not."""
    messenger = _call(ocp("Message").Message, "DefaultMessenger")()
    printers = messenger.Printers()
    while printers.Size() if hasattr(printers, "Size") else len(printers):
        messenger.RemovePrinter(printers.First() if hasattr(printers, "First") else printers[0])
        printers = messenger.Printers()


def read_shape(path: str | Path, *, root: str | Path | None = None) -> tuple[Any, Source, tuple[str, ...]]:
    """The shape of a STEP or IGES file, in millimetres, its source, and flags. Raises `ReaderError`,
    `MissingDependencyError`."""
    from pointcloud.nominal.cad_turned import loops_agree, turned_back

    content = load(path, None if root is None else Path(root))
    _silence()
    head = content.data[:2000]
    if b"ISO-10303-21" in head:
        reader, form = ocp("STEPControl").STEPControl_Reader(), "step"
    elif len(head) > 72 and head[72:73] in (b"S", b"C", b"F", b"B"):
        reader, form = ocp("IGESControl").IGESControl_Reader(), "iges"
    else:
        content.fail("is neither STEP nor IGES", "byte 0", "export the part as STEP", expected="ISO-10303-21 or IGES")
    status = reader.ReadFile(str(content.path))
    done = ocp("IFSelect").IFSelect_RetDone
    if status != done:
        content.fail("cannot be read by OpenCascade", "file", "export the part again", got=str(status))
    reader.TransferRoots()
    shape = reader.OneShape()
    if shape.IsNull():
        content.fail("holds no shape", "file", "export a solid or surfaces")
    if form == "iges":
        shape = _sewn(shape)
    elif turned := _turned_faces(reader, shape):
        every = _faces_of(shape)
        mended = turned_back(shape, [every[k - 1] for k in turned]) if loops_agree(reader, shape) else None
        if mended is not None:
            source = Source(content.shown, digest_bytes(content.data), len(content.data), form)
            return mended, source, ("cad_face_turned",)
        content.fail(
            "has faces that OpenCascade reads as the other side of their border",
            f"faces {', '.join(str(k) for k in turned[:10])}",
            "no edge may run along the seam of a sphere or another closed surface: turn that surface about its axis in "
            "the CAD system, or export IGES or a mesh",
            expected="the sides that the file states",
        )
    return shape, Source(content.shown, digest_bytes(content.data), len(content.data), form), ()


def _faces_of(shape: Any) -> list[Any]:
    walk = ocp("TopExp").TopExp_Explorer(shape, ocp("TopAbs").TopAbs_FACE)
    faces = []
    while walk.More():
        faces.append(_call(ocp("TopoDS").TopoDS, "Face")(walk.Current()))
        walk.Next()
    return faces


def _turned_faces(reader: Any, shape: Any) -> list[int]:
    """Numbers (from 1) of the faces whose side is not that of the file's ADVANCED_FACE.

    Where a border runs along the seam of a closed surface, OpenCascade's reader may take the loop the wrong way round:
    the face becomes the rest of the surface, turned over (a ball on a block becomes a bite out of it). The file's
    ``same_sense`` gives it away. A shell that is inside out as a whole is turned by the reader on purpose: then all
    differ, and none is wrong.
    """
    try:
        transfer = reader.WS().TransferReader()
        differs = []
        for number, face in enumerate(_faces_of(shape), 1):
            found = (transfer.EntityFromShapeResult(face, mode) for mode in (-1, 0, 1))
            entity = next((e for e in found if e is not None and hasattr(e, "SameSense")), None)
            if entity is not None:
                forward = face.Orientation() == ocp("TopAbs").TopAbs_FORWARD
                differs.append((number, bool(entity.SameSense()) != forward))
    except (AttributeError, TypeError):  # a version without this way back to the file's entities
        return []
    turned = [number for number, different in differs if different]
    return turned if len(turned) < len(differs) else []


def _sewn(shape: Any) -> Any:
    """Faces of an IGES file share no edges and know no outside: joined where their borders coincide, and a closed
    shell turned outward. Faces that stay open stay as they are."""
    tolerance = 1e-5  # mm; an order above the agreement of edges with their faces that exporters hold
    sewing = ocp("BRepBuilderAPI").BRepBuilderAPI_Sewing(tolerance)
    sewing.Add(shape)
    sewing.Perform()
    sewn = sewing.SewedShape()
    if sewn.IsNull() or len(_faces_of(sewn)) != len(_faces_of(shape)):
        return shape
    if sewing.NbFreeEdges() or sewn.ShapeType() != ocp("TopAbs").TopAbs_SHELL:
        return sewn
    solid = ocp("BRepBuilderAPI").BRepBuilderAPI_MakeSolid(_call(ocp("TopoDS").TopoDS, "Shell")(sewn)).Solid()
    return solid if _call(ocp("BRepLib").BRepLib, "OrientClosedSolid")(solid) else sewn


def model_of(shape: Any, *, deflection: float, angle: float = 0.2, source: Source | None = None) -> CadModel:
    """Mesh a shape to a chord tolerance (mm) and angle (rad) and take everything out of it.

    Raises `ParameterError` for a deflection that is no length, `ReaderError` where a shape has no faces.
    """
    if not (math.isfinite(deflection) and deflection > 0.0):
        raise ParameterError("the chord tolerance is a length", expected="> 0", got=repr(deflection))
    ocp("BRepMesh").BRepMesh_IncrementalMesh(shape, deflection, False, angle, False)
    abs_, explore = ocp("TopAbs"), ocp("TopExp").TopExp_Explorer
    tool, topo = ocp("BRep").BRep_Tool, ocp("TopoDS").TopoDS
    faces: list[CadFace] = []
    corner, uv, tri, owner = [], [], [], []
    curves = _Curves()
    count = 0
    walk = explore(shape, abs_.TopAbs_FACE)
    while walk.More():
        face = _call(topo, "Face")(walk.Current())
        walk.Next()
        here = _triangles(face, tool)
        if here is None:
            continue
        nodes, params, triangles, reversed_ = here
        number = len(faces)
        faces.append(_face(face, reversed_, params))
        corner.append(nodes)
        tri.append((triangles[:, ::-1] if reversed_ else triangles) + count)
        uv.append(params[triangles[:, ::-1] if reversed_ else triangles])
        owner.append(np.full(len(triangles), number, dtype=np.int32))
        count += len(nodes)
        curves.add_face(face, number)
    if not faces:
        raise ReaderError(
            "holds no faces that could be meshed", path=source.path if source else "shape", place="shape",
            remedy="export a solid or surfaces",
        )  # fmt: skip
    vertices, where = np.unique(np.concatenate(corner) + 0.0, axis=0, return_inverse=True)
    triangles = where.reshape(-1)[np.concatenate(tri)]
    keep = (
        (triangles[:, 0] != triangles[:, 1])
        & (triangles[:, 1] != triangles[:, 2])
        & (triangles[:, 2] != triangles[:, 0])
    )
    kinds: dict[str, int] = {}
    for row in faces:
        kinds[row.kind] = kinds.get(row.kind, 0) + 1
    words = (", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items())),)
    return CadModel(  # type: ignore[call-arg]
        tuple(faces), vertices, triangles[keep].astype(np.int64), np.concatenate(owner)[keep],
        np.concatenate(uv)[keep], *curves.arrays(), deflection, source, words,
    )  # fmt: skip


def _triangles(face: Any, tool: Any) -> tuple[FloatArray, FloatArray, NDArray[np.int64], bool] | None:
    """Nodes (n, 3), parameters (n, 2), triangles in the natural direction, and whether the face is reversed."""
    place = ocp("TopLoc").TopLoc_Location()
    mesh = tool.Triangulation_s(face, place)
    if mesh is None or mesh.NbTriangles() == 0:
        return None
    move = place.Transformation()
    nodes = np.empty((mesh.NbNodes(), 3))
    params = np.empty((mesh.NbNodes(), 2))
    for k in range(len(nodes)):
        p = mesh.Node(k + 1).Transformed(move)
        q = mesh.UVNode(k + 1)
        nodes[k] = p.X(), p.Y(), p.Z()
        params[k] = q.X(), q.Y()
    triangles = np.empty((mesh.NbTriangles(), 3), dtype=np.int64)
    for k in range(len(triangles)):
        t = mesh.Triangle(k + 1)
        triangles[k] = t.Value(1) - 1, t.Value(2) - 1, t.Value(3) - 1
    return nodes, params, triangles, bool(face.Orientation() == ocp("TopAbs").TopAbs_REVERSED)


def _xyz(p: Any) -> FloatArray:
    return np.array([p.X(), p.Y(), p.Z()])


def _face(face: Any, reversed_: bool, params: FloatArray) -> CadFace:
    """The carrier of a face and its directions."""
    adaptor = ocp("BRepAdaptor").BRepAdaptor_Surface(face)
    kinds = ocp("GeomAbs")
    kind = adaptor.GetType()
    u, v = params.mean(axis=0).tolist()
    carrier: Any
    poles: tuple[Pole, ...] = ()
    if kind == kinds.GeomAbs_Plane:
        at = adaptor.Plane().Position()
        carrier, name = Plane(_xyz(at.Location()), _xyz(at.Direction())), "planes"
    elif kind == kinds.GeomAbs_Cylinder:
        item = adaptor.Cylinder()
        at = item.Position()
        carrier, name = Cylinder(_xyz(at.Location()), _xyz(at.Direction()), item.Radius()), "cylinders"
    elif kind == kinds.GeomAbs_Sphere:
        item = adaptor.Sphere()
        carrier, name = Sphere(_xyz(item.Location()), item.Radius()), "spheres"
    elif kind == kinds.GeomAbs_Cone:
        item = adaptor.Cone()
        at = item.Position()
        axis, radius, half = _xyz(at.Direction()), item.RefRadius(), item.SemiAngle()
        # v runs along the flank; on the far side of the apex the cone widens the other way
        if radius + v * math.sin(half) < 0.0:
            axis, half, radius = -axis, half, -radius
        carrier, name = Cone(_xyz(at.Location()), axis, radius, half), "cones"
    elif kind == kinds.GeomAbs_Torus and adaptor.Torus().MajorRadius() > adaptor.Torus().MinorRadius():
        item = adaptor.Torus()
        at = item.Position()
        carrier = Torus(_xyz(at.Location()), _xyz(at.Direction()), item.MajorRadius(), item.MinorRadius())
        name = "tori"
    else:
        surface = ocp("BRep").BRep_Tool.Surface_s(face)
        evaluate = derivatives(surface, ocp("gp"))
        # the corners of the triangles on borders are on the edges' curves, so the places are taken from the surface
        found = revolved(surface, evaluate(params)[0], ocp("Geom"))
        if found is not None:
            carrier, name = found
        elif kind in (kinds.GeomAbs_BSplineSurface, kinds.GeomAbs_BezierSurface):
            carrier, name = _spline_surface(face), "B-spline surfaces"
        else:
            carrier, name = _general(face), "other surfaces"
        if found is None:
            poles = poles_of(evaluate, tuple(surface.Bounds()))
    natural = 1.0
    if isinstance(carrier, Feature):
        gp = ocp("gp")
        p, su, sv = gp.gp_Pnt(), gp.gp_Vec(), gp.gp_Vec()
        adaptor.D1(u, v, p, su, sv)
        normal = np.cross(_xyz(su), _xyz(sv))
        natural = 1.0 if float(normal @ carrier.normals(_xyz(p)[None])[0]) > 0.0 else -1.0
    return CadFace(carrier, name, natural * (-1.0 if reversed_ else 1.0), natural, poles)


def _flat(knots: list[float], multiplicities: list[int]) -> FloatArray:
    return np.repeat(np.array(knots), multiplicities)


def _spline_surface(face: Any) -> SplineSurface:
    surface = _call(ocp("GeomConvert").GeomConvert, "SurfaceToBSplineSurface")(ocp("BRep").BRep_Tool.Surface_s(face))
    closed = [bool(surface.IsUClosed()), bool(surface.IsVClosed())]
    surface.SetUNotPeriodic()
    surface.SetVNotPeriodic()
    nu, nv = surface.NbUPoles(), surface.NbVPoles()
    poles = np.empty((nu, nv, 4))
    for i in range(nu):
        for j in range(nv):
            w = surface.Weight(i + 1, j + 1)
            poles[i, j, :3] = w * _xyz(surface.Pole(i + 1, j + 1))
            poles[i, j, 3] = w
    ku = _flat([surface.UKnot(k + 1) for k in range(surface.NbUKnots())],
               [surface.UMultiplicity(k + 1) for k in range(surface.NbUKnots())])  # fmt: skip
    kv = _flat([surface.VKnot(k + 1) for k in range(surface.NbVKnots())],
               [surface.VMultiplicity(k + 1) for k in range(surface.NbVKnots())])  # fmt: skip
    return SplineSurface(ku, kv, surface.UDegree(), surface.VDegree(), poles, closed[0], closed[1])


def _general(face: Any) -> Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]:
    """Feet by Newton's method on derivatives that OpenCascade evaluates point by point: tens of microseconds each."""
    surface = ocp("BRep").BRep_Tool.Surface_s(face)
    gp = ocp("gp")
    p, rows = gp.gp_Pnt(), [gp.gp_Vec() for _ in range(5)]
    u0, u1, v0, v1 = surface.Bounds()
    low = np.array([-np.inf if surface.IsUPeriodic() else u0, -np.inf if surface.IsVPeriodic() else v0])
    high = np.array([np.inf if surface.IsUPeriodic() else u1, np.inf if surface.IsVPeriodic() else v1])

    def evaluate(uv: FloatArray) -> FloatArray:
        out = np.empty((len(uv), 6, 3))
        for i, (u, v) in enumerate(uv.tolist()):
            surface.D2(u, v, p, *rows)
            out[i] = [_xyz(p), *(_xyz(row) for row in rows)]
        return out

    def feet(points: FloatArray, uv: FloatArray) -> tuple[FloatArray, FloatArray]:
        uv = uv.copy()
        active = np.arange(len(uv))
        scale = 1e-15 * (1.0 + np.abs(points).max(initial=0.0))
        for _ in range(30):
            if not len(active):
                break
            d = evaluate(uv[active])
            rest = d[:, 0] - points[active]
            su, sv = d[:, 1], d[:, 2]
            gu, gv = np.sum(su * rest, axis=1), np.sum(sv * rest, axis=1)
            e, f, g = np.sum(su * su, axis=1), np.sum(su * sv, axis=1), np.sum(sv * sv, axis=1)
            a = e + np.sum(d[:, 3] * rest, axis=1)
            c = g + np.sum(d[:, 4] * rest, axis=1)
            b = f + np.sum(d[:, 5] * rest, axis=1)
            bad = ~((a > 0) & (c > 0) & (a * c - b * b > 1e-12 * np.abs(a * c)))
            a, b, c = np.where(bad, e, a), np.where(bad, f, b), np.where(bad, g, c)
            det = a * c - b * b
            with np.errstate(invalid="ignore", divide="ignore"):
                step = np.stack([(b * gv - c * gu) / det, (b * gu - a * gv) / det], axis=1)
                # a direction that leads out of the surface (over a pole, say) is taken out of the step
                here, slope = uv[active], np.stack([gu, gv], axis=1)
                stop = ((here <= low) & (slope > 0.0)) | ((here >= high) & (slope < 0.0))
                alone = -slope / np.stack([a, c], axis=1)
            step = np.where(np.any(stop, axis=1, keepdims=True), np.where(stop, 0.0, alone), step)
            step[~np.isfinite(step).all(axis=1)] = 0.0
            step = np.clip(here + step, low, high) - here
            uv[active] += step
            length = np.sqrt(e * step[:, 0] ** 2 + 2 * f * step[:, 0] * step[:, 1] + g * step[:, 1] ** 2)
            active = active[length > scale]
        d = evaluate(uv)
        normal = np.cross(d[:, 1], d[:, 2])
        with np.errstate(invalid="ignore", divide="ignore"):
            return d[:, 0], normal / np.linalg.norm(normal, axis=1)[:, None]

    return feet


class _Curves:
    """Collects the border curves of faces as one set of B-splines."""

    def __init__(self) -> None:
        self._face: list[int] = []
        self._edge: list[int] = []
        self._turn: list[float] = []
        self._knots: list[FloatArray] = []
        self._poles: list[FloatArray] = []
        self._table: list[tuple[int, int, int, int, int]] = []
        self._known: dict[int, list[tuple[Any, int]]] = {}

    def add_face(self, face: Any, number: int) -> None:
        abs_, tool, topo = ocp("TopAbs"), ocp("BRep").BRep_Tool, ocp("TopoDS").TopoDS
        plain = face.Oriented(abs_.TopAbs_FORWARD)
        walk = ocp("TopExp").TopExp_Explorer(plain, abs_.TopAbs_EDGE)
        edges = []
        while walk.More():
            edges.append(_call(topo, "Edge")(walk.Current()))
            walk.Next()
        for edge in edges:
            seam = sum(1 for other in edges if other.IsSame(edge)) > 1
            if seam or tool.Degenerated_s(edge):
                continue
            self._add(edge, number, -1.0 if edge.Orientation() == abs_.TopAbs_REVERSED else 1.0)

    def _number(self, edge: Any) -> int:
        key = hash(edge.TShape()) if not hasattr(edge, "__hash__") else hash(edge)
        rows = self._known.setdefault(key, [])
        for other, number in rows:
            if other.IsSame(edge):
                return number
        number = sum(len(r) for r in self._known.values())
        rows.append((edge, number))
        return number

    def _add(self, edge: Any, face: int, turn: float) -> None:
        adaptor = ocp("BRepAdaptor").BRepAdaptor_Curve(edge)
        first, last = adaptor.FirstParameter(), adaptor.LastParameter()
        geometry = _edge_curve(edge, first, last)
        if geometry is None:
            return
        closed = bool(geometry.IsClosed())
        geometry.SetNotPeriodic()
        n = geometry.NbPoles()
        poles = np.empty((n, 4))
        for i in range(n):
            w = geometry.Weight(i + 1)
            poles[i, :3], poles[i, 3] = w * _xyz(geometry.Pole(i + 1)), w
        knots = _flat([geometry.Knot(k + 1) for k in range(geometry.NbKnots())],
                      [geometry.Multiplicity(k + 1) for k in range(geometry.NbKnots())])  # fmt: skip
        self._table.append(
            (geometry.Degree(), sum(len(p) for p in self._poles), n, sum(len(k) for k in self._knots), int(closed))
        )
        self._poles.append(poles)
        self._knots.append(knots)
        self._face.append(face)
        self._edge.append(self._number(edge))
        self._turn.append(turn)

    def arrays(self) -> tuple[Any, ...]:
        return (
            np.array(self._face, dtype=np.int32), np.array(self._edge, dtype=np.int32), np.array(self._turn),
            np.concatenate([*self._knots, np.empty(0)]), np.concatenate([*self._poles, np.empty((0, 4))]),
            np.array(self._table, dtype=np.int64).reshape(-1, 5),
        )  # fmt: skip


def _edge_curve(edge: Any, first: float, last: float) -> Any:
    """The edge's own curve between its ends as a B-spline; None where it has none."""
    curve = ocp("BRep").BRep_Tool.Curve_s(edge, 0.0, 1.0)
    if curve is None:
        return None
    trimmed = ocp("Geom").Geom_TrimmedCurve(curve, first, last)
    return _call(ocp("GeomConvert").GeomConvert, "CurveToBSplineCurve")(trimmed)
