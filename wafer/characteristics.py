"""The rows that this package adds to the registry of characteristics. Importing the module registers them."""

from __future__ import annotations

from typing import Any

from metrology_core.characteristics import Characteristic, register

_P47 = "residuals after detrending, biased: contains the noise of the edges"

_WHITTLE = "Sykulski et al., Biometrika 106 (2019) 251"


def _row(
    name: str, title: str, source: str, words: str, dimension: str = "length", bound: float | None = 0.0
) -> Characteristic:
    return register(
        Characteristic(
            id=name,
            title=title,
            standard=source,
            dimension=dimension,  # type: ignore[arg-type]
            needs="image",
            lower_bound=bound,
            words=words,
            length_of="none",
        )
    )


def _roughness(stem: str, title: str, of: str) -> tuple[Characteristic, ...]:
    rows = []
    for factor in (1, 3):
        rows += [
            _row(f"sem.{stem}_biased_{factor}s", f"{title}, biased, {factor} s", f"root mean variance over {of}", _P47),
            _row(f"sem.{stem}_unbiased_{factor}s", f"{title}, unbiased, {factor} s", _WHITTLE,
                 "of an infinitely long line, noise excluded: debiased-Whittle likelihood of the spectrum"),
            _row(f"sem.{stem}_unbiased_box_{factor}s", f"{title}, unbiased, within the box, {factor} s", _WHITTLE,
                 "expected within the measured length after detrending, noise excluded"),
            _row(f"sem.{stem}_cross_{factor}s", f"{title}, from repeated frames, {factor} s",
                 "mean product of the residuals of different frames",
                 "within the measured length after detrending; the noise of the frames is independent, no model of it"),
        ]  # fmt: skip
    return (
        *rows,
        _row(f"sem.{stem}_correlation_length", f"{title}, correlation length", _WHITTLE,
             "xi of the autocorrelation exp(-(t/xi)^(2H)), along the line"),
        _row(f"sem.{stem}_hurst", f"{title}, Hurst exponent", _WHITTLE,
             "H of the autocorrelation exp(-(t/xi)^(2H))", "ratio"),
        _row(f"sem.{stem}_noise_1s", f"{title}, noise of one row, 1 s", _WHITTLE,
             "noise floor of the spectrum as a standard deviation"),
    )  # fmt: skip


ROWS: tuple[Characteristic, ...] = (
    _row("sem.pitch", "Pitch", "Zhang, Postek, Larrabee, Metrologia 34 (1997)",
         "slope of all edge places over the line number, both polarities, least squares, normal to the lines"),
    _row("sem.cd_line", "Line width (CD)", "named edge criterion",
         "mean distance of the right from the left edge of complete lines, normal to the lines"),
    _row("sem.cd_space", "Space width", "named edge criterion",
         "mean distance between neighbouring lines, normal to the lines"),
    _row("sem.pitch_walk", "Pitch walk", "mean alternating second difference of line centres",
         "difference between the even and the odd centre distances, absolute"),
    *_roughness("lwr", "Linewidth roughness", "lines"),
    *_roughness("ler", "Line edge roughness", "edges"),
    _row("sem.left_right_correlation", "Correlation of left and right edges", "mean product of residuals",
         "of the two edges of a line within the measured length, noise excluded", "ratio", None),
    _row("sem.local_cdu_1s", "Local CD uniformity, 1 s", "variance of line widths less that of their noise",
         "standard deviation of the mean widths of the lines of one image"),
    _row("sem.local_cdu_3s", "Local CD uniformity, 3 s", "variance of line widths less that of their noise",
         "three standard deviations of the mean widths of the lines of one image"),
)  # fmt: skip
_NOISE_OFF = "the mean variance of the features' own noise, propagated from the pixels, is taken off"

CONTACT_ROWS: tuple[Characteristic, ...] = (*(
    register(Characteristic(id=name, title=title, standard=source, dimension="length", needs="image",
                            lower_bound=0.0, words=words, length_of="none"))
    for name, title, source, words in (
        ("sem.contact_diameter", "Contact diameter", "named edge criterion",
         "mean over complete features of the diameter averaged over all angles"),
        ("sem.contact_diameter_area", "Contact diameter, equal area", "named edge criterion",
         "mean over complete features of the diameter of the circle of equal area"),
        ("sem.lcdu_1s", "Local CD uniformity, 1 s", "standard deviation between features, unbiased", _NOISE_OFF),
        ("sem.lcdu_3s", "Local CD uniformity, 3 s", "standard deviation between features, unbiased", _NOISE_OFF),
        ("sem.lcdu_biased_1s", "Local CD uniformity, biased, 1 s", "standard deviation between features",
         "contains the noise of each feature"),
        ("sem.lcdu_biased_3s", "Local CD uniformity, biased, 3 s", "standard deviation between features",
         "contains the noise of each feature"),
        ("sem.contact_elongation", "Contact elongation", "second Fourier mode of the radius",
         "largest less smallest diameter, root mean square over features, noise taken off"),
        ("sem.cer_1s", "Contact edge roughness, 1 s", "Fourier modes of the radius from the third on",
         "root mean variance over features, noise taken off"),
        ("sem.cer_3s", "Contact edge roughness, 3 s", "Fourier modes of the radius from the third on",
         "root mean variance over features, noise taken off"),
        ("sem.contact_pitch_a", "Lattice pitch a", "least-squares lattice of the centres",
         "length of the lattice vector nearest to the x axis (of two as near, the one towards +y)"),
        ("sem.contact_pitch_b", "Lattice pitch b", "least-squares lattice of the centres",
         "length of the lattice vector that follows first, turning from a towards +y"),
        ("sem.placement_1s", "Placement, 1 s", "residuals of the centres from their lattice",
         "standard deviation along one axis, affine and noise taken off"),
        ("sem.placement_3s", "Placement, 3 s", "residuals of the centres from their lattice",
         "standard deviation along one axis, affine and noise taken off"),
    )
), _row("sem.contact_defects", "Defective contacts", "state of each lattice site",
        "number of missing, merged and weak sites, an exact number of unit 1", "ratio"))  # fmt: skip
