"""A simulated wafer lot of line/space images with a radial signature of the line width, and its truth table."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from metrology_core.errors import ParameterError
from wafer.simulate.sem import SemImage, SemModel, simulate_blank, simulate_lines, threshold_offset


@dataclass(frozen=True)
class LotPlan:
    """What the lot looks like. Lengths on the wafer in mm, on the image in nm.

    ``cd_center`` + ``cd_radial`` (r/R)^2 is the mean line width of a field at radius r, ``cd_field_sigma`` its scatter
    between fields, ``cd_wafer_sigma`` that between wafers. ``blank`` and ``out_of_tolerance`` are image numbers; the
    second gets ``cd_excess`` on top.
    """

    images: int = 48
    wafers: int = 2
    radius: float = 140.0
    field_size: tuple[float, float] = (26.0, 33.0)
    cd_center: float = 16.0
    cd_radial: float = 0.5
    cd_field_sigma: float = 0.08
    cd_wafer_sigma: float = 0.1
    blank: tuple[int, ...] = (17,)
    out_of_tolerance: tuple[int, ...] = (29,)
    cd_excess: float = 3.5
    lot: str = "L01"
    model: SemModel = field(default_factory=lambda: SemModel(shape=(384, 512), tilt=0.004))

    def check(self) -> None:
        """Raise `ParameterError` for a lot that cannot be drawn."""
        if self.images < 1 or not 1 <= self.wafers <= 99:
            raise ParameterError(
                "a lot has images and 1 to 99 wafers", got=f"{self.images} images, {self.wafers} wafers"
            )


@dataclass(frozen=True, eq=False)
class LotTruth:
    """Truth of a written lot: the plan, the seed, and one row per image (file name, place, widths, outcome)."""

    plan: LotPlan
    seed: int
    rows: list[dict[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """JSON form, as written to ``truth.json``."""
        return {"schema": "abbe/sem-lot-truth/1", "seed": self.seed, "plan": asdict(self.plan), "images": self.rows}


def field_centres(plan: LotPlan) -> list[tuple[int, int, float, float]]:
    """Fields (column, row, x, y in mm) whose centres lie within the radius, row by row from the top."""
    dx, dy = plan.field_size
    columns, rows = math.floor(plan.radius / dx), math.floor(plan.radius / dy)
    return [
        (c, r, c * dx, r * dy)
        for r in range(rows, -rows - 1, -1)
        for c in range(-columns, columns + 1)
        if math.hypot(c * dx, r * dy) <= plan.radius
    ]


def lot_images(plan: LotPlan, *, seed: int) -> Any:
    """Yield ``(row of the truth table, SemImage)`` for every image of the lot; deterministic by ``seed``.

    Image n depends on the seed and n alone, so a lot may be drawn in parts.
    """
    plan.check()
    fields = field_centres(plan)
    per_wafer = math.ceil(plan.images / plan.wafers)
    for n in range(plan.images):
        wafer, slot = divmod(n, per_wafer)
        # Spread the images of a wafer evenly over its fields.
        column, line, x, y = fields[(slot * len(fields)) // per_wafer % len(fields)]
        wafer_stream = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 1, wafer])))
        stream = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 2, n])))
        cd = (
            plan.cd_center
            + plan.cd_radial * (x * x + y * y) / plan.radius**2
            + plan.cd_wafer_sigma * float(wafer_stream.standard_normal())
            + plan.cd_field_sigma * float(stream.standard_normal())
        )
        kind = "blank" if n in plan.blank else "out_of_tolerance" if n in plan.out_of_tolerance else "good"
        if kind == "out_of_tolerance":
            cd += plan.cd_excess
        image_seed = int(stream.integers(2**62))
        offset = float(stream.uniform(0.0, plan.model.pitch))
        image: SemImage = (
            simulate_blank(plan.model, seed=image_seed)
            if kind == "blank"
            else simulate_lines(plan.model, seed=image_seed, cd=cd, offset=offset)
        )
        row = {
            "number": n,
            "file": f"{plan.lot}_W{wafer + 1:02d}_X{column:+03d}_Y{line:+03d}_{n:03d}.tif",
            "lot": plan.lot,
            "wafer": f"W{wafer + 1:02d}",
            "field": f"X{column:+03d}_Y{line:+03d}",
            "x_mm": x,
            "y_mm": y,
            "kind": kind,
            "seed": image_seed,
            "unit": "nm",
            "cd_line": None if kind == "blank" else image.truth["cd_line"],
            "cd_line_threshold_50": None
            if kind == "blank"
            else image.truth["cd_line"] + 2.0 * threshold_offset(image.model, 0.5),
            "cd_line_in_image": image.truth.get("cd_line_in_image"),
            "pitch": None if kind == "blank" else image.truth["pitch"],
            "lwr_1s": None if kind == "blank" else image.truth["lwr_1s"],
            "ler_1s": None if kind == "blank" else image.truth["ler_1s"],
        }
        yield row, image


def write_sem_lot(folder: str | Path, plan: LotPlan | None = None, *, seed: int) -> LotTruth:
    """Write the images of a lot as TIFF files and ``truth.json`` into ``folder`` (made if absent); returns the truth.

    File names carry lot, wafer and field: ``L01_W02_X+01_Y-03_037.tif``, to be read with
    ``(?P<lot>L[0-9]+)_(?P<wafer>W[0-9]+)_(?P<field>X[+-][0-9]+_Y[+-][0-9]+)``. The resolution tags hold the pixel size.
    The bytes depend on the plan, the seed and the version of the TIFF writer only.
    """
    plan = plan or LotPlan()
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    rows = []
    for row, image in lot_images(plan, seed=seed):
        write_tiff(target / row["file"], image)
        rows.append(row)
    truth = LotTruth(plan, seed, rows)
    (target / "truth.json").write_text(json.dumps(truth.to_dict(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return truth


def write_tiff(path: str | Path, image: SemImage) -> None:
    """Write a simulated image as an uncompressed grey TIFF whose resolution tags state the pixel size."""
    import tifffile

    px, py = image.model.pixel
    tifffile.imwrite(
        path,
        image.pixels,
        photometric="minisblack",
        resolution=(1e7 / px, 1e7 / py),
        resolutionunit="CENTIMETER",
        metadata=None,
        software="abbe simulator",
    )
