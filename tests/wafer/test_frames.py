"""Stacks of frames, HDF5 images and side files; roughness from products of frames."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.accuracy.sem_edges import HIGH, LOW, model
from metrology_core.data import Image
from metrology_core.errors import DataError, ParameterError, ReaderError
from wafer import read_image
from wafer.characteristics import FRAME_IDS
from wafer.frames import (
    average_frames,
    cross_roughness,
    frame_drift,
    measure_frames,
    pair_products,
    read_frames,
    refuse_repeats,
)
from wafer.roughness import cross_curves, cross_spectra
from wafer.simulate import SemModel, simulate_lines


def noisy_frames(m: SemModel, count: int, seed: int, moves: tuple[tuple[int, int], ...] | None = None) -> list[Image]:
    """Frames of one field: the clean image of the simulator moved by whole pixels, each with noise of its own."""
    quiet = SemModel(**{**{f: getattr(m, f) for f in m.__dataclass_fields__}, "read_noise": 0.0,
                        "electrons_per_grey": float("inf"), "bits": 16})  # fmt: skip
    clean = simulate_lines(quiet, seed=seed).pixels.astype(np.float64)
    rng = np.random.default_rng(seed)
    frames = []
    for k in range(count):
        dx, dy = moves[k] if moves else (0, 0)
        ny, nx = clean.shape[0] - 8, clean.shape[1] - 8
        part = clean[4 - dy : 4 - dy + ny, 4 - dx : 4 - dx + nx]
        noise = np.sqrt(m.read_noise**2 + part / m.electrons_per_grey) * rng.standard_normal(part.shape)
        frames.append(Image(np.clip(part + noise, 0.0, 65535.0), "nm", m.pixel))
    return frames


def test_products_against_a_plain_double_loop() -> None:
    rng = np.random.default_rng(1)
    r = rng.normal(size=(3, 2, 40))
    r[1, 0, 5] = np.nan
    expected = []
    for n in range(2):
        pairs = []
        for i, j in itertools.combinations(range(3), 2):
            both = [(r[i, n, t], r[j, n, t]) for t in range(40) if np.isfinite(r[i, n, t]) and np.isfinite(r[j, n, t])]
            pairs.append(sum(a * b for a, b in both) / (len(both) - 2))
        expected.append(np.mean(pairs))
    np.testing.assert_allclose(pair_products(r, 2), expected, rtol=1e-12)


def test_drift_is_found_and_taken_off() -> None:
    moves = ((0, 0), (2, -1), (-3, 2))
    # a few straight lines only: the shift in y shows in their roughness
    frames = noisy_frames(model(8.0, 2.0, shape=(300, 300), sigma=1.6), 3, 5, moves)
    drift = frame_drift(frames)
    np.testing.assert_array_equal(drift.shifted[:, 0], [0, 2, -3])
    np.testing.assert_allclose(drift.shift[:, 0], [0, 2, -3], atol=0.1)  # noise of a correlation over 9e4 pixels
    image, _ = average_frames(frames)
    assert image.pixels.shape[1] == 292 - 5
    # Three frames: the noise falls by the root of three; differences of neighbouring rows, whose median leaves the
    # rough edges out (they take a fifth of the pixels and widen the tails of both).
    one, all_ = (float(np.median(np.abs(np.diff(p, axis=0)))) for p in (frames[0].pixels, image.pixels))
    assert one / all_ == pytest.approx(np.sqrt(3.0), rel=0.08)
    assert image.metadata["frames"] == "3"


def test_cross_roughness_needs_no_noise_model() -> None:
    """Truth: the box variance of the drawn edges. Noise of the edges here is nearly as large as their roughness."""
    m = model(4.0, 2.0, shape=(520, 808), sigma=0.8)
    ratios, hits = [], []
    for seed in range(4):
        frames = noisy_frames(m, 3, 40 + seed)
        drawn = simulate_lines(m, seed=40 + seed)  # the same edges: the noise has a stream of its own
        y = np.arange(512)
        w = (drawn.right - drawn.left)[:, 4:-4] * m.pixel[0]
        rest = w - np.array([np.polyval(np.polyfit(y, row, 1), y) for row in w])
        truth = float(np.sqrt(np.mean((rest**2).sum(axis=1) / 510)))
        got = cross_roughness(frames)[0]["sem.lwr_cross_1s"]
        ratios.append(got.value / truth)
        hits.append(abs(got.value - truth) < 3.0 * got.u)
    # the products' own noise: sigma_n^2 / sqrt(3 x 512 x 18 lines) against 2 sigma^2: 1 % for one image, 4 images
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.02)
    assert all(hits)


def test_cross_spectra_against_a_plain_double_loop() -> None:
    rng = np.random.default_rng(3)
    r = rng.normal(size=(3, 2, 64))
    pairs = list(itertools.combinations(range(3), 2))
    hat = np.fft.fft(r, axis=2)[:, :, 1:33]
    expected = np.mean([(hat[i] * hat[j].conj()).real / 64.0 for i, j in pairs], axis=0)
    np.testing.assert_allclose(cross_spectra(r), expected, rtol=1e-10, atol=1e-12)
    r[1, 0, :40] = np.nan  # one trace lost in one of three frames: its pairs share half of the rows
    assert np.isfinite(cross_spectra(r)).all()
    r[1:, 0] = np.nan
    assert np.isnan(cross_spectra(r)[0]).all() and np.isfinite(cross_spectra(r)[1]).all()


def test_cross_spectrum_is_that_of_the_edges_without_noise() -> None:
    """Against the mean periodogram of the drawn widths, which the evaluation never sees: three quarters of the bins and
    more lie within their own 95 % interval of it, and the noise floor of single frames is not there."""
    m = model(4.0, 2.0, shape=(520, 808), sigma=0.8)
    frames = noisy_frames(m, 3, 40)
    drawn = simulate_lines(m, seed=40)
    y = np.arange(512)
    w = (drawn.right - drawn.left)[:, 4:-4] * m.pixel[0]
    w = w[(drawn.left.mean(axis=1) > 6) & (drawn.right.mean(axis=1) < 802)]
    rest = w - np.array([np.polyval(np.polyfit(y, row, 1), y) for row in w])
    result = measure_frames(frames)
    view = next(v for v in result.spectra if v["name"] == "lwr")
    curve = {k: result.arrays[name] for k, name in view["curves"].items() if k.startswith("cross")}
    truth = cross_curves(np.abs(np.fft.rfft(rest, axis=1)[:, 1:257]) ** 2 / 512.0, 512, m.pixel[1], 1.0)
    inside = (truth["cross"] >= curve["cross_low"]) & (truth["cross"] <= curve["cross_high"])
    assert inside.mean() > 0.75
    np.testing.assert_allclose(curve["cross_frequency"], truth["cross_frequency"], rtol=1e-3)  # tilt of the lines
    # below the noise floor of a single frame, where the fit needs its model of the noise
    high = curve["cross_frequency"] > 0.2
    floor = result.arrays[view["curves"]["measured"]][-10:].mean()
    assert abs(curve["cross"][high].mean()) < 0.3 * floor


def test_measure_frames_adds_to_the_average() -> None:
    result = measure_frames(noisy_frames(model(4.0, 2.0, shape=(260, 640)), 2, 3))
    assert {"sem.pitch", *FRAME_IDS} <= set(result.measurements) and len(FRAME_IDS) == 4
    one, three = result.measurements["sem.lwr_cross_1s"], result.measurements["sem.lwr_cross_3s"]
    assert three.value == pytest.approx(3.0 * one.value) and three.u == pytest.approx(3.0 * one.u)
    assert result.details["frames"] == 2


def test_wrong_use_of_frames() -> None:
    frames = noisy_frames(model(4.0, 2.0, shape=(260, 640)), 2, 3)
    with pytest.raises(ParameterError):
        average_frames(frames[:1])
    with pytest.raises(ParameterError):
        cross_roughness(frames[:1])
    other = noisy_frames(model(4.0, 2.0, shape=(260, 640), pitch=50 * 0.8, cd=25 * 0.8), 1, 3)
    with pytest.raises(DataError, match="same lines"):
        cross_roughness([frames[0], other[0]])


def test_stacks_in_tiff_and_hdf5(tmp_path: Path) -> None:
    import h5py
    import tifffile

    stack = np.random.default_rng(2).integers(0, 255, (3, 40, 50)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "s.tif", stack, photometric="minisblack")
    with h5py.File(tmp_path / "s.h5", "w") as file:
        node = file.create_dataset("raw/frames", data=stack.astype(np.uint16))
        node.attrs["pixel_size"], node.attrs["unit"] = (0.8, 0.9), "nm"
    for name in ("s.tif", "s.h5"):
        frames = read_frames(tmp_path / name)
        np.testing.assert_array_equal(np.stack([f.pixels for f in frames]), stack)
    image = read_image(tmp_path / "s.h5")
    assert image.pixel_size == (0.8, 0.9) and {"multi_page", "pixel_size_from_file"} <= set(image.flags)
    assert image.source is not None and image.source.reader == "hdf5"
    with pytest.raises(ReaderError, match="frame"):
        read_image(tmp_path / "s.h5", page=7)
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["a"], file["b"] = stack[0], stack[1].astype(np.float32)
        file["b"].attrs["element_size_um"] = (1.0, 2e-3, 1e-3)
    with pytest.raises(ReaderError, match="just one image"):
        read_image(tmp_path / "two.h5")
    chosen = read_image(tmp_path / "two.h5", dataset="b", unit="nm")
    assert chosen.pixel_size == pytest.approx((1.0, 2.0)) and chosen.pixels.dtype == np.float32
    (tmp_path / "cut.h5").write_bytes((tmp_path / "two.h5").read_bytes()[:700])
    with pytest.raises(ReaderError):
        read_image(tmp_path / "cut.h5", dataset="b")


@pytest.mark.parametrize(
    ("text", "size", "place"),
    [
        ("[SemImageFile]\r\nSerialNumber=1234-05\r\nPixelSize=1.984375\r\n", 1.984375, "side file PixelSize"),
        ("$CM_INSTRUMENT JSM-7800F\n$$SM_MICRON_BAR 125\n$$SM_MICRON_MARKER 100nm\n", 0.8, "micron bar"),
        ("$CM_MAG 20000\n$$SM_MICRON_BAR 200\n$$SM_MICRON_MARKER 1um\n", 5.0, "micron bar"),
        ("notes about my samples\nfocus was good\n", None, ""),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_side_files(tmp_path: Path, text: str, size: float | None, place: str, encoding: str) -> None:
    import tifffile

    tifffile.imwrite(tmp_path / "a.tif", np.zeros((20, 20), np.uint32), photometric="minisblack")
    (tmp_path / "a.txt").write_bytes(text.encode(encoding))
    image = read_image(tmp_path / "a.tif")
    assert image.pixels.dtype == np.uint32
    if size is None:
        assert image.pixel_size is None
    else:
        assert image.pixel_size == pytest.approx((size, size), rel=1e-12)
        assert place in image.metadata["pixel_size_file"]


def test_a_repeated_frame_is_refused() -> None:
    a, b, c = noisy_frames(model(4.0, 2.0, shape=(260, 640)), 3, 3)
    brighter = replace(a, pixels=a.pixels + 7.0)
    for stack in ([a, a, a, a], [a, b, a], [b, a, c, brighter]):
        with pytest.raises(DataError, match="repeats a frame"):
            measure_frames(stack)
    refuse_repeats([a, b, c])


@pytest.mark.parametrize(("fresh", "flagged"), [(None, False), (0.02, True)])
def test_frames_that_share_noise_are_flagged(fresh: float | None, flagged: bool) -> None:
    """Frames with noise of their own, and one noisy frame stored four times with a trace of new noise (a fiftieth of
    the step): their products hold the noise of that frame, some eight combined uncertainties of the fit."""
    frames = noisy_frames(model(4.0, 2.0, shape=(260, 640)), 4, 3)
    if fresh is not None:
        rng = np.random.default_rng(1)
        noise = [rng.normal(0.0, fresh * (HIGH - LOW), frames[0].pixels.shape) for _ in frames]
        frames = [replace(frames[0], pixels=frames[0].pixels + n) for n in noise]
    result = measure_frames(frames)
    assert ("frames_not_independent" in result.flags) is flagged
    for name in FRAME_IDS:
        assert ("frames_not_independent" in result.measurements[name].flags) is flagged
    assert "frames_not_independent" not in result.measurements["sem.pitch"].flags
