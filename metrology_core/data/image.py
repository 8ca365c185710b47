"""`Image`: a microscope image with its grey values untouched and its pixel size declared."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from metrology_core import flags as _flags
from metrology_core.data.acquisition import Acquisition
from metrology_core.data.frames import Frame
from metrology_core.errors import ParameterError, UnitError
from metrology_core.provenance import Source, digest_bytes
from metrology_core.units import unit as _unit


@dataclass(frozen=True, eq=False)
class Image:
    """A grey image.

    ``pixels`` (ny, nx) in the file's own type (unsigned 8 or 16 bit, or float), read-only, never rescaled. The centre
    of the first pixel is (0, 0), x to the right, y down. ``pixel_size`` is (x, y) in ``unit`` with its standard
    uncertainty ``pixel_size_u``; None where nobody stated it. ``pixel_size_u_common``: both come from one calibration,
    so that the sizes err alike (correlation 1); else each axis has an error of its own. ``saturation_level`` is the top
    of the grey scale.
    ``origin`` is the (row, column) of this image in the file's, when it is a region of it. ``area`` is where the
    picture lies in ``pixels``, ((first row, end), (first column, end)); None for all of them. What lies outside (a
    frame, a data bar) is not measured; coordinates count from the first of ``pixels``.
    """

    pixels: np.ndarray
    unit: str
    pixel_size: tuple[float, float] | None
    pixel_size_u: tuple[float, float] | None = None
    frame: Frame = Frame("image")
    acquisition: Acquisition = Acquisition()
    source: Source | None = None
    saturation_level: float | None = None
    flags: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    origin: tuple[int, int] = (0, 0)
    area: tuple[tuple[int, int], tuple[int, int]] | None = None
    pixel_size_u_common: bool = False

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        pixels = np.asarray(self.pixels)
        if pixels.ndim != 2 or 0 in pixels.shape:
            raise ParameterError("an image has rows and columns", expected="shape (ny, nx)", got=str(pixels.shape))
        if pixels.dtype.kind not in "uf":
            raise ParameterError(
                "grey values must be unsigned integers or floats", got=f"dtype {pixels.dtype}", remedy="read as grey"
            )
        pixels = np.array(pixels, order="C")
        pixels.setflags(write=False)
        set_(self, "pixels", pixels)
        found = _unit(self.unit)
        if found.dimension != "length":
            raise UnitError(f"a pixel size cannot be in {found.name}", expected="a unit of length")
        set_(self, "unit", found.name)
        for name in ("pixel_size", "pixel_size_u"):
            pair = getattr(self, name)
            if pair is None:
                continue
            values = tuple(float(v) for v in pair)
            good = len(values) == 2 and all(np.isfinite(v) for v in values)
            if not good or min(values) < 0.0 or (name == "pixel_size" and min(values) == 0.0):
                raise ParameterError(f"{name} must be two positive numbers (x, y)", got=repr(pair))
            set_(self, name, values)
        if self.area is not None:
            area = tuple(tuple(int(v) for v in pair) for pair in self.area)
            inside = len(area) == 2 and all(
                len(pair) == 2 and 0 <= pair[0] < pair[1] <= size for pair, size in zip(area, pixels.shape, strict=True)
            )
            if not inside:
                raise ParameterError("the area does not lie in the image", got=repr(self.area))
            set_(self, "area", area)
        set_(self, "metadata", MappingProxyType({str(k): str(v) for k, v in self.metadata.items()}))
        set_(self, "flags", _flags.merge(self.flags))

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the file that the image comes from, or else of its type, shape and pixels."""
        if self.source is not None and self.source.sha256:
            return self.source.sha256
        return digest_bytes(f"{self.pixels.dtype.str}{self.pixels.shape}".encode(), self.pixels.data)

    def measured_area(
        self, rows: tuple[int, int] | None = None, columns: tuple[int, int] | None = None
    ) -> tuple[tuple[int, int], tuple[int, int]]:
        """What of ``rows`` and ``columns`` (None: all) belongs to the picture; raises `ParameterError` where they do
        not lie in the image, or nothing of the picture lies in them."""
        ny, nx = self.shape
        wanted = (rows or (0, ny), columns or (0, nx))
        inside = self.area or ((0, ny), (0, nx))
        found = tuple((max(a[0], b[0]), min(a[1], b[1])) for a, b in zip(wanted, inside, strict=True))
        good = all(0 <= a < b <= size for (a, b), size in zip(wanted, (ny, nx), strict=True))
        if not good or any(a >= b for a, b in found):
            raise ParameterError(
                "the image area lies outside the image",
                expected=f"0 <= first < end, rows {inside[0][0]} to {inside[0][1]}, columns {inside[1][0]} to "
                f"{inside[1][1]}",
                got=f"rows {wanted[0]}, columns {wanted[1]}",
            )
        return found[0], found[1]

    def region(self, rows: tuple[int, int] | None = None, columns: tuple[int, int] | None = None) -> Image:
        """A part of the image, ends exclusive; raises `ParameterError` where it does not lie in the image."""
        ny, nx = self.shape
        r0, r1 = rows if rows is not None else (0, ny)
        c0, c1 = columns if columns is not None else (0, nx)
        if not (0 <= r0 < r1 <= ny and 0 <= c0 < c1 <= nx):
            raise ParameterError(
                "the region does not lie in the image",
                expected=f"rows within [0, {ny}], columns within [0, {nx}]",
                got=f"rows [{r0}, {r1}), columns [{c0}, {c1})",
                remedy="correct rows or columns in the recipe",
            )
        area = None
        if self.area is not None:
            (top, bottom), (left, right) = self.measured_area((r0, r1), (c0, c1))
            area = (top - r0, bottom - r0), (left - c0, right - c0)
        return replace(
            self, pixels=self.pixels[r0:r1, c0:c1], origin=(self.origin[0] + r0, self.origin[1] + c0), area=area
        )

    def with_flags(self, *names: str) -> Image:
        return replace(self, flags=_flags.merge(self.flags, names))

    def __reduce__(self) -> tuple[Any, ...]:
        state = {name: getattr(self, name) for name in self.__dataclass_fields__}
        state["metadata"] = dict(self.metadata)
        return (_rebuild, (state,))


def _rebuild(state: dict[str, Any]) -> Image:
    return Image(**state)
