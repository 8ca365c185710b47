"""Two images of one field, another scan mode or another tool: do they have the same scale, and the same sizes?

Features are paired by their places. The affine map between the places says how the scans differ (scale in x and y,
rotation, shear, shift); the diameters are compared as they stand and at equal scale, and the scatter of their
differences with what the noise of both images predicts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from metrology_core import flags as _flags
from metrology_core.data import Image
from metrology_core.errors import DataError, ParameterError
from metrology_core.quantity import Influence, Measured, two_sided_factor
from metrology_core.units import convert
from wafer.contacts.contour import Contour
from wafer.contacts.evaluate import ContactResult, ContactSettings, measure_contacts
from wafer.contacts.pairing import LEAST_PAIRS, NAMES, Affine, fit_affine, paired, shifts

SCATTER = "scatter of the differences between features"
_LEAST_SHARE = 0.5  # of the features that lie in both images
_UNLIKE = 8.0  # robust standard deviations by which the sizes of partners may differ: more is another feature
_NEAR = 1.0  # px, least tolerance of places
_LEAST_ALIKE = 0.8  # correlation of the sizes of one field without noise
_SURE = 0.99
_MOST_OFF = 3.0  # px, residual of the places of one field: scans wander by less
_FEW = 10


@dataclass(frozen=True, eq=False)
class ContactMatch:
    """What two images of one field give; lengths in ``unit``, ratios in "1", angles in radian.

    ``measurements``: ``scale_x``, ``scale_y`` (of the first image over the second, less 1), ``rotation``, ``shear``,
    ``shift_x``, ``shift_y`` (x right, y up, at the middle of the pairs), ``diameter_difference`` (mean of first less
    second, as the stated pixel sizes have it) and ``diameter_difference_equal_scale`` (first divided by the mean
    scale). ``methods`` in words. ``scatter``: ``sd`` of the differences at equal scale with its 95 % ``interval``,
    ``predicted`` by the noise of both images, their ``ratio``. ``pairs`` one row each, ``unpaired`` rows with the image
    (1 or 2) and the reason; numbers are those of ``results[i].per_contact``, places pixels of the files.
    """

    unit: str
    measurements: Mapping[str, Measured]
    methods: Mapping[str, str]
    scatter: Mapping[str, Any]
    pairs: list[dict[str, Any]]
    unpaired: list[dict[str, Any]]
    flags: tuple[str, ...]
    results: tuple[ContactResult, ContactResult]


@dataclass(frozen=True, eq=False)
class _Features:
    """Complete features of one image: ``number`` in the table; ``place`` (n, 2) lengths, y up, from the middle of the
    image; ``diameter``, ``u`` lengths; ``half`` (2,) of the measured area, ``pixel``, ``file`` (n, 2) px."""

    number: np.ndarray
    place: np.ndarray
    diameter: np.ndarray
    u: np.ndarray
    half: np.ndarray
    middle: np.ndarray
    pixel: tuple[float, float]
    file: np.ndarray


def match_contacts(
    one: Image, other: Image, settings: ContactSettings | None = None, *, search: float | None = None
) -> ContactMatch:
    """Compare two images of one field, each measured on its own with the same ``settings``.

    ``search``: how far the field may lie apart, in the unit of the first image (None: a quarter of its shorter side).
    On a lattice several shifts fit; the one whose sizes agree counts, else the smallest (flag ``match_ambiguous``).
    The uncertainty of the pixel sizes is in none of the results: scales and differences are between the images as
    stated, which is what matching asks. Flags: those of both images, ``few_contacts``, ``match_ambiguous``,
    ``match_scatter`` (the differences scatter more than the noise of both images allows, at 99 %). Raises
    `DataError` where the images show different fields, or fewer than five features of both.
    """
    results = tuple(measure_contacts(image, settings) for image in (one, other))
    unit = results[0].unit
    a = _features(one, results[0], 1.0)
    b = _features(other, results[1], convert(1.0, results[1].unit, unit))
    if min(len(a.number), len(b.number)) < LEAST_PAIRS:
        raise DataError(
            "too few complete features to match two images", expected=f"at least {LEAST_PAIRS} in each",
            got=f"{len(a.number)} and {len(b.number)}", remedy="check polarity and image area; take a larger field",
        )  # fmt: skip
    reach = float(np.hypot(*a.half))
    search = 0.5 * float(a.half.min()) if search is None else search
    if not search > 0.0:
        raise ParameterError("search is a positive length", got=f"{search:.4g}")
    flags = set(results[0].flags) | set(results[1].flags)
    pairs, ambiguous = _best(a, b, search, reach)
    if ambiguous:
        flags.add("match_ambiguous")
    kept, unlike, affine = _alike(a, b, pairs)
    unpaired = _unpaired(a, b, kept, unlike, affine)
    _refuse_different(a, b, kept, unpaired, affine, unit)
    ia, ib = kept.T
    n = len(kept)
    if n < _FEW:
        flags.add("few_contacts")
    scale = 0.5 * float(affine.values[0] + affine.values[1])
    scale_u = 0.5 * math.sqrt(float(affine.covariance[:2, :2].sum()))
    raw = a.diameter[ia] - b.diameter[ib]
    equal = a.diameter[ia] / (1.0 + scale) - b.diameter[ib]
    noise = np.hypot(a.u[ia] / (1.0 + scale), b.u[ib])
    scatter = _scatter(equal, noise)
    if scatter["interval_99"][0] > scatter["predicted"]:
        flags.add("match_scatter")
    del scatter["interval_99"]
    scope = f"match/{one.digest[:16]}/{other.digest[:16]}"
    dof = n - 1.0
    row = Influence(f"{scope}/scatter", SCATTER, "A", dof)
    place = Influence(f"{scope}/scale", "scale between the scans, from the places of the features", "A", affine.dof)
    values: dict[str, Measured] = {}
    for k, name in enumerate(NAMES):
        cause = Influence(f"{scope}/places/{name}", "scatter of the places about the affine map", "A", affine.dof)
        u = math.sqrt(float(affine.covariance[k, k]))
        values[name] = Measured.from_standard(
            float(affine.values[k]), u, unit if name.startswith("shift") else "1", cause
        )
    spread = float(raw.std(ddof=1)) / math.sqrt(n)
    values["diameter_difference"] = Measured.from_standard(float(raw.mean()), spread, unit, row)
    spread = float(equal.std(ddof=1)) / math.sqrt(n)
    mean = float(b.diameter[ib].mean())
    values["diameter_difference_equal_scale"] = Measured(
        float(equal.mean()), unit, {row.id: spread, place.id: -mean * scale_u}, {row.id: row, place.id: place}
    )
    final = _flags.merge(flags)
    carried = {name: value.with_flags(*final) for name, value in values.items()}
    residual = a.place[ia] - affine(b.place[ib])
    return ContactMatch(
        unit, carried, _methods(n, results[0], affine, mean, unit), scatter,
        [
            {
                "one": int(a.number[i]), "other": int(b.number[j]), "x": float(a.file[i, 0]), "y": float(a.file[i, 1]),
                "diameter_one": float(a.diameter[i]), "diameter_other": float(b.diameter[j]),
                "difference": float(raw[k]), "difference_equal_scale": float(equal[k]), "u": float(noise[k]),
                "place_x": float(residual[k, 0]), "place_y": float(residual[k, 1]),
            }
            for k, (i, j) in enumerate(kept)
        ],
        unpaired, final, (results[0], results[1]),
    )  # fmt: skip


def _features(image: Image, result: ContactResult, factor: float) -> _Features:
    """``factor``: from the unit of the image to that of the match."""
    px, py = result.pixel
    found: list[tuple[int, Contour]] = [
        (k, site.contour) for k, site in enumerate(result.sites)
        if site.state == "found" and site.contour is not None and site.contour.state == "ok"
    ]  # fmt: skip
    top, left = result.details["origin"]
    file = np.array([c.centre for _, c in found]).reshape(-1, 2) + np.array((left, top))
    ny, nx = image.pixels.shape
    middle = np.array((0.5 * (nx - 1), 0.5 * (ny - 1)))
    step = np.array((px, -py)) * factor
    return _Features(
        np.array([k for k, _ in found], np.int64), (file - middle) * step,
        np.array([c.diameter for _, c in found]) * px * factor,
        np.array([c.diameter_u for _, c in found]) * px * factor,
        0.5 * np.array((nx * px, ny * py)) * factor, middle, (px * factor, py * factor), file,
    )  # fmt: skip


def _best(a: _Features, b: _Features, search: float, reach: float) -> tuple[np.ndarray, bool]:
    """Pairs by the shift whose sizes agree, and whether another one does about as well."""
    found = []
    for shift in shifts(a.place, b.place, search, reach):
        pairs = paired(a.place, b.place, shift, reach, _NEAR * max(a.pixel))
        if len(pairs):
            size = a.diameter[pairs[:, 0]] - b.diameter[pairs[:, 1]]
            robust = 1.4826 * float(np.median(np.abs(size - np.median(size))))
            found.append((len(pairs), robust, float(np.hypot(*shift)), pairs))
    if not found:
        raise DataError(
            "the images do not show the same field", expected=f"{LEAST_PAIRS} features or more at the same places",
            got=f"{len(a.number)} and {len(b.number)} features without a common pattern within {search:.4g}",
            remedy="check that both files are of one field; allow a larger search",
        )  # fmt: skip
    most = max(count for count, *_ in found)
    able = [row for row in found if row[0] >= 0.8 * most]
    able.sort(key=lambda row: row[1])
    best = able[0]
    # one robust standard deviation of n values is known to about 0.8 / sqrt(n): as good as the best
    alike = [row for row in able if row[1] <= best[1] * (1.0 + 2.0 / math.sqrt(best[0]))]
    chosen = min(alike, key=lambda row: row[2])
    others = [row for row in alike if row is not chosen and not np.array_equal(row[3], chosen[3])]
    return chosen[3], bool(others)


def _alike(a: _Features, b: _Features, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray, Affine]:
    """Pairs whose sizes agree, those whose do not, and the map by the first."""
    affine = fit_affine(a.place[pairs[:, 0]], b.place[pairs[:, 1]])
    scale = 1.0 + 0.5 * float(affine.values[0] + affine.values[1])
    ia, ib = pairs.T
    rest = a.diameter[ia] / scale - b.diameter[ib]
    rest = rest - np.median(rest)
    u = np.hypot(a.u[ia], b.u[ib])
    robust = 1.4826 * float(np.median(np.abs(rest)))
    good = np.abs(rest) <= _UNLIKE * np.maximum(robust, u)
    if good.sum() >= LEAST_PAIRS and not good.all():
        affine = fit_affine(a.place[ia[good]], b.place[ib[good]])
        return pairs[good], pairs[~good], affine
    return pairs, pairs[:0], affine


def _unpaired(
    a: _Features, b: _Features, kept: np.ndarray, unlike: np.ndarray, affine: Affine
) -> list[dict[str, Any]]:  # fmt: skip
    back = (a.place - affine.centre - affine.shift) @ np.linalg.inv(affine.matrix).T + affine.centre
    rows = []
    for image, f, there, half, column in ((1, a, back, b.half, 0), (2, b, affine(b.place), a.half, 1)):
        used, odd = set(kept[:, column].tolist()), set(unlike[:, column].tolist())
        for k in range(len(f.number)):
            if k in used:
                continue
            outside = bool(np.any(np.abs(there[k]) > half - 0.5 * f.diameter[k]))
            reason = (
                "its partner has another size" if k in odd
                else "lies outside the other image or at its border" if outside
                else "no feature at its place in the other image"
            )  # fmt: skip
            rows.append({
                "image": image, "number": int(f.number[k]), "x": float(f.file[k, 0]), "y": float(f.file[k, 1]),
                "diameter": float(f.diameter[k]), "reason": reason,
            })  # fmt: skip
    return rows


def _refuse_different(
    a: _Features, b: _Features, kept: np.ndarray, unpaired: list[dict[str, Any]], affine: Affine, unit: str
) -> None:
    """`DataError` where too few of the features in both images have partners, or where the sizes of partners have
    nothing in common: two fields of one array pair by their lattice."""
    shared = [
        len(kept) + sum(row["image"] == image and "outside" not in row["reason"] for row in unpaired)
        for image in (1, 2)
    ]
    remedy = "check that both files are of one field; allow a larger search"
    if len(kept) < _LEAST_SHARE * min(shared):
        raise DataError(
            "the images do not show the same field",
            expected=f"partners for at least {_LEAST_SHARE:.0%} of the features that lie in both",
            got=f"{len(kept)} pairs of {min(shared)} features", remedy=remedy,
        )  # fmt: skip
    off = float(np.hypot(*affine.rms))
    if off > _MOST_OFF * max(*a.pixel, *b.pixel):
        raise DataError(
            "the images do not show the same field",
            expected=f"places that agree within {_MOST_OFF:g} px but for scale, rotation and shear",
            got=f"{len(kept)} pairs whose places differ by {off:.3g} {unit} (root mean square)", remedy=remedy,
        )  # fmt: skip
    da, db = a.diameter[kept[:, 0]], b.diameter[kept[:, 1]]
    own = [float(np.var(d, ddof=1)) for d in (da, db)]
    true = [v - float(np.mean(u**2)) for v, u in zip(own, (a.u[kept[:, 0]], b.u[kept[:, 1]]), strict=True)]
    n = len(kept)
    if n < _FEW or any(t < 2.0 * v * math.sqrt(2.0 / (n - 1)) for t, v in zip(true, own, strict=True)):
        return  # sizes that do not differ beyond noise say nothing
    share = math.sqrt(true[0] * true[1] / (own[0] * own[1]))  # of the correlation that noise leaves
    r = float(np.corrcoef(da, db)[0, 1])
    most = math.tanh(
        math.atanh(min(max(r, -0.999999), 0.999999)) + two_sided_factor(_SURE, math.inf) / math.sqrt(n - 3)
    )
    if most / share < _LEAST_ALIKE:
        raise DataError(
            "the images do not show the same field", expected="sizes of the features that agree between the images",
            got=f"{n} pairs on one pattern whose diameters correlate by {r / share:.2f} (noise taken off)",
            remedy=remedy,
        )  # fmt: skip


def _scatter(difference: np.ndarray, noise: np.ndarray) -> dict[str, Any]:
    """Standard deviation of the differences beside the one that the noise predicts; intervals of normal values."""
    from scipy.special import chdtri

    n = difference.size
    sd, predicted = float(difference.std(ddof=1)), math.sqrt(float(np.mean(noise**2)))

    def interval(p: float) -> list[float]:
        return [sd * math.sqrt((n - 1) / float(chdtri(n - 1, q))) for q in (0.5 * (1.0 - p), 0.5 * (1.0 + p))]

    middle = np.abs(difference - np.median(difference))
    return {
        "sd": sd, "interval": interval(0.95), "interval_99": interval(0.98),
        "robust_sd": 1.4826 * float(np.median(middle)), "predicted": predicted,
        "ratio": sd / predicted if predicted > 0.0 else math.nan,
    }  # fmt: skip


def _methods(n: int, result: ContactResult, affine: Affine, mean: float, unit: str) -> dict[str, str]:
    common = (
        f"{n} pairs of features of both images; robust affine map between their places, residual "
        f"{affine.rms[0]:.2g} {unit} in x and {affine.rms[1]:.2g} {unit} in y"
    )
    words = {
        "scale_x": "scale of the first image over the second in x, less 1",
        "scale_y": "scale of the first image over the second in y, less 1",
        "rotation": "rotation of the first image against the second, radian, counterclockwise",
        "shear": "loss of the right angle between x and y in the first image against the second, radian",
        "shift_x": "place of the field in the first image less that in the second, x to the right",
        "shift_y": "place of the field in the first image less that in the second, y up",
    }
    size = f"{n} pairs of features, mean diameter {mean:.4g} {unit}, criterion {result.details['criterion']}"
    return {
        **{name: f"{text}; {common}" for name, text in words.items()},
        "diameter_difference": f"mean of the diameters of the first image less those of the second, pixel sizes as "
        f"stated; {size}",
        "diameter_difference_equal_scale": f"the same, the first divided by the mean of the scales in x and y that the "
        f"places show; {size}",
    }
