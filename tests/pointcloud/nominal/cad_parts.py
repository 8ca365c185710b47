"""Parts made by OpenCascade itself, and its own slow distances as a twin. Import only where OCP is installed."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np


def _m(name: str) -> Any:
    return importlib.import_module(f"OCP.{name}")


def _ax(p: tuple[float, float, float], d: tuple[float, float, float]) -> Any:
    gp = _m("gp")
    return gp.gp_Ax2(gp.gp_Pnt(*p), gp.gp_Dir(*d))


def machined() -> Any:
    """A block with fillet, bore, countersink, torus groove and ball: planes, cylinders, cone, torus, sphere."""
    prim, boolean, gp = _m("BRepPrimAPI"), _m("BRepAlgoAPI"), _m("gp")
    box = prim.BRepPrimAPI_MakeBox(40.0, 30.0, 20.0).Shape()
    fillet = _m("BRepFilletAPI").BRepFilletAPI_MakeFillet(box)
    walk = _m("TopExp").TopExp_Explorer(box, _m("TopAbs").TopAbs_EDGE)
    topo = _m("TopoDS").TopoDS
    fillet.Add(3.0, getattr(topo, "Edge_s", getattr(topo, "Edge", None))(walk.Current()))
    shape = fillet.Shape()
    for tool in (
        prim.BRepPrimAPI_MakeCylinder(_ax((20, 15, -1), (0, 0, 1)), 6.0, 30.0),
        prim.BRepPrimAPI_MakeCone(_ax((35, 25, 20), (0, 0, -1)), 4.0, 0.0, 8.0),
        prim.BRepPrimAPI_MakeTorus(_ax((20, 15, 20), (0, 0, 1)), 10.0, 2.0),
    ):
        shape = boolean.BRepAlgoAPI_Cut(shape, tool.Shape()).Shape()
    return boolean.BRepAlgoAPI_Fuse(shape, prim.BRepPrimAPI_MakeSphere(gp.gp_Pnt(0, 30, 0), 7.0).Shape()).Shape()


def in_machined(p: np.ndarray) -> np.ndarray:
    """Whether points are in `machined`, by its closed form."""
    x, y, z = p.T
    inside = (x > 0) & (x < 40) & (y > 0) & (y < 30) & (z > 0) & (z < 20)
    inside &= ~((x < 3) & (y < 3) & (np.hypot(x - 3, y - 3) > 3))
    inside &= np.hypot(x - 20, y - 15) > 6
    inside &= ~((z > 12) & (np.hypot(x - 35, y - 25) < 4 * (1 - (20 - z) / 8)))
    inside &= np.hypot(np.hypot(x - 20, y - 15) - 10, z - 20) > 2
    return np.asarray(inside | (np.hypot(np.hypot(x, y - 30), z) < 7))


def on_machined(p: np.ndarray, near: float) -> np.ndarray:
    """Whether points are on the surface of `machined`: both kinds of places lie within ``near``."""
    d = np.random.default_rng(0).normal(size=(400, 3))
    d *= near / np.linalg.norm(d, axis=1)[:, None]
    kinds = np.array([in_machined(q + d) for q in p])
    return np.asarray(kinds.any(axis=1) & ~kinds.all(axis=1))


def freeform() -> Any:
    """A block under a B-spline surface, with an extruded spline wall cut in: B-spline, extrusion, planes."""
    gp, geom = _m("gp"), _m("GeomAPI")
    try:
        array = _m("collections").Array2_gp_Pnt
    except ImportError:
        array = _m("TColgp").TColgp_Array2OfPnt
    n = 7
    grid = array(1, n, 1, n)
    for i in range(n):
        for j in range(n):
            x, y = -5.0 + 10.0 * i, -5.0 + 8.0 * j
            grid.SetValue(i + 1, j + 1, gp.gp_Pnt(x, y, 12.0 + 2.0 * np.sin(x / 9.0) * np.cos(y / 8.0)))
    top = geom.GeomAPI_PointsToBSplineSurface(grid).Surface()
    face = _m("BRepBuilderAPI").BRepBuilderAPI_MakeFace(top, 1e-7).Face()
    under = _m("BRepPrimAPI").BRepPrimAPI_MakePrism(face, gp.gp_Vec(0, 0, -40.0)).Shape()
    box = _m("BRepPrimAPI").BRepPrimAPI_MakeBox(gp.gp_Pnt(0, 0, 0), gp.gp_Pnt(45.0, 35.0, 30.0)).Shape()
    return _m("BRepAlgoAPI").BRepAlgoAPI_Common(box, under).Shape()


def patch() -> Any:
    """One open B-spline face."""
    walk = _m("TopExp").TopExp_Explorer(freeform(), _m("TopAbs").TopAbs_FACE)
    adaptor = _m("BRepAdaptor").BRepAdaptor_Surface
    topo = _m("TopoDS").TopoDS
    while walk.More():
        face = getattr(topo, "Face_s", getattr(topo, "Face", None))(walk.Current())
        if adaptor(face).GetType() == _m("GeomAbs").GeomAbs_BSplineSurface:
            return face
        walk.Next()
    raise AssertionError("no B-spline face")


def occ_distances(shape: Any, points: np.ndarray) -> np.ndarray:
    """Distances from the faces of a shape by BRepExtrema: about a millisecond each."""
    abs_ = _m("TopAbs")
    faces = _m("TopoDS").TopoDS_Compound()
    builder = _m("BRep").BRep_Builder()
    builder.MakeCompound(faces)
    walk = _m("TopExp").TopExp_Explorer(shape, abs_.TopAbs_FACE)
    while walk.More():
        builder.Add(faces, walk.Current())
        walk.Next()
    gp, make, measure = _m("gp"), _m("BRepBuilderAPI").BRepBuilderAPI_MakeVertex, _m("BRepExtrema")
    return np.array(
        [measure.BRepExtrema_DistShapeShape(make(gp.gp_Pnt(*p)).Vertex(), faces).Value() for p in points.tolist()]
    )


def volume(shape: Any) -> float:
    """By OpenCascade, exact to its integration."""
    props = _m("GProp").GProp_GProps()
    _m("BRepGProp").BRepGProp.VolumeProperties_s(shape, props)
    return float(props.Mass())


def occ_inside(shape: Any, points: np.ndarray) -> np.ndarray:
    """Whether points are inside a solid, by OpenCascade's classifier."""
    classifier = _m("BRepClass3d").BRepClass3d_SolidClassifier(shape)
    inside = []
    for p in points.tolist():
        classifier.Perform(_m("gp").gp_Pnt(*p), 1e-9)
        inside.append(classifier.State() == _m("TopAbs").TopAbs_IN)
    return np.array(inside)


def write(shape: Any, path: Any) -> None:
    """STEP or IGES by the ending."""
    if str(path).endswith(".igs"):
        writer = _m("IGESControl").IGESControl_Writer()
        writer.AddShape(shape)
        writer.ComputeModel()
        assert writer.Write(str(path))
        return
    step = _m("STEPControl")
    writer = step.STEPControl_Writer()
    writer.Transfer(shape, step.STEPControl_StepModelType.STEPControl_AsIs)
    writer.Write(str(path))
