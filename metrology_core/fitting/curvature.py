"""Curvature instead of radius: circles, spheres and cylinders of which the points see so little that r may be infinite.

With the foot point rho n, the unit normal n towards the centre and k = 1 / r, the distance of a point is
d = 2 t / (1 + sqrt(1 + 2 k t)) with t = (k / 2) q^2 - p.n, p from the foot point, q its part across the axis. Nothing
cancels for a large r, k = 0 is the plane (or line), and k is estimated without the bias and the infinite variance of r.
Source of the form: G. Lukacs, R. Martin, D. Marshall, ECCV 1998; the exact distance and its derivatives are worked out
here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from metrology_core.fitting.table import Row
from metrology_core.kernels import layout

KINDS = (layout.CIRCLE, layout.SPHERE, layout.CYLINDER)
_TURNS = 60
_SETTLED = 1e-13  # movement of the residuals at the last step, relative to the extent of the points
_LONGEST = 0.3  # of a step, in lengths relative to the extent, angles and curvatures
_UNSEEN = 1e-7  # singular value of J with unit columns below which a direction is not determined


@dataclass(frozen=True, eq=False)
class Curvature:
    """Curvature of a circle, sphere or cylinder in 1 / unit of the points: `value` (not negative) with its standard
    uncertainty `u` on `dof` degrees of freedom.

    `foot`: the point of the feature nearest to the centroid; `normal`: unit vector there towards the centre (NaN for
    features whose radius is determined: their own parameters say more). `components`: in how many ways the points could
    have been bent (1; a circle in space 2; a cylinder without a fixed axis 3): the largest of them was chosen, and the
    interval makes up for it (H. Scheffe, 1953) until the curvature is significant. `undetermined`: names of directions
    that so flat a feature does not have (the axis of a cylinder, the plane of a circle); `u` is then the largest over
    them. `rms` and `form` of the points about the feature.
    """

    value: float
    u: float
    dof: int
    foot: np.ndarray
    normal: np.ndarray
    components: int
    undetermined: tuple[str, ...]
    rms: float
    form: float

    @property
    def significant(self) -> bool:
        """Whether the curvature differs from zero at the 5 % level, whichever way the points are bent."""
        return self.value > _half_width(self.components, self.dof, 0.95) * self.u

    def interval(self, p: float = 0.95) -> tuple[float, float]:
        """Coverage interval; a negative end is a feature bent to the other side of the foot."""
        half = _half_width(1 if self.significant else self.components, self.dof, p) * self.u
        return self.value - half, self.value + half

    def radius_interval(self, p: float = 0.95) -> tuple[float, float]:
        """(smallest, largest) radius: the largest is infinite where the interval of the curvature holds zero."""
        low, high = self.interval(p)
        return (1.0 / max(abs(low), high), 1.0 / low if low > 0.0 else math.inf)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        low, high = self.interval()
        finite = math.isfinite(low) and math.isfinite(self.u)
        return {
            "value": self.value, "u": self.u if math.isfinite(self.u) else None,
            "interval": [low, high] if finite else None, "p": 0.95, "dof": self.dof, "significant": self.significant,
            "undetermined": list(self.undetermined),
        }  # fmt: skip


def _half_width(components: int, dof: int, p: float) -> float:
    """Half the width of an interval over u that holds for the largest of some components; 1: Student's t."""
    if dof <= 0:
        return math.inf
    from scipy.special import fdtri

    return math.sqrt(components * float(fdtri(components, dof, p)))


def of_radius(radius: float, u: float, dof: int, rms: float, form: float, dimension: int) -> Curvature:
    """The curvature of a feature whose radius is known: first order, exact in k."""
    nothing = np.full(dimension, math.nan)
    return Curvature(1.0 / radius, u / radius**2, dof, nothing, nothing, 1, (), rms, form)


