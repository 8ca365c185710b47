"""Contours of arbitrary shapes: closed forms, simulated truth with coverage, registration, line ends, defects."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.accuracy.sem_contours import signed_distance, trial, true_errors
from metrology_core.data import Image
from metrology_core.errors import DataError, ParameterError, ReaderError
from metrology_core.instrument import Instrument
from wafer.contours.closed import area_of_contour
from wafer.contours.design import Design, edges_of, read_design
from wafer.contours.evaluate import ContourResult, ContourSettings, measure_contours
from wafer.contours.functionals import Functionals
from wafer.contours.grey import grey_noise
from wafer.contours.registration import raster
from wafer.contours.seeds import find_seeds, split_grey
from wafer.contours.trace import trace
from wafer.simulate.shapes import (
    ShapeImage,
    coverage,
    disc,
    elbows,
    holes,
    line_ends,
    rectangle,
    simulate_shapes,
)
from wafer.visible import refuse_noise

CLEAN: dict[str, Any] = {"electrons_per_grey": math.inf, "read_noise": 0.0, "bits": 16,
                         "low_level": 5000.0, "high_level": 45000.0}  # fmt: skip


def measured(image: ShapeImage, instrument: Instrument | None = None, **settings: Any) -> ContourResult:
    settings.setdefault("origin", (0.0, 0.0))
    return measure_contours(
        Image(image.pixels, "nm", image.model.pixel), ContourSettings(**settings), design=Design(image.design, "nm"),
        instrument=instrument,
    )  # fmt: skip


# --- closed forms
def test_coverage_is_exact_and_agrees_with_a_slow_twin() -> None:
    """Total of the shares = area of the polygon (closed form, rounding only); each share against 64 x 64 points per
    pixel, whose own error is at most the perimeter of a cell over 64."""
    ring = disc(6.3, 9.2, 8.7, count=30) * (1.0, 0.8)
    hole = rectangle(7.1, 5.3, 10.4, 8.8)
    found = coverage([ring, hole[::-1]], (16, 20))
    area = math.pi * 6.3**2 * 0.8 - 3.3 * 3.5
    assert found.sum() == pytest.approx(area, rel=1e-12)
    n = 64
    y, x = (np.mgrid[0 : 16 * n, 0 : 20 * n] + 0.5) / n

    def inside(p: np.ndarray) -> np.ndarray:
        result = np.zeros(x.shape, bool)
        for (ax, ay), (bx, by) in zip(p, np.roll(p, -1, axis=0), strict=True):
            if ay != by:
                result ^= ((ay > y) != (by > y)) & (x < ax + (y - ay) / (by - ay) * (bx - ax))
        return result

    slow = (inside(ring) & ~inside(hole)).reshape(16, n, 20, n).mean(axis=(1, 3))
    assert np.abs(found - slow).max() < 4.0 / n


def test_coverage_of_polygons_that_leave_the_image() -> None:
    """Parts outside count nothing, whatever side they leave by: against the clipped rectangle."""
    found = coverage([rectangle(-5.0, -3.0, 4.5, 30.0)], (6, 8))
    expected = np.zeros((6, 8))
    expected[:, :4], expected[:, 4] = 1.0, 0.5
    assert np.abs(found - expected).max() < 1e-12
    tilted = np.array(((-4.0, 2.0), (3.0, -5.0), (14.0, 5.0), (4.0, 12.0)))
    far = coverage([tilted + 20.0], (46, 54))
    assert np.abs(coverage([tilted], (6, 8)) - far[20:26, 20:28]).max() < 1e-12


@pytest.mark.parametrize("n", [24, 60])
def test_area_of_a_contour(n: int) -> None:
    """An ellipse by vertices at even parameter: fourth order, so 24 vertices give 2e-3 and 60 give 5e-5 (chords: 1e-2,
    2e-3); the gradient against finite differences."""
    t = 2.0 * math.pi * np.arange(n) / n
    place = np.column_stack((30.0 * np.cos(t), 20.0 * np.sin(t)))
    area, gradient = area_of_contour(place)
    assert area == pytest.approx(math.pi * 600.0, rel=1.4 * (2.0 * math.pi / n) ** 4 / 30.0 * 2.0)
    for i, k in ((0, 0), (5, 1), (11, 0)):
        moved = place.copy()
        moved[i, k] += 1e-4
        assert (area_of_contour(moved)[0] - area) / 1e-4 == pytest.approx(gradient[i, k], abs=1e-3)


def test_disc_area_and_its_uncertainty() -> None:
    """Discs of 24 px radius. The beam moves the half level of a disc inward by s^2 / (2 r) (Laplacian of the blurred
    step): known, so the closed form is 2 r - s^2 / r. 25 discs, noise of each as propagated: mean within 4 standard
    uncertainties, scatter between the quantiles of chi-squared at 1e-3."""
    px, r, blur = 0.8, 19.2, 1.6
    places = [(x, y) for x in (-140, -70, 0, 70, 140) for y in (-140, -70, 0, 70, 140)]
    image = simulate_shapes([disc(r, x + 0.13 * i, y) for i, (x, y) in enumerate(places)], seed=3, blur=blur)
    result = measure_contours(Image(image.pixels, "nm", (px, px)), ContourSettings(criterion="model"))
    rows = [row for row in result.contours if row.get("feature")]
    assert len(rows) == 25 and result.flags == ("repeatability_only",)
    error = np.array([row["diameter_area"] for row in rows]) - (2.0 * r - blur**2 / r)
    u = np.array([row["diameter_area_u"] for row in rows])
    assert abs(error.mean()) < 4.0 * math.sqrt(float(np.mean(u**2)) / 25) + 0.01  # 0.01: next order of the beam term
    z = (error - error.mean()) / u
    assert 8.6 < float(z @ z) < 51.0
    assert result.measurements["sem.contour_diameter_area"].value == pytest.approx(2.0 * r - blur**2 / r, abs=0.03)


def test_noise_of_combinations_is_that_of_repeated_images() -> None:
    """Covariance of the mean edge and of a single vertex over 60 repeats of the noise against the propagated ones:
    standard deviations within 30 % (60 repeats: 9 % standard error), with correlated neighbours in the image's rows."""
    base = simulate_shapes([disc(14.0)], seed=1, shape=(64, 64), **CLEAN).pixels / 400.0
    stream = np.random.Generator(np.random.PCG64(5))
    split = split_grey(base)
    seeds = find_seeds(base, 2.0, "bright", split)
    n = seeds.x.size
    rows = np.zeros((2, n))
    rows[0], rows[1, 7] = 1.0 / n, 1.0
    values, predicted = [], []
    for _ in range(60):
        white = stream.standard_normal((64, 65))
        noisy = np.ascontiguousarray(base + 6.0 * (0.9 * white[:, 1:] + 0.436 * white[:, :-1]))
        noise = grey_noise(noisy)
        found = trace(noisy, seeds, noise, spacing=2.0, criterion="model", level=0.5)
        values.append(rows @ found.edge)
        predicted.append(np.diag(Functionals(noisy, found, noise).covariance(rows)))
        assert found.u[7] == pytest.approx(math.sqrt(predicted[-1][1]), rel=0.1)  # own strip, zero of all apart
    sd, u = np.std(values, axis=0, ddof=1), np.sqrt(np.mean(predicted, axis=0))
    assert np.all(np.abs(sd / u - 1.0) < 0.3)


