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
IDS: tuple[str, ...] = tuple(row.id for row in ROWS)