def fit_curvature(
    row: Row, xyz: np.ndarray, weights: np.ndarray, fixed_axis: np.ndarray | None = None
) -> Curvature | None:
    """Least squares of (n, 2 or 3) finite points in the curvature parametrisation, from the plane or line through them.

    None where even that is undetermined (all points equal, points of a sphere or cylinder on one line), or where the
    points are no shallow piece: the half of it that is seen must not turn by more than a right angle.
    """
    n = len(xyz)
    centroid = 0.5 * (xyz.max(axis=0) + xyz.min(axis=0))
    local = xyz - centroid
    centroid = centroid + local.mean(axis=0)
    local = xyz - centroid
    extent = float(np.abs(local).max(initial=0.0))
    size = float(np.abs(xyz).max(initial=0.0))
    if not extent > layout.EQUAL_BELOW * size or not layout.SMALLEST <= extent <= layout.LARGEST:
        return None
    scale = 1.0 / extent
    local *= scale
    root = np.sqrt(weights / weights.max()) if weights.size else None
    problem: _Planar | _Surface = _Surface(local, row, root, fixed_axis)
    if row.kind == layout.CIRCLE:
        problem = _Planar(local, row, root)
    if not problem.begin():
        return None
    settled = _descend(problem, n)
    if not settled and isinstance(problem, _Surface) and problem.cylinder and problem.given is None:
        # nothing tells the directions apart: about the most bent one, which is where the start is
        problem = _Surface(local, row, root, None)
        problem.begin()
        problem.given = problem.frame[0]
        settled = _descend(problem, n)
        problem.given = None
    if not settled or abs(problem.k) > 1.5:
        return None
    problem.rounding = float(np.finfo(float).eps) * size * scale
    return problem.result(centroid, scale)


def _descend(problem: Any, n: int) -> bool:
    """Gauss-Newton steps, none of them long, until the residuals move by rounding only."""
    before = math.inf
    for _ in range(_TURNS):
        c, j = problem.rows()
        step = _step(c, j)
        longest = float(np.abs(step).max())
        if not math.isfinite(longest):
            return False
        if longest > _LONGEST:
            step *= _LONGEST / longest
        move = float(np.linalg.norm(j @ step)) / math.sqrt(n)
        problem.move(step)
        if longest <= _LONGEST and (move <= _SETTLED or (move < 1e-9 and move >= 0.5 * before)):
            return True
        before = move
    return False


