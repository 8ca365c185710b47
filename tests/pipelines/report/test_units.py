"""The small pieces: rounding, colours, arrays, pictures, shares of tolerance."""

from __future__ import annotations

import base64
import io
import itertools
import zlib
from typing import Any

import numpy as np
import pytest

from pipelines.report import colour, model, numbers, picture, svg
from pipelines.report.cloud import MAX_SHOWN, cloud_view, spread_worst
from pipelines.report.encode import pack, png
from pipelines.report.figures import nice_length, nice_limit
from pipelines.report.places import tag_of


@pytest.mark.parametrize(
    ("value", "u", "text"),
    [
        (20.00134567, 0.00042, "20.00135"),
        (20.00134567, 0.00996, "20.001"),  # 0.00996 is 0.010 in two digits, so the third place
        (-0.00004, 0.01, "0.000"),  # never minus zero
        (-1.5, 0.1, "−1.50"),
        (123456.0, 1300.0, "123500"),
        (0.1, None, "0.1"),
        (1.0, 0.0, "1"),
    ],
)
def test_rounding_follows_two_digits_of_u(value: float, u: float | None, text: str) -> None:
    assert numbers.fixed(value, numbers.place(u)) == text


def test_probabilities_never_claim_certainty() -> None:
    assert numbers.probability(1.0) == "> 99.99\u202f%"
    assert numbers.probability(0.0) == "< 0.01\u202f%"
    assert numbers.probability(0.9523) == "95.2\u202f%"


@pytest.mark.parametrize(
    ("value", "nominal", "lower", "upper", "share"),
    [
        (60.015, 60.0, 59.99, 60.015, 1.0),
        (59.995, 60.0, 59.99, 60.015, 0.5),
        (10.5, None, 9.0, 11.0, 0.5),
        (0.015, None, 0.0, 0.02, 0.75),
        (0.015, None, None, 0.02, 0.75),
        (4.0, None, 2.0, None, None),
        (1.0, None, None, None, None),
        (None, 1.0, 0.0, 2.0, None),
    ],
)
def test_share_of_tolerance(
    value: float | None, nominal: float | None, lower: float | None, upper: float | None, share: float | None
) -> None:
    got = model.tolerance_share(value, nominal, lower, upper)
    assert got == share or got == pytest.approx(share, rel=1e-9)  # a quotient of differences of decimal fractions


def _oklab(linear: np.ndarray) -> np.ndarray:
    """Björn Ottosson's OKLab, from linear sRGB."""
    lms = np.array(
        [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
         [0.0883024619, 0.2817188376, 0.6299787005]]
    ) @ linear  # fmt: skip
    lab = np.array(
        [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
         [0.0259040371, 0.7827717662, -0.8086757660]]
    )  # fmt: skip
    return lab @ np.cbrt(np.clip(lms, 0, None))


# Machado, Oliveira, Fernandes 2009, severity 1.
VISION = {
    "normal": np.eye(3),
    "protan": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deutan": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
    ),
    "tritan": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]]
    ),
}


@pytest.mark.parametrize("vision", VISION)
def test_bands_are_told_apart_with_any_colour_vision(vision: str) -> None:
    c = np.array([colour.rgb(b) for b in colour.BANDS[:11]]) / 255.0
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    lab = [_oklab(np.clip(VISION[vision] @ v, 0, 1)) for v in linear]
    worst = min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(lab, 2))
    assert worst > 0.065  # the traditional rainbow falls to 0.027 here; differences of 0.02 are just noticeable
    light = [float(v[0]) for v in lab]
    assert light[:6] == sorted(light[:6]) and light[5:] == sorted(light[5:], reverse=True)


def test_band_edges_are_exact() -> None:
    value = np.array([-1.01, -1.0, -0.75, -0.5, -0.25, -0.1, 0.0, 0.1, 0.25, 0.5, 0.75, 1.0, 1.01])
    share = colour.shares(value, np.full(13, -1.0), np.full(13, 1.0))
    assert colour.band_index(share, value, 0.05).tolist() == [0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 10]
    wide = colour.band_index(share, value, 5.0)  # beyond a limit wins over "not distinguishable from zero"
    assert wide.tolist() == [0, *[5] * 11, 10]
    none = colour.shares(value, np.full(13, np.nan), np.full(13, np.nan))
    assert set(colour.band_index(none, value, 0.0)) == {colour.N_NO_LIMIT}