def test_a_shifted_square_has_the_error_of_its_shift() -> None:
    """Without noise: a square drawn 2 nm larger on each side and elsewhere than the design says. The place is found to
    2e-3 nm, each error is the bias to 0.02 nm away from corners (rounding of the beam ends there)."""
    image = simulate_shapes(
        [rectangle(-100, -90, 80, 100), rectangle(120, -100, 180, 60)], seed=1, bias=2.0, shift=(4.37, -6.21), **CLEAN
    )
    result = measured(image, corner=12.0)
    where = result.registration
    assert where is not None
    assert (where["x"], where["y"]) == pytest.approx((4.37, -6.21), abs=2e-3)
    v = result.vertices
    epe = v["epe"][v["kind"] == 0]
    assert epe.size > 200 and np.abs(epe - 2.0).max() < 0.02
    assert result.measurements["sem.epe_mean"].value == pytest.approx(2.0, abs=5e-3)


# --- simulated truth
@pytest.mark.parametrize(
    ("pattern", "case"), [("elbows", "dose 1"), ("line ends", "dose 0.3"), ("holes", "rotated, scaled")]
)
def test_errors_and_their_intervals(pattern: str, case: str) -> None:
    """Two images each, rough edges: thousands of vertices. Intervals hold 95 % of true values; errors of one image
    share its registration, so single images vary by 2 % (python -m benchmarks.accuracy.sem_contours): 90 to 98."""
    parts = [trial(pattern, case, seed) for seed in (11, 12)]
    error, u = (np.concatenate([p[k] for p in parts]) for k in (0, 1))
    assert error.size > 1000
    assert 0.90 < np.mean(np.abs(error) < 1.96 * u) < 0.98
    assert abs(error.mean()) < 0.08  # a tenth of a pixel: the registration of two images
    for _, _, result in parts:
        assert not {"contours_lost", "missing_shapes", "broken_shapes", "bridged_shapes"} & set(result.flags)


