"""Faces that OpenCascade's STEP reader turned over, put back where the right side can be proved.

Where a border runs along the seam of a sphere, the reader may take the loop the wrong way round: the face becomes the
rest of the sphere, turned over. The loop itself and the file's ``same_sense`` say which part was meant: the one to the
left of the loop seen against the sphere's normal. It is built anew on a sphere turned so that its seam and its poles
are away from the border.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pointcloud.nominal.surface import FloatArray

_CLEAR = 0.1  # rad: how far the border stays from the seam and the poles of the turned sphere


def loops_agree(reader: Any, shape: Any) -> bool:
    """Whether in a STEP file itself every edge is used twice, in opposite directions: its loops then say for certain
    on which side of each border the part is."""
    from pointcloud.nominal.cad_bridge import ocp

    transfer = reader.WS().TransferReader()
    keep: list[Any] = []  # an entity is one Python object only as long as that lives
    uses: dict[int, list[bool]] = {}
    try:
        for face in _parts(shape, ocp("TopAbs").TopAbs_FACE, "Face"):
            found = (transfer.EntityFromShapeResult(face, mode) for mode in (-1, 0, 1))
            entity = next((e for e in found if e is not None and hasattr(e, "SameSense")), None)
            if entity is None:
                return False
            for i in range(1, entity.NbBounds() + 1):
                bound = entity.BoundsValue(i)
                loop = bound.Bound()
                for j in range(1, loop.NbEdgeList() + 1):
                    oriented = loop.EdgeListValue(j)
                    edge = oriented.EdgeElement()
                    keep.append(edge)
                    uses.setdefault(id(edge), []).append(bool(oriented.Orientation()) == bool(bound.Orientation()))
    except (AttributeError, TypeError):  # a loop without edges, or a version without this way back
        return False
    return all(sorted(ways) == [False, True] for ways in uses.values())


def turned_back(shape: Any, turned: list[Any]) -> Any | None:
    """The shape with these faces on the side that the file states; None where that cannot be proved.

    Proof, with `loops_agree`: every face is a sphere with one border; the shape is then valid for OpenCascade's
    checker, in all its shells every edge joins two faces that run along it in opposite directions, and each solid holds
    a positive volume.
    """
    from pointcloud.nominal.cad_bridge import ocp

    change = ocp("BRepTools").BRepTools_ReShape()
    for face in turned:
        other = _rest_of_sphere(face)
        if other is None:
            return None
        change.Replace(face, other)
    new = change.Apply(shape)
    return new if _sound(new) else None


def _rest_of_sphere(face: Any) -> Any | None:
    """The part of the sphere on the other side of the one border of a face, looking along the sphere's normal where
    the face looks against it; None where it is no such face."""
    from pointcloud.nominal.cad_bridge import ocp

    adaptor = ocp("BRepAdaptor").BRepAdaptor_Surface(face)
    abs_, gp = ocp("TopAbs"), ocp("gp")
    if adaptor.GetType() != ocp("GeomAbs").GeomAbs_Sphere or not adaptor.Sphere().Position().Direct():
        return None
    wires = _parts(face.Oriented(abs_.TopAbs_FORWARD), abs_.TopAbs_WIRE, "Wire")
    if len(wires) != 1:
        return None
    tool = ocp("BRep").BRep_Tool
    edges = [e for e in _parts(wires[0], abs_.TopAbs_EDGE, "Edge") if not tool.Degenerated_s(e)]
    if any(sum(other.IsSame(e) for other in edges) > 1 for e in edges) or not edges:
        return None  # along its own seam
    ball = adaptor.Sphere()
    centre, radius = _xyz(ball.Location()), ball.Radius()
    border = (np.concatenate([_places(e) for e in edges]) - centre) / radius
    middle = border.mean(axis=0)
    if np.linalg.norm(middle) < _CLEAR:
        return None
    middle /= np.linalg.norm(middle)
    axis = np.cross(middle, np.eye(3)[int(np.argmin(np.abs(middle)))])
    axis /= np.linalg.norm(axis)
    across = np.cross(axis, middle)
    # the seam runs from pole to pole through the place opposite to the middle of the border
    turn = np.arctan2(border @ across, border @ middle)
    if np.abs(turn).max() > np.pi - _CLEAR or np.abs(border @ axis).max() > np.cos(_CLEAR):
        return None
    place = gp.gp_Ax3(gp.gp_Pnt(*centre), gp.gp_Dir(*axis), gp.gp_Dir(*(-middle)))
    make = ocp("BRepBuilderAPI").BRepBuilderAPI_MakeFace(
        ocp("Geom").Geom_SphericalSurface(place, radius), 0.0, 2.0 * np.pi, -0.5 * np.pi, 0.5 * np.pi, 1e-7
    )
    builder, wire = ocp("BRep").BRep_Builder(), ocp("TopoDS").TopoDS_Wire()
    builder.MakeWire(wire)
    for edge in edges:
        builder.Add(wire, edge.Reversed())
    make.Add(wire)
    fix = ocp("ShapeFix").ShapeFix_Face(make.Face())
    fix.FixOrientationMode = fix.FixAddNaturalBoundMode = 0  # both would choose a side by themselves
    fix.Perform()
    # a face that looked along the sphere becomes one that looks against it, and the other way round
    new = fix.Face()
    return new if face.Orientation() == abs_.TopAbs_REVERSED else new.Reversed()


def _sound(shape: Any) -> bool:
    from pointcloud.nominal.cad_bridge import ocp

    abs_ = ocp("TopAbs")
    if not ocp("BRepCheck").BRepCheck_Analyzer(shape).IsValid():
        return False
    solids = _parts(shape, abs_.TopAbs_SOLID, "Solid")
    inside = sum(len(_parts(solid, abs_.TopAbs_FACE, "Face")) for solid in solids)
    if not solids or inside != len(_parts(shape, abs_.TopAbs_FACE, "Face")):
        return False
    for solid in solids:
        look = ocp("ShapeAnalysis").ShapeAnalysis_Shell()
        look.LoadShells(solid)
        if look.CheckOrientedShells(solid, True) or look.HasBadEdges() or look.HasFreeEdges():
            return False
        props = ocp("GProp").GProp_GProps()
        ocp("BRepGProp").BRepGProp.VolumeProperties_s(solid, props)
        if not props.Mass() > 0.0:
            return False
    return True


def _parts(shape: Any, kind: Any, name: str) -> list[Any]:
    from pointcloud.nominal.cad_bridge import _call, ocp

    walk = ocp("TopExp").TopExp_Explorer(shape, kind)
    found = []
    while walk.More():
        found.append(_call(ocp("TopoDS").TopoDS, name)(walk.Current()))
        walk.Next()
    return found


def _places(edge: Any) -> FloatArray:
    from pointcloud.nominal.cad_bridge import ocp

    curve = ocp("BRepAdaptor").BRepAdaptor_Curve(edge)
    t = np.linspace(curve.FirstParameter(), curve.LastParameter(), 65)
    return np.array([_xyz(curve.Value(x)) for x in t.tolist()])


def _xyz(p: Any) -> FloatArray:
    return np.array([p.X(), p.Y(), p.Z()])
