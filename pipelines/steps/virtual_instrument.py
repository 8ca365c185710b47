"""The virtual instrument that a recipe describes: `pointcloud` knows scanners, `wafer` microscopes and profilers."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from metrology_core.errors import DataError, ParameterError
from pipelines.recipe.instruments import kind_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from metrology_core.data import PointSet
    from metrology_core.instrument import Instrument
    from metrology_core.virtual.repeat import PointInstrument
    from pipelines.recipe.inputs import InstrumentSpec
    from pipelines.recipe.instruments import AxesSpec, RegistrationSpec, ScannerSpec, ViewSpec


def virtual_instrument(spec: InstrumentSpec, declared: Instrument, points: PointSet) -> PointInstrument:
    """The virtual instrument of a recipe for the points of a part; ``declared`` is the same instrument in their unit.

    Raises `ParameterError` for figures that cannot be, `DataError` for points of a view that is not declared.
    """
    from pointcloud.evaluate.simulated import machine_for, with_state_of

    instrument = with_state_of(points, declared)
    kind = kind_of(spec.type)
    if kind == "cmm":
        return machine_for(instrument, points.xyz)
    if getattr(spec, kind) is None or instrument.noise is None:
        raise ParameterError(
            f"instrument {spec.id} of type {spec.type!r} cannot be simulated", expected=f"its '{kind}' and its noise",
            remedy="state them in the instrument, or take the simulation out",
        )  # fmt: skip
    if points.points_are == "ball_centre":
        raise ParameterError(
            f"a {kind} gives points of the surface", got="points_are: ball_centre", remedy="name the CMM that probed"
        )
    return {"scanner": _scanner, "microscope": _microscope, "profiler": _profiler}[kind](spec, instrument, points)


# --- scanner
def _scanner(spec: InstrumentSpec, instrument: Instrument, points: PointSet) -> PointInstrument:
    from metrology_core.virtual.thermal import PartTemperature
    from pointcloud.simulate.scanner import VirtualScanner

    given, unit = spec.scanner, points.unit
    assert given is not None
    half = np.array([length.to(unit) for length in given.field]) / 2.0
    finite = points.xyz[points.finite]
    middle = 0.5 * (finite.min(axis=0) + finite.max(axis=0))
    views = [_view(view, given, middle, unit) for view in given.views]
    made = VirtualScanner(
        instrument.id, unit, (-half, half), given.distance_mpe.to(unit), instrument.noise or 0.0,
        given.standoff.to(unit), views, growth=given.noise_growth,
        steepest=math.radians(70.0) if given.steepest is None else given.steepest.to("rad"),
        correlation_length=instrument.correlation_length, part=PartTemperature.of(instrument),
    )  # fmt: skip
    if points.views is None:
        return made
    return _Viewed(replace(made, views_by="file"), _numbers(points, [view.name for view in given.views], spec.id))


class _Viewed:
    """A scanner for points that say their view: theirs are numbers of the file, the scanner's those of the recipe."""

    def __init__(self, scanner: Any, numbers: NDArray[np.int64]) -> None:
        self._scanner, self._numbers = scanner, numbers
        self.id, self.causes, self.feature_kinds = scanner.id, scanner.causes, scanner.feature_kinds

    def modes(self, points: Any, normals: Any = None, *, scope: str = "", view: Any = None) -> Any:
        return self._scanner.modes(
            points, normals, scope=scope, view=None if view is None else self._numbers[np.asarray(view)]
        )


def _numbers(points: PointSet, names: list[str], instrument: str) -> NDArray[np.int64]:
    """(views of the file,) number of each among the declared views."""
    assert points.views is not None
    where = points.source.path if points.source is not None else None
    if points.n_points and int(points.views.min()) < 0:
        raise DataError(
            "points do not say from which view they come", where=where, expected="a view for every point",
            got=f"{int(np.sum(points.views < 0))} points without", remedy="export the view of every point, or none",
        )  # fmt: skip
    for name in points.view_names:
        if name not in names:
            raise DataError(
                f"the file has points of a view that {instrument} does not declare", where=where,
                expected=", ".join(names), got=name, remedy="declare it in scanner.views of the instrument",
            )  # fmt: skip
    return np.array([names.index(name) for name in points.view_names], dtype=np.int64)


def _view(spec: ViewSpec, scanner: ScannerSpec, middle: NDArray[np.float64], unit: str) -> Any:
    """A view in the frame of the points; one that only has a direction looks at the middle of the points."""
    from pointcloud.simulate.scanner import View

    standoff = scanner.standoff.to(unit)
    target = None if spec.target is None else np.array([x.to(unit) for x in spec.target])
    direction: Any = spec.direction
    if direction is None:
        assert target is not None and spec.position is not None  # the model was checked
        position = np.array([x.to(unit) for x in spec.position])
        direction = target - position
    elif spec.position is not None:
        position = np.array([x.to(unit) for x in spec.position])
    else:
        ahead = np.asarray(direction, dtype=np.float64)
        position = (middle if target is None else target) - standoff * ahead / np.linalg.norm(ahead)
    made = View.looking(position, direction, standoff, up=spec.up, name=spec.name)
    registration = spec.registration or scanner.registration
    return made if registration is None else replace(made, covariance=_covariance(registration, unit))


def _covariance(spec: RegistrationSpec, unit: str) -> NDArray[np.float64]:
    rotation = 0.0 if spec.rotation_u is None else spec.rotation_u.to("rad")
    translation = 0.0 if spec.translation_u is None else spec.translation_u.to(unit)
    return np.diag([rotation**2] * 3 + [translation**2] * 3)


# --- microscope and profiler
def _axes(spec: AxesSpec | None) -> tuple[float, float] | None:
    return None if spec is None else (spec.x.to("1"), spec.y.to("1"))


def _microscope(spec: InstrumentSpec, instrument: Instrument, points: PointSet) -> PointInstrument:
    from wafer.simulate.instruments import VirtualMicroscope

    given, unit = spec.microscope, points.unit
    assert given is not None
    width, height = (length.to(unit) for length in given.field)
    x, y = (0.0, 0.0) if given.origin is None else (length.to(unit) for length in given.origin)
    return VirtualMicroscope.from_instrument(instrument, (width, height), origin=(x, y), scale_u=_axes(given.scale_u))


def _profiler(spec: InstrumentSpec, instrument: Instrument, points: PointSet) -> PointInstrument:
    from metrology_core.virtual.thermal import PartTemperature
    from wafer.simulate.instruments import VirtualProfiler

    given, unit = spec.profiler, points.unit
    assert given is not None
    finite = points.xyz[points.finite]
    if given.field is None:
        low, high = finite[:, :2].min(axis=0), finite[:, :2].max(axis=0)
        high = np.where(high > low, high, low + 1.0)  # one row of points: flatness is that of its place
    else:
        low = np.array([0.0, 0.0] if given.origin is None else [length.to(unit) for length in given.origin])
        high = low + [length.to(unit) for length in given.field]
    bottom, top = (length.to(unit) for length in given.z_range)
    return VirtualProfiler(
        instrument.id, unit, (bottom, top), 0.0 if given.z_scale_u is None else given.z_scale_u.to("1"),
        instrument.linearity_u or 0.0, instrument.flatness_u or 0.0, instrument.noise or 0.0,
        _axes(given.lateral_u) or (instrument.scale_u or 0.0,) * 2, ((low[0], low[1]), (high[0], high[1])),
        PartTemperature.of(instrument), given.lateral_u is None,
    )  # fmt: skip
