"""Is the registered design that of the image? Lengths without a partner, and motions that the residuals call for."""

from __future__ import annotations

import math

import numpy as np

from metrology_core.errors import DataError
from metrology_core.quantity import two_sided_factor
from wafer.contours import registration as reg
from wafer.contours.correlated import Errors, linear_variance
from wafer.contours.design import Edges
from wafer.contours.trace import Trace

# Right designs: contour without design is what was printed beyond it, design without contour what was not printed; one
# of the two may be large. A wrong design leaves both: over 0.2 each for mirrored, 10 % too large, 50 % wrong pixel;
# with four lines of ten missing, broken or bridged the smaller one is 0.03.
MOST_WITHOUT = 0.1
_BIT = 8.0  # px of a design edge that are looked at together
_SURE, _LIKELY = 0.99, 0.95  # levels of significance for motions ...
_LEAST_MOTION, _LARGE_MOTION = 0.5, 2.0  # ... that move the corner of the image by so many px


def design_without_contour(
    matches: reg.Matches, rows: np.ndarray, shape: tuple[int, int], pixel: tuple[float, float], corner: float,
    limit: float,
) -> float:  # fmt: skip
    """Share of the length of design edges (m, 6) without a matched vertex; corners and a rim of ``limit`` left out."""
    half = 0.5 * np.array((shape[1] * pixel[0], shape[0] * pixel[1])) - limit
    order = np.argsort(matches.edge, kind="stable")
    bounds = np.searchsorted(matches.edge[order], np.arange(len(rows) + 1))
    total = empty = 0.0
    for i, row in enumerate(rows):
        start, step = row[:2], row[2:4] - row[:2]
        length = float(np.hypot(*step))
        count = max(1, round(length / (_BIT * pixel[0])))
        at = (np.arange(count) + 0.5) / count
        seen = np.all(np.abs(start + at[:, None] * step) < half, axis=1)
        seen &= (at * length > corner) & ((1.0 - at) * length > corner)
        met = np.zeros(count, bool)
        along = matches.along[order[bounds[i] : bounds[i + 1]]]
        met[np.clip(np.floor(along / length * count).astype(np.int64), 0, count - 1)] = True
        total += float(np.count_nonzero(seen)) * length / count
        empty += float(np.count_nonzero(seen & ~met)) * length / count
    return empty / total if total > 0.0 else 0.0


def refuse_mismatch(
    found: Trace, place: reg.Registration, matches: reg.Matches, rows: np.ndarray, shape: tuple[int, int],
    pixel: tuple[float, float], corner: float, limit: float,
) -> tuple[float, float]:  # fmt: skip
    """Shares of contour without design and of design without contour; `DataError` where both exceed `MOST_WITHOUT`."""
    good = found.state == 0
    contour = float(np.mean(matches.edge[good] < 0))
    design = design_without_contour(matches, rows, shape, pixel, corner, limit)
    if min(contour, design) > MOST_WITHOUT:
        raise DataError(
            "the design is not that of the image",
            expected=f"at most {MOST_WITHOUT:.0%} of the contours without design, or of the design without contour",
            got=f"{contour:.0%} of the contours and {design:.0%} of the design without partner within {limit:.3g}, "
            f"areas correlate by {place.correlation:.2f}",
            remedy="check design (mirrored, scaled, cell, layer), pixel size, origin; or allow larger errors (limit)",
        )
    return contour, design


def unmodelled(
    found: Trace, edges: Edges, place_of: reg.Registration, matches: reg.Matches, rows: np.ndarray,
    shape: tuple[int, int], pixel: tuple[float, float],
) -> set[str]:  # fmt: skip
    """``registration_unmodelled`` where a rotation or scale that was not free is significant in the residuals.

    One Gauss-Newton step with both beside what was fitted; its standard errors from the scatter of pieces of edges
    (`wafer.contours.correlated`). With few pieces only large motions are significant.
    """
    tested = [name for name in ("rotation", "scale") if name not in place_of.fitted]
    columns = [k for k, name in enumerate(reg.NAMES) if name in place_of.fitted or name in tested]
    place = reg.places_of(found, shape, pixel)
    j = reg.sensitivities(rows, matches, place, place_of.values[:2], edges.line_end)
    values, solve, radius = reg.one_step(j, matches, place_of.used, columns, shape, pixel)
    regular = np.flatnonzero(place_of.used & ~edges.line_end[np.maximum(matches.edge, 0)])
    if regular.size < 10:
        return set()
    moves = -np.where(place_of.used, solve[:4], 0.0)  # of the design, as the registration has it
    epe = matches.epe + j[:, :4] @ (moves @ np.nan_to_num(matches.epe))
    own = np.nan_to_num((found.u * np.hypot(found.seeds.ux * pixel[0], found.seeds.uy * pixel[1])) ** 2)
    errors = Errors(epe, own, matches.boundary, matches.place, matches.around, regular, j[:, :4], moves, pixel[0])
    for name in tested:
        k = reg.NAMES.index(name)
        if not np.any(moves[k]):
            continue  # nothing holds it
        variance, dof = linear_variance(errors, moves[k])
        u = math.sqrt(max(variance, 1e-300))
        t, motion = abs(float(values[k])) / u, abs(float(values[k])) * radius / pixel[0]
        sure = t > two_sided_factor(_SURE, dof) and motion > _LEAST_MOTION
        if sure or (t > two_sided_factor(_LIKELY, dof) and motion > _LARGE_MOTION):
            return {"registration_unmodelled"}
    return set()