def test_share_of_a_one_sided_and_of_an_offset_zone() -> None:
    share = colour.shares(np.array([0.5, 0.3, 0.15]), np.array([-np.inf, 0.1, 0.1]), np.array([1.0, 0.3, 0.3]))
    assert share == pytest.approx([0.5, 1.0, -0.5], rel=1e-12)  # exact but for decimal fractions


@pytest.mark.parametrize("dtype", ["<f4", "<f8", "u1", "<u2", "i1"])
def test_packed_arrays_unpack_to_the_same_bits(dtype: str) -> None:
    array = (np.random.default_rng(1).normal(0, 40, 999)).astype(dtype)
    packed = pack(array)
    planes = np.frombuffer(zlib.decompress(base64.b64decode(packed["z"])), np.uint8)
    again = np.ascontiguousarray(planes.reshape(array.dtype.itemsize, -1).T).view(array.dtype).ravel()
    assert again.tobytes() == array.tobytes()
    assert packed["n"] == 999


def test_png_is_read_by_others() -> None:
    from PIL import Image

    grey = np.random.default_rng(2).integers(0, 256, (37, 53)).astype(np.uint8)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(grey)))), grey)
    palette = np.array([[255, 255, 255], [200, 0, 10], [0, 0, 90]], np.uint8)
    index = grey % 3
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(index, palette))).convert("RGB")), palette[index])


