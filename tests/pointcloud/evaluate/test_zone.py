"""Characteristics that demand a zone criterion: ISO 1101 form and ISO 14405 sizes beside least squares."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from metrology_core.data import Frame, PointSet, ProbeTip, Selection
from metrology_core.features import Circle, Cylinder, Line, Plane
from metrology_core.instrument import Instrument
from metrology_core.testing import KnownAnswer, known_zone
from pointcloud.evaluate.entry import CharacteristicRequest, Evaluation, FeatureRequest, evaluate

NOISE = 1e-6
QUIET = Instrument("I", "cmm", noise=NOISE)
FEATURES: dict[str, Any] = {
    "flatness": Plane((100.0, 20.0, -30.0), (0.1, 0.2, 1.0)),
    "cylindricity": Cylinder((50.0, -20.0, 10.0), (0.3, -0.2, 1.0), 22.0),
    "roundness": Circle((12.0, 30.0, 5.0), (0.0, 0.0, 1.0), 15.0),
    "straightness": Line((0.0, 5.0, 9.0), (1.0, 0.2, -0.3)),
}


def known(name: str, criterion: str = "minimum_zone") -> KnownAnswer:
    return known_zone(FEATURES[name], 80, zone=0.02, seed=4, criterion=criterion, length=60.0)


def measure(points: np.ndarray, kind: str, ids: list[str], **options: Any) -> Evaluation:
    given = PointSet.from_array(
        points, unit="mm", frame=Frame("machine"), **{"points_are": "surface", **options.pop("given", {})}
    )
    requests = [CharacteristicRequest(i, i, ("f",)) for i in ids]
    request = FeatureRequest("f", kind, Selection(), **options)
    return evaluate(given, [request], requests, instrument=QUIET, inputs=("0" * 64,))


@pytest.mark.parametrize("name", list(FEATURES))
def test_iso_1101_form(name: str) -> None:
    answer = known(name)
    found = measure(answer.points, FEATURES[name].kind, [f"iso1101.{name}", "form.G.peak_to_valley"])
    zone, about_squares = found.measurements
    assert zone.measured is not None and about_squares.measured is not None
    assert zone.measured.value == pytest.approx(0.02, abs=1e-12)  # exact by construction, coordinates to 150 mm
    assert about_squares.measured.value > 0.02  # the least-squares element is not the best one
    # contacts: 2 sigma |lambda|; the bias bound of the noise comes on top
    spread = [part for key, part in zone.measured.contributions.items() if key.endswith("/spread")]
    assert spread == [pytest.approx(2.0 * NOISE * float(np.linalg.norm(answer.multipliers)), rel=1e-6)]
    assert "minimum zone" in zone.method
    assert "contacts_unstable" not in zone.flags  # the gap of 1 um is above 20 times the noise
    names = [feature.request.name for feature in found.features]
    assert names == ["f", "f (minimum zone)"]  # both associations are in the record, with their proof
    assert found.features[1].to_dict()["optimality"]["n_contacts"] == len(answer.contacts)
    assert found.deviations is not None
    assert found.deviations.feature_names == ("f",)


@pytest.mark.parametrize("fixed", [(), ("direction",)])
@pytest.mark.parametrize(
    ("letters", "criterion"), [("GX", "maximum_inscribed"), ("GN", "minimum_circumscribed"), ("GC", "minimum_zone")]
)
def test_iso_14405_sizes(letters: str, criterion: str, fixed: tuple[str, ...]) -> None:
    answer = known("roundness", criterion)
    found = measure(
        answer.points, "circle", [f"iso14405.{letters}"], direction=(0.0, 0.0, 1.0), fixed=fixed, material="outside"
    )
    size = found.measurements[0].measured
    assert size is not None
    assert size.value == pytest.approx(30.0, abs=1e-12)
    row = found.features[1].fit
    level = np.linalg.norm(row.contact_sensitivities[-1])  # of the radius, per displacement of the contacts
    fitted = math.hypot(*(part for key, part in size.contributions.items() if key.startswith("fit/")))
    assert fitted == pytest.approx(2.0 * NOISE * level, rel=1e-6)
    biased = [part for key, part in size.contributions.items() if key.endswith("/bias")]
    # one-sided sizes are shifted by noise, a minimum zone is pulled to both sides alike
    assert len(biased) == (0 if letters == "GC" else 1)
    # the largest of 80 errors has a mean of 2.4 sigma; the bound is not more than its 95 % quantile, 3.4, for a radius
    assert all(0.0 < part < 2.0 * 3.6 * NOISE / math.sqrt(3.0) for part in biased)


def test_ball_centres_are_compensated_after_the_fit() -> None:
    answer = known("cylindricity", "maximum_inscribed")
    tip = {"points_are": "ball_centre", "tip": ProbeTip(1.5, 0.0)}
    found = measure(answer.points, "cylinder", ["iso14405.GX", "iso1101.cylindricity"], material="outside", given=tip)
    size, form = found.measurements
    assert size.measured is not None and form.measured is not None
    assert size.measured.value == pytest.approx(44.0 + 3.0, abs=1e-11)  # a bore is larger than the path of the ball
    assert math.isfinite(form.measured.value)


def test_a_feature_that_already_has_the_criterion_is_fitted_once() -> None:
    answer = known("flatness")
    found = measure(answer.points, "plane", ["iso1101.flatness"], criterion="minimum_zone")
    assert [feature.request.name for feature in found.features] == ["f"]


def test_noise_above_the_gap_is_flagged() -> None:
    answer = known("flatness")
    found = measure(answer.points, "plane", ["iso1101.flatness"], given={"noise": 1e-3})
    assert "contacts_unstable" in found.measurements[0].flags


def test_orientation_by_hint_keeps_the_uncertainty() -> None:
    answer = known("cylindricity")
    ids = ["iso14405.GC"]
    up = measure(answer.points, "cylinder", ids, direction=(0.0, 0.0, 1.0)).features[1].uncertain
    down = measure(answer.points, "cylinder", ids, direction=(0.0, 0.0, -1.0)).features[1].uncertain
    assert up is not None and down is not None
    signs = np.array([1.0, -1.0, -1.0, 1.0, 1.0])  # u stays, v and w turn round
    assert np.allclose(down.covariance, up.covariance * np.outer(signs, signs), rtol=1e-9, atol=0.0)
