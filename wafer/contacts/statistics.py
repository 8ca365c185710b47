"""Statistics over the complete features of one image: sizes, local uniformity, shape, placement; noise taken off.

A variance between features holds the noise of each feature's own value. That noise is known (propagated from the
pixels), so its mean is subtracted: ``unbiased``. No variance of the grey image is subtracted from a spectrum.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from metrology_core.data import Image
from metrology_core.instrument import Instrument
from metrology_core.quantity import Influence, Measured
from metrology_core.spreads import chi_square_spread, mean_variance_spread, with_spread
from metrology_core.units import convert
from wafer.contacts.contour import Contour
from wafer.contacts.edge_spectrum import edge_spectrum
from wafer.contacts.lattice import Lattice
from wafer.scale import pixel_scale

NOISE = "noise of the pixels, through the contour fit"
SAMPLING = "scatter between features"
FEW = 10


@dataclass(eq=False)
class Statistics:
    """Filled by `statistics`."""

    measurements: dict[str, Measured] = field(default_factory=dict)
    methods: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    flags: set[str] = field(default_factory=set)
    per_contact: list[dict[str, Any]] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Spread:
    """A standard deviation between features with the noise taken off.

    ``value`` and its standard uncertainty ``u``; ``biased`` the plain standard deviation; ``noise`` the root mean
    variance of the noise; ``resolved`` whether the difference is larger than twice its own uncertainty.
    """

    value: float
    u: float
    biased: float
    noise: float
    dof: float
    resolved: bool

    def quantiles(self) -> np.ndarray:
        """Its distribution: chi-square for the variance with noise, less the noise (`metrology_core.spreads`)."""
        return chi_square_spread(self.biased**2, self.dof, self.noise**2)


def unbiased_spread(values: np.ndarray, noise_variance: np.ndarray, dof: float | None = None) -> Spread:
    """Standard deviation of true values from measured ones with known noise variances (method of moments).

    var = s^2 - mean(noise variance); its variance 2 s^4 / dof (normal values); the root's uncertainty follows from the
    slope at the value, and from the square root of the uncertainty itself near zero.
    """
    n = len(values)
    dof = n - 1.0 if dof is None else dof
    total = float(np.sum((values - values.mean()) ** 2)) / dof
    noise = float(np.mean(noise_variance))
    variance = total - noise
    u_variance = total * math.sqrt(2.0 / dof)
    value = math.sqrt(max(0.0, variance))
    # d sqrt(v) = dv / (2 sqrt(v)); where v is not clearly positive the interval 0 .. sqrt(v + u) is what is known
    u = u_variance / (2.0 * value) if variance > u_variance else math.sqrt(max(0.0, variance) + u_variance) - value
    return Spread(value, u, math.sqrt(total), math.sqrt(noise), dof, variance > 2.0 * u_variance)


def statistics(image: Image, settings: Any, instrument: Instrument | None, found: Any) -> Statistics:
    """All characteristics of an image's features. ``found`` is `wafer.contacts.evaluate.Found`."""
    out = Statistics()
    assert image.pixel_size is not None
    px, py = image.pixel_size
    # weak ones are counted, not measured: where a contact has all but closed, noise draws the contour
    complete = [site for site in found.sites if site.state == "found"]
    contours = [site.contour for site in complete if site.contour is not None]
    budget = _Budget(image, settings, instrument, px)
    if budget.scale is None:
        out.flags.add("repeatability_only")
    if len(contours) < FEW:
        out.flags.add("few_contacts")
    states = {site.state for site in found.sites}
    if "missing" in states:
        out.flags.add("missing_contacts")
    if "merged" in states:
        out.flags.add("merged_contacts")
    if "weak" in states:
        out.flags.add("weak_contacts")
    out.per_contact = [_row(site, px, py) for site in found.sites]
    edge = {"threshold": f"threshold {settings.level:.0%} between the plateaus of the mean radial profile",
            "sigmoid": "centre of the logistic step fitted to the mean radial profile",
            "model": "half of the step of the mean edge pooled over the image"}[settings.criterion]  # fmt: skip
    common = (
        f"edge: {edge}; {contours[0].theta.size if contours else 0} rays and more for each feature; unfiltered image; "
        "features below half of the usual contrast left out"
    )
    if contours:
        _sizes(out, contours, budget, common)
        _shape(out, contours, budget, common)
    else:
        for name in ("sem.contact_diameter", "sem.contact_diameter_area"):
            out.missing[name] = "no complete feature in the image"
    _placement(out, found.lattice, complete, budget, px, py, common, settings.lattice)
    out.details.update(
        criterion=settings.criterion,
        window=[found.edge.window.inside * px, found.edge.window.outside * px],
        noise={"offset": found.noise.offset, "gain": found.noise.gain, "correlation": found.noise.correlation},
    )
    return out


