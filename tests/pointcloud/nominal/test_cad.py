"""Exact CAD nominals against OpenCascade's own slow distances and closed forms; skipped where OCP is not installed."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from metrology_core.errors import MissingDependencyError, ParameterError, ReaderError
from pointcloud.deviation import deviate
from pointcloud.deviation_statistics import by_region
from pointcloud.nominal.cad import CadSurface, cad_from_shape, read_cad
from pointcloud.nominal.cad_bridge import ocp
from pointcloud.nominal.surface import NominalSurface

try:
    import OCP  # noqa: F401

    HAS_OCP = True
except ImportError:
    HAS_OCP = False
needs_ocp = pytest.mark.skipif(not HAS_OCP, reason="OpenCascade (extra [cad]) is not installed")

FACES, EDGES = 1e-9, 1e-6  # mm: the goals; OpenCascade's twin itself is good to about 1e-12


@pytest.fixture(scope="module")
def machined() -> tuple[object, CadSurface]:
    from tests.pointcloud.nominal import cad_parts

    shape = cad_parts.machined()
    return shape, cad_from_shape(shape, deflection=0.1)


@pytest.fixture(scope="module")
def freeform() -> tuple[object, CadSurface]:
    from tests.pointcloud.nominal import cad_parts

    shape = cad_parts.freeform()
    return shape, cad_from_shape(shape, deflection=0.1)


def points_about(cad: CadSurface, n: int, seed: int) -> np.ndarray:
    """Half of them near the border curves, at all distances from 1 nm to 2 mm and in all directions."""
    rng = np.random.default_rng(seed)
    mesh = cad.mesh
    areas = mesh.areas()
    face = rng.choice(len(areas), n, p=areas / areas.sum())
    on = np.einsum("ij,ijk->ik", rng.dirichlet([0.5] * 3, n), mesh.corners[face])
    assert cad._border is not None
    lines = cad._border.mesh.vertices
    on[::2] = lines[rng.integers(len(lines), size=len(on[::2]))]
    off = rng.normal(size=(n, 3))
    off /= np.linalg.norm(off, axis=1)[:, None]
    return np.asarray(on + off * 10.0 ** rng.uniform(-6, 0.3, (n, 1)))


@needs_ocp
@pytest.mark.parametrize("which", ["machined", "freeform"])
def test_distances_and_sides_are_those_of_opencascade(which: str, request: pytest.FixtureRequest) -> None:
    from tests.pointcloud.nominal import cad_parts

    shape, cad = request.getfixturevalue(which)
    assert isinstance(cad, NominalSurface) and cad.chord_tolerance == 0.0 and cad.tree.is_closed
    points = points_about(cad, 500, 1)
    found = cad.closest(points)
    truth = cad_parts.occ_distances(shape, points)
    off = np.abs(found.signed) - truth
    assert found.found.all() and not found.approximate.any()
    assert (found.region == 0).sum() > 150 and (found.region == 1).sum() > 50
    assert cad._border is not None
    inner = np.abs(cad._border.closest(found.foot).signed) > 0.05
    assert inner.sum() > 120 and np.abs(off[inner]).max() < FACES
    # Beside an edge the twin may miss the foot in the face and answer with the edge, which is farther: it bounds ours
    # from above, and the finely meshed part from below.
    assert off.max() < EDGES
    fine = cad_from_shape(shape, deflection=0.003)
    low = np.abs(fine.tree.closest(points).signed) - 1.5 * fine.measured_deflection
    assert (np.abs(found.signed) >= low).all()
    assert (np.abs(off) < EDGES).mean() > 0.98
    clear = truth > 1e-5  # the classifier counts as inside or outside to the tolerance of the edges
    assert np.array_equal(found.distance[clear] < 0.0, cad_parts.occ_inside(shape, points[clear]))


@needs_ocp
def test_the_answer_does_not_depend_on_the_tessellation(freeform: tuple[object, CadSurface]) -> None:
    _, coarse = freeform
    from tests.pointcloud.nominal import cad_parts

    fine = cad_from_shape(cad_parts.freeform(), deflection=0.005)
    points = points_about(coarse, 4000, 3)
    a, b = coarse.closest(points), fine.closest(points)
    assert np.abs(np.abs(a.signed) - np.abs(b.signed)).max() < EDGES
    clear = np.abs(a.signed) > 1e-5
    assert np.array_equal(np.sign(a.signed[clear]), np.sign(b.signed[clear]))
    assert fine.measured_deflection < 0.01 < 0.02 < coarse.measured_deflection
    # the triangles alone are wrong by up to their chord tolerance
    rough = np.abs(np.abs(coarse.tree.closest(points).signed) - np.abs(a.signed)).max()
    assert 0.01 < rough < 1.5 * coarse.measured_deflection


@needs_ocp
def test_an_open_patch_has_no_side_beside_its_border() -> None:
    from tests.pointcloud.nominal import cad_parts

    shape = cad_parts.patch()
    cad = cad_from_shape(shape, deflection=0.1)
    points = points_about(cad, 400, 5)
    found = cad.closest(points)
    off = np.abs(found.signed) - cad_parts.occ_distances(shape, points)
    assert (
        off.max() < EDGES and (np.abs(off) < EDGES).mean() > 0.95
    )  # the twin is an upper bound beside edges, as above
    assert found.on_open_border.sum() > 30 and np.isnan(found.distance[found.on_open_border]).all()
    over = found.region == 0
    assert over.sum() > 100 and found.has_sign[over].all()


@needs_ocp
def test_closed_forms_on_a_ball_and_a_ring() -> None:
    prim, gp = ocp("BRepPrimAPI"), ocp("gp")
    rng = np.random.default_rng(6)
    d = rng.normal(size=(2000, 3))
    d /= np.linalg.norm(d, axis=1)[:, None]
    d[:6] = np.vstack([np.eye(3), -np.eye(3)])  # poles and the seam
    ball = cad_from_shape(prim.BRepPrimAPI_MakeSphere(gp.gp_Pnt(1, 2, 3), 10.0).Shape(), deflection=0.05)
    r = rng.uniform(9, 11, (2000, 1))
    assert ball.closest([1, 2, 3] + r * d).distance == pytest.approx(r[:, 0] - 10.0, abs=1e-13)
    ring = cad_from_shape(prim.BRepPrimAPI_MakeTorus(12.0, 3.0).Shape(), deflection=0.05)
    p = rng.uniform(-16, 16, (4000, 3)) * [1, 1, 0.25]
    rho = np.hypot(p[:, 0], p[:, 1])
    p, rho = p[rho > 6.0], rho[rho > 6.0]
    truth = np.hypot(rho - 12.0, p[:, 2]) - 3.0
    assert ring.closest(p).distance == pytest.approx(truth, abs=1e-13)


@needs_ocp
@pytest.mark.parametrize("name", ["part.step", "part.igs"])
def test_files_of_both_formats_give_the_part(tmp_path: Path, name: str, freeform: tuple[object, CadSurface]) -> None:
    from tests.pointcloud.nominal import cad_parts

    # not the machined part: OpenCascade's own STEP writer and reader turn its ball, cut through the seam, inside out
    shape, cad = freeform
    cad_parts.write(shape, tmp_path / name)
    again = read_cad(tmp_path / name, deflection=0.1)
    points = points_about(cad, 300, 8)
    want, got = cad.closest(points), again.closest(points)
    # files hold 15 digits; trimming curves may be refitted, so a few points beside edges may differ
    assert (np.abs(np.abs(got.signed) - np.abs(want.signed)) < EDGES).mean() > 0.97
    assert again.model.source is not None and again.model.source.path == name


@needs_ocp
def test_limits_regions_and_words(machined: tuple[object, CadSurface]) -> None:
    _, cad = machined
    points = np.array([[20.0, 1.0, -0.01], [20.0, 1.0, -3.0], [14.2, 15.0, 10.0], [np.nan, 0, 0]])
    field = deviate(points, cad, limit=1.0, regions=cad.cad_face_of)
    assert field.value[[0, 2]] == pytest.approx([0.01, 0.2], abs=1e-12)  # outside the bottom; inside the bore
    assert np.isnan(field.value[[1, 3]]).all() and "beyond_search_limit" in field.flags
    assert len(by_region(field)) == 2 and "exact CAD surface" in field.method and "cones" in field.method
    normals = np.array([[0, 0, 1.0], [0, 0, 1], [1, 0, 0], [1, 0, 0]])
    turned = cad.closest(points, limit=1.0, normals=normals, max_angle=0.5)
    assert turned.beyond_angle[0] and turned.found[2]


@needs_ocp
def test_what_is_no_cad_file_is_refused(tmp_path: Path) -> None:
    bad = tmp_path / "x.step"
    bad.write_text("solid nothing\n")
    with pytest.raises(ReaderError, match="neither STEP nor IGES"):
        read_cad(bad)
    bad.write_text("ISO-10303-21;\nHEADER;\nrubbish")
    with pytest.raises(ReaderError):
        read_cad(bad)
    with pytest.raises(ParameterError, match="chord tolerance"):
        cad_from_shape(None, deflection=-1.0)


def test_without_opencascade_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "OCP", None)
    monkeypatch.setitem(sys.modules, "OCP.STEPControl", None)
    path = tmp_path / "part.step"
    path.write_text("ISO-10303-21;\n")
    with pytest.raises(MissingDependencyError, match=r"abbe\[cad\]"):
        read_cad(path)
