"""The rows that this package adds to the registry of characteristics. Importing the module registers them."""

from __future__ import annotations

from metrology_core.characteristics import Characteristic, register

_P47 = "residuals after detrending, biased: contains the noise of the edges"

ROWS: tuple[Characteristic, ...] = tuple(
    register(Characteristic(id=name, title=title, standard=source, dimension="length", needs="image",
                            lower_bound=0.0, words=words, length_of="none"))
    for name, title, source, words in (
        ("sem.pitch", "Pitch", "Zhang, Postek, Larrabee, Metrologia 34 (1997)",
         "slope of all edge places over the line number, both polarities, least squares, normal to the lines"),
        ("sem.cd_line", "Line width (CD)", "named edge criterion",
         "mean distance of the right from the left edge of complete lines, normal to the lines"),
        ("sem.cd_space", "Space width", "named edge criterion",
         "mean distance between neighbouring lines, normal to the lines"),
        ("sem.pitch_walk", "Pitch walk", "mean alternating second difference of line centres",
         "difference between the even and the odd centre distances, absolute"),
        ("sem.lwr_biased_1s", "Linewidth roughness, biased, 1 s", "root mean variance over lines", _P47),
        ("sem.lwr_biased_3s", "Linewidth roughness, biased, 3 s", "root mean variance over lines", _P47),
        ("sem.ler_biased_1s", "Line edge roughness, biased, 1 s", "root mean variance over edges", _P47),
        ("sem.ler_biased_3s", "Line edge roughness, biased, 3 s", "root mean variance over edges", _P47),
    )
)  # fmt: skip
_NOISE_OFF = "the mean variance of the features' own noise, propagated from the pixels, is taken off"

CONTACT_ROWS: tuple[Characteristic, ...] = tuple(
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
         "length of the lattice vector nearer to the x axis"),
        ("sem.contact_pitch_b", "Lattice pitch b", "least-squares lattice of the centres",
         "length of the other lattice vector"),
        ("sem.placement_1s", "Placement, 1 s", "residuals of the centres from their lattice",
         "standard deviation along one axis, affine and noise taken off"),
        ("sem.placement_3s", "Placement, 3 s", "residuals of the centres from their lattice",
         "standard deviation along one axis, affine and noise taken off"),
    )
)  # fmt: skip
CONTACT_IDS: tuple[str, ...] = tuple(row.id for row in CONTACT_ROWS)
IDS: tuple[str, ...] = tuple(row.id for row in ROWS)