def _sizes(out: Statistics, contours: list[Contour], budget: _Budget, common: str) -> None:
    n = len(contours)
    diameter = np.array([c.diameter for c in contours])
    noise = np.array([c.diameter_u for c in contours]) ** 2
    area = np.array([2.0 * math.sqrt(max(c.area, 0.0) / math.pi) for c in contours])
    spread = unbiased_spread(diameter, noise) if n > 1 else None
    for name, values, words in (
        ("sem.contact_diameter", diameter, "mean diameter over all angles"),
        ("sem.contact_diameter_area", area, "diameter of the circle of equal area, area of noise taken off"),
    ):
        sampling = spread.value / math.sqrt(n) if spread is not None else math.nan
        out.measurements[name] = budget.length(
            name, float(values.mean()), math.sqrt(float(noise.sum())) / n, sampling, n - 1, edges=2
        )
        out.methods[name] = f"mean over {n} complete features of the {words}; {common}"
    if spread is None:
        out.missing["sem.lcdu_1s"] = out.missing["sem.lcdu_3s"] = "local uniformity needs two complete features"
        return
    if not spread.resolved:
        out.flags.add("lcdu_not_resolved")
    for factor in (1, 3):
        name = f"sem.lcdu_{factor}s"
        out.measurements[name] = budget.spread(name, spread, factor)
        out.methods[name] = (
            f"{factor} times the standard deviation of {n} mean diameters, the mean variance of their noise taken off "
            f"(biased {factor * spread.biased * budget.px:.4g}, noise {factor * spread.noise * budget.px:.3g} "
            f"{budget.unit}); {common}"
        )
        name = f"sem.lcdu_biased_{factor}s"
        raw = Spread(spread.biased, spread.biased / math.sqrt(2.0 * spread.dof), spread.biased, 0.0, spread.dof, True)
        out.measurements[name] = budget.spread(name, raw, factor)
        out.methods[name] = f"{factor} times the standard deviation of {n} mean diameters, with their noise; {common}"


def _shape(out: Statistics, contours: list[Contour], budget: _Budget, common: str) -> None:
    """Second mode (elongation) and higher modes (edge roughness), the variance of noise taken off both."""
    n = len(contours)
    second, second_noise, rough, rough_noise, weights = [], [], [], [], []
    for c in contours:
        variance = np.diag(c.covariance)[3:].reshape(-1, 2)
        second.append(float(np.sum(c.modes[0] ** 2)))
        second_noise.append(float(variance[0].sum()))
        rough.append(0.5 * float(np.sum(c.modes[1:] ** 2)))
        rough_noise.append(0.5 * float(variance[1:].sum()))
        weights.append(len(c.modes) - 1)
    mean2 = float(np.mean(second)) - float(np.mean(second_noise))
    u2 = float(np.std(second, ddof=1)) / math.sqrt(n) if n > 1 else math.nan
    value = 4.0 * math.sqrt(max(0.0, mean2))
    if n > 1:
        u = 4.0 * (u2 / (2.0 * math.sqrt(mean2)) if mean2 > u2 else math.sqrt(max(0.0, mean2) + u2))
        drawn = 4.0 * mean_variance_spread(float(np.mean(second)), u2, n - 1, float(np.mean(second_noise)))
        out.measurements["sem.contact_elongation"] = budget.plain("sem.contact_elongation", value, u, n - 1, drawn)
        out.methods["sem.contact_elongation"] = (
            f"largest less smallest diameter of the second Fourier mode, root mean square over {n} features, noise "
            f"taken off; {common}"
        )
    if min(weights) >= 1 and n > 1:
        mean = float(np.mean(rough)) - float(np.mean(rough_noise))
        um = float(np.std(rough, ddof=1)) / math.sqrt(n)
        value = math.sqrt(max(0.0, mean))
        u = um / (2.0 * value) if mean > um else math.sqrt(max(0.0, mean) + um)
        drawn = mean_variance_spread(float(np.mean(rough)), um, n - 1, float(np.mean(rough_noise)))
        for factor in (1, 3):
            name = f"sem.cer_{factor}s"
            out.measurements[name] = budget.plain(name, value, u, n - 1, drawn, factor)
            out.methods[name] = (
                f"{factor} times the root mean variance of the Fourier modes 3 to {max(weights) + 2} of the radius, "
                f"{n} features, noise taken off; {common}"
            )
    out.details["edge_spectrum"] = edge_spectrum(contours, budget.px)


