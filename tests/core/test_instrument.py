"""The declared instrument: each figure becomes one named influence, and calibration is judged by the acquisition
time."""

from __future__ import annotations

import math
from datetime import datetime

import pytest

from metrology_core.errors import ParameterError, UnitError
from metrology_core.instrument import Instrument

CMM = Instrument(
    "CMM-07",
    "cmm",
    mpe_constant=1.5e-3,
    mpe_per_length=3e-6,
    noise=4e-4,
    temperature=20.3,
    temperature_u=0.2,
    expansion=11.5e-6,
    expansion_u=1e-6,
    valid_until="2027-06-30",
)


def test_the_length_error_is_rectangular_within_the_mpe() -> None:
    ((row, part),) = CMM.length_contribution(100.0, "bore").items()
    assert part == (1.5e-3 + 3e-6 * 100.0) / math.sqrt(3.0)
    assert (row.id, row.kind, row.distribution) == ("instrument/CMM-07/length/bore", "B", "rectangular")
    assert CMM.length_contribution(-100.0, "bore")[row] == part


def test_thermal_influences_are_common_to_all_lengths() -> None:
    a, b = CMM.thermal_contribution(100.0), CMM.thermal_contribution(50.0)
    assert set(a) == set(b)
    by_id = {row.id: part for row, part in a.items()}
    # two or three roundings of a product
    assert by_id["instrument/CMM-07/temperature"] == pytest.approx(100.0 * 11.5e-6 * 0.2, rel=1e-15)
    assert by_id["instrument/CMM-07/expansion"] == pytest.approx(100.0 * 0.3 * 1e-6, rel=1e-13)  # 20.3 - 20.0 rounds


def test_what_is_not_declared_adds_nothing() -> None:
    bare = Instrument("x", "cmm")
    assert bare.length_contribution(100.0, "bore") == {}
    assert bare.thermal_contribution(100.0) == {}
    assert bare.calibration_flags(None) == ()
    assert bare.to_dict() == {"id": "x", "type": "cmm", "unit": "mm"}


@pytest.mark.parametrize(
    ("time", "flags"),
    [
        ("2027-06-30T23:59:00+00:00", ()),
        ("2027-07-01T00:00:00+00:00", ("calibration_expired",)),
        (None, ("calibration_date_unknown",)),
    ],
)
def test_calibration_is_judged_by_the_time_of_the_measurement(time: str | None, flags: tuple[str, ...]) -> None:
    assert CMM.calibration_flags(None if time is None else datetime.fromisoformat(time)) == flags


@pytest.mark.parametrize(
    "changes",
    [{"noise": -1.0}, {"mpe_constant": math.nan}, {"valid_until": "next year"}, {"id": ""}, {"scale_u": math.inf}],
)
def test_impossible_figures_are_refused(changes: dict) -> None:
    with pytest.raises(ParameterError):
        Instrument(**{"id": "x", "type": "cmm", **changes})


def test_its_unit_is_a_length() -> None:
    with pytest.raises(UnitError):
        Instrument("x", "cmm", unit="deg")
