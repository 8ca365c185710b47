"""The data types: what they keep, what they refuse, and that nobody can change them."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from metrology_core.data import (
    Acquisition,
    Box,
    Datum,
    DatumSystem,
    Frame,
    HeightMap,
    Image,
    PointSet,
    PrepareStep,
    ProbeTip,
    Rigid,
    Selection,
)
from metrology_core.errors import FrameError, ParameterError, UnitError

XYZ = np.arange(12.0).reshape(4, 3)


def points(**changes: object) -> PointSet:
    base: dict = {"unit": "mm", "frame": "machine", "points_are": "surface"}
    return PointSet.from_array(changes.pop("xyz", XYZ), **{**base, **changes})


def test_numbers_are_kept_exactly_and_cannot_be_changed() -> None:
    source = XYZ.copy()
    p = points(xyz=source)
    source[0, 0] = 99.0
    assert p.xyz[0, 0] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        p.xyz[0, 0] = 1.0
    assert points(unit="inch").xyz.tobytes() == XYZ.tobytes()


@pytest.mark.parametrize("missing", ["unit", "frame", "points_are"])
def test_unit_frame_and_kind_have_no_default(missing: str) -> None:
    base = {"unit": "mm", "frame": "machine", "points_are": "surface"}
    del base[missing]
    with pytest.raises(TypeError, match=missing):
        PointSet.from_array(XYZ, **base)


@pytest.mark.parametrize(
    ("changes", "error", "part"),
    [
        ({"xyz": np.zeros((3, 2))}, ParameterError, "shape"),
        ({"xyz": np.zeros(3)}, ParameterError, "shape"),
        ({"xyz": np.array([["a", "b", "c"]])}, ParameterError, "real numbers"),
        ({"xyz": np.zeros((2, 3), dtype=complex)}, ParameterError, "real numbers"),
        ({"unit": "deg"}, UnitError, "length"),
        ({"unit": "lightyear"}, UnitError, "unknown unit"),
        ({"frame": ""}, FrameError, "name"),
        ({"points_are": "points"}, ParameterError, "surface"),
        ({"normals": np.ones((4, 3))}, ParameterError, "normals_role"),
        ({"normals": np.ones((3, 3)), "normals_role": "nominal"}, ParameterError, "shape"),
        ({"noise": -1.0}, ParameterError, "standard deviation"),
        ({"noise": np.ones(3)}, ParameterError, "shape"),
        ({"labels": np.array([0, 1, 2, 3]), "label_names": ("a",)}, ParameterError, "no name"),
        ({"labels": np.array([0.0] * 4), "label_names": ("a",)}, ParameterError, "indices"),
        ({"label_names": ("a",)}, ParameterError, "without labels"),
        ({"labels": np.zeros(4, int), "label_names": ("a", "a")}, ParameterError, "same name"),
        ({"flags": ("no_such_flag",)}, ValueError, "unknown flag"),
    ],
)
def test_wrong_use_is_refused(changes: dict, error: type[Exception], part: str) -> None:
    with pytest.raises(error, match=part):
        points(**changes)


def test_non_finite_points_are_kept_flagged_and_counted() -> None:
    xyz = XYZ.copy()
    xyz[1, 2] = np.nan
    xyz[2, 0] = np.inf
    p = points(xyz=xyz)
    assert (p.n_points, p.n_nonfinite) == (4, 2)
    assert "non_finite_points" in p.flags
    assert "non_finite_points" not in p.select(p.finite).flags


def test_unknown_kind_of_points_is_flagged() -> None:
    assert points(points_are="unknown").flags == ("points_are_unknown",)


def test_labels_select_and_unknown_ones_name_the_known() -> None:
    p = points(labels=np.array([0, 1, 0, -1]), label_names=("bore", "flange"))
    assert p.labelled("bore").xyz.tolist() == XYZ[[0, 2]].tolist()
    with pytest.raises(ParameterError, match="bore, flange"):
        p.labelled("bor")
    assert Selection(label="flange").mask(p).tolist() == [False, True, False, False]


def test_preparation_keeps_the_original() -> None:
    p = points()
    q = p.with_step(PrepareStep("thermal", "scaled to 20 degC"), xyz=p.xyz * 2)
    again = q.with_step(PrepareStep("trim", "first two"), xyz=q.xyz)
    assert again.raw is p
    assert [step.name for step in again.history] == ["thermal", "trim"]
    assert p.history == ()


def test_selection_by_region_distance_and_angle() -> None:
    class Floor:
        def distance(self, xyz: np.ndarray) -> np.ndarray:
            return xyz[:, 2]

        def normals(self, xyz: np.ndarray) -> np.ndarray:
            return np.tile([0.0, 0.0, 1.0], (len(xyz), 1))

    xyz = np.array([[0.0, 0, 0.1], [1, 0, -0.2], [2, 0, 0.05], [np.nan, 0, 0]])
    tilt = np.array([[0, 0, 1.0], [0, 0, -1], [0, 1, 1], [0, 0, 1]])
    p = points(xyz=xyz, normals=tilt, normals_role="measured")
    assert Selection(region=Box([0, 0, 0], [1, 1, 1])).mask(p).tolist() == [True, False, False, False]
    assert Selection(max_distance=0.1).mask(p, Floor()).tolist() == [True, False, True, True]
    assert Selection(max_normal_angle=0.1).mask(p, Floor()).tolist() == [True, True, False, True]
    with pytest.raises(ParameterError, match="nominal"):
        Selection(max_distance=0.1).mask(p)
    with pytest.raises(ParameterError, match="border"):
        Selection(edge_exclusion=0.1).mask(p, Floor())
    with pytest.raises(ParameterError, match="lower <= upper"):
        Box([1, 0, 0], [0, 1, 1])


def test_rigid_motions_compose_and_invert() -> None:
    rng = np.random.default_rng(7)
    a = Rigid.from_rotation_vector(rng.normal(size=3), rng.normal(size=3))
    b = Rigid.from_rotation_vector(rng.normal(size=3), rng.normal(size=3))
    x = rng.normal(size=(5, 3))
    # 1e-14: a handful of roundings on numbers of order one
    assert np.allclose((a @ b).apply(x), a.apply(b.apply(x)), rtol=0, atol=1e-14)
    assert np.allclose(a.inverse().apply(a.apply(x)), x, rtol=0, atol=1e-14)
    assert np.allclose((a.matrix @ np.c_[x, np.ones(5)].T).T[:, :3], a.apply(x), rtol=0, atol=1e-14)


def test_a_frame_from_axes_puts_its_origin_at_zero_and_its_axes_on_the_axes() -> None:
    origin, z, x = np.array([1.0, 2.0, 3.0]), np.array([1.0, 1.0, 0.0]), np.array([0.0, 1.0, 0.3])
    motion = Rigid.from_axes(origin, z, x)
    # exact up to a few roundings of order one
    assert np.allclose(motion.apply(origin), 0.0, atol=1e-15)
    assert np.allclose(motion.rotate(z / np.linalg.norm(z)), [0, 0, 1], atol=1e-15)
    turned = motion.rotate(x)
    assert turned[0] > 0
    assert abs(turned[1]) < 1e-15
    with pytest.raises(FrameError, match="parallel"):
        Rigid.from_axes(origin, z, 2 * z)


@pytest.mark.parametrize("matrix", [2 * np.eye(3), np.diag([1.0, 1, -1]), np.eye(3) + 1e-6, np.full((3, 3), np.nan)])
def test_matrices_that_are_no_rotation_are_refused(matrix: np.ndarray) -> None:
    with pytest.raises(ParameterError):
        Rigid(matrix, np.zeros(3))


def test_frames_know_their_way_and_refuse_strangers() -> None:
    machine = Frame("machine")
    part = Frame("part", machine, Rigid(np.eye(3), [1.0, 0, 0]))
    hole = Frame("hole", part, Rigid(np.eye(3), [0, 2.0, 0]))
    assert hole.motion_to(machine).apply([0.0, 0, 0]).tolist() == [1.0, 2.0, 0.0]
    assert machine.motion_to(hole).apply([1.0, 2.0, 0]).tolist() == [0.0, 0.0, 0.0]
    with pytest.raises(FrameError, match="no way"):
        hole.motion_to(Frame("other"))
    with pytest.raises(FrameError, match="ancestors"):
        Frame("machine", part, Rigid.identity())
    with pytest.raises(FrameError, match="both"):
        Frame("lost", machine)


def test_a_datum_system_locks_each_freedom_once() -> None:
    a = Datum("A", "flange", "least_squares", ("tz", "rx", "ry"))
    b = Datum("B", "bore", "least_squares", ("tx", "ty"))
    system = DatumSystem("AB", (a, b), Frame("part"))
    assert system.free == ("rz",)
    assert system.allows_verdict
    with pytest.raises(ParameterError, match="earlier datum"):
        DatumSystem("bad", (a, Datum("C", "pin", "least_squares", ("rx",))), Frame("part"))
    with pytest.raises(ParameterError, match="letter twice"):
        DatumSystem("bad", (a, Datum("A", "pin", "least_squares", ("rz",))), Frame("part"))
    fit = DatumSystem("fit", (), Frame("part"), "best_fit")
    assert not fit.allows_verdict
    assert DatumSystem("fit", (), Frame("part"), "best_fit", "drawing D-1, note 4").allows_verdict


def test_images_keep_their_type_and_their_origin() -> None:
    grey = np.arange(20, dtype=np.uint16).reshape(4, 5)
    image = Image(grey, "nm", (0.8, 0.9), metadata={"kV": 0.5})
    part = image.region(rows=(1, 3), columns=(2, 5))
    assert part.pixels.dtype == np.uint16
    assert (part.shape, part.origin) == ((2, 3), (1, 2))
    assert part.region(rows=(1, 2)).origin == (2, 2)
    with pytest.raises(ParameterError, match="does not lie"):
        image.region(rows=(0, 5))
    for wrong in (np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), int), np.zeros((0, 4), np.uint8)):
        with pytest.raises(ParameterError):
            Image(wrong, "nm", (1.0, 1.0))
    for size in ((0.0, 1.0), (1.0,), (np.nan, 1.0), (-1.0, 1.0)):
        with pytest.raises(ParameterError):
            Image(grey, "nm", size)  # type: ignore[arg-type]
    back = pickle.loads(pickle.dumps(image))
    assert back.metadata == image.metadata


def test_height_maps_trust_the_mask_not_the_nan() -> None:
    z = np.array([[0.0, np.nan], [1.0, 2.0]])
    valid = np.isfinite(z)
    assert HeightMap(z, valid, (1.0, 1.0), "nm", "um").n_valid == 3
    with pytest.raises(ParameterError, match="marked valid"):
        HeightMap(z, np.ones_like(valid), (1.0, 1.0), "nm", "um")
    with pytest.raises(ParameterError, match="boolean mask"):
        HeightMap(z, valid.astype(int), (1.0, 1.0), "nm", "um")


def test_acquisitions_are_text_with_zoned_times() -> None:
    a = Acquisition(lot="L1", time="2026-11-23T08:30:00+01:00", environment={"humidity": "45 %"})
    assert a.to_dict() == {"lot": "L1", "time": "2026-11-23T08:30:00+01:00", "environment": {"humidity": "45 %"}}
    assert pickle.loads(pickle.dumps(a)).to_dict() == a.to_dict()
    with pytest.raises(ParameterError, match="time zone"):
        Acquisition(time="2026-11-23T08:30:00")
    with pytest.raises(ParameterError, match="must be text"):
        Acquisition(lot=3)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="unknown acquisition field"):
        a.updated(colour="red")


def test_a_probe_tip_has_a_positive_radius() -> None:
    for radius in (0.0, -1.0, np.inf):
        with pytest.raises(ParameterError):
            ProbeTip(radius)
