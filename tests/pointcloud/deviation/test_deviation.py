"""Deviation fields: values, uncertainty, statistics, places, sections, coverage, display; against known truth."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from metrology_core.conformity import Tolerance
from metrology_core.data import PointSet, ProbeTip
from metrology_core.errors import ParameterError
from metrology_core.features import Plane, Sphere
from metrology_core.quantity import Influence
from pointcloud.deviation.coverage import coverage
from pointcloud.deviation.display import display_subset
from pointcloud.deviation.field import DeviationField, deviate, vector_deviations
from pointcloud.deviation.places import point_spacing, worst_places
from pointcloud.deviation.sections import section
from pointcloud.deviation.statistics import by_region, statistics
from pointcloud.deviation.uncertainty import DeviationUncertainty
from pointcloud.nominal.features import FeatureSurface
from pointcloud.nominal.mesh import TriangleMesh
from pointcloud.nominal.tree import SurfaceTree

SIDE = 60.0


def plate(n: int = 2) -> SurfaceTree:
    """An open square in z = 0, normal +z, of 2 (n - 1)^2 triangles."""
    x = np.linspace(-SIDE / 2, SIDE / 2, n)
    a, b = np.meshgrid(x, x, indexing="ij")
    v = np.stack([a, b, 0 * a], -1).reshape(-1, 3)
    i, j = np.meshgrid(np.arange(n - 1), np.arange(n - 1), indexing="ij")
    p, q, r, s = i * n + j, (i + 1) * n + j, (i + 1) * n + j + 1, i * n + j + 1
    f = np.concatenate([np.stack([p, q, r], -1).reshape(-1, 3), np.stack([p, r, s], -1).reshape(-1, 3)])
    return SurfaceTree(TriangleMesh(v, f, "mm"))


def scan_of_plate(n: int, height: object, seed: int = 1, noise: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    xy = rng.uniform(-0.5 * SIDE, 0.5 * SIDE, (n, 2))
    z = height(xy[:, 0], xy[:, 1]) + noise * rng.normal(size=n)  # type: ignore[operator]
    return np.column_stack([xy, z])


def bump(x: np.ndarray, y: np.ndarray, at: tuple[float, float], depth: float, radius: float) -> np.ndarray:
    """A smooth dent of known depth and edge: (1 - r^2)^3."""
    r2 = ((x - at[0]) ** 2 + (y - at[1]) ** 2) / radius**2
    return np.where(r2 < 1.0, depth * (1.0 - r2) ** 3, 0.0)


# --- values
def test_values_are_signed_marked_and_counted() -> None:
    points = np.array([[1.0, 2, 0.03], [3.0, 1, -0.02], [40.0, 0, 0.01], [0, 0, 9.0], [np.nan, 0, 0]])
    field = deviate(points, plate(), limit=15.0)
    assert field.value[:2] == pytest.approx([0.03, -0.02], abs=1e-15) and field.value[3] == 9.0
    assert np.isnan(field.value[[2, 4]]).all() and field.counts["on_open_border"] == 1
    assert {"open_border_points", "non_finite_points", "repeatability_only", "alignment_uncertainty_missing"} <= set(
        field.flags
    )
    assert "search limit 15 mm" in field.method and "3 of 5 points" in field.method
    along = deviate(points[:2], plate(), along=[0, 0, 1.0])
    assert along.value == pytest.approx([0.03, -0.02], abs=1e-15) and "along the direction" in along.method


def test_other_units_ball_centres_and_features() -> None:
    ball = Sphere([0, 0, 0], 10.0, material_side="inside")
    u = np.random.default_rng(1).normal(size=(200, 3))
    u /= np.linalg.norm(u, axis=1)[:, None]
    centres = PointSet.from_array(u * 0.012, unit="m", frame="part", points_are="ball_centre", tip=ProbeTip(0.0015))
    field = deviate(centres, FeatureSurface(ball, unit="mm"))
    assert field.unit == "mm" and field.value == pytest.approx(np.full(200, 0.5), abs=1e-14)
    assert "converted from m to mm" in field.method and "compensated by 1.5 mm" in field.method


def test_given_nominal_vectors() -> None:
    p = np.array([[1.0, 0, 0.2], [0, 2.0, 0]])
    assert vector_deviations(p, [[1, 0, 0], [0, 1.5, 0]], [[0, 0, 2], [0, -1, 0]]) == pytest.approx([0.2, -0.5])
    with pytest.raises(ParameterError, match="no direction"):
        vector_deviations(p, p, [[0, 0, 0], [0, 0, 1]])


def test_units_and_places_that_cannot_be_are_flagged() -> None:
    points = scan_of_plate(500, lambda x, y: 0 * x)
    tree = plate(5)
    assert "units_suspect" in deviate(points / 25.4, tree).flags
    assert "scan_apart_from_nominal" in deviate(points + np.array([500.0, 0, 0]), tree).flags
    plain = deviate(points, tree)
    assert not {"units_suspect", "scan_apart_from_nominal"} & set(plain.flags)


def test_wrong_use_is_refused() -> None:
    points, tree = np.zeros((3, 3)), plate()
    sphere = FeatureSurface(Plane([0, 0, 0], [0, 0, 1], material_side="inside"), unit="mm")
    with pytest.raises(ParameterError, match="triangles"):
        deviate(points, sphere, along=[0, 0, 1])
    with pytest.raises(ParameterError, match="normals"):
        deviate(points, tree, max_angle=0.3, limit=1.0)
    with pytest.raises(ParameterError, match="lower < upper"):
        deviate(points, tree, tolerance=(0.1, -0.1))
    with pytest.raises(ParameterError, match="regions do not fit"):
        deviate(points, tree, regions=np.zeros(7, dtype=int))
    with pytest.raises(ParameterError, match="nominal of triangles"):
        coverage(deviate(points, sphere))


# --- uncertainty
COVARIANCE = np.diag([1e-5, 2e-5, 3e-5, 1e-3, 2e-3, 4e-3]) ** 2


def test_the_alignment_acts_with_its_lever() -> None:
    """A plane z = 0: only rotations about x and y and the translation in z move its points, by closed forms."""
    points = np.array([[20.0, -10.0, 0.01], [0.0, 0.0, 0.0]])
    model = DeviationUncertainty(noise=0.002, alignment=COVARIANCE, pivot=np.zeros(3))
    field = deviate(points, plate(), uncertainty=model)
    want = [math.sqrt(0.002**2 + 4e-3**2 + (10 * 1e-5) ** 2 + (20 * 2e-5) ** 2), math.hypot(0.002, 4e-3)]
    assert field.u == pytest.approx(want, rel=1e-12)
    row = statistics(field)
    assert row is not None
    # mean lever arm: y = -5, x = 10; the noise averages, the alignment does not
    assert row.mean.u == pytest.approx(math.sqrt(0.002**2 / 2 + 4e-3**2 + (5e-5) ** 2 + (2e-4) ** 2), rel=1e-12)
    assert "alignment_uncertainty_missing" not in field.flags


def test_intervals_of_mean_rms_and_sd_cover_the_truth() -> None:
    """Simulated truth: a wavy plate, noise, a shift common to all points. 400 runs: 95 % +- 3.3 % (three standard
    deviations of a binomial share)."""
    tree = plate(3)
    common = Influence("probe", "probe offset", "B")
    rng = np.random.default_rng(4)
    base = scan_of_plate(300, lambda x, y: 0.02 * np.sin(x / 9.0) + 0.01)
    truth = base[:, 2]
    # the shift matters for the mean, hardly for the spread: take it small beside the form there
    hits = np.zeros(3)
    runs = 400
    for _ in range(runs):
        z = truth + 0.004 * rng.normal(size=300) + 0.001 * rng.normal()
        model = DeviationUncertainty(noise=0.004, common={common: 0.001})
        row = statistics(deviate(np.column_stack([base[:, :2], z]), tree, uncertainty=model))
        assert row is not None
        # noise adds its variance to sd and rms: the measurand of these is that of the points as measured
        want = (
            truth.mean(),
            math.hypot(truth.std(ddof=1), 0.004),
            math.hypot(float(np.sqrt(np.mean(truth**2))), 0.004),
        )
        for k, (m, w) in enumerate(zip((row.mean, row.sd, row.rms), want)):
            low, high = m.coverage_interval(0.95)
            hits[k] += low <= w <= high
    share = hits / runs
    assert (share > 0.95 - 0.033).all() and (share < 0.95 + 0.033).all(), share


def test_correlated_noise_averages_less() -> None:
    points = scan_of_plate(3000, lambda x, y: 0 * x)
    plain = statistics(deviate(points, plate(), uncertainty=DeviationUncertainty(noise=0.01)))
    tied = statistics(deviate(points, plate(), uncertainty=DeviationUncertainty(noise=0.01, correlation_length=2.0)))
    assert plain is not None and tied is not None
    together = 1 + 2 * math.pi * 4.0 * 3000 / SIDE**2
    assert tied.mean.u / plain.mean.u == pytest.approx(math.sqrt(together), rel=1e-12)


def test_a_coarse_tessellation_is_flagged_and_counted() -> None:
    tree = SurfaceTree(plate(3).mesh, chord_tolerance=0.01)
    points = scan_of_plate(50, lambda x, y: 0 * x)
    field = deviate(points, tree, uncertainty=DeviationUncertainty(noise=0.002))
    assert "tessellation_coarse" in field.flags and "chord tolerance 0.01 mm" in field.method
    assert field.u == pytest.approx(np.full(50, math.hypot(0.002, 0.01 / math.sqrt(3.0))), rel=1e-12)
    assert "tessellation_coarse" not in deviate(points, tree, uncertainty=DeviationUncertainty(noise=0.06)).flags


# --- statistics
def test_shares_of_bands_sum_to_one_and_regions_are_told_apart() -> None:
    tree = plate(3)
    points = scan_of_plate(4000, lambda x, y: np.where(x > 0, 0.05, -0.01))
    middle = tree.mesh.corners.mean(axis=1)
    field = deviate(
        points, tree, tolerance=Tolerance(-20.0, 40.0, "um"), regions=(middle[:, 0] > 0).astype(int),
        region_names=("left", "right"),
    )  # fmt: skip
    row = statistics(field)
    assert row is not None and sum(s for _, _, s in row.bands) == pytest.approx(1.0, abs=1e-12)
    assert row.out_high == pytest.approx(0.5, abs=0.03) and row.out_low == 0.0
    left, right = by_region(field)
    assert (left.name, right.name) == ("left", "right")
    assert left.mean.value == pytest.approx(-0.01, abs=1e-15) and right.maximum.value == pytest.approx(0.05, abs=1e-15)
    assert row.to_dict()["tolerance"] == [-0.02, 0.04]
    assert dict(row.quantiles)[0.25].value == pytest.approx(-0.01, abs=1e-15)


def test_nothing_measured_gives_no_statistics() -> None:
    assert statistics(deviate(np.array([[99.0, 0, 0]]), plate())) is None


# --- places
DENTS = (((-12.0, 8.0), -0.080, 6.0), ((15.0, 10.0), 0.060, 4.0), ((10.0, -15.0), -0.050, 5.0))


def dented(n: int, noise: float, seed: int) -> DeviationField:
    points = scan_of_plate(n, lambda x, y: sum(bump(x, y, *row) for row in DENTS), seed, noise)
    return deviate(points, plate(9), uncertainty=DeviationUncertainty(noise=noise or 1e-6), tolerance=(-0.02, 0.02))


def test_each_dent_is_one_place_with_its_depth_inside_the_interval() -> None:
    hits = []
    for seed in range(12):
        field = dented(20_000, 0.003, seed)
        places = worst_places(field)
        big = places[:3]
        assert len(places) == 3
        for place, (at, depth, radius) in zip(big, DENTS):
            assert place.sign == np.sign(depth) and np.hypot(*(place.position[:2] - at)) < 0.35 * radius
            low, high = place.peak.coverage_interval(0.95)
            hits.append(low <= depth <= high)
            # (1 - r^2)^3 is above a share q of its depth within sqrt(1 - q^(1/3)) of the radius
            reach = radius * math.sqrt(1.0 - (0.02 / abs(depth)) ** (1 / 3))
            assert place.length == pytest.approx(2 * reach, rel=0.15) and place.width == pytest.approx(
                2 * reach, rel=0.2
            )
            # the smallest holds 85 points: three standard deviations of their count are a third
            assert place.area == pytest.approx(math.pi * reach**2, rel=0.33)
    # 36 intervals of 95 %: fewer than 30 inside has a probability of 0.4 %
    assert sum(hits) >= 30, hits


def test_the_two_sides_of_a_thin_wall_are_two_places() -> None:
    v = np.array([[x, y, z] for x in (-30, 30) for y in (-30, 30) for z in (0, 0.4)], dtype=float)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    f = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])
    rng = np.random.default_rng(3)
    xy = rng.uniform(-28, 28, (20_000, 2))
    top = np.column_stack([xy[:10_000], 0.4 - bump(*xy[:10_000].T, (0, 0), 0.05, 8.0)])
    low = np.column_stack([xy[10_000:], bump(*xy[10_000:].T, (1, 0), 0.04, 8.0)])
    places = worst_places(deviate(np.vstack([top, low]), SurfaceTree(TriangleMesh(v, f, "mm"))), beyond=0.01)
    assert [round(float(p.normal[2])) for p in places] == [1, -1] and all(p.sign == -1 for p in places)


@pytest.mark.parametrize("declared", [0.003, 0.1])
def test_the_top_of_a_large_place_is_not_above_its_points(declared: float) -> None:
    """A place that covers most of the part, with a ridge and a fold: no polynomial follows it over its whole size. The
    true top is 0.3; noise of 3 um, declared rightly or, as from a scatter of form and noise, far too large."""
    rng = np.random.default_rng(6)
    xy = rng.uniform(-SIDE / 2, SIDE / 2, (8000, 2))
    truth = 0.3 - 0.012 * np.abs(xy[:, 0] - 4.0) - 0.05 * (xy[:, 1] > 3.0) - 0.002 * np.abs(xy[:, 1])
    points = np.column_stack([xy, truth + 0.003 * rng.standard_normal(len(xy))])
    field = deviate(points, plate(9), uncertainty=DeviationUncertainty(noise=declared), tolerance=(-0.02, 0.02))
    place = worst_places(field)[0]
    assert place.peak.value <= np.nanmax(field.value)
    low, high = place.peak.coverage_interval(0.95)
    assert low <= 0.3 <= high and abs(place.peak.value - 0.3) < 0.02  # the mean of 20 points within a millimetre


def test_few_points_give_the_single_worst_and_a_flag() -> None:
    points = np.array([[0.0, 0, 0.5], [10, 0, 0], [0, 10, 0], [10, 10, 0.0]])
    (place,) = worst_places(deviate(points, plate(), tolerance=(-0.1, 0.1)))
    assert place.peak.value == 0.5 and "local_peak_not_resolved" in place.peak.flags and place.n_points == 1
    assert place.to_dict()["kind"] == "excess" and place.name == "excess 1"
    assert worst_places(deviate(points * [1, 1, 0], plate(), tolerance=(-0.1, 0.1))) == ()


# --- coverage, sections, display
def test_the_area_without_data_is_known() -> None:
    points = scan_of_plate(60_000, lambda x, y: 0 * x)
    points = points[np.hypot(points[:, 0], points[:, 1]) > 12.0]
    for n in (2, 41):  # two triangles with a hole in the middle, or triangles smaller than the hole
        found = coverage(deviate(points, plate(n)))
        # the hole shrinks by the radius within which a foot counts
        hole = math.pi * (12.0 - found.radius) ** 2
        assert found.area == pytest.approx(SIDE**2, rel=1e-12)
        assert found.area_without_data == pytest.approx(hole, rel=0.1), n
    assert found.without_data().sum() > 50 and found.fraction == pytest.approx(1 - hole / SIDE**2, abs=0.02)


def test_a_back_face_is_not_covered_by_points_of_the_front() -> None:
    v = np.array([[x, y, z] for x in (-30, 30) for y in (-30, 30) for z in (0, 0.2)], dtype=float)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    f = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])
    top = scan_of_plate(20_000, lambda x, y: 0.2 + 0 * x)
    found = coverage(deviate(top, SurfaceTree(TriangleMesh(v, f, "mm"))))
    assert found.area_without_data == pytest.approx(3600 + 4 * 60 * 0.2, rel=0.01)


def test_the_cut_of_a_cylinder_is_its_circle_with_whiskers() -> None:
    n, radius = 720, 10.0
    t = np.arange(n) * 2 * np.pi / n
    ring = np.column_stack([radius * np.cos(t), radius * np.sin(t)])
    v = np.vstack([np.column_stack([ring, np.full(n, z)]) for z in (-5.0, 5.0)])
    k, j = np.arange(n), (np.arange(n) + 1) % n
    f = np.concatenate([np.stack([k, j, j + n], -1), np.stack([k, j + n, k + n], -1)])
    rng = np.random.default_rng(2)
    angle = rng.uniform(0, 2 * np.pi, 3000)
    points = np.column_stack(
        [(radius + 0.02) * np.cos(angle), (radius + 0.02) * np.sin(angle), rng.uniform(-4, 4, 3000)]
    )
    cut = section(deviate(points, SurfaceTree(TriangleMesh(v, f, "mm"))), [0, 0, 0.3], [0, 0, 1], thickness=0.5)
    (outline,) = cut.outlines
    chord = radius * (1 - math.cos(math.pi / n))
    assert np.array_equal(outline[0], outline[-1]) and len(outline) == 2 * n + 1
    assert (np.abs(np.linalg.norm(outline, axis=1) - radius) < 1.01 * chord).all()
    assert 100 < len(cut.value) < 300 and np.abs(cut.value - 0.02).max() < 1.01 * chord
    ends = np.linalg.norm(cut.whisker_ends(50.0), axis=1)
    assert np.abs(ends - radius - 1.0).max() < 0.01  # 0.02 mm, 50 times enlarged
    assert cut.tilt == pytest.approx(np.ones(len(cut.tilt)), abs=1e-12)


def test_the_subset_for_the_eye_keeps_the_extremes() -> None:
    field = dented(50_000, 0.002, 1)
    keep = display_subset(field, 4000)
    assert len(keep) <= 4000 and len(np.unique(keep)) == len(keep) > 2000
    assert {int(np.nanargmax(field.value)), int(np.nanargmin(field.value))} <= set(keep.tolist())
    # every dent is there with nearly its depth: the mean of noise at the extreme is what can be missing
    for at, depth, _ in DENTS:
        near = keep[np.hypot(field.xyz[keep, 0] - at[0], field.xyz[keep, 1] - at[1]) < 1.5]
        assert np.abs(field.value[near]).max() > abs(depth)
    assert len(display_subset(field, 10**6)) == 50_000


def test_spacing_of_a_random_and_a_regular_scan() -> None:
    points = scan_of_plate(40_000, lambda x, y: 0 * x)
    assert point_spacing(points) == pytest.approx(0.98 * SIDE / 200, rel=0.05)
    grid = np.stack(np.meshgrid(np.arange(100.0), np.arange(100.0), [0.0]), -1).reshape(-1, 3)
    assert point_spacing(grid) == pytest.approx(1.0, rel=0.1)


# --- a real freeform
def test_dents_of_known_depth_on_a_blade_are_found(data_root: Path) -> None:
    """The blade mesh as nominal: sampled, dented by known amounts, noise of 5 um. Truth: the simulation."""
    file = np.load(data_root / "clouds" / "engeom_blade" / "engine_blade.npz")
    mesh = TriangleMesh(file["vertices"], file["faces"].astype(np.int64), "mm")
    tree = SurfaceTree(mesh)
    rng = np.random.default_rng(11)
    areas, normals = mesh.areas(), mesh.normals()
    face = rng.choice(len(areas), 120_000, p=areas / areas.sum())
    w = rng.dirichlet([1, 1, 1], len(face))
    on = np.einsum("ij,ijk->ik", w, mesh.corners[face])
    # dents where the surface is smooth: spread over faces whose neighbourhood has one direction
    centres, depth, radius = [], (-0.12, 0.08, -0.06, 0.1), 4.0
    while len(centres) < len(depth):
        c = rng.integers(len(on))
        near = np.linalg.norm(on - on[c], axis=1) < radius
        apart = all(np.linalg.norm(on[c] - on[o]) > 4 * radius for o in centres)
        if apart and (normals[face[near]] @ normals[face[c]]).min() > 0.9:
            centres.append(int(c))
    truth = np.zeros(len(on))
    for c, d in zip(centres, depth):
        r2 = np.sum((on - on[c]) ** 2, axis=1) / radius**2
        truth += np.where(r2 < 1, d * np.maximum(1 - r2, 0) ** 3, 0.0)
    points = on + (truth + 0.005 * rng.normal(size=len(on)))[:, None] * normals[face]
    field = deviate(points, tree, uncertainty=DeviationUncertainty(noise=0.005), tolerance=(-0.03, 0.03))
    places = worst_places(field, min_points=20)
    assert len(places) == len(depth)
    for d, c in zip(depth, centres):
        place = min(places, key=lambda p: float(np.linalg.norm(p.position - on[c])))
        assert np.linalg.norm(place.position - on[c]) < 0.5 * radius
        # an interval of 99 %: four of them hold together in 96 % of draws, and the draw is fixed
        low, high = place.peak.coverage_interval(0.99)
        assert low <= d <= high, (d, place.peak)
    found = coverage(field)
    assert found.fraction > 0.9


def test_a_root_mean_square_of_zero_is_not_known_exactly() -> None:
    """Every deviation zero with a declared noise of 5 um: nothing is known but that it is not far above the noise."""
    points = scan_of_plate(400, lambda x, y: 0.0 * x)
    model = DeviationUncertainty(noise=0.005, declared_instrument=True)
    found = statistics(deviate(points, plate(), uncertainty=model))
    assert found is not None and found.rms.value == 0.0
    # the noise of a mean of 400, and up to all of the noise (rectangular)
    assert found.rms.u == pytest.approx(math.hypot(0.005 / 20.0, 0.005 / math.sqrt(3.0)), rel=1e-9)
    assert found.mean.u == pytest.approx(0.005 / 20.0, rel=1e-9)
    scan = points + np.array([0.0, 0.0, 0.1])
    far = statistics(deviate(scan, plate(), uncertainty=model))
    assert far is not None and far.rms.value == pytest.approx(0.1, rel=1e-12)
    bias = 0.1 - math.sqrt(0.1**2 - 0.005**2)
    assert far.rms.u == pytest.approx(math.hypot(0.005 / 20.0, bias / math.sqrt(3.0)), rel=1e-9)


def test_points_that_share_one_foot_end() -> None:
    """Strays beyond a corner all have that corner as their foot: no patch around it shrinks them away."""
    rng = np.random.default_rng(3)
    corner = np.array([SIDE / 2, SIDE / 2, 0.0])
    strays = corner + rng.uniform(1.0, 30.0, (200, 3))
    v = np.array([[x, y, z] for x in (-SIDE / 2, SIDE / 2) for y in (-SIDE / 2, SIDE / 2) for z in (-9.0, 0.0)])
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    tree = SurfaceTree(TriangleMesh(v, np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))]), "mm"))
    points = np.vstack([scan_of_plate(2000, lambda x, y: 0.0 * x), strays])
    field = deviate(points, tree, uncertainty=DeviationUncertainty(noise=0.005), tolerance=(-0.1, 0.1))
    place = worst_places(field)[0]
    assert 1.0 < place.peak.value <= np.nanmax(field.value)
