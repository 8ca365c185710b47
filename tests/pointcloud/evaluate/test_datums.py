"""Datum frames: known placements come back, and what makes no frame is a typed error."""

from __future__ import annotations

import numpy as np
import pytest

from metrology_core.data import Frame, Rigid
from metrology_core.errors import FrameError
from metrology_core.features import Circle, Cylinder, Plane, Sphere
from pointcloud.datums import DatumFeature, datum_system, frame_from_parent

FLANGE = Plane((5.0, 3.0, 0.0), (0.0, 0.0, 1.0), material_side="inside")
BORE = Cylinder((0.0, 0.0, -10.0), (0.0, 0.0, 1.0), 30.0, material_side="outside")
HOLE = Cylinder((47.5, 0.0, -6.0), (0.0, 0.0, 1.0), 4.0, material_side="outside")


def placement() -> Rigid:
    return Rigid.from_rotation_vector((0.3, -0.2, 0.9), (310.0, 220.0, 140.0))


def test_a_moved_part_gives_back_its_placement() -> None:
    motion = placement()
    found = frame_from_parent(*(f.transform(motion) for f in (FLANGE, BORE, HOLE)))
    assert found.matrix == pytest.approx(motion.inverse().matrix, abs=1e-12)  # rounding at 400 mm


def test_normal_is_out_of_the_material_whatever_its_sign() -> None:
    flipped = FLANGE.oriented((0.0, 0.0, -1.0))  # material_side turns with the normal
    assert flipped.material_side == "outside"
    assert frame_from_parent(flipped, BORE, HOLE).matrix == pytest.approx(np.eye(4), abs=1e-15)


def test_a_leaning_axis_gives_the_point_where_it_pierces() -> None:
    axis = np.array([0.01, 0.0, 1.0])
    leaning = Cylinder((0.1, 0.0, -10.0), axis, 30.0)
    found = frame_from_parent(FLANGE, leaning, HOLE)
    # at z = 0 the axis is at x = 0.1 + 10 * 0.01
    assert found.inverse().translation == pytest.approx([0.2, 0.0, 0.0], abs=1e-14)


def test_centres_project_onto_the_plane() -> None:
    found = frame_from_parent(FLANGE, Sphere((1.0, 2.0, 7.0), 3.0), Circle((1.0, 12.0, -4.0), (0, 0, 1), 2.0))
    assert found.inverse().translation == pytest.approx([1.0, 2.0, 0.0], abs=1e-14)
    assert found.inverse().rotate((1.0, 0.0, 0.0)) == pytest.approx([0.0, 1.0, 0.0], abs=1e-14)


def test_primary_axis_with_secondary_plane() -> None:
    motion = placement()
    found = frame_from_parent(*(f.transform(motion) for f in (BORE, FLANGE, HOLE)))
    assert found.matrix == pytest.approx(motion.inverse().matrix, abs=1e-12)  # rounding at 400 mm


def test_free_degrees_are_named() -> None:
    parent = Frame("machine")
    whole = datum_system(
        "ABC", DatumFeature("a", FLANGE), DatumFeature("b", BORE), DatumFeature("c", HOLE), parent=parent
    )
    assert whole.free == ()
    assert [d.letter for d in whole.datums] == ["A", "B", "C"]
    two = datum_system("AB", DatumFeature("a", FLANGE), DatumFeature("b", BORE), parent=parent)
    assert two.free == ("rz",)
    one = datum_system("A", DatumFeature("a", FLANGE), parent=parent)
    assert set(one.free) == {"tx", "ty", "rz"}
    assert whole.frame.parent is parent


@pytest.mark.parametrize(
    ("features", "complaint"),
    [
        ((FLANGE, Cylinder((0, 0, 0), (1, 0, 0), 3.0), HOLE), "does not meet"),
        ((FLANGE, BORE, Cylinder((0, 0, 5.0), (0, 0, 1), 3.0)), "lies on the origin"),
        ((FLANGE, Plane((0, 0, 0), (1, 0, 0)), HOLE), "secondary plane"),
        ((Sphere((0, 0, 0), 1.0), BORE, HOLE), "cannot be the primary"),
    ],
)
def test_what_makes_no_frame_is_a_typed_error(features: tuple[object, ...], complaint: str) -> None:
    with pytest.raises(FrameError, match=complaint):
        frame_from_parent(*features)