def _placement(
    out: Statistics, rough: Lattice | None, complete: list[Any], budget: _Budget, px: float, py: float, common: str,
    wanted: bool,
) -> None:  # fmt: skip
    """Lattice vectors and residual placement, from the fitted centres of complete features."""
    names = ("sem.contact_pitch_a", "sem.contact_pitch_b", "sem.placement_1s", "sem.placement_3s")
    rows = [site for site in complete if site.contour is not None and site.index is not None]
    if rough is None or len(rows) < 6:
        why = "no lattice: fewer than six complete features lie on one" if wanted else "no lattice was asked for"
        out.missing.update(dict.fromkeys(names, why))
        if wanted:
            out.flags.add("no_lattice")
        return
    index = np.array([site.index for site in rows], np.float64)
    centre = np.array([site.contour.centre for site in rows]) * (px, py)
    noise = np.array([np.diag(site.contour.covariance)[1:3] for site in rows]) * px**2
    design = np.column_stack((np.ones(len(rows)), index))
    if np.linalg.matrix_rank(design) < 3:
        out.missing.update(dict.fromkeys(names, "the complete features lie on one line of the lattice"))
        return
    found = np.linalg.lstsq(design, centre, rcond=None)[0]
    residual = centre - design @ found
    dof = len(rows) - 3
    inverse = np.linalg.inv(design.T @ design)
    scatter = residual.T @ residual / dof
    for k, name in ((1, "sem.contact_pitch_a"), (2, "sem.contact_pitch_b")):
        vector = found[k]
        length = float(np.hypot(*vector))
        unit = vector / length
        u = math.sqrt(float(unit @ scatter @ unit) * inverse[k, k])
        out.measurements[name] = budget.pitch(name, length, u, dof, unit)
        out.methods[name] = f"length of a lattice vector, least squares over {len(rows)} centres; {common}"
    both = np.concatenate([residual[:, 0], residual[:, 1]])
    spread = unbiased_spread(both - both.mean() + 0.0, noise.T.ravel(), dof=2.0 * dof)
    for factor in (1, 3):
        name = f"sem.placement_{factor}s"
        out.measurements[name] = budget.plain(
            name, spread.value / px, spread.u / px, 2 * dof, spread.quantiles() / px, factor
        )
        out.methods[name] = (
            f"{factor} times the standard deviation along one axis of {len(rows)} centres from their lattice (affine "
            f"taken off), noise taken off; {common}"
        )
    out.details["lattice"] = {
        "a": found[1].tolist(),
        "b": found[2].tolist(),
        "angle_deg": math.degrees(math.atan2(found[2][1], found[2][0]) - math.atan2(found[1][1], found[1][0])),
        "placement_biased_1s": spread.biased,
        "placement_noise_1s": spread.noise,
    }