def test_line_ends_against_the_drawn_shape() -> None:
    """Noise-free and noisy against the same parabola through the drawn contour: pull-back and gap of every end."""
    design = line_ends(4, 26.0, 60.0, 34.0)
    settings: dict[str, Any] = {"pullback": 5.0, "end_width": 30.0, "corner_radius": 9.0, "shift": (2.2, 3.7),
                                "roughness": 0.4, "correlation_length": 25.0, "hurst": 1.0}  # fmt: skip
    image = simulate_shapes(design, seed=8, **settings)
    result = measured(image)
    assert result.flags == ("registration_by_line_ends", "repeatability_only")
    z = []
    for tip in result.tips:
        ring = min(image.polygons, key=lambda p: float(np.min(np.hypot(*(p - (tip["x"], tip["y"])).T))))
        axis = np.array((tip["axis"][0], tip["axis"][1]))
        middle_x = tip["x"]
        near = ring[(np.abs(ring[:, 0] - middle_x) < 0.25 * 26.0 / 0.8) & ((ring - (tip["x"], tip["y"])) @ axis > -6.0)]
        s = (near[:, 0] - middle_x) / 8.0
        parabola = np.linalg.lstsq(np.column_stack((np.ones_like(s), s, s * s)), near[:, 1], rcond=None)[0]
        z.append((tip["y"] - parabola[0]) * 0.8)
    # vertices of an end: 0.2 nm each, seven of them under a parabola: 0.11 nm; the beam takes s^2/(2 r) = 0.14 nm
    # off a rounded end, to either side, which does not shift the mean of both kinds of ends
    assert len(z) == 8 and np.abs(z).max() < 0.6 and abs(float(np.mean(z))) < 0.15
    assert len(result.gaps) == 4
    for gap in result.gaps:
        a, b = (result.tips[i] for i in gap["tips"])
        assert gap["value"] == pytest.approx(abs(a["y"] - b["y"]) * 0.8, abs=1e-9)
        assert gap["value"] == pytest.approx(gap["design"] + a["pullback"] + b["pullback"], abs=1e-9)
        assert 0.05 < gap["u"] < 0.5
    assert result.measurements["sem.pullback"].value == pytest.approx(5.0, abs=0.6)  # roughness of the ends
    assert result.measurements["sem.tip_to_tip"].value == pytest.approx(44.0, abs=1.0)


def test_rotation_and_scale_are_found_when_asked_for() -> None:
    image = simulate_shapes(elbows(), seed=2, rotation=0.6, scale=0.005, shift=(6.0, -3.0), **CLEAN)
    where = measured(image, free=("rotation", "scale")).registration
    assert where is not None
    # corners that the beam has rounded are left out; what is left of them is below 1e-2 nm
    assert where["rotation_deg"] == pytest.approx(0.6, abs=2e-3)
    assert where["scale"] == pytest.approx(0.005, abs=1e-4)
    assert (where["x"], where["y"]) == pytest.approx((6.0, -3.0), abs=0.03)
    fixed = measured(image)
    assert fixed.measurements["sem.epe_1s"].value > 0.3  # 0.6 degrees over 200 nm cannot hide


def test_scale_and_criterion_enter_the_budget() -> None:
    """A pixel known to 1 % moves an edge 150 nm from the middle by 1.5 nm less what the place follows."""
    image = simulate_shapes([rectangle(-150, -150, 150, 150)], seed=2)
    plain = measured(image)
    tool = Instrument("sem", "CD-SEM", unit="nm", scale_u=0.01, edge_offset_u=0.7)
    known = measured(image, tool)
    at = known.vertices["kind"] == 0
    assert "repeatability_only" in plain.flags and "repeatability_only" not in known.flags
    expected = math.hypot(1.5, 0.7)
    assert np.median(known.vertices["epe_u"][at]) == pytest.approx(expected, rel=0.02)
    rows = {row.label: row.contribution for row in known.measurements["sem.epe_mean"].budget()}
    assert rows["offset of the edge criterion threshold"] == pytest.approx(0.7)
    # a growing scale makes all four edges stand 1.5 nm out
    assert abs(rows["pixel size, x and y alike"]) == pytest.approx(1.5, rel=0.03)


