"""The virtual microscope and the virtual height-map instrument against closed forms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from metrology_core import HeightMap, Instrument
from metrology_core.blocks import threads
from metrology_core.errors import ParameterError, UnitError
from metrology_core.virtual import VirtualInstrument
from wafer.simulate import VirtualMicroscope, VirtualProfiler

N = 40  # edge points of one edge
PITCH, WIDTH = 32.0, 16.0


def edges(lines: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Edge points (n, 2) in nm of straight lines, left edges before right ones, and normals out of the lines."""
    y = np.arange(N) * 10.0
    rows = []
    for side in (0.0, WIDTH):
        rows += [np.column_stack([np.full(N, 40.0 + PITCH * k + side), y]) for k in range(lines)]
    out = np.repeat([[-1.0, 0.0], [1.0, 0.0]], lines * N, axis=0)
    return np.concatenate(rows), out


def sizes(moved: np.ndarray, lines: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Mean line width and mean pitch (T,) of simulated edges."""
    x = moved[:, :, 0].reshape(len(moved), 2, lines, N).mean(axis=3)
    width = (x[:, 1] - x[:, 0]).mean(axis=1)
    return width, (x[:, 0, -1] - x[:, 0, 0]) / (lines - 1)


def microscope(**changes: Any) -> VirtualMicroscope:
    return VirtualMicroscope("SEM-1", "nm", (400.0, 400.0), **changes)


def test_scale_and_edge_offset_act_as_they_must() -> None:
    m = microscope(scale_u=(0.004, 0.002), edge_offset_u=0.3)
    xy, out = edges()
    scale = m.simulate(xy, out, stop=3000, seed=1, only=["scale_x"])
    width, pitch = sizes(scale)
    # one factor for both, exactly: a width and a pitch of one image are fully correlated through its pixel size
    assert np.abs(width / WIDTH - pitch / PITCH).max() < 1e-12
    assert (pitch / PITCH - 1.0).std() == pytest.approx(0.004, rel=4.0 / math.sqrt(6000))
    width, pitch = sizes(m.simulate(xy, out, stop=3000, seed=1, only=["edge_offset"]))
    assert np.abs(pitch - PITCH).max() < 1e-12
    assert (width - WIDTH).std() == pytest.approx(0.6, rel=4.0 / math.sqrt(6000))
    tall = m.simulate(xy, out, stop=3000, seed=1, only=["scale_y"])
    assert np.array_equal(tall[:, :, 0], np.broadcast_to(xy[:, 0], tall.shape[:2]))


def test_noise_averages_over_the_edge_points_and_distortion_does_not() -> None:
    xy, out = edges()
    width, _ = sizes(microscope(noise=1.0).simulate(xy, out, stop=4000, seed=2))
    # 8 lines of two edges of 40 points
    assert width.std() == pytest.approx(math.sqrt(2.0 / (8 * N)), rel=4.0 / math.sqrt(8000))
    m = microscope(distortion_u=0.5)
    u = np.linspace(0.0, 400.0, 60)
    grid = np.stack(np.meshgrid(u, u), axis=-1).reshape(-1, 2)
    moved = m.simulate(grid, np.tile([[1.0, 0.0]], (len(grid), 1)), stop=2000, seed=3) - grid
    # root mean square over the image and the population; 7 functions a direction: a mean square of 14 terms a trial;
    # 60 points in place of the integral over the image: below 5 %, since polynomials are largest at the border
    assert math.sqrt((moved**2).mean()) == pytest.approx(0.5, rel=0.05)
    assert np.abs(sizes(m.simulate(xy, out, stop=20, seed=3))[1] - PITCH).max() > 1e-3


def test_the_declared_instrument_keeps_its_ids() -> None:
    declared = Instrument("SEM-1", "sem", unit="nm", scale_u=0.004, edge_offset_u=0.3, noise=0.5, distortion_u=0.2)
    m = VirtualMicroscope.from_instrument(declared, (400.0, 400.0), criterion="model")
    ids = {c.key: c.id for c in m.causes}
    assert ids["scale"] == declared.scale_influence().id and ids["edge_offset"] == "instrument/SEM-1/edge/model"
    assert set(ids) == {"scale", "distortion", "edge_offset", "noise"}
    each = VirtualMicroscope.from_instrument(declared, (400.0, 400.0), scale_u=(0.004, 0.002))
    named = {c.key: c.id for c in each.causes}
    assert [named["scale_x"], named["scale_y"]] == [declared.scale_influence(axis).id for axis in "xy"]
    assert isinstance(m, VirtualInstrument)
    with pytest.raises(ParameterError, match=r"\(n, 2\)"):
        m.simulate(np.zeros((3, 4)), np.zeros((3, 4)), stop=1)
    with pytest.raises(ParameterError, match="noise must not be negative"):
        microscope(noise=-1.0)


# --- heights
def step(height: float = 100.0, shape: tuple[int, int] = (24, 48)) -> HeightMap:
    z = np.zeros(shape)
    z[:, shape[1] // 2 :] = height
    return HeightMap(z, np.ones(shape, bool), (1.0, 1.0), "nm", "um")


def profiler(**changes: Any) -> VirtualProfiler:
    return VirtualProfiler("WLI-2", "nm", (-500.0, 500.0), **changes)


def test_a_z_scale_scales_steps_and_a_flat_keeps_its_flatness() -> None:
    drawn = profiler(z_scale_u=0.01).simulate(step(), stop=4000, seed=1)
    height = drawn[:, 0, -1] - drawn[:, 0, 0]
    assert height.std() == pytest.approx(1.0, rel=4.0 / math.sqrt(8000)) and height.mean() == pytest.approx(
        100.0, abs=0.07
    )
    flat = profiler(z_scale_u=0.01).simulate(step(0.0), stop=5, seed=1)
    assert np.ptp(flat, axis=(1, 2)).max() < 1e-12


def test_linearity_vanishes_at_the_ends_and_has_its_size_between() -> None:
    z = np.tile(np.linspace(-500.0, 500.0, 201), (2, 1))
    target = HeightMap(z, np.ones(z.shape, bool), (1.0, 1.0), "nm", "um")
    error = profiler(linearity_u=2.0).simulate(target, stop=4000, seed=2) - z
    assert np.abs(error[:, :, [0, -1]]).max() < 1e-12
    # four sines with mean square 1/2 each over the range (200 intervals: exact), 4 standard errors of 4 terms a trial
    assert math.sqrt((error[:, :, :-1] ** 2).mean()) == pytest.approx(2.0, rel=4.0 / math.sqrt(2.0 * 4 * 4000))


def test_flatness_has_its_size_and_no_tilt() -> None:
    target = step(0.0, (60, 60))
    error = profiler(flatness_u=3.0).simulate(target, stop=1500, seed=3)
    assert math.sqrt((error**2).mean()) == pytest.approx(3.0, rel=0.08)  # 60 samples for the integral at the border
    u = np.linspace(-1.0, 1.0, 60)
    tilt = np.einsum("tij,j->t", error, u) / (60 * (u**2).sum())
    assert np.abs(tilt).max() < 1.0  # the polynomials are orthogonal to tilts but for the sum in place of the integral


def test_a_lateral_scale_moves_the_step_and_not_its_height() -> None:
    drawn = profiler(lateral_u=(0.02, 0.0)).simulate(step(), stop=500, seed=4)
    assert np.nanmax(drawn) == 100.0 and np.nanmin(drawn) == 0.0
    with np.errstate(invalid="ignore"):
        # the first sample of the upper side is where 24 = x (1 + s): its place moves by 24 s
        place = np.array([np.interp(50.0, row[:47], np.arange(47)) for row in np.nan_to_num(drawn[:, 0], nan=100.0)])
    # bilinear: half height lies at 23.5 / (1 + s)
    assert place.std() == pytest.approx(23.5 * 0.02, rel=0.15)


def test_noise_of_samples_blocks_threads_and_masks() -> None:
    target = step()
    valid = np.ones(target.shape, bool)
    valid[3, 5] = False
    masked = HeightMap(target.z, valid, (1.0, 1.0), "nm", "um")
    m = profiler(noise=0.4, z_scale_u=0.01, flatness_u=1.0)
    whole = m.simulate(masked, stop=60, seed=5)
    assert np.isnan(whole[:, 3, 5]).all() and np.isnan(whole).sum() == 60
    with threads(3):
        parts = [m.simulate(masked, start=a, stop=b, seed=5) for a, b in ((0, 7), (7, 60))]
    assert np.array_equal(np.concatenate(parts), whole, equal_nan=True)
    only = m.simulate(target, stop=60, seed=5, only=["noise"]) - target.z
    assert only.std() == pytest.approx(0.4, rel=4.0 / math.sqrt(2.0 * only.size))
    assert [c.key for c in m.causes] == ["z_scale", "flatness", "noise"] and isinstance(m, VirtualInstrument)


def test_points_that_fill_their_field_may_lie_outside_it_by_a_thousandth() -> None:
    """A map that fills its field: the feet of its points on a tilted plane lie outside, by tilt times residual."""
    field = ((0.0, 0.0), (600.0, 400.0))
    known: dict[str, Any] = {"flatness_u": 3.0, "z_scale_u": 0.01, "field": field}
    up = np.tile([0.0, 0.0, 1.0], (2, 1))
    within = np.array([[0.0, 200.0, 0.0], [600.0, 400.0, 500.0]])
    near = within + np.array([[-0.5, 0.0, 0.0], [0.5, 0.3, 0.9]])
    a, b = profiler(**known).modes(within, up).fields, profiler(**known).modes(near, up).fields
    # the slope of a Legendre polynomial of degree 3 (norm 7**0.5) at the border is 6 * 7**0.5; over a half field
    assert np.abs(b - a).max() < 1.05 * 3.0 * (6.0 * 7.0**0.5 * 0.5 / 300.0 + 3.0 * 5.0**0.5 * 0.3 / 200.0)
    for far in ([-0.7, 200.0, 0.0], [300.0, 400.5, 0.0]):
        with pytest.raises(ParameterError, match="outside the field") as caught:
            profiler(**known).modes(np.array([far]), up[:1])
        assert "corners" in str(caught.value.remedy)
    with pytest.raises(ParameterError, match="beyond the range"):
        profiler(**known).modes(np.array([[300.0, 200.0, 501.1]]), up[:1])
    image = VirtualMicroscope("SEM-1", "nm", (2000.0, 1500.0), distortion_u=1.0, noise=0.1)
    image.modes(np.array([[-1.9, 0.0], [2000.0, 1501.4]]), np.array([[1.0, 0.0], [0.0, 1.0]]))
    with pytest.raises(ParameterError, match="outside the image"):
        image.modes(np.array([[-2.1, 0.0]]), np.array([[1.0, 0.0]]))


def test_wrong_heights_are_refused() -> None:
    with pytest.raises(ParameterError, match="beyond the range"):
        profiler(noise=0.1).simulate(step(900.0), stop=1)
    with pytest.raises(UnitError, match="the map is in nm"):
        VirtualProfiler("W", "um", (0.0, 1.0), noise=0.1).simulate(step(), stop=1)
    with pytest.raises(ParameterError, match="range or lateral"):
        VirtualProfiler("W", "um", (1.0, 0.0))
