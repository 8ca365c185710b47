"""Closed nominal curves in the plane: exact foot points on a polyline or a periodic cubic spline.

A nominal section arrives as a table of points. What the points *mean* is part of the nominal: here either the closed
polyline through them, or the periodic cubic spline (C2) through them over accumulated chord length. The choice is
stated, because the two differ by the chord tolerance (the largest distance between them), which is known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from metrology_core.errors import ParameterError, ReaderError
from metrology_core.units import convert

FloatArray = NDArray[np.float64]
Interpolation = Literal["cubic_spline", "polyline"]
_SAMPLES = 8  # starts per span: the foot of a point is bracketed by the two neighbours of its nearest start
_CHUNK = 200_000  # distances held at once while searching starts
_MAX_BYTES = 64_000_000  # a nominal section of a million points is a mistake, not a drawing


@dataclass(frozen=True)
class Foot:
    """Foot points of n points: parameter (n,), point (n, 2), normal out of the area (n, 2), signed distance (n,).

    The distance is positive outside the enclosed area, so with material inside it is a deviation (excess positive).
    """

    parameter: FloatArray
    point: FloatArray
    normal: FloatArray
    distance: FloatArray


@dataclass(frozen=True, eq=False)
class NominalCurve:
    """Closed curve through ``points`` (n, 2) in ``unit``, material inside.

    Raises `ParameterError` for fewer than 4 points, repeated neighbours, or numbers that are not finite.
    """

    points: FloatArray
    unit: str
    interpolation: Interpolation = "cubic_spline"
    name: str = "curve"

    def __post_init__(self) -> None:
        points = np.array(self.points, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != 2:
            raise ParameterError("a nominal curve is a table of points", expected="(n, 2)", got=str(points.shape))
        if not np.isfinite(points).all():
            raise ParameterError("a nominal curve must be finite")
        if len(points) > 1 and np.array_equal(points[0], points[-1]):
            points = points[:-1]  # the table repeats its first point to say that it is closed
        if len(points) < 4:
            raise ParameterError("a closed nominal curve needs points", expected="at least 4", got=str(len(points)))
        if self.interpolation not in ("cubic_spline", "polyline"):
            raise ParameterError(
                f"unknown interpolation {self.interpolation!r}", expected="'cubic_spline' or 'polyline'"
            )
        if not (np.linalg.norm(np.roll(points, -1, axis=0) - points, axis=1) > 0.0).all():
            raise ParameterError("two neighbouring points of the nominal curve are equal", remedy="remove one")
        points.setflags(write=False)
        object.__setattr__(self, "points", points)

    # --- geometry
    @cached_property
    def knots(self) -> FloatArray:
        """(n + 1,) accumulated chord length; the parameter of the curve."""
        closed = np.vstack([self.points, self.points[:1]])
        return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])

    @cached_property
    def orientation(self) -> float:
        """+1 where the points run counter-clockwise."""
        a, b = self.points, np.roll(self.points, -1, axis=0)
        return 1.0 if float(np.sum(a[:, 0] * b[:, 1] - b[:, 0] * a[:, 1])) > 0.0 else -1.0

    @cached_property
    def _second(self) -> FloatArray:
        """(n, 2) second derivatives of the spline at the points."""
        return periodic_second_derivatives(np.diff(self.knots), self.points)

    @cached_property
    def chord_tolerance(self) -> float:
        """Largest distance between the curve and the polyline through its points, in ``unit``; 0 for a polyline.

        Evaluated at 16 places of each span, which finds the maximum of a cubic's sagitta to 0.4 %.
        """
        if self.interpolation == "polyline":
            return 0.0
        n = len(self.points)
        h = np.diff(self.knots)
        s = (np.arange(16) + 0.5) / 16.0
        t = self.knots[:-1, None] + s * h[:, None]
        curve = self.evaluate(t.ravel())[0].reshape(n, 16, 2)
        direction = (np.roll(self.points, -1, axis=0) - self.points) / h[:, None]
        off = curve - self.points[:, None, :]
        across = off[..., 0] * direction[:, None, 1] - off[..., 1] * direction[:, None, 0]
        return float(np.max(np.abs(across)))

    def evaluate(self, t: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Point, first and second derivative (m, 2) at parameters ``t`` (m,), taken modulo the length."""
        knots, p = self.knots, self.points
        t = np.mod(np.asarray(t, dtype=np.float64), knots[-1])
        i = np.clip(np.searchsorted(knots, t, side="right") - 1, 0, len(p) - 1)
        j = (i + 1) % len(p)
        h = (knots[i + 1] - knots[i])[:, None]
        b = (t - knots[i])[:, None] / h
        a = 1.0 - b
        if self.interpolation == "polyline":
            return a * p[i] + b * p[j], (p[j] - p[i]) / h, np.zeros((len(t), 2))
        mi, mj = self._second[i], self._second[j]
        value = a * p[i] + b * p[j] + ((a**3 - a) * mi + (b**3 - b) * mj) * h**2 / 6.0
        first = (p[j] - p[i]) / h + ((3.0 * b**2 - 1.0) * mj - (3.0 * a**2 - 1.0) * mi) * h / 6.0
        return value, first, a * mi + b * mj

    def normals(self, t: FloatArray) -> FloatArray:
        """Unit normals (m, 2) out of the enclosed area."""
        d = self.evaluate(t)[1]
        d = d / np.linalg.norm(d, axis=1)[:, None]
        return self.orientation * np.stack([d[:, 1], -d[:, 0]], axis=1)

    # --- foot points
    def foot(self, xy: FloatArray) -> Foot:
        """Nearest points of the curve to ``xy`` (m, 2), in the unit of the curve.

        Starts are the two best local minima over a table of samples; each is refined by Newton's method kept within
        its bracket, down to rounding. Raises `ParameterError` for points that are not finite.
        """
        xy = np.asarray(xy, dtype=np.float64)
        if xy.ndim != 2 or xy.shape[1] != 2 or not np.isfinite(xy).all():
            raise ParameterError("foot points need finite points", expected="(m, 2)", got=str(xy.shape))
        if self.interpolation == "polyline":
            return self._foot_polyline(xy)
        table_t, table_xy = self._table
        rows = max(1, _CHUNK // len(table_t))
        parts = [self._refine(xy[k : k + rows], table_t, table_xy) for k in range(0, len(xy), rows)]
        t = np.concatenate(parts) if parts else np.zeros(0)
        point = self.evaluate(t)[0]
        normal = self.normals(t)
        return Foot(t, point, normal, np.sum((xy - point) * normal, axis=1))

    @cached_property
    def _table(self) -> tuple[FloatArray, FloatArray]:
        s = np.arange(_SAMPLES) / _SAMPLES
        t = (self.knots[:-1, None] + s * np.diff(self.knots)[:, None]).ravel()
        return t, self.evaluate(t)[0]

    def _refine(self, xy: FloatArray, table_t: FloatArray, table_xy: FloatArray) -> FloatArray:
        square = (xy[:, 0, None] - table_xy[:, 0]) ** 2 + (xy[:, 1, None] - table_xy[:, 1]) ** 2
        low = (square <= np.roll(square, 1, axis=1)) & (square <= np.roll(square, -1, axis=1))
        ranked = np.argsort(np.where(low, square, np.inf), axis=1)[:, :2]
        best_t = np.empty(len(xy))
        best_d = np.full(len(xy), np.inf)
        m = len(table_t)
        for column in range(2):
            k = ranked[:, column]
            left = table_t[k - 1] - np.where(k == 0, self.knots[-1], 0.0)
            right = table_t[(k + 1) % m] + np.where(k == m - 1, self.knots[-1], 0.0)
            t = self._newton(xy, table_t[k].copy(), left, right)
            d = np.sum((xy - self.evaluate(t)[0]) ** 2, axis=1)
            better = d < best_d
            best_t[better], best_d[better] = t[better], d[better]
        return best_t

    def _newton(self, xy: FloatArray, t: FloatArray, left: FloatArray, right: FloatArray) -> FloatArray:
        """Root of (c(t) - p).c'(t) between ``left`` and ``right``: Newton, bisection where that leaves the bracket."""
        for _ in range(60):
            c, d1, d2 = self.evaluate(t)
            g = np.sum((c - xy) * d1, axis=1)
            slope = np.sum(d1 * d1, axis=1) + np.sum((c - xy) * d2, axis=1)
            left = np.where(g < 0.0, t, left)
            right = np.where(g > 0.0, t, right)
            with np.errstate(divide="ignore", invalid="ignore"):
                trial = t - g / slope
            outside = ~((trial >= left) & (trial <= right))
            new = np.where(outside, 0.5 * (left + right), trial)
            new = np.where(g == 0.0, t, new)
            # the distance is stationary in t: an error of 1e-13 of the length here is 1e-26 there
            if float(np.max(np.abs(new - t), initial=0.0)) <= 1e-13 * self.knots[-1]:
                return new
            t = new
        return t

    def _foot_polyline(self, xy: FloatArray) -> Foot:
        a = self.points
        d = np.roll(a, -1, axis=0) - a
        h = np.linalg.norm(d, axis=1)
        t = np.empty(len(xy))
        point = np.empty((len(xy), 2))
        rows = max(1, _CHUNK // len(a))
        for k in range(0, len(xy), rows):
            q = xy[k : k + rows]
            s = np.clip(np.einsum("mnk,nk->mn", q[:, None, :] - a, d) / h**2, 0.0, 1.0)
            foot = a + s[..., None] * d
            i = np.argmin(np.sum((q[:, None, :] - foot) ** 2, axis=2), axis=1)
            row = np.arange(len(q))
            t[k : k + rows] = self.knots[i] + s[row, i] * h[i]
            point[k : k + rows] = foot[row, i]
        off = xy - point
        distance = np.linalg.norm(off, axis=1)
        outside = ~self._encloses(xy)
        sign = np.where(outside, 1.0, -1.0)
        normal = self.normals(t)
        far = distance > 0.0  # at a corner the direction to the point is the normal that counts
        normal[far] = (sign[:, None] * off)[far] / distance[far, None]
        return Foot(t, point, normal, sign * distance)

    def _encloses(self, xy: FloatArray) -> NDArray[np.bool_]:
        """Whether points lie inside the polygon (crossing number)."""
        inside = np.zeros(len(xy), dtype=bool)
        b = np.roll(self.points, -1, axis=0)
        for p, q in zip(self.points, b, strict=True):
            spans = (p[1] > xy[:, 1]) != (q[1] > xy[:, 1])
            if spans.any():
                cross = p[0] + (xy[spans, 1] - p[1]) / (q[1] - p[1]) * (q[0] - p[0])
                inside[spans] ^= xy[spans, 0] < cross
        return inside

    def to(self, unit: str) -> NominalCurve:
        """The same curve with its numbers in another unit of length."""
        factor = convert(1.0, self.unit, unit)
        return self if factor == 1.0 else NominalCurve(self.points * factor, unit, self.interpolation, self.name)


def periodic_second_derivatives(h: FloatArray, y: FloatArray) -> FloatArray:
    """Second derivatives (n, k) of the periodic cubic spline through ``y`` (n, k) with spans ``h`` (n,).

    Cyclic tridiagonal system by elimination and the Sherman-Morrison formula; diagonally dominant, so no pivoting.
    """
    n = len(y)
    before, after = np.roll(h, 1), h
    slope = (np.roll(y, -1, axis=0) - y) / h[:, None]
    right = 6.0 * (slope - np.roll(slope, 1, axis=0))
    main = 2.0 * (before + after)
    gamma = -main[0]
    diagonal = main.copy()
    diagonal[0] -= gamma
    diagonal[-1] -= h[-1] * h[-1] / gamma
    extra = np.zeros((n, 1))
    extra[0, 0], extra[-1, 0] = gamma, h[-1]
    solved = _tridiagonal(before, diagonal, after, np.hstack([right, extra]))
    x, z = solved[:, :-1], solved[:, -1]
    factor = (x[0] + h[-1] / gamma * x[-1]) / (1.0 + z[0] + h[-1] / gamma * z[-1])
    return np.asarray(x - z[:, None] * factor, dtype=np.float64)


def _tridiagonal(lower: FloatArray, diagonal: FloatArray, upper: FloatArray, right: FloatArray) -> FloatArray:
    """Solve with sub-diagonal ``lower[1:]`` and super-diagonal ``upper[:-1]`` for several right-hand sides."""
    d, r = diagonal.copy(), right.copy()
    for i in range(1, len(d)):
        w = lower[i] / d[i - 1]
        d[i] -= w * upper[i - 1]
        r[i] -= w * r[i - 1]
    r[-1] /= d[-1]
    for i in range(len(d) - 2, -1, -1):
        r[i] = (r[i] - upper[i] * r[i + 1]) / d[i]
    return r


def read_curve(path: Path | str, *, unit: str, interpolation: Interpolation = "cubic_spline") -> NominalCurve:
    """Read a nominal section: text of two columns (x, y) by comma, semicolon, tab or blanks; one header line allowed.

    Raises `ReaderError` with the line where the file is not such a table.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise ReaderError(
                "the nominal curve is too large",
                expected=f"at most {_MAX_BYTES} bytes",
                got=str(size),
                path=path.name,
                remedy="give the points of the section only",
            )
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ReaderError(
            "the nominal curve cannot be read",
            got=error.strerror or type(error).__name__,
            path=path.name,
            remedy="put the file beside the recipe, or correct its name",
        ) from None
    except UnicodeDecodeError:
        raise ReaderError("the nominal curve is not text", expected="two columns of numbers", path=path.name) from None
    rows: list[tuple[float, float]] = []
    header_seen = False
    for number, line in enumerate(text.splitlines(), 1):
        plain = line.strip()
        if not plain or plain.startswith("#"):
            continue
        fields = plain.replace(",", " ").replace(";", " ").split()
        try:
            values = [float(item) for item in fields]
        except ValueError:
            values = []
        if len(values) != 2 or not all(map(math.isfinite, values)):
            if not rows and not header_seen and not values:
                header_seen = True
                continue
            raise ReaderError(
                "the nominal curve has a bad line",
                expected="two finite numbers: x, y",
                got=plain[:60],
                path=path.name,
                place=f"line {number}",
                remedy="correct the line",
            )
        rows.append((values[0], values[1]))
    try:
        return NominalCurve(np.array(rows, dtype=np.float64).reshape(-1, 2), unit, interpolation, path.stem)
    except ParameterError as error:
        raise ReaderError(
            f"the nominal curve is not usable: {error.what}", expected=error.expected, got=error.got, path=path.name
        ) from None