def test_defects_are_counted_and_named() -> None:
    image = simulate_shapes(
        holes(4, 4, 44.0, 88.0), seed=4, corner_radius=10.0, missing=(5,),
        bridges=((-132.0, -132.0, -44.0, -132.0, 16.0),), breaks=((100.0, 132.0, 164.0, 132.0, 14.0),),
    )  # fmt: skip
    result = measured(image)
    counts = result.shapes["counts"]
    assert (counts["missing"], counts["bridged"], counts["broken"], counts["found"]) == (1, 2, 1, 12)
    assert {"missing_shapes", "bridged_shapes", "broken_shapes"} <= set(result.flags)
    rate = result.shapes["rates"]["missing"]
    assert rate["low"] == pytest.approx(1.0 - 0.975 ** (1 / 16)) and rate["of"] == 16  # exact binomial, one of n
    assert {row["state"] for row in result.shapes["marked"]} == {"missing", "bridged", "broken"}


def test_dark_features_and_a_charged_distorted_field() -> None:
    """Holes in a bright film; charging leaves the contours in place, distortion shows in the errors."""
    image = simulate_shapes(holes(4, 4, 50.0, 88.0), seed=6, bright=False, corner_radius=8.0, charging=0.1)
    result = measured(image, corner=14.0)
    assert result.details["polarity"] == "dark"
    assert abs(result.measurements["sem.epe_mean"].value) < 0.15  # a tenth of the step, over 40 nm: a slope at the edge
    bent = simulate_shapes(elbows(), seed=6, distortion=(6.0, 0.0), **CLEAN)
    error = true_errors(bent, measured(bent, limit=20.0))[0]
    assert np.abs(error - error.mean()).max() < 0.6  # the truth knows the distortion; the registration follows its mean


def test_border_and_lost_vertices_are_marked() -> None:
    image = simulate_shapes(elbows(), seed=1)
    v = measured(image).vertices
    assert np.isnan(v["x"][v["state"] != 0]).all() and np.isfinite(v["x"][v["state"] == 0]).all()
    assert (v["state"] == 2).sum() >= 8  # both ends of the lines leave the image