def _step(c: np.ndarray, j: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(j, axis=0)
    norms[norms == 0.0] = 1.0
    return np.asarray(-np.linalg.lstsq(j / norms, c, rcond=_UNSEEN)[0] / norms)


def _variances(j: np.ndarray) -> np.ndarray:
    """Diagonal of (J'J)^-1 over the directions that are determined."""
    norms = np.linalg.norm(j, axis=0)
    safe = np.where(norms > 0.0, norms, 1.0)
    _, values, vectors = np.linalg.svd(np.linalg.qr(j / safe)[1])
    seen = values > _UNSEEN * values[0]
    return np.asarray(((vectors[seen] / values[seen, None] / safe) ** 2).sum(axis=0))


class _Surface:
    """Sphere (rho, two tilts, k) or cylinder (rho, two tilts, turn of the axis, k) in space."""

    rounding = 0.0  # of the coordinates, scaled

    def __init__(self, local: np.ndarray, row: Row, root: np.ndarray | None, axis: np.ndarray | None) -> None:
        self.x, self.root = local, root
        self.cylinder = row.kind == layout.CYLINDER
        self.given = axis
        self.k = 0.0
        self.rho = 0.0
        self.frame = np.eye(3)  # rows: axis (or any tangent), across, normal

    def begin(self) -> bool:
        _, values, vectors = np.linalg.svd(self.x, full_matrices=False)
        if len(values) < 3 or not values[1] > 1e-7 * values[0]:
            return False
        u, v, n = vectors
        if self.given is not None:
            u = self.given - float(self.given @ n) * n
            u = u / float(np.linalg.norm(u))
        v = np.cross(n, u)
        p, q, h = self.x @ u, self.x @ v, self.x @ n
        ones = np.ones_like(p)
        if not self.cylinder:
            a = np.column_stack((ones, p, q, 0.5 * (p * p + q * q)))
            bend = float(np.linalg.lstsq(a, h, rcond=1e-12)[0][3])
        elif self.given is not None:
            bend = float(np.linalg.lstsq(np.column_stack((ones, p, q, 0.5 * q * q)), h, rcond=1e-12)[0][3])
        else:
            a = np.column_stack((ones, p, q, 0.5 * p * p, p * q, 0.5 * q * q))
            s = np.linalg.lstsq(a, h, rcond=1e-12)[0]
            curvatures, turned = np.linalg.eigh(np.array(((s[3], s[4]), (s[4], s[5]))))
            most = int(np.argmax(np.abs(curvatures)))
            bend = float(curvatures[most])
            across = turned[0, most] * u + turned[1, most] * v
            u, v = np.cross(across, n), across
        if bend < 0.0:
            n, u, bend = -n, -u, -bend
        self.frame = np.array((u, np.cross(n, u), n))
        self.k = bend
        return True

    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        a, b, n = self.frame
        p = self.x - self.rho * n
        pa, pb, pn = p @ a, p @ b, p @ n
        q2 = pb * pb + pn * pn + (0.0 if self.cylinder else pa * pa)
        k = self.k
        t = 0.5 * k * q2 - pn
        s = np.sqrt(np.maximum(1.0 + 2.0 * k * t, 1e-12))
        d = 2.0 * t / (1.0 + s)
        columns = [(1.0 - k * pn) / s]  # along n
        lever = -(k * self.rho + 1.0)
        if self.cylinder:
            # a tilt by tau along a: n + tau a, a - tau n
            columns.append((k * pn - 1.0) * pa / s)
            columns.append(lever * pb / s)
            if self.given is None:
                columns.append(-k * pa * pb / s)
        else:
            columns.append(lever * pa / s)
            columns.append(lever * pb / s)
        columns.append(0.5 * q2 / s - 0.5 * d * d / s)
        j = np.column_stack(columns)
        if self.root is not None:
            return d * self.root, j * self.root[:, None]
        return d, j

    def move(self, step: np.ndarray) -> None:
        a, b, n = self.frame
        self.rho += float(step[0])
        n_new = n + float(step[1]) * a + float(step[2]) * b
        n_new /= float(np.linalg.norm(n_new))
        turn = float(step[3]) if self.cylinder and self.given is None else 0.0
        a_new = a + turn * b
        a_new = a_new - float(a_new @ n_new) * n_new
        a_new /= float(np.linalg.norm(a_new))
        self.frame = np.array((a_new, np.cross(n_new, a_new), n_new))
        self.k += float(step[-1])

    def result(self, centroid: np.ndarray, scale: float) -> Curvature:
        c, j = self.rows()
        spread = float(_variances(j)[-1])
        if not self.cylinder or self.given is not None:
            return _report(self, c, j, spread, 1, (), centroid, scale, self.frame[2])
        dof = len(c) - j.shape[1]
        if dof > 0 and self.k**2 > _half_width(3, dof, 0.95) ** 2 * _variance(self, c, dof) * spread:
            return _report(self, c, j, spread, 3, (), centroid, scale, self.frame[2])
        spread = max(spread, *(self._turned(angle) for angle in np.linspace(0.0, math.pi, 24, endpoint=False)))
        return _report(self, c, j, spread, 3, ("axis",), centroid, scale, self.frame[2])

    def _turned(self, angle: float) -> float:
        """Variance factor of the curvature about another axis direction."""
        a, b, n = self.frame
        kept = self.frame, self.given
        axis = math.cos(angle) * a + math.sin(angle) * b
        self.frame, self.given = np.array((axis, np.cross(n, axis), n)), axis
        value = float(_variances(self.rows()[1])[-1])
        self.frame, self.given = kept
        return value


class _Planar:
    """Circle in a plane (rho, tilt, k), or in space (foot across the tangent, tilts, curvature vector)."""

    rounding = 0.0  # of the coordinates, scaled

    def __init__(self, local: np.ndarray, row: Row, root: np.ndarray | None) -> None:
        self.x, self.root = local, root
        self.flat = row.dimension == 2
        self.k = 0.0
        d = local.shape[1]
        self.frame = np.eye(d)  # rows: tangent, then directions across it
        self.foot = np.zeros(d - 1)
        self.bend = np.zeros(d - 1)

    def begin(self) -> bool:
        _, values, vectors = np.linalg.svd(self.x, full_matrices=False)
        if not values[0] > 0.0:
            return False
        self.frame = vectors
        s = self.x @ self.frame[0]
        a = np.column_stack((np.ones_like(s), s, 0.5 * s * s))
        if float(np.ptp(s)) <= 0.0:
            return False
        fitted = np.linalg.lstsq(a, self.x @ self.frame[1:].T, rcond=1e-12)[0]
        self.bend = fitted[2].copy()
        self.k = float(np.linalg.norm(self.bend))
        return True

    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        c = self._residuals(self.frame, self.foot, self.bend)
        m = len(self.foot)
        columns = []
        step = 1e-6  # central differences in scaled coordinates: error 1e-11 of a column
        for i in range(3 * m):
            delta = np.zeros(3 * m)
            delta[i] = step
            high = self._residuals(*self._moved(delta))
            low = self._residuals(*self._moved(-delta))
            columns.append((high - low) / (2.0 * step))
        return c, np.column_stack(columns)

    def _moved(self, step: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        m = len(self.foot)
        tangent = self.frame[0] + step[m : 2 * m] @ self.frame[1:]
        tangent = tangent / float(np.linalg.norm(tangent))
        across: list[np.ndarray] = []
        for e in self.frame[1:]:
            for other in (tangent, *across):
                e = e - float(e @ other) * other
            across.append(e / float(np.linalg.norm(e)))
        return np.array((tangent, *across)), self.foot + step[:m], self.bend + step[2 * m :]

    def _residuals(self, frame: np.ndarray, foot: np.ndarray, bend: np.ndarray) -> np.ndarray:
        s = self.x @ frame[0]
        y = self.x @ frame[1:].T - foot
        k = float(np.linalg.norm(bend))
        # along the curvature vector: y.m + d = k g with g smooth in the curvature
        along = y @ bend  # k y.m
        t_over = 0.5 * (s * s) + 0.5 * (along / k) ** 2 if k > 0.0 else 0.5 * s * s
        ym = along / k if k > 0.0 else np.zeros_like(s)
        t = k * t_over - ym
        root = np.sqrt(np.maximum(1.0 + 2.0 * k * t, 1e-12))
        d = 2.0 * t / (1.0 + root)
        e = y + ((-d - ym)[:, None] * (bend / k) if k > 0.0 else 0.0)
        if self.root is not None:
            e = e * self.root[:, None]
        return np.asarray(e.T.reshape(-1))

    def move(self, step: np.ndarray) -> None:
        self.frame, self.foot, self.bend = self._moved(step)
        self.k = float(np.linalg.norm(self.bend))

    def result(self, centroid: np.ndarray, scale: float) -> Curvature:
        c, j = self.rows()
        m = len(self.foot)
        norms = np.linalg.norm(j, axis=0)
        inverse = np.linalg.pinv(j / norms, rcond=_UNSEEN) / norms[:, None]
        block = (inverse @ inverse.T)[2 * m :, 2 * m :]
        undetermined: tuple[str, ...] = ()
        if m == 1:
            spread = float(block[0, 0])
        else:
            along = self.bend / self.k if self.k > 0.0 else np.zeros(m)
            spread = float(along @ block @ along)
            dof = len(c) - 3 * m
            if dof <= 0 or not self.k**2 > _half_width(2, dof, 0.95) ** 2 * _variance(self, c, dof) * spread:
                # a curvature that is not significant has no direction either
                undetermined = ("normal",)
                spread = float(np.linalg.eigvalsh(block)[-1])
        normal = (self.bend / self.k if self.k > 0.0 else np.eye(m)[0]) @ self.frame[1:]
        return _report(self, c, j, spread, m, undetermined, centroid, scale, normal)


def _variance(problem: Any, c: np.ndarray, dof: int) -> float:
    """Variance of a residual, not below that of the rounding of the coordinates."""
    return max(float(c @ c) / dof, float(problem.rounding) ** 2) if dof > 0 else math.nan


def _report(
    problem: Any, c: np.ndarray, j: np.ndarray, spread: float, components: int, undetermined: tuple[str, ...],
    centroid: np.ndarray, scale: float, normal: np.ndarray,
) -> Curvature:  # fmt: skip
    n = len(problem.x)
    dof = len(c) - j.shape[1]
    sigma2 = _variance(problem, c, dof)
    plain = c if problem.root is None else c / np.tile(np.where(problem.root > 0.0, problem.root, 1.0), len(c) // n)
    if isinstance(problem, _Planar):
        foot = centroid + (problem.foot @ problem.frame[1:]) / scale
        form = float(np.ptp(c.reshape(-1, n).T @ (problem.frame[1:] @ normal))) / scale
    else:
        foot = centroid + problem.rho * normal / scale
        form = float(np.ptp(plain)) / scale
    if problem.k < 0.0:
        normal = -normal
    u = math.sqrt(sigma2 * spread) * scale if dof > 0 else math.inf
    return Curvature(
        abs(float(problem.k)) * scale, u, dof, foot, normal, components, undetermined,
        math.sqrt(float(plain @ plain) / n) / scale, form,
    )  # fmt: skip