def _row(site: Any, px: float, py: float) -> dict[str, Any]:
    """One line of the table of features, lengths in the image's unit, places in pixels."""
    row: dict[str, Any] = {
        "site": None if site.index is None else list(site.index),
        "state": site.state,
        "x": float(site.place[0]),
        "y": float(site.place[1]),
    }
    c = site.contour
    if c is None or c.state != "ok":
        return row
    a, b, angle = ellipse_of(c)
    row.update(
        x=float(c.centre[0]), y=float(c.centre[1]), diameter=c.diameter * px, diameter_u=c.diameter_u * px,
        diameter_area=2.0 * math.sqrt(max(c.area, 0.0) / math.pi) * px, major=2.0 * a * px, minor=2.0 * b * px,
        angle_deg=math.degrees(angle), contrast=c.contrast, edge_u=float(np.sqrt(np.mean(c.edge_u**2))) * px,
    )  # fmt: skip
    return row


def ellipse_of(contour: Contour) -> tuple[float, float, float]:
    """(semi-major, semi-minor, angle of the major axis) of the geometric least-squares ellipse through the vertices,
    in pixels of x; NaN where none fits."""
    from metrology_core.fitting import fit

    points = contour.vertices() - contour.centre
    points[:, 1] /= contour.aspect
    found = fit(points, "ellipse")
    if found.status != "converged":
        return math.nan, math.nan, math.nan
    p = found.parameters
    axis = p["major_axis"]
    return float(p["semi_major"]), float(p["semi_minor"]), math.atan2(float(axis[1]), float(axis[0])) % math.pi


class _Budget:
    """Lengths in pixels of x to `Measured`, with noise, sampling, pixel size and criterion."""

    def __init__(self, image: Image, settings: Any, instrument: Instrument | None, px: float) -> None:
        self.unit, self.px = image.unit, px
        area = "" if settings.rows is None and settings.columns is None else f"/area-{settings.rows}-{settings.columns}"
        self.scope = f"image/{image.digest[:16]}{area}"
        self.scale = pixel_scale(image, instrument)
        self.edge: tuple[Influence, float] | None = None
        if instrument is not None and instrument.edge_offset_u:
            row = Influence(
                f"instrument/{instrument.id}/edge/{settings.criterion}",
                f"offset of the edge criterion {settings.criterion}", "B",
            )  # fmt: skip
            self.edge = (row, convert(instrument.edge_offset_u, instrument.unit, image.unit))

    def _measured(
        self, value: float, rows: list[tuple[Influence, float]], shares: tuple[float, float], bound: float | None
    ) -> Measured:
        """``shares``: how much of the value lies along x and along y (of a diameter half each)."""
        if self.scale is not None:
            rows = rows + self.scale.rows((value * shares[0], value * shares[1]))
        kept = [(row, c) for row, c in rows if c and math.isfinite(c)]
        return Measured(value, self.unit, {r.id: c for r, c in kept}, {r.id: r for r, _ in kept}, bound)

    def length(self, name: str, value: float, noise: float, sampling: float, dof: int, *, edges: int) -> Measured:
        rows = [
            (Influence(f"{self.scope}/contact/noise", NOISE, "A"), noise * self.px),
            (Influence(f"{self.scope}/contact/sampling", SAMPLING, "A", max(dof, 1)), sampling * self.px),
        ]
        if self.edge is not None:
            rows.append((self.edge[0], edges * self.edge[1]))
        return self._measured(value * self.px, rows, (0.5, 0.5), 0.0)

    def spread(self, name: str, found: Spread, factor: int) -> Measured:
        return self.plain(name, found.value, found.u, int(found.dof), found.quantiles(), factor)

    def plain(self, name: str, value: float, u: float, dof: int, quantiles: np.ndarray, factor: int = 1) -> Measured:
        """1 s and 3 s of one spread share their influence; ``quantiles``: its distribution, which is not symmetric."""
        stem = name.removesuffix("_1s").removesuffix("_3s")
        row = Influence(f"{self.scope}/{stem}", "noise and number of features", "A", max(dof, 1))
        unit = self.px * factor
        found = self._measured(value * unit, [(row, u * unit)], (0.5, 0.5), 0.0)
        return with_spread(found, quantiles * unit, (row.id,))

    def pitch(self, name: str, value: float, u: float, dof: int, unit: np.ndarray) -> Measured:
        row = Influence(f"{self.scope}/{name}", "placement of the centres", "A", max(dof, 1))
        return self._measured(value, [(row, u)], (float(unit[0] ** 2), float(unit[1] ** 2)), 0.0)
