"""`VirtualCMM`: a coordinate measuring machine as a population of machines that its MPE describes.

An MPE is a bound that a test supervises, not a distribution. The model chosen here, printed with every cause: errors
are normal; over the test lines of ISO 10360-2 the standard deviation of a length error is at most ``MPE(L) / k`` and
reaches it on the worst line, k = 2 unless stated. Of ``MPE(L)^2 = (A + L/K)^2`` the part ``(L/K)^2`` goes to what grows
with the length (scales, squareness), the rest to probing and to smooth waves of the 18 functions of the guideways.
Lobing is scaled so that the probing test of ISO 10360-5 stays within its MPE with the same probability, where that MPE
is stated, and else gets a share of A.

Scope: moving bridge, one stylus, points by normal contact, steady state. Not in it: dynamics, temperature gradients,
stylus changes, distortion of the part. After the idea of Forbes, Appl. Sci. 15 (2025) 271:
smooth random processes whose size is compared with the MPE.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Collection
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from metrology_core.errors import ParameterError, UnitError
from metrology_core.instrument import REFERENCE_TEMPERATURE, Instrument
from metrology_core.units import unit as _unit
from metrology_core.virtual.geometry import AXES, Guideways, gains, squareness
from metrology_core.virtual.modes import Builder, Modes, read_points
from metrology_core.virtual.probing import lobes, off_sphere, sphere_points
from metrology_core.virtual.protocol import Cause
from metrology_core.virtual.thermal import PartTemperature
from metrology_core.virtual.waves import waves

FRACTIONS = (0.2, 0.4, 0.6, 0.8, 1.0)
_PROBES = 4000  # simulated probing tests behind the amplitude of lobing: 0.5 % of it


@dataclass(frozen=True)
class Scales:
    """Standard deviations that follow from the MPE: ``gain`` of scales and squareness (relative, rad), ``wave`` of the
    position of an axis, ``lobing`` of each lobing coefficient, ``noise`` of a point (lengths in the machine's unit)."""

    gain: float
    wave: float
    lobing: float
    noise: float


@dataclass(frozen=True, eq=False)
class VirtualCMM:
    """A simulated coordinate measuring machine; lengths in ``unit``.

    ``mpe_constant`` A and ``mpe_per_length`` 1/K of ``E0,MPE = A + L/K``; ``volume`` ((3,), (3,)) lowest and highest
    machine coordinates; ``coverage`` k (see the module); ``probing_mpe`` of the 25-point test; ``noise`` of
    a point along its normal (default A / (4 k)), correlated over ``correlation_length`` along the surface where stated;
    ``tip_u`` of the tip radius; ``temperature`` of the part in degC, ``expansion`` in 1/K, with their ``_u`` (K, 1/K),
    for what remains of the correction to 20 degC; ``scale_expansion_u`` the same for the machine's scales, in 1 (a
    relative length): inside the MPE where the MPE was tested in this environment. ``probe`` (3,) leads from the ram
    to the probing point. ``wave_length``: correlation length of the guideways' errors as a share of the axis;
    ``straightness`` and ``rotation`` are the waves of straightness, and of rotation times the mean axis, relative to
    those of position. Raises `ParameterError` for figures that cannot be.
    """

    id: str
    unit: str
    mpe_constant: float
    mpe_per_length: float
    volume: tuple[Any, Any]
    coverage: float = 2.0
    probing_mpe: float | None = None
    noise: float | None = None
    correlation_length: float | None = None
    tip_u: float = 0.0
    temperature: float = REFERENCE_TEMPERATURE
    temperature_u: float = 0.0
    expansion: float = 0.0
    expansion_u: float = 0.0
    scale_expansion_u: float = 0.0
    probe: tuple[float, float, float] = (0.0, 0.0, 0.0)
    wave_length: float = 0.35
    straightness: float = 0.5
    rotation: float = 0.5
    lobing_orders: tuple[int, ...] = (2, 3)

    def __post_init__(self) -> None:
        if not self.id:
            raise ParameterError("an instrument needs an id")
        found = _unit(self.unit)
        if found.dimension != "length":
            raise UnitError(f"the unit of machine {self.id} is {found.name}", expected="a unit of length")
        object.__setattr__(self, "unit", found.name)
        for name in ("mpe_constant", "coverage", "wave_length"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0.0):
                raise ParameterError(f"machine {self.id}: {name} must be positive", got=repr(getattr(self, name)))
        for name in ("mpe_per_length", "probing_mpe", "noise", "tip_u", "temperature_u", "expansion_u",
                     "scale_expansion_u", "straightness", "rotation", "correlation_length"):  # fmt: skip
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0.0):
                raise ParameterError(f"machine {self.id}: {name} must not be negative", got=repr(value))
        low, high = (np.asarray(end, dtype=np.float64) for end in self.volume)
        if low.shape != (3,) or high.shape != (3,) or not (np.isfinite(low) & np.isfinite(high) & (high > low)).all():
            raise ParameterError(
                f"machine {self.id}: the volume is two corners", expected="lowest and highest x, y, z",
                got=repr(self.volume)[:80],
            )  # fmt: skip
        object.__setattr__(self, "volume", (low, high))
        if any(m < 2 for m in self.lobing_orders):
            raise ParameterError(
                "lobing has two lobes or more", expected="orders from 2", got=repr(self.lobing_orders),
                remedy="an order of 1 is a shift, one of 0 the tip radius",
            )  # fmt: skip
        self.scales  # noqa: B018 - contradictions between the figures are found now, not at the first point

    @classmethod
    def from_instrument(cls, instrument: Instrument, volume: tuple[Any, Any], **changes: Any) -> VirtualCMM:
        """The machine that a declared instrument describes; raises `ParameterError` where no MPE is declared."""
        if not instrument.mpe_constant:
            raise ParameterError(
                f"instrument {instrument.id} declares no MPE", expected="A of E = A + L/K",
                remedy="state 'mpe' in the instrument: without it there is nothing to simulate",
            )  # fmt: skip
        known: dict[str, Any] = {
            "probing_mpe": instrument.probing_mpe,
            "noise": instrument.noise,
            "correlation_length": instrument.correlation_length or None,
            "tip_u": instrument.tip_radius_u or 0.0,
            "temperature": REFERENCE_TEMPERATURE if instrument.temperature is None else instrument.temperature,
            "temperature_u": instrument.temperature_u or 0.0,
            "expansion": instrument.expansion or 0.0,
            "expansion_u": instrument.expansion_u or 0.0,
        }
        return cls(
            instrument.id, instrument.unit, instrument.mpe_constant, instrument.mpe_per_length or 0.0, volume,
            **(known | changes),
        )  # fmt: skip

    # --- the model
    @property
    def guideways(self) -> Guideways:
        low, high = self.volume
        return Guideways(low, high, np.asarray(self.probe, dtype=np.float64))

    def mpe(self, length: Any) -> np.ndarray:
        """Maximum permissible error of length measurement (ISO 10360-2)."""
        return np.asarray(self.mpe_constant + self.mpe_per_length * np.abs(length))

    @functools.cached_property
    def scales(self) -> Scales:
        """What follows from the MPE. Raises `ParameterError` where noise and probing leave no room in it."""
        k, a = self.coverage, self.mpe_constant
        noise = a / (4.0 * k) if self.noise is None else self.noise
        lobing = self._lobing(noise)
        wave_room = math.inf
        for start, end, along in length_lines(*self.volume):
            pair, both = np.stack([start, end]), np.stack([-along, along])
            waves_ = _difference(self._waves(pair), along)
            probing = _difference(self._lobes(both, lobing), along) + 2.0 * noise**2
            length = float(np.linalg.norm(end - start))
            room = (a**2 + 2.0 * a * length * self.mpe_per_length) / k**2 - probing
            if room < 0.0:
                raise ParameterError(
                    f"machine {self.id}: noise and probing error leave no room in the MPE",
                    expected=f"two points of a length within A / k = {a / k:.3g} {self.unit}",
                    got=f"{math.sqrt(probing):.3g} {self.unit} from noise and lobing alone",
                    remedy="check noise and probing MPE against the MPE of length measurement",
                )
            if waves_ > 0.0:
                wave_room = min(wave_room, room / waves_)
        return Scales(self.mpe_per_length / k, math.sqrt(wave_room), lobing, noise)

    def _lobing(self, noise: float) -> float:
        """Standard deviation of the lobing coefficients: simulated 25-point tests exceed their MPE as often as lengths
        exceed theirs (4.6 % for k = 2). Without such an MPE lobing gets its share of A."""
        limit = self.probing_mpe
        if limit is None:  # a quarter of what noise leaves of (A / k)^2, as an even order enters a length: 4 a^2
            room = (self.mpe_constant / self.coverage) ** 2 - 2.0 * noise**2
            return 0.25 * math.sqrt(max(0.0, room)) if self.lobing_orders else 0.0
        if not self.lobing_orders or limit == 0.0:
            return 0.0
        at = sphere_points()
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(20)))
        off = off_sphere(at)
        # einsum, not BLAS: its threads would enter the last digits
        pattern = np.einsum("td,dn,nm->tm", rng.standard_normal((_PROBES, 2 * len(self.lobing_orders))),
                            lobes(at, self.lobing_orders), off, optimize=False)  # fmt: skip
        white = np.einsum("tn,nm->tm", rng.standard_normal((_PROBES, len(at))), off)
        share = 1.0 - 2.0 * (1.0 - NormalDist().cdf(self.coverage))

        def exceeds(amplitude: float) -> bool:
            error = amplitude * pattern + noise * white
            return float(np.quantile(np.ptp(error, axis=1), share)) > limit

        if exceeds(0.0):
            raise ParameterError(
                f"machine {self.id}: the noise of a point exceeds the probing MPE by itself",
                expected=f"a range of 25 points within {limit:.3g} {self.unit}", got=f"noise {noise:.3g} {self.unit}",
                remedy="check noise and probing MPE; 25 points range over four times the noise of one, and more",
            )  # fmt: skip
        low, high = 0.0, 2.0 * limit
        for _ in range(40):
            middle = 0.5 * (low + high)
            low, high = (low, middle) if exceeds(middle) else (middle, high)
        return 0.5 * (low + high)

    def _lobes(self, normals: np.ndarray, size: float) -> np.ndarray:
        return np.asarray(size * lobes(normals, self.lobing_orders)[:, :, None] * normals[None])

    def _waves(self, xyz: np.ndarray) -> np.ndarray:
        return np.concatenate([rows for group in self._guides(xyz, 1.0).values() for rows in group])

    def _guides(self, xyz: np.ndarray, wave: float) -> dict[str, list[np.ndarray]]:
        """Displacements by the waves of the guideways: position, straightness, rotation, 3 + 6 + 9 functions."""
        g = self.guideways
        turn = self.rotation / float(g.size.mean())
        groups: dict[str, list[np.ndarray]] = {"position": [], "straightness": [], "rotation": []}
        for axis in range(3):
            f = wave * waves((xyz[:, axis] - g.low[axis]) / g.size[axis], self.wave_length)
            for other in range(3):
                if other == axis:
                    groups["position"].append(g.translations(f, other))
                else:
                    groups["straightness"].append(g.translations(self.straightness * f, other))
                groups["rotation"].append(g.rotations(turn * f, xyz, axis, other))
        return groups

    @property
    def causes(self) -> tuple[Cause, ...]:
        """What acts, in the order of the budget; a figure that is not stated is no cause."""
        return tuple(self.modes(np.mean(self.volume, axis=0)[None], np.array([[1.0, 0.0, 0.0]])).causes)

    def modes(self, points: Any, normals: Any = None, *, scope: str = "") -> Modes:
        """The errors at points (n, 3) in machine coordinates; ``normals`` (n, 3) out of the material (those of a
        `PointSet` that has them); ``scope`` names the points: other points get other noise. Raises `ParameterError` for
        points outside the volume."""
        xyz, along = read_points(points, normals)
        low, high = self.volume
        slack = 1e-9 * float(np.max(high - low))
        if ((xyz < low - slack) | (xyz > high + slack)).any():
            raise ParameterError(
                f"points lie outside the measuring volume of {self.id}",
                expected=f"{low.tolist()} to {high.tolist()} {self.unit}",
                got=f"{xyz.min(axis=0).tolist()} to {xyz.max(axis=0).tolist()}",
                remedy="state the volume in the frame of the points, or place the points in the machine",
            )
        s, k, name = self.scales, self.coverage, f"instrument/{self.id}"
        bound = f"normal, standard deviation of a length error MPE / {k:g} on the worst test line"
        square = f"squareness of the axes of {self.id} ({bound} for L/K)"
        made = Builder(len(xyz))
        if s.gain:
            made.add(
                Cause("scale", f"{name}/geometry/scale", f"scales of {self.id}: relative errors ({bound} for L/K)"),
                s.gain * gains(xyz, low), [f"{name}/geometry/scale/{a}" for a in AXES],
            )  # fmt: skip
            made.add(
                Cause("squareness", f"{name}/geometry/squareness", square),
                s.gain * squareness(xyz, low), [f"{name}/geometry/squareness/{a}" for a in ("xy", "xz", "yz")],
            )  # fmt: skip
        words = {"position": "position of the axes", "straightness": "straightness of the axes",
                 "rotation": "rotations of the carriages"}  # fmt: skip
        for key, rows in self._guides(xyz, s.wave).items():
            label = f"{words[key]} of {self.id}: smooth waves over {self.wave_length:g} of an axis ({bound})"
            fields = np.concatenate(rows)
            if np.any(fields):
                made.add(Cause(key, f"{name}/geometry/{key}", label), fields)
        if s.lobing:
            lobed = ", ".join(str(m) for m in self.lobing_orders)
            how = "a share of A" if self.probing_mpe is None else f"25-point test within its MPE at k = {k:g}"
            label = f"lobing of the probe of {self.id} ({lobed} lobes; {how})"
            made.add(Cause("lobing", f"{name}/lobing", label), self._lobes(along, s.lobing))
        self._common(made, xyz, along)
        cause = Cause("repeatability", f"{name}/repeatability", f"repeatability of single points of {self.id}")
        if self.correlation_length and s.noise:
            cause = Cause(
                cause.key, cause.id, f"{cause.label}, correlated over {self.correlation_length:g} {self.unit}"
            )
            factor = correlated(xyz, self.correlation_length)
            fields = s.noise * factor.T[:, :, None] * along[None]
            made.add(cause, fields, [f"{cause.id}/{scope}/{j}" for j in range(len(xyz))])
        else:
            made.add_noise(cause, s.noise * along, scope)
        return made.build()

    def _common(self, made: Builder, xyz: np.ndarray, along: np.ndarray) -> None:
        """Causes that the declared instrument names too, under the same ids: tip, temperature, expansion."""
        name = f"instrument/{self.id}"
        if self.tip_u:
            row = Cause("tip", f"{name}/tip", "radius of the probe tip")
            made.add(row, [self.tip_u * along], [row.id])
        arm = xyz - self.volume[0]
        PartTemperature(self.temperature, self.temperature_u, self.expansion, self.expansion_u).add_to(made, name, arm)
        if self.scale_expansion_u:
            row = Cause("scale_expansion", f"{name}/scale_expansion", f"expansion of the scales of {self.id}")
            made.add(row, [self.scale_expansion_u * arm], [row.id])

    def simulate(
        self,
        target: Any,
        normals: Any = None,
        *,
        start: int = 0,
        stop: int,
        seed: int = 0,
        only: Collection[str] | None = None,
        scope: str = "",
    ) -> np.ndarray:
        """(stop - start, n, 3) points that the machine would indicate for the true points ``target`` (n, 3)."""
        xyz, along = read_points(target, normals)
        moved = self.modes(xyz, along, scope=scope).displacements(start, stop, seed=seed, only=only)
        moved += xyz
        return moved


