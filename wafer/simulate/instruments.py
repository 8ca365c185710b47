"""Virtual instruments of the wafer: an edge-measuring microscope (CD-SEM, optical) and a height-map instrument.

Both follow `metrology_core.virtual`: named causes, standard normal quantities by counter-based streams, trial t one
state of one instrument. Their figures are standard uncertainties as a calibration certificate or a gauge study states
them; a figure that is not given is no cause.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from metrology_core.data import HeightMap
from metrology_core.errors import ParameterError, UnitError
from metrology_core.instrument import Instrument
from metrology_core.units import unit as _unit
from metrology_core.virtual.modes import EDGE, Builder, Modes, read_points
from metrology_core.virtual.protocol import Cause, chosen, trial_range
from metrology_core.virtual.thermal import AT_REFERENCE, PartTemperature

FloatArray = NDArray[np.float64]


def _figures(owner: Any, names: tuple[str, ...]) -> None:
    if not owner.id:
        raise ParameterError("an instrument needs an id")
    found = _unit(owner.unit)
    if found.dimension != "length":
        raise UnitError(f"the unit of instrument {owner.id} is {found.name}", expected="a unit of length")
    object.__setattr__(owner, "unit", found.name)
    for name in names:
        value = getattr(owner, name)
        if not (math.isfinite(value) and value >= 0.0):
            raise ParameterError(f"instrument {owner.id}: {name} must not be negative", got=repr(value))


def _smooth(u: FloatArray, v: FloatArray) -> FloatArray:
    """(m, n) products of Legendre polynomials of degree 2 and 3 over the square (-1 to 1), mean square 1 in all."""
    rows = []
    for i in range(4):
        for j in range(4 - i):
            if i + j >= 2:
                a, b = np.zeros(4), np.zeros(4)
                a[i], b[j] = math.sqrt(2 * i + 1), math.sqrt(2 * j + 1)
                rows.append(np.polynomial.legendre.legval(u, a) * np.polynomial.legendre.legval(v, b))
    return np.array(rows) / math.sqrt(len(rows))


def _in_plane(normals: FloatArray) -> FloatArray:
    """(n, 2) unit vectors of the image plane; an edge stands in it, so a normal has no part along z."""
    flat = normals[:, :2]
    size = np.linalg.norm(flat, axis=1)
    if not (size > 0.9).all():
        raise ParameterError(
            "an edge of an image has its normal in the image plane", expected="normals across z",
            got=f"{int(np.sum(size <= 0.9))} of {len(normals)} along z", remedy="turn the points into the image plane",
        )  # fmt: skip
    return np.asarray(flat / size[:, None])


@dataclass(frozen=True, eq=False)
class VirtualMicroscope:
    """A microscope that finds edges in images; lengths in ``unit``.

    ``field`` (width, height) of the image and ``origin`` (x, y) of its corner; ``scale_u`` (x, y) relative standard
    uncertainty of the pixel size, ``scale_common`` whether it is one calibration whose error both axes share;
    ``distortion_u`` root mean square distortion over the image (smooth, each direction by itself); ``noise`` of an edge
    point along its normal; ``edge_offset_u`` of the offset of the edge criterion: common to all edges, out of the line,
    so a width changes by twice of it and a pitch not at all; ``criterion`` names it; ``part`` the temperature of the
    part. Points in space are measured by their x and y: the image lies in the plane z = constant of their frame.
    """

    feature_kinds: ClassVar[tuple[str, ...]] = ("circle", "ellipse", "line")  # edges in the image plane

    id: str
    unit: str
    field: tuple[float, float]
    scale_u: tuple[float, float] = (0.0, 0.0)
    distortion_u: float = 0.0
    noise: float = 0.0
    edge_offset_u: float = 0.0
    criterion: str = "threshold"
    origin: tuple[float, float] = (0.0, 0.0)
    part: PartTemperature = AT_REFERENCE
    scale_common: bool = False

    def __post_init__(self) -> None:
        _figures(self, ("distortion_u", "noise", "edge_offset_u"))
        pairs = (*self.field, *self.scale_u)
        if not all(math.isfinite(x) and x >= 0.0 for x in pairs) or not min(self.field) > 0.0:
            raise ParameterError(f"instrument {self.id}: field or scale cannot be", got=f"{self.field}, {self.scale_u}")

    @classmethod
    def from_instrument(
        cls,
        instrument: Instrument,
        field: tuple[float, float],
        *,
        criterion: str = "threshold",
        origin: tuple[float, float] = (0.0, 0.0),
        scale_u: tuple[float, float] | None = None,
    ) -> VirtualMicroscope:
        """The microscope that a declared instrument describes. Its one ``scale_u`` is common to both axes, ``scale_u``
        (x, y) given here is of each on its own."""
        scale = instrument.scale_u or 0.0
        return cls(
            instrument.id, instrument.unit, field, (scale, scale) if scale_u is None else scale_u,
            instrument.distortion_u or 0.0, instrument.noise or 0.0, instrument.edge_offset_u or 0.0, criterion, origin,
            PartTemperature.of(instrument), scale_u is None,
        )  # fmt: skip

    @property
    def causes(self) -> tuple[Cause, ...]:
        return self.modes(np.zeros((1, 2)), np.array([[1.0, 0.0]])).causes

    def modes(self, points: Any, normals: Any = None, *, scope: str = "") -> Modes:
        """The errors at edge points (n, 2), or (n, 3) of which x and y count, whose ``normals`` of the same shape point
        out of the line; the third component of the modes is zero."""
        xy, out = np.asarray(points, dtype=np.float64), np.asarray(normals, dtype=np.float64)
        if xy.ndim != 2 or xy.shape[1] not in (2, 3) or out.shape != xy.shape or not np.isfinite(xy).all():
            raise ParameterError("edge points and normals are (n, 2) or (n, 3)", got=f"{xy.shape}, {out.shape}")
        xy, out = xy[:, :2], _in_plane(out)
        name = f"instrument/{self.id}"
        made = Builder(len(xy))

        def spatial(plane: FloatArray) -> FloatArray:
            return np.concatenate([plane, np.zeros((*plane.shape[:-1], 1))], axis=-1)

        if self.scale_common and any(self.scale_u):
            cause = Cause("scale", f"{name}/scale", "pixel size, x and y alike")
            made.add(cause, spatial((xy * self.scale_u)[None]), [cause.id])
        for axis, letter in enumerate("" if self.scale_common else "xy"):
            if self.scale_u[axis]:
                row = np.zeros_like(xy)
                row[:, axis] = self.scale_u[axis] * xy[:, axis]
                cause = Cause(f"scale_{letter}", f"{name}/scale/{letter}", f"pixel size in {letter}")
                made.add(cause, spatial(row[None]), [cause.id])
        if self.distortion_u:
            slack = EDGE * np.asarray(self.field)
            low, high = np.asarray(self.origin), np.asarray(self.origin) + self.field
            if ((xy < low - slack) | (xy > high + slack)).any():
                raise ParameterError(
                    f"points lie outside the image of {self.id}", expected=f"{low.tolist()} to {high.tolist()}",
                    got=f"{xy.min(axis=0).tolist()} to {xy.max(axis=0).tolist()} {self.unit}",
                    remedy="state field and origin of the image in the frame of the points",
                )  # fmt: skip
            u, v = (2.0 * (xy[:, i] - self.origin[i]) / self.field[i] - 1.0 for i in (0, 1))
            rows = []
            for axis in range(2):
                for value in self.distortion_u * _smooth(u, v):
                    row = np.zeros_like(xy)
                    row[:, axis] = value
                    rows.append(row)
            cause = Cause("distortion", f"{name}/distortion", f"distortion of the image of {self.id}, smooth")
            made.add(cause, spatial(np.array(rows)))
        if self.edge_offset_u:
            cause = Cause(
                "edge_offset", f"{name}/edge/{self.criterion}", f"offset of the edge criterion {self.criterion}"
            )
            made.add(cause, spatial(self.edge_offset_u * out[None]), [cause.id])
        self.part.add_to(made, name, spatial(xy))
        cause = Cause("noise", f"{name}/noise", f"noise of single edge points of {self.id}")
        made.add_noise(cause, spatial(self.noise * out), scope)
        return made.build()

    def simulate(
        self,
        target: Any,
        normals: Any,
        *,
        start: int = 0,
        stop: int,
        seed: int = 0,
        only: Collection[str] | None = None,
        scope: str = "",
    ) -> FloatArray:
        """(stop - start, n, 2) edge points that the microscope would give for the true ones."""
        moved = self.modes(target, normals, scope=scope).displacements(start, stop, seed=seed, only=only)
        true = np.asarray(target, dtype=np.float64)
        return np.asarray(true + moved[:, :, : true.shape[1]])


@dataclass(frozen=True, eq=False)
class VirtualProfiler:
    """An instrument that measures heights over a grid (interferometer, confocal, AFM); heights in ``unit``.

    ``z_scale_u`` relative standard uncertainty of the height scale; ``linearity_u`` root mean square departure from a
    straight characteristic over ``z_range`` (smooth); ``flatness_u`` root mean square error of the reference flat over
    the field (smooth); ``noise`` of a sample; ``lateral_u`` (x, y) relative standard uncertainty of the lateral scale,
    ``lateral_common`` whether both axes share its error;
    ``field`` two corners (x, y) in the frame of the points, for `modes`; ``part`` the temperature of the part.
    """

    feature_kinds: ClassVar[tuple[str, ...]] = ("plane", "sphere", "cylinder", "cone", "torus")  # seen as heights

    id: str
    unit: str
    z_range: tuple[float, float]
    z_scale_u: float = 0.0
    linearity_u: float = 0.0
    flatness_u: float = 0.0
    noise: float = 0.0
    lateral_u: tuple[float, float] = (0.0, 0.0)
    field: tuple[tuple[float, float], tuple[float, float]] | None = None
    part: PartTemperature = AT_REFERENCE
    lateral_common: bool = False

    def __post_init__(self) -> None:
        _figures(self, ("z_scale_u", "linearity_u", "flatness_u", "noise"))
        if not self.z_range[1] > self.z_range[0] or not all(math.isfinite(x) and x >= 0.0 for x in self.lateral_u):
            raise ParameterError(f"instrument {self.id}: range or lateral scale cannot be", got=repr(self.z_range))

    @property
    def causes(self) -> tuple[Cause, ...]:
        name = f"instrument/{self.id}"
        rows = [
            (self.z_scale_u, "z_scale", f"{name}/scale/z", "scale of heights"),
            (
                self.linearity_u,
                "linearity",
                f"{name}/linearity",
                "linearity of the height scale, smooth over its range",
            ),
            (self.flatness_u, "flatness", f"{name}/flatness", "flatness error of the reference, smooth over the field"),
            *self._lateral(name),
            (self.noise, "noise", f"{name}/noise", f"noise of single samples of {self.id}"),
        ]
        found = [Cause(key, influence, label) for size, key, influence, label in rows if size]
        made = Builder(1)
        self.part.add_to(made, name, np.ones((1, 3)))
        return (*found[:-1], *made.causes, *found[-1:]) if self.noise else (*found, *made.causes)

    def _lateral(self, name: str) -> list[tuple[float, str, str, str]]:
        if self.lateral_common:
            return [(max(self.lateral_u), "lateral", f"{name}/scale", "lateral scale, x and y alike")]
        return [
            (u, f"lateral_{axis}", f"{name}/scale/{axis}", f"lateral scale in {axis}")
            for u, axis in zip(self.lateral_u, "xy", strict=True)
        ]

    def modes(self, points: Any, normals: Any = None, *, scope: str = "") -> Modes:
        """The errors at surface points (n, 3): x and y in the field, z the height, all in ``unit``. Heights err along
        z, lateral scales along x and y. Raises `ParameterError` for points that lie beyond range or field (`EDGE`)."""
        xyz, _ = read_points(points, normals, need_normals=False)
        low, high = self.z_range
        slack = EDGE * (high - low)
        heights = xyz[:, 2]
        if len(xyz) and (heights.min() < low - slack or heights.max() > high + slack):
            raise ParameterError(
                f"heights beyond the range of {self.id}", expected=f"{low:g} to {high:g} {self.unit}",
                got=f"{heights.min():g} to {heights.max():g}",
            )  # fmt: skip

        def along(axis: int, values: FloatArray) -> FloatArray:
            """(m, n, 3) displacements along an axis."""
            out = np.zeros((*np.atleast_2d(values).shape, 3))
            out[:, :, axis] = values
            return out

        share = np.clip((heights - low) / (high - low), 0.0, 1.0)
        waves = np.sin(math.pi * np.arange(1, _TERMS + 1)[:, None] * share[None])
        fields = {
            "z_scale": lambda: along(2, self.z_scale_u * (heights - low)),
            "linearity": lambda: along(2, self.linearity_u * math.sqrt(2.0 / _TERMS) * waves),
            "flatness": lambda: along(2, self.flatness_u * _smooth(*self._place(xyz))),
            "lateral": lambda: along(0, self.lateral_u[0] * xyz[:, 0]) + along(1, self.lateral_u[1] * xyz[:, 1]),
            "lateral_x": lambda: along(0, self.lateral_u[0] * xyz[:, 0]),
            "lateral_y": lambda: along(1, self.lateral_u[1] * xyz[:, 1]),
        }
        made = Builder(len(xyz))
        name = f"instrument/{self.id}"
        for cause in self.causes:
            if cause.key in fields:
                rows = fields[cause.key]()
                made.add(cause, rows, [cause.id] if len(rows) == 1 else None)
        self.part.add_to(made, name, xyz)
        noise = Cause("noise", f"{name}/noise", f"noise of single samples of {self.id}")
        made.add_noise(noise, along(2, np.full(len(xyz), self.noise))[0], scope)
        return made.build()

    def _place(self, xyz: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Places in the field, -1 to 1 in x and y."""
        if self.field is None:
            raise ParameterError(f"instrument {self.id}: flatness acts over a field", remedy="state the field")
        low, high = np.asarray(self.field[0]), np.asarray(self.field[1])
        place = 2.0 * (xyz[:, :2] - low) / (high - low) - 1.0
        if (np.abs(place) > 1.0 + 2.0 * EDGE).any():
            raise ParameterError(
                f"points lie outside the field of {self.id}", expected=f"{low.tolist()} to {high.tolist()} {self.unit}",
                got=f"{xyz[:, :2].min(axis=0).tolist()} to {xyz[:, :2].max(axis=0).tolist()}",
                remedy="state the field's two corners in the frame of the points",
            )  # fmt: skip
        return place[:, 0], place[:, 1]

    def simulate(
        self,
        target: HeightMap,
        *,
        start: int = 0,
        stop: int,
        seed: int = 0,
        only: Collection[str] | None = None,
        scope: str = "",
    ) -> FloatArray:
        """(stop - start, ny, nx) heights that the instrument would give for the true map ``target``; NaN where it is
        not valid (also where a lateral scale leads outside it). Raises `ParameterError` for heights beyond range."""
        count, act = trial_range(start, stop), chosen(self.causes, only)
        if target.unit != self.unit:
            raise UnitError(f"the map is in {target.unit}", expected=self.unit, remedy="convert the instrument")
        z = np.where(target.valid, target.z, np.nan)
        low, high = self.z_range
        if np.nanmin(z) < low or np.nanmax(z) > high:
            raise ParameterError(
                f"heights beyond the range of {self.id}", expected=f"{low:g} to {high:g} {self.unit}",
                got=f"{np.nanmin(z):g} to {np.nanmax(z):g}",
            )  # fmt: skip
        modes = {cause.key: self._draw(cause, start, stop, seed) for cause in self.causes if cause.key in act}
        ny, nx = target.shape
        v, u = np.meshgrid(np.linspace(-1.0, 1.0, ny), np.linspace(-1.0, 1.0, nx), indexing="ij")
        flats = _smooth(u.ravel(), v.ravel())
        out = np.empty((count, ny, nx))
        for t in range(count):
            here = z
            # one draw for both axes, or one for each
            drawn = [modes.get("lateral", modes.get(f"lateral_{axis}")) for axis in "xy"]
            if any(d is not None for d in drawn):
                sx, sy = (0.0 if d is None else u * float(d[t, 0]) for u, d in zip(self.lateral_u, drawn, strict=True))
                here = _resampled(z, 1.0 + sx, 1.0 + sy)
            error = np.zeros((ny, nx))
            if "z_scale" in modes:
                error += self.z_scale_u * modes["z_scale"][t, 0] * (here - low)
            if "linearity" in modes:
                s = np.clip((here - low) / (high - low), 0.0, 1.0)
                for m in range(_TERMS):  # zero at both ends: what is linear is the scale
                    size = self.linearity_u * math.sqrt(2.0 / _TERMS) * modes["linearity"][t, m]
                    error += size * np.sin(math.pi * (m + 1) * s)
            if "flatness" in modes:
                error += self.flatness_u * np.einsum("m,mn->n", modes["flatness"][t], flats).reshape(ny, nx)
            out[t] = here + error
        if "noise" in modes:
            at = Modes(
                (Cause("noise", f"instrument/{self.id}/noise", ""),), np.zeros(0, np.int64), (),
                np.zeros((0, ny * nx, 3)), np.tile([[0.0, 0.0, self.noise]], (ny * nx, 1)), 0,
                f"instrument/{self.id}/noise/{scope}",
            )  # fmt: skip
            out += at.displacements(start, stop, seed=seed)[:, :, 2].reshape(count, ny, nx)
        return out

    def _draw(self, cause: Cause, start: int, stop: int, seed: int) -> FloatArray:
        """(trials, m) standard normal numbers of a cause."""
        terms = {"linearity": _TERMS, "flatness": len(_smooth(np.zeros(1), np.zeros(1)))}.get(cause.key, 1)
        ids = [cause.id] if terms == 1 else [f"{cause.id}/{j}" for j in range(terms)]
        made = Builder(terms)
        unit = np.zeros((terms, terms, 3))
        unit[np.arange(terms), np.arange(terms), 2] = 1.0
        made.add(cause, unit, ids)
        return np.asarray(made.build().displacements(start, stop, seed=seed)[:, :, 2])


_TERMS = 4


def _resampled(z: FloatArray, sx: float, sy: float) -> FloatArray:
    """Heights at the places that a grid with wrong steps really has, bilinear; NaN outside."""
    ny, nx = z.shape
    y, x = np.arange(ny) * sy, np.arange(nx) * sx
    i, j = np.clip(y.astype(np.int64), 0, ny - 2), np.clip(x.astype(np.int64), 0, nx - 2)
    a, b = (y - i)[:, None], (x - j)[None, :]
    i, j = i[:, None], j[None, :]
    out = (1 - a) * ((1 - b) * z[i, j] + b * z[i, j + 1]) + a * ((1 - b) * z[i + 1, j] + b * z[i + 1, j + 1])
    outside = (y[:, None] > ny - 1 + 1e-12) | (x[None, :] > nx - 1 + 1e-12)
    return np.asarray(np.where(outside, np.nan, out))
