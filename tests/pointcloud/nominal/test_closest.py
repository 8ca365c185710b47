"""Closest points on triangles against a slow twin in extended precision, and sides against what the solid is."""

from __future__ import annotations

import numpy as np
import pytest

from metrology_core.blocks import threads
from metrology_core.errors import ParameterError
from pointcloud.nominal.mesh import TriangleMesh
from pointcloud.nominal.surface import NominalSurface
from pointcloud.nominal.tree import SurfaceTree
from tests.oracles.closest_brute import brute_distance
from tests.pointcloud.nominal import solids

#: Of the part's size. Rounding of one evaluation is about 1e-15 of it; the goal leaves three decades.
EXACT = 1e-12


def tree_of(mesh: solids.Mesh) -> SurfaceTree:
    return SurfaceTree(TriangleMesh(*mesh, "mm"))


CASES = {
    "box": solids.box(),
    "torus": solids.torus(24, 14),
    "sheet": solids.sheet(),
    "star": solids.star(),
    "knife": solids.knife(),
    "slivers": solids.slivers(),
    "one triangle": (np.array([[0.0, 0, 0], [3, 0, 0], [0, 1e-3, 0]]), np.array([[0, 1, 2]])),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("offset", [0.0, 1000.0], ids=["origin", "1 m away"])
def test_distances_are_those_of_brute_force(name: str, offset: float) -> None:
    v, f = CASES[name]
    v = v + offset
    tree = tree_of((v, f))
    points = np.concatenate(
        [solids.beside((v, f), 250, 3.0, 1), np.random.default_rng(2).uniform(-70, 70, (60, 3)) + offset]
    )
    found = tree.closest(points)
    truth = brute_distance(points, v, f).astype(float)
    off = np.abs(np.abs(found.signed) - truth)
    # coordinates of 1000 mm are themselves rounded to 1.1e-13 mm, which the differences inherit exactly: same numbers
    assert off.max() <= EXACT * tree.size, (off.max(), int(off.argmax()))
    assert np.abs(np.linalg.norm(points - found.foot, axis=1) - np.abs(found.signed)).max() <= 3e-15 * (
        1000 + tree.size
    )
    assert isinstance(tree, NominalSurface)


def test_random_order_sorted_order_and_seeds_give_the_same_bits() -> None:
    v, f = solids.torus(60, 40)
    tree = tree_of((v, f))
    points = solids.beside((v, f), 30_000, 1.0, 3)
    found = tree.closest(points)
    for count in (1, 2, 5):
        with threads(count):
            assert np.array_equal(tree.closest(points).rows.view(np.int64), found.rows.view(np.int64))
    assert np.array_equal(tree.closest(points, ordered=True).rows.view(np.int64), found.rows.view(np.int64))
    order = tree.order(points)
    assert np.array_equal(np.sort(order), np.arange(len(points)))
    wrong_seeds = np.random.default_rng(0).integers(-1, len(f), len(points))
    assert np.array_equal(tree.closest(points, seeds=wrong_seeds).rows.view(np.int64), found.rows.view(np.int64))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("limit", [None, 1.0], ids=["no limit", "limit"])
def test_followed_points_have_the_bits_of_a_fresh_search(name: str, limit: float | None) -> None:
    """Steps from far below what a search proves to far above it; points that leave and come back; NaN."""
    mesh = CASES[name]
    tree = tree_of(mesh)
    rng = np.random.default_rng(5)
    points = np.concatenate([solids.beside(mesh, 2500, 1.5, 4), rng.uniform(-2000, 2000, (40, 3))])
    points[7] = np.nan
    followed = tree.follow(len(points), limit=limit)
    for k, step in enumerate((0.0, 1e-13, 1e-7, 1e-5, 1e-5, 3e-4, 1e-2, 1e-6, 3.0, 1e-6)):
        points = points + step * rng.uniform(-1.0, 1.0, 3) + step * rng.uniform(-0.3, 0.3, points.shape)
        if k == 4:
            points[9], points[10] = np.nan, np.inf
        if k == 5:
            points[9], points[10] = 1.0, -1.0
        got = followed.closest(points).rows.view(np.int64)
        assert np.array_equal(got, tree.closest(points, limit=limit).rows.view(np.int64)), (k, step)


def test_a_followed_point_is_searched_again_where_another_triangle_comes_near() -> None:
    """Slow slides along a thin wall from one side of its middle to the other: the nearest face changes in a step that
    is smaller than the margin of the proof."""
    tree = tree_of(solids.box((40.0, 40.0, 1.0)))
    followed = tree.follow(3)
    for z in np.linspace(-2e-3, 2e-3, 41):
        points = np.array([[3.0, 2.0, z], [-7.0, 1.0, z - 1e-4], [0.3, 0.1, 0.6 + z]])
        got = followed.closest(points)
        assert np.array_equal(got.rows.view(np.int64), tree.closest(points).rows.view(np.int64))
        assert got.signed[0] == pytest.approx(abs(z) - 0.5, abs=1e-15)


def test_limits_and_points_that_are_not_finite_are_marked() -> None:
    tree = tree_of(solids.box((10.0, 10.0, 10.0)))
    points = np.array([[5.5, 0, 0], [9.0, 0, 0], [np.nan, 0, 0], [np.inf, 0, 0], [1e30, 0, 0], [4.0, 0, 0]])
    found = tree.closest(points, limit=1.5)
    assert found.distance[0] == pytest.approx(0.5, abs=1e-14) and found.distance[5] == pytest.approx(-1.0, abs=1e-14)
    assert found.beyond_limit.tolist() == [False, True, False, False, True, False]
    assert found.non_finite.tolist() == [False, False, True, True, False, False]
    assert np.isnan(found.distance[1:5]).all() and np.isnan(found.foot[1:5]).all() and (found.face[1:5] == -1).all()
    assert tree.closest(np.empty((0, 3))).rows.shape == (0, 8)


def test_an_angle_limit_keeps_the_sides_of_a_thin_wall_apart() -> None:
    tree = tree_of(solids.box((40.0, 40.0, 1.0)))
    points = np.array([[3.0, 2.0, -0.2], [3.0, 2.0, -0.2], [3.0, 2.0, -0.2]])
    normals = np.array([[0.0, 0, 1.0], [0, 0, -2.0], [1.0, 0, 0]])  # lengths do not matter
    found = tree.closest(points, limit=2.0, normals=normals, max_angle=0.5)
    assert found.distance[:2] == pytest.approx([-0.7, -0.3], abs=1e-14)
    assert found.beyond_angle.tolist() == [False, False, True] and np.isnan(found.distance[2])
    with pytest.raises(ParameterError, match="needs a search limit"):
        tree.closest(points, normals=normals, max_angle=0.5)


def test_wrong_use_is_refused() -> None:
    tree = tree_of(solids.box())
    for bad in ({"points": np.zeros((3, 2))}, {"points": np.zeros((3, 3)), "limit": -1.0},
                {"points": np.zeros((3, 3)), "seeds": [0, 1]}, {"points": np.zeros((2, 3)), "seeds": [0, 99]},
                {"points": np.zeros((3, 3)), "normals": np.zeros((3, 3))}):  # fmt: skip
        with pytest.raises(ParameterError):
            tree.closest(**bad)  # type: ignore[arg-type]


# --- sides
def signed_box(p: np.ndarray, sides: np.ndarray) -> np.ndarray:
    q = np.abs(p) - sides / 2
    return np.linalg.norm(np.maximum(q, 0), axis=1) + np.minimum(q.max(axis=1), 0)


def test_signed_distances_of_a_box_are_the_closed_form() -> None:
    sides = np.array([40.0, 25.0, 15.0])
    mesh = solids.box()
    tree = tree_of(mesh)
    points = solids.beside(mesh, 100_000, 20.0, 4)
    truth = signed_box(points, sides)
    found = tree.closest(points)
    assert np.abs(np.abs(found.signed) - np.abs(truth)).max() < EXACT * tree.size
    clear = np.abs(truth) > EXACT * tree.size
    assert clear.sum() > 50_000 and np.array_equal(np.sign(found.distance[clear]), np.sign(truth[clear]))


def inside_star(p: np.ndarray, v: np.ndarray, n: int, height: float) -> np.ndarray:
    """Whether points are in the star-shaped prism: which wedge of the polygon, and on which side of its chord."""
    ring = v[: 2 * n, :2]
    angle = np.arctan2(p[:, 1], p[:, 0]) % (2 * np.pi)
    k = np.minimum((angle / (np.pi / n)).astype(int), 2 * n - 1)
    a, b = ring[k], ring[(k + 1) % (2 * n)]
    e = b - a
    left = e[:, 0] * (p[:, 1] - a[:, 1]) - e[:, 1] * (p[:, 0] - a[:, 0])
    return np.asarray((left > 0) & (np.abs(p[:, 2]) < height))


def test_sides_at_sharp_convex_and_concave_edges_are_right() -> None:
    mesh = solids.star()
    tree = tree_of(mesh)
    points = solids.beside(mesh, 100_000, 5.0, 6)
    found = tree.closest(points)
    clear = np.abs(found.signed) > EXACT * tree.size
    truth = np.where(inside_star(points, mesh[0], 9, 6.0), -1.0, 1.0)
    assert set(np.unique(found.region)) == {0, 1, 2}  # faces, edges and vertices are all met
    assert np.array_equal(np.sign(found.distance[clear]), truth[clear])


def test_the_side_at_a_knife_edge_is_right() -> None:
    """Normals of both sides are opposite to 1e-5 rad: a sum of normals would be rounding."""
    mesh = solids.knife()
    tree = tree_of(mesh)
    rng = np.random.default_rng(8)
    points = np.column_stack(
        [-(10.0 ** rng.uniform(-9, 0, 5000)), rng.uniform(-19, 19, 5000), rng.normal(size=5000) * 1e-3]
    )
    assert (tree.closest(points).distance > 0).all()
    x = rng.uniform(5.0, 55.0, 5000)
    half = x * np.tan(0.5e-5)
    z = half * rng.uniform(-0.9, 0.9, 5000)
    assert (tree.closest(np.column_stack([x, rng.uniform(-19, 19, 5000), z])).distance < 0).all()
    assert (tree.closest(np.column_stack([x, rng.uniform(-19, 19, 5000), half * 1.1])).distance > 0).all()


def test_feet_on_an_open_border_have_no_side_and_inner_feet_have() -> None:
    v, f = solids.sheet()
    tree = tree_of((v, f))
    assert tree.open_edges == 4 * 11 and not tree.is_closed
    beside = np.array([[25.5, 3.0, 0.3], [26.0, 27.0, 0.0], [0.0, -25.2, -0.1]])
    found = tree.closest(beside)
    assert found.on_open_border.all() and not found.has_sign.any() and np.isnan(found.distance).all()
    assert (found.signed > 0).all()
    inner = solids.beside((v * 0.8, f), 20_000, 0.5, 9)
    found = tree.closest(inner)
    ok = found.has_sign & (np.abs(found.signed) > EXACT * tree.size)
    # over a height field without overhang the side is whether the point is above the sheet at its place
    assert ok.mean() > 0.5 and not found.on_open_border[np.abs(inner[:, :2]).max(axis=1) < 24.0].any()
    up = np.einsum("ij,ij->i", inner - found.foot, found.normal)
    assert np.array_equal(np.sign(up[ok]), np.sign(found.distance[ok]))


def test_an_apex_of_many_flat_triangles_tells_sides() -> None:
    n = 400
    angle = np.arange(n) * 2 * np.pi / n
    ring = np.column_stack([0.01 * np.cos(angle), 0.01 * np.sin(angle), np.full(n, -10.0)])
    v = np.vstack([ring, [[0, 0, 0], [0, 0, -10.0]]])
    k, j = np.arange(n), (np.arange(n) + 1) % n
    f = np.concatenate([np.stack([k, j, np.full(n, n)], -1), np.stack([j, k, np.full(n, n + 1)], -1)])
    tree = tree_of((v, f))
    rng = np.random.default_rng(3)
    d = rng.normal(size=(3000, 3)) * [0.3, 0.3, 1.0]
    d[:, 2] = np.abs(d[:, 2])
    points = d * 10.0 ** rng.uniform(-9, 0, (3000, 1))
    found = tree.closest(points)
    assert (found.region == 2).mean() > 0.9 and (found.distance > 0).all()


def test_two_cubes_that_share_an_edge_tell_sides() -> None:
    """Four triangles meet at the shared edge: the sum of their normals is zero."""
    v, f = solids.box((2.0, 2.0, 2.0))
    shift = np.array([1.0, 1.0, 0.0])
    both = np.concatenate([v - shift, v + shift])
    both, inverse = np.unique(both, axis=0, return_inverse=True)
    faces = inverse.reshape(-1)[np.concatenate([f, f + 8])]
    tree = tree_of((both, faces))
    assert tree.non_manifold_edges > 0
    rng = np.random.default_rng(5)
    p = rng.uniform(-0.4, 0.4, (20_000, 3))
    truth = np.where(np.sign(p[:, 0]) == np.sign(p[:, 1]), -1.0, 1.0)
    found = tree.closest(p)
    assert np.array_equal(np.sign(found.distance), truth)


# --- along lines
def test_deviation_along_a_direction_is_the_closed_form() -> None:
    tree = tree_of(solids.box((40.0, 25.0, 15.0)))
    rng = np.random.default_rng(3)
    p = rng.uniform([-19, -12, 7], [19, 12, 8], (5000, 3))
    found = tree.along(p, [0, 0, 2.0])
    assert found.distance == pytest.approx(p[:, 2] - 7.5, abs=1e-14)
    assert tree.along(p, [0, 0, -1.0]).distance == pytest.approx(p[:, 2] - 7.5, abs=1e-14)  # either way
    u = np.array([0.3, 0.0, 1.0]) / np.hypot(0.3, 1.0)
    assert tree.along(p[:, :] * [0.8, 0.8, 1], u).distance == pytest.approx((p[:, 2] - 7.5) / u[2], abs=1e-13)
    aside = np.array([[50.0, 0, 0], [np.nan, 0, 0]])
    marked = tree.along(aside, [0, 0, 1.0])
    assert marked.beyond_limit.tolist() == [True, False] and marked.non_finite.tolist() == [False, True]
    assert tree.along(p, [0, 0, 1.0], limit=0.1).beyond_limit.mean() == pytest.approx(0.8, abs=0.05)


def test_no_line_slips_through_a_closed_surface() -> None:
    """Lines through vertices and along edges of a sphere-like mesh, where every hit is shared by several triangles."""
    v, f = solids.torus(40, 24)
    tree = tree_of((v, f))
    middle = np.einsum("ijk->ik", v[f]) / 3.0
    for target in (v, middle, (v[f[:, 0]] + v[f[:, 1]]) / 2):
        ring = target * [1, 1, 0]
        ring = 35.0 * ring / np.linalg.norm(ring, axis=1)[:, None]  # the spine of the tube: inside
        found = tree.along(ring, target - ring)
        assert found.found.all() and (found.distance < 0).all()


def test_vectors_of_their_own_for_each_point() -> None:
    v, f = solids.torus(60, 40)
    tree = tree_of((v, f))
    points = solids.beside((v, f), 3000, 0.2, 5)
    near = tree.closest(points)
    inner = near.region == 0
    across = tree.along(points[inner], near.normal[inner])
    # the line along the normal of the foot's triangle meets that triangle at the foot, or a nearer surface first
    assert (np.abs(across.distance) <= np.abs(near.distance[inner]) + 1e-12).all()
    assert np.abs(np.abs(across.distance) - np.abs(near.distance[inner])).max() < 1e-12