def length_lines(low: np.ndarray, high: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(start, end, unit direction) of 35 lengths: four space diagonals, three lines along the axes through the middle,
    five lengths from one end each (ISO 10360-2: 7 positions of 5 lengths)."""
    low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    corners = [((0, 0, 0), (1, 1, 1)), ((1, 0, 0), (0, 1, 1)), ((0, 1, 0), (1, 0, 1)), ((0, 0, 1), (1, 1, 0)),
               ((0.0, 0.5, 0.5), (1.0, 0.5, 0.5)), ((0.5, 0.0, 0.5), (0.5, 1.0, 0.5)),
               ((0.5, 0.5, 0.0), (0.5, 0.5, 1.0))]  # fmt: skip
    rows = []
    for a, b in corners:
        start, end = low + np.array(a) * (high - low), low + np.array(b) * (high - low)
        along = (end - start) / np.linalg.norm(end - start)
        rows += [(start, start + share * (end - start), along) for share in FRACTIONS]
    return rows


def _difference(fields: np.ndarray, along: np.ndarray) -> float:
    """Variance of the length between two points: fields (d, 2, 3)."""
    return float(np.sum(((fields[:, 1] - fields[:, 0]) @ along) ** 2))


_MOST_CORRELATED = 4000


def correlated(xyz: np.ndarray, length: float) -> np.ndarray:
    """(n, n) lower factor of the correlation ``exp(-distance / length)``."""
    n = len(xyz)
    if n > _MOST_CORRELATED:
        raise ParameterError(
            "too many points with correlated noise", expected=f"at most {_MOST_CORRELATED} a feature", got=str(n),
            remedy="give every nth point of the feature: neighbours closer than the correlation length say the same",
        )  # fmt: skip
    center = xyz - xyz.mean(axis=0)
    square = np.zeros((n, n))
    for column in center.T:
        square += (column[:, None] - column[None, :]) ** 2
    matrix = np.exp(np.sqrt(square) / -length)
    matrix[np.diag_indices_from(matrix)] += 1e-10  # a point measured twice at one place makes it singular
    lower = np.zeros_like(matrix)
    for k in range(n):  # column by column: the same bits for any number of BLAS threads
        column = matrix[k:, k] - np.einsum("nm,m->n", lower[k:, :k], lower[k, :k])
        lower[k:, k] = column / math.sqrt(column[0])
    return lower