def _ball(n: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    v = np.random.default_rng(3).normal(size=(n, 3))
    v /= np.linalg.norm(v, axis=1)[:, None]
    deviation = np.where(v[:, 2] > 0.97, 0.02, 0.0)
    view = {
        "kind": "deviation_map", "name": "d", "unit": "mm", "xyz": "x", "value": "v", "feature": "f",
        "feature_names": ["ball"], "tolerance": {"lower": -0.01, "upper": 0.01}, "u": 0.001, "n_total": n,
        "worst": [int(np.argmax(v[:, 2]))],
    }  # fmt: skip
    return view, {"x": v * 10, "v": deviation, "f": np.zeros(n, np.int16)}


def test_the_static_picture_hides_what_is_behind() -> None:
    from PIL import Image

    view, arrays = _ball(20_000)
    cloud = cloud_view(
        view, arrays, [{"name": "ball", "feature": "sphere", "parameters": {"center": [0, 0, 0], "radius": 10}}]
    )
    assert cloud is not None and cloud.normals_from == "features"
    above, below = (
        np.asarray(Image.open(io.BytesIO(picture.render(cloud, 0, e, [], 300, 300).body))) for e in (90, -90)
    )
    beyond = range(colour.N_ABOVE * picture.SHADES, (colour.N_ABOVE + 1) * picture.SHADES)
    assert np.isin(above, beyond).sum() > 500  # the cap of 0.03 of the radius has 6 % of the disc's area
    # Points at random leave pinholes through which the far side shows; less than a fiftieth of the cap does.
    assert np.isin(below, beyond).sum() < 0.02 * np.isin(above, beyond).sum()


def test_thinning_keeps_the_worst_points() -> None:
    view, arrays = _ball(3 * MAX_SHOWN)
    arrays["v"][777] = -0.5
    view["worst"] = [777]
    cloud = cloud_view(view, arrays, [])
    assert cloud is not None
    assert MAX_SHOWN / 4 < cloud.n_shown <= MAX_SHOWN
    assert cloud.value[cloud.worst[0]] == -0.5 and float(cloud.value.max()) == 0.02
    chosen = spread_worst(cloud, 4)
    assert chosen[0] == cloud.worst[0] and len(chosen) == 4
    gaps = [np.linalg.norm(cloud.xyz[a] - cloud.xyz[b]) for a, b in itertools.combinations(chosen, 2)]
    assert min(gaps) > 1.0  # places, not neighbours: 8 % of a diagonal of 34 mm is 2.8 mm


def test_recorded_places_are_the_labels_by_their_names() -> None:
    view, arrays = _ball(3000)
    arrays["v"][[777, 1500]] = -0.5, 0.3
    view["worst"] = [777, 1500]
    view["places"] = [
        {"label": "dent 1", "value": -0.48, "u": 0.01, "n": 30, "position": [0, 0, 1]},
        {"label": "excess 2", "value": 0.25, "u": None, "n": 3, "position": [0, 1, 0]},
    ]
    cloud = cloud_view(view, arrays, [])
    assert cloud is not None
    marks = spread_worst(cloud, 6)  # and no third: what is no place is within the limits
    assert [float(cloud.value[i]) for i in marks] == [-0.5, 0.3] and marks == list(cloud.place_at)
    assert tag_of(cloud, marks[0], 3) == ("dent 1", "\u22120.480 \u00b1 0.020 mm")
    assert tag_of(cloud, marks[1], 3) == ("excess 2", "+0.250 mm")


def test_excess_does_not_hide_missing_material_beside_it() -> None:
    """A flat sheet seen from above with as many points up as down by a hundredth of their spacing: the picture shows
    as much of the one as of the other."""
    from PIL import Image

    rng = np.random.default_rng(4)
    xy = rng.uniform(0.0, 40.0, (6000, 2))
    value = np.where(rng.random(6000) < 0.5, 0.05, -0.05)
    xyz = np.column_stack([xy, value])
    arrays = {"x": xyz, "v": value, "f": np.zeros(6000, np.int64), "n": np.tile([0.0, 0.0, 1.0], (6000, 1))}
    view = {"kind": "deviation_map", "unit": "mm", "xyz": "x", "value": "v", "feature": "f", "normals": "n",
            "feature_names": ["surface"], "tolerances": [{"lower": -0.1, "upper": 0.1}]}  # fmt: skip
    cloud = cloud_view(view, arrays, [])
    assert cloud is not None
    code = np.asarray(Image.open(io.BytesIO(picture.render(cloud, 0.0, 90.0, []).body))) // picture.SHADES
    low, high = (int(np.count_nonzero(code == band)) for band in sorted({int(b) for b in cloud.band}))
    assert min(low, high) > 0.45 * (low + high)  # 6000 discs at random: a share of 0.5 +- 0.01


def test_bad_arrays_give_no_map_rather_than_an_error() -> None:
    view, arrays = _ball(10)
    assert cloud_view(view, {**arrays, "v": arrays["v"][:-1]}, []) is None
    assert cloud_view(view, {k: v for k, v in arrays.items() if k != "x"}, []) is None
    assert cloud_view(view, {**arrays, "x": np.full((10, 3), np.nan)}, []) is None


def test_normals_of_a_feature_in_another_frame_are_not_used() -> None:
    view, arrays = _ball(500)
    far = {"name": "ball", "feature": "sphere", "parameters": {"center": [900, 0, 0], "radius": 10}}
    cloud = cloud_view(view, arrays, [far])
    assert cloud is not None and cloud.normals_from == "" and not cloud.normals.any()


def test_scale_ends_are_round() -> None:
    assert [nice_length(v) for v in (0.0123, 7.0, 50.0, 199.0)] == [0.01, 5.0, 50.0, 100.0]
    assert [nice_limit(v) for v in (0.0123, 7.0, 50.0, 201.0)] == [0.02, 10.0, 50.0, 500.0]


def test_the_tolerance_bar_marks_a_value_off_its_axis() -> None:
    zone = svg.Zone(-1.0, 1.0, -0.8, 0.8, 0.0)
    inside, outside = (str(svg.tolerance_bar(zone, v, (v - 0.1, v + 0.1), "conforming", "x")) for v in (0.0, 9.0))
    assert "<circle" in inside and "guard" in inside and "nominal" in inside
    assert "<circle" not in outside and "mark" in outside  # an arrow at the end
    assert "&lt;b&gt;" in str(svg.tolerance_bar(zone, 0.0, (-0.1, 0.1), "conforming", "<b>"))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_normals_point_out_of_the_material(sign: float) -> None:
    rng = np.random.default_rng(5)
    phi, z, d = rng.uniform(0, 6.28, 400), rng.uniform(0, 9, 400), rng.normal(0, 0.01, 400)
    radial = np.stack([np.cos(phi), np.sin(phi), 0 * phi], 1)
    view, _ = _ball(400)
    arrays: dict[str, np.ndarray] = {
        "x": radial * (10 + d)[:, None] + z[:, None] * [0, 0, 1],
        "v": sign * d,
        "f": np.zeros(400, np.int16),
    }
    pin = {"name": "ball", "feature": "cylinder", "parameters": {"point": [0, 0, 4], "axis": [0, 0, 1], "radius": 10}}
    cloud = cloud_view(view, arrays, [pin])
    assert cloud is not None
    # sign +1: excess is away from the axis, a shaft; -1: towards it, a bore. Unit vectors in single precision.
    assert np.allclose(np.einsum("ij,ij->i", cloud.normals, radial), sign, atol=1e-6)
