"""The rows that scan-against-nominal adds to the registry of characteristics. Importing the module registers them."""

from __future__ import annotations

from metrology_core.characteristics import Characteristic, register

_SINGLE = "of all points with a deviation; a single point: noise widens it, which is an influence of its own"

ROWS: tuple[Characteristic, ...] = tuple(
    register(Characteristic(id=name, title=title, standard="distance along the nominal's normal, + excess material",
                            dimension="length", needs="surface", lower_bound=bound, words=words, length_of="none"))
    for name, title, bound, words in (
        ("deviation.maximum", "Largest deviation", None, f"largest signed deviation {_SINGLE}"),
        ("deviation.minimum", "Smallest deviation", None, f"smallest signed deviation {_SINGLE}"),
        ("deviation.mean", "Mean deviation", None, "mean of all points with a deviation"),
        ("deviation.sd", "Standard deviation of the deviations", 0.0, "about the mean of all points with a deviation"),
        ("deviation.rms", "Root mean square deviation", 0.0, "root of the mean square of all points with a deviation"),
    )
)  # fmt: skip
IDS: tuple[str, ...] = tuple(row.id for row in ROWS)
FIELD_OF = {
    "deviation.maximum": "maximum", "deviation.minimum": "minimum", "deviation.mean": "mean", "deviation.sd": "sd",
    "deviation.rms": "rms",
}  # fmt: skip