CONTACT_IDS: tuple[str, ...] = tuple(row.id for row in CONTACT_ROWS)
FRAME_IDS: tuple[str, ...] = tuple(row.id for row in ROWS if "_cross_" in row.id)  # need repeated frames
IDS: tuple[str, ...] = tuple(row.id for row in ROWS if row.id not in FRAME_IDS)

_DESIGN = "contour less registered design, positive where the feature is larger"
CONTOUR_ROWS: tuple[Characteristic, ...] = (
    _row("sem.epe_mean", "Edge placement error, mean", _DESIGN,
         "mean signed distance of the contour from the design edges, away from corners and line ends", bound=None),
    _row("sem.epe_1s", "Edge placement error, 1 s", _DESIGN,
         "standard deviation about the mean, away from corners and line ends; noise of each vertex taken off"),
    _row("sem.epe_3s", "Edge placement error, 3 s", _DESIGN,
         "three standard deviations about the mean, away from corners and line ends; noise of each vertex taken off"),
    _row("sem.pullback", "Line-end pull-back", "contour on the axis of the design line",
         "mean distance of the contour behind the design end, parabola through the central half", bound=None),
    _row("sem.tip_to_tip", "Tip to tip", "contours on the axis of the design lines",
         "mean distance of facing line ends"),
    _row("sem.contour_diameter_area", "Diameter of equal area", "named edge criterion",
         "mean over complete features of the diameter of the circle of equal area"),
    _row("sem.shape_defects", "Defective shapes", "features of the image against the polygons of the design",
         "number of missing, broken and bridged polygons and of extra features, an exact number of unit 1", "ratio"),
)  # fmt: skip
CONTOUR_IDS: tuple[str, ...] = tuple(row.id for row in CONTOUR_ROWS)
_NOISE_KEPT = "standard deviation over the sites that count (n - 1), as film tools print it: contains the noise"
_NOISE_LESS = "standard deviation over the sites that count (n - 1), the declared noise of a value taken off"


def _film(name: str, title: str, source: str, words: str, dimension: str = "length", bound: float | None = 0.0) -> Any:
    return register(
        Characteristic(
            id=name, title=title, standard=source, dimension=dimension, needs="map",  # type: ignore[arg-type]
            lower_bound=bound, words=words, length_of="none", uses_position=name == FILM_SITE,
        )
    )  # fmt: skip


FILM_SITE = "film.site"
FILM_ROWS: tuple[Characteristic, ...] = (
    _film("film.mean", "Mean over the sites", "values of a film tool", "mean of the sites that count", bound=None),
    _film("film.minimum", "Smallest value", "values of a film tool",
          "smallest value of the sites that count; noise widens it, which is an influence of its own", bound=None),
    _film("film.maximum", "Largest value", "values of a film tool",
          "largest value of the sites that count; noise widens it, which is an influence of its own", bound=None),
    _film("film.range", "Range", "values of a film tool",
          "largest less smallest value of the sites that count; noise widens it, which is an influence of its own"),
    _film(FILM_SITE, "Value at a site", "values of a film tool", "value of the site at the stated place", bound=None),
    _film("film.nonuniformity_half_range", "Non-uniformity, half range over mean", "(max - min) / (2 mean)",
          "range of the sites that count over twice their mean", "ratio"),
    *(
        _film(f"film.nonuniformity{kind}{relative}_{k}s",
              f"Non-uniformity{said}{', relative' if relative else ''}, {k} s",
              f"{'' if k == 1 else '3 '}s{' / mean' if relative else ''}",
              (_NOISE_KEPT if kind else _NOISE_LESS) + (", over the mean" if relative else ""),
              "ratio" if relative else "length")
        for kind, said in (("", ""), ("_biased", ", biased"))
        for relative in ("", "_relative")
        for k in (1, 3)
    ),
)  # fmt: skip
FILM_IDS: tuple[str, ...] = tuple(row.id for row in FILM_ROWS)
COUNT_IDS: tuple[str, ...] = ("sem.contact_defects", "sem.shape_defects")  # no uncertainty of their own


def flags_of(name: str, flags: tuple[str, ...]) -> tuple[str, ...]:
    """The flags of an image that a characteristic carries: a count hangs on no pixel size and no edge criterion, so
    that its uncertainty lacks nothing (``repeatability_only``)."""
    return tuple(flag for flag in flags if flag != "repeatability_only") if name in COUNT_IDS else flags
