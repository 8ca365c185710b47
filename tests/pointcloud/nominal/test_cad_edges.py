"""Edge curves brought onto their faces; skipped where OpenCascade is not installed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pointcloud.nominal.cad import CadSurface, cad_from_shape
from pointcloud.nominal.cad_bridge import CadModel

try:
    import OCP  # noqa: F401

    HAS_OCP = True
except ImportError:
    HAS_OCP = False
pytestmark = pytest.mark.skipif(not HAS_OCP, reason="OpenCascade (extra [cad]) is not installed")


def shaken(model: CadModel, edges: np.ndarray, size: float) -> CadModel:
    """The model with every pole of some edges' curves moved by up to ``size`` mm, the same for all uses of an edge."""
    poles = model.poles.copy()
    for c, (_, first, count, _, _) in enumerate(model.table.tolist()):
        if model.curve_edge[c] in edges:
            rng = np.random.default_rng(int(model.curve_edge[c]))
            rows = slice(first, first + count)
            poles[rows, :3] += poles[rows, 3:] * rng.uniform(-size, size, (count, 3)) / np.sqrt(3)
    return replace(model, poles=poles)


def places(cad: CadSurface, c: int) -> np.ndarray:
    degree, _, count, k0, _ = cad.model.table[c].tolist()
    return cad._curve_at(c, np.linspace(cad.model.knots[k0 + degree], cad.model.knots[k0 + count], 61))


def worst_off(cad: CadSurface) -> float:
    """Farthest that a border curve is from its face."""
    off = 0.0
    for c, face in enumerate(cad.model.curve_face):
        x = places(cad, c)
        foot = cad._feet_beside(x, np.full(len(x), face, dtype=np.int32))[0]
        off = max(off, float(np.linalg.norm(foot - x, axis=1).max()))
    return off


@pytest.fixture(scope="module")
def block() -> CadSurface:
    from tests.pointcloud.nominal import cad_parts

    return cad_from_shape(cad_parts.freeform(), deflection=0.1)


def test_shaken_edges_come_back_to_the_intersections_and_corners(block: CadSurface) -> None:
    model = shaken(block.model, np.unique(block.model.curve_edge), 2e-5)
    again = CadSurface(model)
    assert 2e-6 < again.edges_moved < 2e-5 and "moved onto their faces" in again.description
    assert worst_off(again) < 1e-9 < 1e-6 < worst_off_of(model, block)
    for c in range(len(model.table)):
        before, after = places(block, c), places(again, c)
        assert after[[0, -1]] == pytest.approx(before[[0, -1]], abs=1e-9)  # corners of three faces
    rng = np.random.default_rng(4)
    lines = block._border.mesh.vertices  # type: ignore[union-attr]
    points = lines[rng.integers(len(lines), size=1000)] + rng.normal(size=(1000, 3)) * 10.0 ** rng.uniform(
        -6, -1, (1000, 1)
    )
    a, b = block.closest(points), again.closest(points)
    assert np.abs(np.abs(a.signed) - np.abs(b.signed)).max() < 1e-9
    clear = np.abs(a.signed) > 1e-8
    assert np.array_equal(np.sign(a.distance[clear]), np.sign(b.distance[clear]))


def worst_off_of(model: CadModel, cad: CadSurface) -> float:
    """As `worst_off`, of curves as they are in a model."""
    kept, cad.model = cad.model, model
    try:
        return worst_off(cad)
    finally:
        cad.model = kept


def test_curves_that_are_far_off_stay_and_hold_their_corners(block: CadSurface) -> None:
    edge = int(block.model.curve_edge[0])  # a straight one, with a corner at each end
    far = shaken(block.model, np.array([edge]), 0.01)
    stays = CadSurface(far)
    assert stays.edges_moved == 0.0 and stays.model is far


def test_edges_of_faces_that_touch_flat_stay() -> None:
    """Where a fillet runs into its planes, the intersection is not definite: no curve there is moved, and none that
    shares a corner with it."""
    from tests.pointcloud.nominal import cad_parts

    cad = cad_from_shape(cad_parts.machined(), deflection=0.1)
    assert cad.edges_moved == 0.0  # all its curves are exact
    fillet = next(
        k for k, face in enumerate(cad.model.faces) if face.kind == "cylinders" and face.carrier.radius == 3.0
    )
    mine = np.unique(cad.model.curve_edge[cad.model.curve_face == fillet])
    loose = CadSurface(shaken(cad.model, mine, 2e-6))
    assert loose.edges_moved == 0.0
    other = np.setdiff1d(cad.model.curve_edge, mine)
    rings = [e for e in other if cad.model.table[np.flatnonzero(cad.model.curve_edge == e)[0], 4]]
    both = CadSurface(shaken(cad.model, np.array([*mine, *rings]), 2e-6))
    assert 1e-7 < both.edges_moved < 2e-6  # the closed edges of bore, groove and countersink share no corner with it