# --- wrong use and bad data
def test_bad_images_and_designs(tmp_path: Path) -> None:
    flat = Image(np.full((64, 64), 7, np.uint8), "nm", (0.8, 0.8))
    with pytest.raises(DataError, match="blank"):
        measure_contours(flat)
    with pytest.raises(ParameterError, match="pixel size"):
        measure_contours(Image(flat.pixels, "nm", None))
    image = simulate_shapes(elbows(), seed=1)
    picture = Image(image.pixels, "nm", (0.8, 0.8))
    with pytest.raises(DataError, match="does not fit"):
        measure_contours(
            picture, ContourSettings(origin=(0.0, 0.0)), design=Design((rectangle(-9, -200, 9, 200),), "nm")
        )
    with pytest.raises(DataError, match="does not lie in the image"):
        measure_contours(picture, ContourSettings(origin=(1e6, 0.0)), design=Design(image.design, "nm"))
    with pytest.raises(ParameterError, match="overlap"):
        twice = (*image.design, image.design[0])
        measure_contours(picture, ContourSettings(origin=(0.0, 0.0)), design=Design(twice, "nm"))
    with pytest.raises(ParameterError, match="area"):
        Design((np.array(((0.0, 0.0), (1.0, 1.0), (2.0, 2.0))),), "nm")
    for settings in ({"criterion": "best"}, {"level": 0.99}, {"free": ("shear",)}, {"limit": -1.0}, {"spacing": 99.0}):
        with pytest.raises(ParameterError):
            ContourSettings(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_grey_values_that_are_no_numbers_are_refused(bad: float) -> None:
    pixels = simulate_shapes([disc(24.0)], seed=2, shape=(128, 128)).pixels.astype(np.float32)
    pixels[50, 60] = bad
    with pytest.raises(DataError, match="NaN or infinite") as caught:
        measure_contours(Image(pixels, "nm", (0.8, 0.8)))
    assert caught.value.got == "1 others"


def test_a_drawn_data_bar_is_refused_and_its_rows_can_be_left_out() -> None:
    pixels = simulate_shapes([disc(24.0)], seed=2, shape=(160, 160)).pixels.copy()
    pixels[128:] = 0
    pixels[138:150, 20:60] = 255
    with pytest.raises(DataError, match="drawn data bar") as caught:
        measure_contours(Image(pixels, "nm", (0.8, 0.8)))
    assert caught.value.remedy == "choose rows 0:128"
    found = measure_contours(Image(pixels, "nm", (0.8, 0.8)), ContourSettings(rows=(0, 128)))
    # 0.3 nm: over four standard uncertainties of a single disc; the beam takes 1.6^2 / 24
    assert found.measurements["sem.contour_diameter_area"].value == pytest.approx(48.0 - 1.6**2 / 24.0, abs=0.3)


def test_grey_values_that_were_changed_are_flagged() -> None:
    """Resampled: rows between rows are alike. Three times the contrast, cut at both ends of 8 bits: the level between
    the plateaus is no longer that of the image."""
    from scipy.ndimage import zoom

    pixels = simulate_shapes([disc(24.0)], seed=2, shape=(160, 160)).pixels
    larger = zoom(pixels.astype(float), 1.4, order=3, mode="nearest", grid_mode=True)
    hard = np.clip((pixels.astype(float) - 60.0) * 3.0, 0, 255).astype(np.uint8)
    wanted = ("rows_share_noise", "saturated")
    for grey, size, expected in ((pixels, 0.8, ()), (larger, 0.8 / 1.4, wanted[:1]), (hard, 0.8, wanted[1:])):
        found = measure_contours(Image(grey, "nm", (size, size)))
        assert tuple(f for f in wanted if f in found.flags) == expected
        assert all(f in m.flags for m in found.measurements.values() for f in expected)


@pytest.mark.parametrize(("bright", "bloom_length"), [(True, 8.0), (False, 3.0)])
def test_a_shape_has_one_diameter_at_every_magnification(bright: bool, bloom_length: float) -> None:
    """The same discs and the same beam in nanometres, drawn with pixels of 0.57, 0.8 and 1.14 nm: with plateaus from 6
    to 10 px the diameters lay 0.26 nm apart. 0.09 nm: noise of each (0.01 nm), the mean over each pixel and over the
    stretch of a vertex (0.04 nm at 1.14 nm), the integer depth."""
    discs = [disc(12.0, x, y) for x in (-72.0, -24.0, 24.0, 72.0) for y in (-72.0, -24.0, 24.0, 72.0)]
    found = {}
    for pixel in (0.8 / 1.4, 0.8, 0.8 / 0.7):
        count = round(200.0 / pixel)
        image = simulate_shapes(
            discs, seed=21, shape=(count, count), pixel=(pixel, pixel), bright=bright, bloom=0.4,
            bloom_length=bloom_length, electrons_per_grey=3.0,
        )  # fmt: skip
        result = measure_contours(Image(image.pixels, "nm", (pixel, pixel)))
        assert sum(bool(row.get("feature")) for row in result.contours) == len(discs)
        found[pixel] = result.measurements["sem.contour_diameter_area"].value
    assert max(found.values()) - min(found.values()) < 0.09, found


@pytest.mark.parametrize("bright", [True, False])
def test_a_wide_stretch_does_not_shrink_a_round_feature(bright: bool) -> None:
    """A vertex that averages s px along its tangent would make a disc of 15 px radius smaller by s^2 / (12 r), 0.16 nm
    at 6 px; along the bend of the contour it does not. 0.03 nm: other weights of the same noise."""
    discs = [disc(12.0, x, y) for x in (-50.0, 0.0, 50.0) for y in (-50.0, 0.0, 50.0)]
    image = simulate_shapes(discs, seed=22, shape=(220, 220), bright=bright, electrons_per_grey=5.0)
    picture = Image(image.pixels, "nm", (0.8, 0.8))
    found = [
        measure_contours(picture, ContourSettings(spacing=s)).measurements["sem.contour_diameter_area"].value
        for s in (2.0, 6.0)
    ]
    assert found[1] == pytest.approx(found[0], abs=0.03)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0 0\n1 0\n1 1\n", "unit of the design is not known"),
        ("unit nm\n0 0\n1 0\n\n1 1\n2 2\n3 0\n", "three vertices"),
        ("unit nm\n0 0\n1 zero\n1 1\n", "line 3"),
        ("unit nm\n0 0\n1 nan\n1 1\n", "line 3"),
        ("unit nm\n# nothing\n", "no polygon"),
    ],
)
def test_text_designs_that_cannot_be_read(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "design.txt"
    path.write_text(text)
    with pytest.raises(ReaderError) as caught:
        read_design(path)
    assert words in caught.value.render() if hasattr(caught.value, "render") else words in str(caught.value)


def test_text_design(tmp_path: Path) -> None:
    path = tmp_path / "design.txt"
    path.write_text(
        "# two squares, one a hole in the other\nunit um\n0 0\n1,0\n1 1\n0 1\n\n0.2 0.2\n0.8 0.2\n0.8 0.8\n0.2 0.8\n"
    )
    design = read_design(path).to("nm")
    assert design.box == (0.0, 0.0, 1000.0, 1000.0) and design.unit == "nm"
    edges = edges_of(design)
    middle = 0.5 * (edges.start + edges.end)
    # out of the feature: away from the middle on the outer ring, toward it on the hole
    outward = np.sum((middle - 500.0) * edges.normal, axis=1)
    assert np.all(outward[:4] > 0) and np.all(outward[4:] < 0)
    with pytest.raises(ParameterError, match="another unit"):
        read_design(path, unit="nm")


def test_corners_line_ends_and_distances() -> None:
    edges = edges_of(Design((rectangle(0, 0, 20, 300), disc(30.0, 200.0, 0.0, count=90)), "nm"))
    assert np.flatnonzero(edges.line_end).tolist() == [0, 2]  # the two short sides
    along = np.array((5.0, 100.0, 1.0))
    assert edges.from_corner(np.array((0, 1, 10)), along) == pytest.approx((5.0, 100.0, math.inf))


def test_layouts_come_through_their_door(tmp_path: Path) -> None:
    """Two overlapping boxes and a ring become merged polygons in nm, the ring's cut is no edge."""
    gdstk = pytest.importorskip("gdstk")
    library = gdstk.Library(unit=1e-6, precision=1e-9)
    cell = library.new_cell("TOP")
    cell.add(gdstk.rectangle((0, 0), (0.1, 0.02), layer=10), gdstk.rectangle((0.05, 0), (0.2, 0.02), layer=10))
    outer, inner = (
        gdstk.rectangle((0.3, 0), (0.4, 0.1), layer=10),
        gdstk.rectangle((0.33, 0.03), (0.37, 0.07), layer=10),
    )
    cell.add(*gdstk.boolean(outer, inner, "not", layer=10), gdstk.rectangle((0, 0), (1, 1), layer=11))
    for name in ("a.gds", "a.oas"):
        path = tmp_path / name
        library.write_gds(path) if name.endswith("gds") else library.write_oas(path)
        design = read_design(path, layer="10")
        assert design.unit == "nm" and design.layer == "cell TOP, layer 10/0"
        edges = edges_of(design)
        assert edges.length.sum() == pytest.approx(2 * 220 + 4 * 100 + 4 * 40, abs=1e-6)
        with pytest.raises(ParameterError, match="one layer"):
            read_design(path)
        with pytest.raises(ParameterError, match="nothing on layer"):
            read_design(path, layer="7/1")
        with pytest.raises(ParameterError, match="no cell"):
            read_design(path, layer="10", cell="BOTTOM")
    damaged = tmp_path / "b.gds"
    damaged.write_bytes((tmp_path / "a.gds").read_bytes()[:90])
    with pytest.raises(ReaderError):
        read_design(damaged, layer="10")


def test_raster_and_distance_agree() -> None:
    """The two kernels see the same polygon: a place is inside where its distance is negative."""
    ring = disc(9.0, 15.0, 15.0, count=40)[::-1]
    share = raster([ring], (30, 30))
    x, y = (a.ravel().astype(np.float64) for a in np.meshgrid(np.arange(30), np.arange(30)))
    angle = np.arctan2(y - 15.0, x - 15.0)
    rows = edges_of(Design((ring,), "nm")).mapped(np.zeros(2), np.eye(2))
    distance = signed_distance(x, y, np.cos(angle), np.sin(angle), rows)
    clear = np.abs(distance) > 1.0
    assert np.array_equal(share.ravel()[clear] > 0.5, distance[clear] < 0.0)


# --- what is no measurement
def _two_shapes() -> list[np.ndarray]:
    angle = np.array([(-150, -120), (10, -120), (10, 130), (-20, 130), (-20, -90), (-150, -90)], float)
    return [angle, rectangle(60, -60, 150, 90)]


def _against(image: ShapeImage, design: list[np.ndarray], pixel: float = 0.8, **settings: Any) -> ContourResult:
    return measure_contours(
        Image(image.pixels, "nm", (pixel, pixel)), ContourSettings(origin=(0.0, 0.0), **settings),
        design=Design(tuple(design), "nm"),
    )  # fmt: skip


@pytest.mark.parametrize("correlation", [0.0, 0.5])
def test_pure_noise_is_refused(correlation: float) -> None:
    """White noise, and noise with correlated neighbours in the rows, as 8 bit."""
    white = np.random.default_rng(0).normal(0.0, 12.0, (512, 513))
    grey = np.clip(100.0 + white[:, 1:] + correlation * white[:, :-1], 0, 255).astype(np.uint8)
    with pytest.raises(DataError, match="nothing but noise"):
        measure_contours(Image(grey, "nm", (0.8, 0.8)))


def test_a_single_small_feature_in_noise_is_no_noise() -> None:
    """A disc of 12 px radius with a step of four standard deviations hardly changes the spread of 512 x 512 px
    (0.17 of a standard deviation where smoothed noise has 0.14), but no noise reaches its grey."""
    y, x = np.mgrid[:512, :512] - 250.0
    white = np.random.default_rng(1).normal(0.0, 12.0, (512, 512))
    grey = np.clip(100.0 + 48.0 * (np.hypot(x, y) < 12.0) + white, 0, 255).astype(np.uint8)
    refuse_noise(grey.astype(np.float64), grey_noise(grey), 2.0)


@pytest.mark.parametrize(("turn", "pixel"), [((1.0, -1.0), 0.8), ((1.1, 1.1), 0.8), ((1.0, 1.0), 1.2)])
def test_another_design_is_refused(turn: tuple[float, float], pixel: float) -> None:
    """Mirrored in y, 10 % too large, wrong pixel size: over a fifth of contour and of design has no partner."""
    shapes = _two_shapes()
    image = simulate_shapes(shapes, seed=3, bias=2.0, corner_radius=6.0, roughness=1.0)
    with pytest.raises(DataError, match="not that of the image"):
        _against(image, [p * np.array(turn) for p in shapes], pixel)


def test_a_place_outside_the_search_is_refused() -> None:
    """23 nm off where 5 nm are searched; the right one within 40 nm has every partner."""
    shapes = _two_shapes()
    image = simulate_shapes(shapes, seed=3, bias=2.0, corner_radius=6.0, roughness=1.0, shift=(23.4, -17.2))
    with pytest.raises(DataError, match="border of the search"):
        _against(image, shapes, search=5.0)
    found = _against(image, shapes, search=40.0)
    assert found.details["contour_without_design"] < 0.02 and found.details["design_without_contour"] < 0.02


def test_a_direction_that_nothing_holds_has_no_uncertainty() -> None:
    """Straight lines across the image: x is held, y is not, and 0 would be a claim."""
    lines = [rectangle(x - 14.0, -400.0, x + 14.0, 400.0) for x in (-112.0, -56.0, 0.0, 56.0, 112.0)]
    image = simulate_shapes(lines, seed=3, roughness=1.0)
    found = _against(image, lines, search=20.0)
    where = found.registration
    assert where is not None and "registration_undetermined" in found.flags
    assert where["y_u"] is None and where["x_u"] > 0.0


def test_missing_lines_are_no_other_design() -> None:
    """Two lines of ten are missing: a share of the design has no contour (a fifth; the lines are cut by the rim), the
    contours have theirs."""
    image = simulate_shapes(line_ends(), seed=3, missing=(3, 6))
    found = measured(image)
    assert 0.1 < found.details["design_without_contour"] < 0.3
    assert found.details["contour_without_design"] < 0.02 and found.shapes["counts"]["missing"] == 2


@pytest.mark.parametrize("truth", [{"rotation": 1.0}, {"scale": 0.02}, {}])
def test_a_motion_that_was_not_free_is_flagged(truth: dict[str, Any]) -> None:
    """Rotation by 1 deg and scale by 2 % move the corner by 5 and 6 px; once free, and in the plain image, no flag."""
    shapes = elbows()
    image = simulate_shapes(shapes, seed=3, bias=2.0, corner_radius=6.0, roughness=1.0, **truth)
    name = "registration_unmodelled"
    assert (name in _against(image, shapes).flags) == bool(truth)
    assert name not in _against(image, shapes, free=("rotation", "scale")).flags


@pytest.mark.parametrize("dose", [1.0, 0.3, 0.15])
def test_noise_over_grey_level_is_that_of_the_simulator(dose: float) -> None:
    """Shot noise and read noise in closed form, down to a contrast to noise of three: noise of the pixels must not sort
    itself into the levels (a line that is too flat understates bright pixels by a fifth at the lowest dose)."""
    image = simulate_shapes(elbows(), seed=21, roughness=0.5, correlation_length=25.0, electrons_per_grey=dose)
    noise = grey_noise(image.pixels)
    grey = np.array((60.0, 100.0, 140.0, 160.0))
    true = grey / dose + image.model.read_noise**2 + 1.0 / 12.0
    # 3 % or less measured on other seeds; a median of 10^4 differences is known to 2 %
    np.testing.assert_allclose(noise.variance(grey), true, rtol=0.06)


@pytest.mark.parametrize(("dx", "dy"), [(-5.0, -5.0), (5.0, 5.0), (-5.0, 5.0), (3.0, 0.0), (0.0, 7.0)])
@pytest.mark.parametrize("number", [0, 4])
def test_polygons_that_lie_partly_in_others_are_refused(dx: float, dy: float, number: int) -> None:
    """A copy that is moved a little: its first vertex lies in the other or not, so that it counts as hole or not."""
    image = simulate_shapes(line_ends(), seed=71)
    picture = Image(image.pixels, "nm", (0.8, 0.8))
    moved = image.design[number] + np.array((dx, dy))
    for polygons in ((*image.design, moved), (moved, *image.design)):
        with pytest.raises(ParameterError, match="overlap") as caught:
            measure_contours(picture, ContourSettings(origin=(0.0, 0.0)), design=Design(polygons, "nm"))
        assert "of the design" in str(caught.value.where)


def test_nested_rings_stay_holes() -> None:
    """A hole and an island in it, the hole's side 3.3 nm (no whole pixels) from that of its polygon: not refused."""
    rings = (rectangle(-120, -120, 120, 120), rectangle(-60.3, -60.3, 116.7, 60.3), rectangle(-20, -20, 30, 20))
    hole = rings[1][::-1]
    image = simulate_shapes((rings[0], hole, rings[2]), seed=72, shape=(400, 400))
    picture = Image(image.pixels, "nm", (0.8, 0.8))
    found = measure_contours(picture, ContourSettings(origin=(0.0, 0.0)), design=Design(rings, "nm"))
    assert found.registration is not None and found.measurements["sem.shape_defects"].value == 0.0


def test_narrow_line_ends_are_measured_with_closer_vertices() -> None:
    """Ends of 22 nm at a low dose: the noise asks for vertices 6 px apart, of which the ends hold two. They are traced
    again with closer ones; a spacing that was stated is kept, and the stated reason and remedy are true."""
    image = simulate_shapes(line_ends(5, 22.0, 56.0, 30.0), seed=73, pullback=5.0, end_width=26.0,
                            electrons_per_grey=0.15)  # fmt: skip
    picture, design = Image(image.pixels, "nm", (0.8, 0.8)), Design(image.design, "nm")
    found = measure_contours(picture, ContourSettings(origin=(0.0, 0.0)), design=design)
    assert found.details["spacing_px"] > found.details["line_end_spacing_px"] > 1.0
    assert all("reason" not in tip for tip in found.tips) and len(found.gaps) == 5
    wide = measure_contours(picture, ContourSettings(origin=(0.0, 0.0), spacing=6.0), design=design)
    for name, true in (("sem.pullback", 5.0), ("sem.tip_to_tip", 40.0)):
        # six standard uncertainties hold the rounding of the ends too
        assert abs(found.measurements[name].value - true) < 6.0 * found.measurements[name].u
        assert "px of contour, for narrow ends" in found.methods[name]
        assert "too narrow" in wide.missing[name] and "spacing" in wide.missing[name]
    for name in ("sem.epe_mean", "sem.epe_1s"):  # edges keep the wide spacing
        assert found.measurements[name].value == pytest.approx(wide.measurements[name].value, abs=1e-9)
    stated = float(wide.missing["sem.pullback"].rsplit("at most ", 1)[1].removesuffix(" px"))
    assert stated == found.details["line_end_spacing_px"]


def test_a_polygon_far_outside_the_image_is_counted() -> None:
    """It is left out of the search for the place, and not silently: found and outside are all of the design."""
    image = simulate_shapes(holes(4, 4, 44.0, 88.0), seed=4, corner_radius=10.0)
    far = rectangle(5000.0, 5000.0, 5050.0, 5050.0)
    found = measure_contours(
        Image(image.pixels, "nm", image.model.pixel), ContourSettings(origin=(0.0, 0.0)),
        design=Design((*image.design, far), "nm"),
    )  # fmt: skip
    counts = found.shapes["counts"]
    assert (counts["found"], counts["outside"]) == (16, 1)
