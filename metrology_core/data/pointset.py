"""`PointSet`: measured points exactly as the instrument gave them, with everything needed to read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from metrology_core import flags as _flags
from metrology_core.data.acquisition import Acquisition
from metrology_core.data.arrays import frozen_float
from metrology_core.data.frames import Frame, as_frame
from metrology_core.errors import ParameterError, UnitError
from metrology_core.provenance import Source
from metrology_core.units import unit as _unit

PointsAre = Literal["surface", "ball_centre", "unknown"]
NormalsRole = Literal["nominal", "approach", "measured"]


@dataclass(frozen=True)
class ProbeTip:
    """Effective radius of the probe tip and its standard uncertainty, both in the unit of the points."""

    radius: float
    u: float = 0.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.radius) and self.radius > 0.0):
            raise ParameterError("the tip radius must be positive and finite", got=repr(self.radius))
        if not (np.isfinite(self.u) and self.u >= 0.0):
            raise ParameterError("the uncertainty of the tip radius is finite and not negative", got=repr(self.u))


@dataclass(frozen=True)
class ThermalState:
    """Whether lengths are already those at 20 degC (ISO 1).

    ``raw`` needs the part's ``temperature`` (degC) and ``expansion`` (1/K) before it can be corrected; the ``_u`` are
    standard uncertainties.
    """

    state: Literal["compensated", "raw"] = "compensated"
    temperature: float | None = None
    temperature_u: float = 0.0
    expansion: float | None = None
    expansion_u: float = 0.0

    def __post_init__(self) -> None:
        if self.state not in ("compensated", "raw"):
            raise ParameterError(f"unknown thermal state {self.state!r}", expected="compensated or raw")

    @property
    def correctable(self) -> bool:
        return self.state == "raw" and self.temperature is not None and self.expansion is not None

    def to_dict(self) -> dict[str, Any]:
        return {
            "state": self.state,
            "temperature": self.temperature,
            "temperature_u": self.temperature_u,
            "expansion": self.expansion,
            "expansion_u": self.expansion_u,
        }


@dataclass(frozen=True)
class PrepareStep:
    """One recorded step of preparation: what was done, with which parameters (text), in words."""

    name: str
    words: str
    parameters: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, eq=False)
class PointSet:
    """Points of one measurement.

    ``xyz`` (n, 3) float64, read-only, numbers exactly as in the file, in ``unit`` and ``frame``. ``points_are`` says
    whether they lie on the surface or are centres of the probe ball (then ``tip`` holds its radius). ``normals`` (n, 3)
    with their ``normals_role``; ``noise`` is a standard deviation along the normal, one number or (n,); ``labels`` (n,)
    int32 index into ``label_names``, -1 for none; ``views`` (n,) likewise into ``view_names``: from which view of an
    optical instrument each point comes. ``raw`` is the set before preparation, where there was one.

    Points that are not finite are kept, flagged and counted. Raises `ParameterError`, `UnitError`, `FrameError`.
    """

    xyz: np.ndarray
    unit: str
    frame: Frame
    points_are: PointsAre
    tip: ProbeTip | None = None
    normals: np.ndarray | None = None
    normals_role: NormalsRole | None = None
    noise: float | np.ndarray | None = None
    labels: np.ndarray | None = None
    label_names: tuple[str, ...] = ()
    views: np.ndarray | None = None
    view_names: tuple[str, ...] = ()
    thermal: ThermalState = ThermalState()
    acquisition: Acquisition = Acquisition()
    source: Source | None = None
    flags: tuple[str, ...] = ()
    history: tuple[PrepareStep, ...] = ()
    raw: PointSet | None = None

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        xyz = frozen_float(self.xyz, "xyz", (None, 3))
        set_(self, "xyz", xyz)
        found = _unit(self.unit)
        if found.dimension != "length":
            raise UnitError(f"points cannot be in {found.name}", expected="a unit of length", got=found.dimension)
        set_(self, "unit", found.name)
        set_(self, "frame", as_frame(self.frame))
        if self.points_are not in ("surface", "ball_centre", "unknown"):
            raise ParameterError(f"points_are is {self.points_are!r}", expected="'surface', 'ball_centre' or 'unknown'")
        n = len(xyz)
        if (self.normals is None) != (self.normals_role is None):
            raise ParameterError("normals and normals_role go together", expected="both or neither")
        if self.normals is not None:
            if self.normals_role not in ("nominal", "approach", "measured"):
                raise ParameterError(
                    f"unknown normals_role {self.normals_role!r}", expected="nominal, approach or measured"
                )
            set_(self, "normals", frozen_float(self.normals, "normals", (n, 3)))
        if isinstance(self.noise, (int, float)):
            if not (np.isfinite(self.noise) and self.noise >= 0.0):
                raise ParameterError("noise is a standard deviation", expected=">= 0", got=repr(self.noise))
            set_(self, "noise", float(self.noise))
        elif self.noise is not None:
            noise = frozen_float(self.noise, "noise", (n,))
            if not (np.isfinite(noise) & (noise >= 0.0)).all():
                raise ParameterError("noise is a standard deviation", expected="finite values >= 0")
            set_(self, "noise", noise)
        self._check_index(n, "label")
        self._check_index(n, "view")
        names = list(self.flags)
        if not self.finite.all():
            names.append("non_finite_points")
        if self.points_are == "unknown":
            names.append("points_are_unknown")
        set_(self, "flags", _flags.merge(names))

    def _check_index(self, n: int, what: str) -> None:
        """Indices of ``labels`` or ``views`` (``what`` in the singular) and the names they point to."""
        given, names = getattr(self, f"{what}s"), getattr(self, f"{what}_names")
        if given is None:
            if names:
                raise ParameterError(f"{what}_names without {what}s", remedy=f"pass {what}s too")
            return
        index = np.asarray(given)
        if index.shape != (n,) or index.dtype.kind not in "iu":
            raise ParameterError(
                f"{what}s must be indices", expected=f"integers of shape ({n},)", got=f"{index.dtype} {index.shape}"
            )
        index = index.astype(np.int32)
        if n and not (index.min() >= -1 and index.max() < len(names)):
            raise ParameterError(f"a {what} has no name", expected=f"-1 to {len(names) - 1}", got=str(int(index.max())))
        if len(set(names)) != len(names):
            raise ParameterError(f"two {what}s have the same name", got=", ".join(names))
        index.setflags(write=False)
        object.__setattr__(self, f"{what}s", index)
        object.__setattr__(self, f"{what}_names", tuple(str(name) for name in names))

    @classmethod
    def from_array(cls, xyz: Any, *, unit: str, frame: Frame | str, points_are: PointsAre, **rest: Any) -> PointSet:
        """Build from an (n, 3) array; ``unit``, ``frame`` and ``points_are`` have no default on purpose."""
        return cls(xyz, unit, as_frame(frame), points_are, **rest)

    # --- looking
    def __len__(self) -> int:
        return len(self.xyz)

    @property
    def n_points(self) -> int:
        return len(self.xyz)

    @cached_property
    def finite(self) -> np.ndarray:
        """(n,) mask of points whose three coordinates are finite."""
        mask = np.isfinite(self.xyz).all(axis=1)
        mask.setflags(write=False)
        return mask

    @property
    def n_nonfinite(self) -> int:
        return int(self.n_points - np.count_nonzero(self.finite))

    # --- taking parts; nothing is removed in silence: a selection is a new set with its own count
    def select(self, which: Any) -> PointSet:
        """The points of a mask (n,) or of indices, with all per-point data."""
        index = np.asarray(which)
        if index.dtype == np.bool_ and index.shape != (self.n_points,):
            raise ParameterError("the mask does not fit", expected=f"({self.n_points},)", got=str(index.shape))
        if index.dtype != np.bool_ and index.dtype.kind not in "iu":
            if index.size:
                raise ParameterError("select takes a mask or indices", got=f"dtype {index.dtype}")
            index = index.astype(np.int64)
        others = tuple(name for name in self.flags if name != "non_finite_points")
        return replace(
            self,
            xyz=self.xyz[index],
            normals=None if self.normals is None else self.normals[index],
            noise=self.noise[index] if isinstance(self.noise, np.ndarray) else self.noise,
            labels=None if self.labels is None else self.labels[index],
            views=None if self.views is None else self.views[index],
            raw=None if self.raw is None else self.raw.select(index),
            flags=others,
        )

    def labelled(self, name: str) -> PointSet:
        """The points with this label; raises `ParameterError` with the known labels for an unknown one."""
        if self.labels is None or name not in self.label_names:
            raise ParameterError(
                f"no points are labelled {name!r}",
                expected=f"one of {', '.join(self.label_names)}" if self.label_names else "points with labels",
                remedy="check the spelling, or the label column of the file",
            )
        return self.select(self.labels == self.label_names.index(name))

    # --- changing: always a new set with a recorded step
    def with_step(self, step: PrepareStep, **changes: Any) -> PointSet:
        """A prepared copy: ``changes`` replace fields, ``step`` is added to the history, the original is kept in
        ``raw``."""
        return replace(self, history=(*self.history, step), raw=self.raw or self, **changes)

    def with_flags(self, *names: str) -> PointSet:
        return replace(self, flags=_flags.merge(self.flags, names))


def concatenate_labels(names: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Text labels (n,) to (indices int32, names in order of appearance); empty text is -1."""
    known: dict[str, int] = {}
    index = np.empty(len(names), dtype=np.int32)
    for i, name in enumerate(names):
        index[i] = known.setdefault(name, len(known)) if name else -1
    return index, tuple(known)
