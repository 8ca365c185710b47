"""Frames that drifted, repeat one another, show another field or nothing: told apart, or said not to be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.accuracy.sem_edges import HIGH, LOW, model
from metrology_core.data import Image
from metrology_core.errors import DataError
from wafer.characteristics import FRAME_IDS
from wafer.frame_drift import frame_drift
from wafer.frame_noise import SHARED, shared_noise
from wafer.frames import measure_frames
from wafer.lines.evaluate import SemLineSettings
from wafer.simulate import SemModel, simulate_lines

MARGIN = 48  # px around the frames: whole pixels of drift come from another part of one drawn field
STILL = ((0, 0),) * 4


def drifting(m: SemModel, moves: Sequence[tuple[int, int]], seed: int, *, eight: bool = False) -> list[Image]:
    """Frames of one drawn field, (dx, dy) pixels apart, each with noise of its own; ``eight``: rounded to 8 bit."""
    ny, nx = m.shape
    clean = simulate_lines(
        m, seed=seed, shape=(ny + 2 * MARGIN, nx + 2 * MARGIN), read_noise=0.0, electrons_per_grey=float("inf")
    ).pixels.astype(np.float64)
    rng = np.random.default_rng(seed)
    frames = []
    for dx, dy in moves:
        part = clean[MARGIN - dy : MARGIN - dy + ny, MARGIN - dx : MARGIN - dx + nx]
        noisy = part + np.sqrt(m.read_noise**2 + part / m.electrons_per_grey) * rng.standard_normal(part.shape)
        if eight:
            noisy = np.clip(np.rint(60.0 + 90.0 * (noisy - LOW) / (HIGH - LOW)), 0, 255).astype(np.uint8)
        frames.append(Image(noisy, "nm", m.pixel))
    return frames


def more_noise(frame: Image, sd: float, seed: int) -> Image:
    return replace(frame, pixels=frame.pixels + np.random.default_rng(seed).normal(0.0, sd, frame.pixels.shape))


def test_drift_against_a_slow_search() -> None:
    """The whole pixels of drift are those of the smallest mean square difference of two hardly noisy frames."""
    a, b = drifting(model(8.0, 2.0, shape=(120, 160), sigma=1.2), ((0, 0), (-9, 4)), 21)
    best, place = np.inf, (0, 0)
    for dy in range(-12, 13):
        for dx in range(-20, 21):
            ya, yb, xa, xb = max(0, -dy), max(0, dy), max(0, -dx), max(0, dx)
            h, w = 120 - abs(dy), 160 - abs(dx)
            d = float(np.mean((a.pixels[ya : ya + h, xa : xa + w] - b.pixels[yb : yb + h, xb : xb + w]) ** 2))
            if d < best:
                best, place = d, (dx, dy)
    drift = frame_drift([a, b])
    assert place == (-9, 4)
    np.testing.assert_array_equal(drift.shifted[1], place)
    assert drift.known.all()


@pytest.mark.parametrize("cnr", [4.0, 1.2])
@pytest.mark.parametrize("orientation", ["vertical", "horizontal"])
def test_drift_of_any_part_of_a_pitch_and_more_than_one(cnr: float, orientation: str) -> None:
    """Pitch 40 px: 7 px was refused, 33 and 43 px look like -7 and 3 px to the lattice."""
    moves = ((0, 0), (7, 3), (33, -9), (-43, 11))
    frames = drifting(model(cnr, 2.0, shape=(300, 400), sigma=1.0), moves, 22)
    if orientation == "horizontal":
        frames = [Image(f.pixels.T, "nm", f.pixel_size) for f in frames]
    drift = frame_drift(frames, orientation=orientation)  # type: ignore[arg-type]
    found = drift.shift[:, ::-1] if orientation == "horizontal" else drift.shift
    assert drift.known.all()
    # across: mean profiles over 300 rows, the noise of 10 lines; along: a tenth of the length of roughness (12 px)
    np.testing.assert_allclose(found[:, 0], [m[0] for m in moves], atol=0.15)
    np.testing.assert_allclose(found[:, 1], [m[1] for m in moves], atol=1.2)
    result = measure_frames(frames, SemLineSettings(orientation=orientation))  # type: ignore[arg-type]
    truth = 1.0 * np.sqrt(2.0)  # nm, of an infinite line; within the box a few percent less
    cross = result.measurements["sem.lwr_cross_1s"]
    assert abs(cross.value - truth) < 0.1 * truth + 3.0 * cross.u
    assert not {"frame_drift_ambiguous", "frames_not_independent", "frames_differ"} & set(result.flags)


def test_tilted_lines_and_whole_numbers() -> None:
    moves = ((0, 0), (7, -8), (28, 11))
    frames = drifting(model(4.0, 2.0, shape=(300, 400), sigma=1.0, tilt=0.05), moves, 23, eight=True)
    drift = frame_drift(frames)
    assert drift.known.all()
    np.testing.assert_allclose(drift.shift, moves, atol=0.6)  # along the lines, as above


def test_a_drift_that_nothing_shows_is_said_to_be_unknown() -> None:
    """Straight lines look the same one pitch further on, and anywhere along themselves."""
    frames = drifting(model(4.0, 2.0, shape=(200, 400), sigma=0.0), ((0, 0), (33, 5)), 24)
    drift = frame_drift(frames)
    assert not drift.known[1]
    np.testing.assert_allclose(drift.shift[1], (-7.0, 0.0), atol=0.1)  # the smallest that fits
    result = measure_frames(frames)
    assert "frame_drift_ambiguous" in result.flags
    assert "frame_drift_ambiguous" in result.measurements["sem.lwr_biased_1s"].flags
    assert "frame_drift_ambiguous" not in result.measurements["sem.cd_line"].flags


@pytest.mark.parametrize("cnr", [4.0, 1.2])
@pytest.mark.parametrize("share", [0.02, 1.0, 2.0])
def test_a_frame_that_is_another_with_new_noise_is_flagged(cnr: float, share: float) -> None:
    """New noise of ``share`` times the old: the noise of the two correlates by 1 / sqrt(1 + share^2) and no less."""
    m = model(cnr, 2.0, shape=(300, 400), sigma=1.0)
    frames = drifting(m, STILL, 25)
    frames[3] = more_noise(frames[0], share * (HIGH - LOW) / cnr, 5)
    result = measure_frames(frames)
    assert "frames_not_independent" in result.flags
    (one, other, shared), *rest = result.details["frames_alike"]
    assert (one, other, rest) == (1, 4, [])
    assert shared == pytest.approx(1.0 / np.hypot(1.0, share), abs=0.05)  # the noise of both sides differs a little
    assert all("frames_not_independent" in result.measurements[name].flags for name in FRAME_IDS)


def test_running_averages_and_a_moved_repeat_are_flagged() -> None:
    frames = drifting(model(2.0, 2.0, shape=(300, 400), sigma=1.0), STILL, 26)
    running = [replace(f, pixels=np.mean([g.pixels for g in frames[: k + 1]], axis=0)) for k, f in enumerate(frames)]
    assert "frames_not_independent" in measure_frames(running).flags
    moved = replace(frames[0], pixels=np.roll(frames[0].pixels, (2, 5), axis=(0, 1)))
    found = measure_frames([*frames[:2], more_noise(moved, 1000.0, 6)])
    assert found.details["frames_alike"][0][:2] == [1, 3]


def test_independent_frames_do_not_look_alike() -> None:
    """A slow detector joins the pixels of a row, roughness and pattern are shared: the noise does not correlate. 28
    pairs of each of 4 fields."""
    from scipy.ndimage import gaussian_filter1d

    worst = []
    for seed in range(4):
        m = model(1.5, 2.0, shape=(200, 300), sigma=1.2)
        clean = simulate_lines(m, seed=seed, read_noise=0.0, electrons_per_grey=float("inf")).pixels.astype(float)
        rng = np.random.default_rng(seed)
        frames = []
        for _ in range(8):
            noise = gaussian_filter1d(rng.normal(0.0, 8000.0, clean.shape), 0.7, axis=1)
            frames.append(Image(np.rint((clean + noise) / 400.0) * 400.0, "nm", m.pixel))  # some 30 grey levels
        found = shared_noise(frames, np.zeros((8, 2), np.int64))
        assert not found.pairs
        worst.append(float(np.max(found.correlation - np.eye(8))))
    assert max(worst) < 3.0 * SHARED  # and that is what a small frame allows


def test_other_fields_are_refused_or_flagged() -> None:
    m = model(4.0, 2.0, shape=(300, 400), sigma=1.0)
    frames, other = drifting(m, STILL, 27), drifting(m, STILL, 28)
    with pytest.raises(DataError, match="same edges") as caught:
        measure_frames([*frames[:2], other[2], frames[3]])
    assert "frame 3" in str(caught.value.got)
    two = measure_frames([frames[0], other[1]])
    assert {"frames_differ", "frame_drift_ambiguous"} <= set(two.flags)
    assert "frames_differ" in two.measurements["sem.lwr_unbiased_1s"].flags
    with pytest.raises(DataError, match="same lines"):
        wide = drifting(replace(m, pitch=50 * 0.8, cd=25 * 0.8), STILL, 27)
        measure_frames([frames[0], wide[0]])


def test_blank_and_broken_frames_are_named() -> None:
    m = model(4.0, 2.0, shape=(300, 400), sigma=1.0)
    a, b, c, _ = drifting(m, STILL, 29)
    with pytest.raises(DataError, match="blank") as caught:
        measure_frames([a, b, replace(c, pixels=np.full(c.pixels.shape, LOW))])
    assert "frame 3" in str(caught.value.got)
    with pytest.raises(DataError, match="frame 2: the image is blank"):
        measure_frames([a, more_noise(replace(b, pixels=np.full(b.pixels.shape, LOW)), 3000.0, 1), c])
    half = c.pixels.copy()
    half[200:] = 0.0
    with pytest.raises(DataError, match="not complete") as caught:
        measure_frames([a, b, replace(c, pixels=half)])
    assert "100 of 300 rows of frame 3" in str(caught.value.got)


def test_gain_between_frames_and_an_area_do_not_matter() -> None:
    frames = drifting(model(4.0, 2.0, shape=(320, 440), sigma=1.0), ((0, 0), (7, 3), (-4, 2)), 30)
    plain = measure_frames(frames)
    gains = [replace(f, pixels=offset + gain * f.pixels) for f, gain, offset in
             zip(frames, (1.0, 1.3, 0.7), (0.0, 0.0, 3000.0), strict=True)]  # fmt: skip
    other = measure_frames(gains)
    for name in ("sem.lwr_cross_1s", "sem.pitch"):  # the same edges in each frame; those of the average move little
        one, two = plain.measurements[name], other.measurements[name]
        assert abs(one.value - two.value) < 0.2 * one.u
    part = measure_frames(frames, SemLineSettings(rows=(10, 310), columns=(20, 420)))
    cross = part.measurements["sem.lwr_cross_1s"]
    assert abs(cross.value - plain.measurements["sem.lwr_cross_1s"].value) < 3.0 * cross.u
