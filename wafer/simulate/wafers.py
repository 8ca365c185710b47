"""Whole wafers with a signature of the line width, in lots with known variance components.

The width of an image is the sum of what a process does: a mean; a signature over the wafer (bowl and tilt), over the
exposure field (slit and scan); random effects of lot, wafer, field and image. The random ones are the truth of a nested
decomposition; the signature is systematic and adds to the spread between fields.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from metrology_core.errors import ParameterError
from wafer.simulate.sem import SemImage, SemModel, simulate_lines


@dataclass(frozen=True)
class CdSignature:
    """Systematic change of the width in nm over wafer and field.

    ``radial``: at the edge of the wafer against its middle, growing with the square of the radius; ``tilt_x``,
    ``tilt_y``: from one edge to the other; ``slit``: at the ends of the slit (x of the field) against its middle;
    ``scan``: from the start to the end of the scan (y of the field).
    """

    radial: float = 0.0
    tilt_x: float = 0.0
    tilt_y: float = 0.0
    slit: float = 0.0
    scan: float = 0.0

    def at(self, x: float, y: float, fx: float, fy: float, radius: float) -> float:
        """Change at a place (mm) of the wafer and a place in the field from -1 to 1."""
        over = self.radial * (x * x + y * y) / radius**2 + 0.5 * (self.tilt_x * x + self.tilt_y * y) / radius
        return over + self.slit * fx * fx + 0.5 * self.scan * fy


@dataclass(frozen=True)
class WaferLots:
    """``lots`` of ``wafers`` with ``images`` in each of up to ``fields`` fields (all that fit where None).

    ``cd`` mean width in nm and its random effects ``sd_lot``, ``sd_wafer``, ``sd_field``, ``sd_image``; ``signature``;
    ``radius`` (mm) within which fields of ``field_size`` (mm) are measured; ``model`` of the images.
    """

    lots: int = 3
    wafers: int = 4
    fields: int | None = None
    images: int = 2
    cd: float = 16.0
    sd_lot: float = 0.15
    sd_wafer: float = 0.10
    sd_field: float = 0.12
    sd_image: float = 0.06
    signature: CdSignature = CdSignature()
    radius: float = 140.0
    field_size: tuple[float, float] = (26.0, 33.0)
    model: SemModel = field(default_factory=lambda: SemModel(shape=(256, 512)))

    def check(self) -> None:
        """Raise `ParameterError` for a lot that cannot be drawn."""
        if min(self.lots, self.wafers, self.images) < 1 or (self.fields is not None and self.fields < 1):
            raise ParameterError("lots, wafers, fields and images are at least one", got=f"{self}")
        if min(self.sd_lot, self.sd_wafer, self.sd_field, self.sd_image) < 0.0:
            raise ParameterError("standard deviations are not negative")

    def centres(self) -> list[tuple[int, int, float, float]]:
        """(column, row, x, y in mm) of the measured fields, spread evenly over those that fit."""
        dx, dy = self.field_size
        columns, rows = math.floor(self.radius / dx), math.floor(self.radius / dy)
        whole = [
            (c, r, c * dx, r * dy)
            for r in range(rows, -rows - 1, -1)
            for c in range(-columns, columns + 1)
            if math.hypot(c * dx, r * dy) <= self.radius
        ]
        if self.fields is None or self.fields >= len(whole):
            return whole
        return [whole[(k * len(whole)) // self.fields] for k in range(self.fields)]


def wafer_table(plan: WaferLots, *, seed: int) -> list[dict[str, Any]]:
    """One row for each image: ``lot``, ``wafer``, ``field`` (as file names carry them), ``image`` number, ``x_mm``,
    ``y_mm``, ``cd`` in nm (true width) and ``systematic``, what the signature adds to it. Fixed by ``seed``; an effect
    depends on its own names only, so a larger plan repeats the smaller one."""
    plan.check()
    rows: list[dict[str, Any]] = []

    def effect(sd: float, *key: int) -> float:
        stream = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 77, *key])))
        return sd * float(stream.standard_normal())

    for lot in range(plan.lots):
        of_lot = effect(plan.sd_lot, 1, lot)
        for wafer in range(plan.wafers):
            of_wafer = effect(plan.sd_wafer, 2, lot, wafer)
            for column, line, x, y in plan.centres():
                of_field = effect(plan.sd_field, 3, lot, wafer, column + 1000, line + 1000)
                for image in range(plan.images):
                    of_image = effect(plan.sd_image, 4, lot, wafer, column + 1000, line + 1000, image)
                    # images along the diagonal of the field: slit and scan both show
                    f = 0.0 if plan.images == 1 else 2.0 * image / (plan.images - 1.0) - 1.0
                    systematic = plan.signature.at(x, y, f, f, plan.radius)
                    rows.append(
                        {
                            "lot": f"L{lot + 1:02d}", "wafer": f"W{wafer + 1:02d}",
                            "field": f"X{column:+03d}_Y{line:+03d}", "image": image, "x_mm": x, "y_mm": y,
                            "cd": plan.cd + of_lot + of_wafer + of_field + of_image + systematic,
                            "systematic": systematic,
                        }
                    )  # fmt: skip
    return rows


def wafer_images(plan: WaferLots, *, seed: int) -> Iterator[tuple[dict[str, Any], SemImage]]:
    """The rows of `wafer_table`, each with its image; ``file`` is a name that carries lot, wafer and field."""
    for number, row in enumerate(wafer_table(plan, seed=seed)):
        stream = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 78, number])))
        image = simulate_lines(
            plan.model, seed=int(stream.integers(2**62)), cd=row["cd"],
            offset=float(stream.uniform(0.0, plan.model.pitch)),
        )  # fmt: skip
        yield {**row, "file": f"{row['lot']}_{row['wafer']}_{row['field']}_{row['image']}.tif"}, image
