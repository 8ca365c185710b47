"""Edge placement of found contours against a registered design, line ends, and what became of each polygon."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from metrology_core.data import Image
from metrology_core.errors import DataError
from metrology_core.quantity import Measured, two_sided_factor
from metrology_core.spreads import with_spread
from wafer.contours import corners
from wafer.contours import registration as reg
from wafer.contours.corners import Zone
from wafer.contours.correlated import Errors, spread_of
from wafer.contours.defects import STATES, judge_shapes
from wafer.contours.design import Design, Edges, area_of
from wafer.contours.ends import LEAST_SPACING, finest
from wafer.contours.fit_checks import refuse_mismatch, unmodelled
from wafer.contours.tips import CENTRAL, LEAST, NARROW, Gap, Tip, find_gaps, find_tips
from wafer.contours.trace import Trace

if TYPE_CHECKING:
    from wafer.contours.evaluate import Collected, ContourSettings
    from wafer.contours.functionals import Functionals
    from wafer.contours.seeds import Split

EDGE, CORNER, END, UNMATCHED = 0, 1, 2, 3
LIMIT = 15.0  # px
SEARCH = 0.25  # of the shorter side
_AT_ONCE = 24
_WORST = 12


def begin(split: Split, design: Design, settings: ContourSettings, image: Image) -> tuple[np.ndarray, reg.Start, Edges]:
    """Place of the design in the middle of the image, as stated, its coarse registration, its edges near the image."""
    from wafer.contours.design import edges_of

    assert image.pixel_size is not None
    px, py = image.pixel_size
    x0, y0, x1, y1 = design.box
    origin = np.array(settings.origin if settings.origin is not None else (0.5 * (x0 + x1), 0.5 * (y0 + y1)))
    ny, nx = split.flat.shape
    search = settings.search if settings.search is not None else SEARCH * min(nx * px, ny * py)
    # only what can lie in the image: a layout may be a whole chip
    half = np.array((0.5 * nx * px, 0.5 * ny * py)) + search
    near = tuple(
        p for p in design.polygons
        if np.all(p.max(axis=0) > origin - half) and np.all(p.min(axis=0) < origin + half)
    )  # fmt: skip
    if not near:
        raise DataError(
            "the design does not lie in the image", expected="polygons near the middle of the image",
            remedy="state the design place in the middle of the image (origin)",
        )  # fmt: skip
    edges = edges_of(Design(near, design.unit))
    start = reg.coarse(split.flat > split.cut, edges.rings, origin, (px, py), search, settings.polarity)
    return origin, start, edges


def placement(
    out: Collected,
    functionals: Functionals,
    settings: ContourSettings,
    pixel: tuple[float, float],
    edges: Edges,
    origin: np.ndarray,
    start: reg.Start,
    vertices: dict[str, np.ndarray],
    shift: tuple[int, int],
) -> dict[str, Any]:
    """Register, measure, judge; fills ``out`` and ``vertices``; returns the further fields of the result."""
    px = pixel[0]
    found, shape = functionals.found, functionals.shape
    limit = settings.limit if settings.limit is not None else LIMIT * px
    width = found.profile.width
    zone = Zone.of_width(width, px) if settings.corner is None else Zone.stated(settings.corner)
    place_of, matches, rows = reg.register(
        found, edges, shape, pixel, origin, start, zone=zone, limit=limit, free=settings.free
    )
    if settings.corner is None:
        seen = corners.estimated(matches, edges, zone, width, px)
        if seen.longest > zone.longest:
            near = reg.Start((float(place_of.values[0]), float(place_of.values[1])), start.correlation, start.bright,
                             start.ambiguous)  # fmt: skip
            place_of, matches, rows = reg.register(
                found, edges, shape, pixel, origin, near, zone=seen, limit=limit, free=settings.free
            )
        zone = seen
    corner = zone.longest
    out.flags.update(place_of.flags)
    unmatched, empty = refuse_mismatch(found, place_of, matches, rows, shape, pixel, corner, limit)
    out.flags.update(unmodelled(found, edges, place_of, matches, rows, shape, pixel))
    place = reg.places_of(found, shape, pixel)
    normal = np.column_stack((found.seeds.ux * pixel[0], found.seeds.uy * pixel[1]))
    j = reg.sensitivities(rows, matches, place, place_of.values[:2], edges.line_end)
    of_edge = rows[np.maximum(matches.edge, 0), 4:6]
    gain = np.where(matches.edge >= 0, np.sum(normal * of_edge, axis=1), 0.0)  # length per px of a vertex's edge
    by_scale = np.where((matches.edge >= 0)[:, None], np.nan_to_num(place * of_edge), 0.0)
    noise_of_place = functionals.covariance(place_of.solve * gain)
    sampling = reg.beyond_noise(place_of.sampling, noise_of_place)
    covariance = noise_of_place + sampling
    tool = _Linear(functionals, place_of, gain, j, by_scale, sampling)

    kind = np.full(found.state.size, UNMATCHED)
    matched = matches.edge >= 0
    kind[matched] = EDGE
    kind[matched & edges.line_end[np.maximum(matches.edge, 0)]] = END
    kind[matched & ~zone.outside(matches, edges)] = CORNER
    # few pieces know their scatter badly: so that k = 2 still holds about 95 %
    widened = noise_of_place + sampling * (two_sided_factor(0.95, place_of.dof) / two_sided_factor(0.95, math.inf)) ** 2
    epe_u = _vertex_u(out, found, gain, j, widened, by_scale, place_of)
    vertices.update(
        epe=matches.epe, epe_u=np.where(matched, epe_u, np.nan), edge=matches.edge, kind=kind,
        epe_noise=np.abs(found.u * gain),
    )  # fmt: skip
    regular = np.flatnonzero(kind == EDGE)
    text = _registration_words(place_of, out.budget.unit)
    correlated = _errors(out, tool, matches, found, regular, px, text)
    height, width = shape
    tips = find_tips(
        found, edges, rows, place_of, place, normal / np.hypot(*normal.T)[:, None], pixel,
        (width * pixel[0], height * pixel[1]), limit,
    )  # fmt: skip
    gaps = find_gaps(tips)
    tip_rows, gap_rows = _line_ends(out, tool, tips, gaps, place, text, reg.middle_of(shape), pixel, shift)
    shapes, rings = _shapes(out, found, place_of, edges, pixel, shape)
    if unmatched > 0.02:
        out.flags.add("unmatched_contours")
    return {
        "registration": {
            **reg.summary(place_of, covariance, out.budget.unit), "corner": corner, "corners": zone.to_dict(),
            "limit": limit,
        },
        "tips": tip_rows, "gaps": gap_rows, "shapes": shapes, "design": tuple(ring + shift for ring in rings),
        "details": {
            "kinds": {name: int(np.count_nonzero((kind == k) & (found.state == 0)))
                      for name, k in (("edge", EDGE), ("corner", CORNER), ("line_end", END), ("unmatched", UNMATCHED))},
            "contour_without_design": unmatched, "design_without_contour": empty,
            "worst": _worst(vertices, matches, regular), "errors": correlated,
        },
    }  # fmt: skip


def _registration_words(found: reg.Registration, unit: str) -> str:
    free = " and ".join(name for name in found.fitted if name in ("rotation", "scale"))
    return (
        f"design registered by {int(found.used.sum())} vertices on its edges (translation"
        f"{' and ' + free if free else ''}, common offset beside), residual {found.rms:.2g} {unit}"
    )


class _Linear:
    """Linear quantities of the contour: noise, scatter of the place, change with the pixel size."""

    def __init__(
        self, functionals: Functionals, place: reg.Registration, gain: np.ndarray,
        j: np.ndarray, by_scale: np.ndarray, sampling: np.ndarray,
    ) -> None:  # fmt: skip
        self.functionals, self.found, self.place = functionals, functionals.found, place
        self.gain, self.j, self.by_scale, self.sampling = gain, j, by_scale, sampling

    def noises(self, rows: np.ndarray, motions: np.ndarray) -> np.ndarray:
        """Standard uncertainties by noise of ``rows`` (k, n) of the edges plus ``motions`` (k, 6) of the place."""
        total = rows + (motions[:, :4] @ self.place.solve[:4]) * self.gain
        result = np.empty(len(total))
        for first in range(0, len(total), _AT_ONCE):
            part = total[first : first + _AT_ONCE]
            result[first : first + _AT_ONCE] = np.diag(self.functionals.covariance(part))
        return np.sqrt(np.maximum(result, 0.0))

    def place_u(self, motion: np.ndarray) -> float:
        """Standard uncertainty by the scatter that the place of the design rests on."""
        return math.sqrt(max(float(motion[:4] @ self.sampling[:4, :4] @ motion[:4]), 0.0))  # NaN stays NaN

    def scale(self, direct: np.ndarray, motion: np.ndarray) -> tuple[float, float]:
        """Change per relative change of the pixel size in x and y: ``direct`` (2,) and through the place."""
        moved = motion[:4] @ self.place.solve[:4] @ self.by_scale
        return float(direct[0] + moved[0]), float(direct[1] + moved[1])


def _vertex_u(
    out: Collected, found: Trace, gain: np.ndarray, j: np.ndarray, covariance: np.ndarray, by_scale: np.ndarray,
    place: reg.Registration,
) -> np.ndarray:  # fmt: skip
    """Standard uncertainty of each edge placement error; that a vertex itself pulls at the place is neglected (one of
    hundreds)."""
    variance = (found.u * gain) ** 2 + np.einsum("ia,ab,ib->i", j[:, :4], covariance[:4, :4], j[:, :4])
    if out.budget.scale is not None:
        variance = variance + out.budget.scale.variance(by_scale + j[:, :4] @ (place.solve[:4] @ by_scale))
    if out.budget.edge is not None:
        variance = variance + out.budget.edge_u**2
    result: np.ndarray = np.sqrt(variance)
    return result


def _errors(
    out: Collected, tool: _Linear, matches: reg.Matches, found: Trace, regular: np.ndarray, px: float, text: str,
) -> dict[str, Any]:  # fmt: skip
    """Mean and standard deviation of the edge placement errors away from corners and line ends; details of both."""
    if regular.size < 10:
        for name in ("sem.epe_mean", "sem.epe_1s", "sem.epe_3s"):
            out.missing[name] = "too little contour lies along edges of the design, away from corners"
        return {}
    n = regular.size
    own = np.nan_to_num((found.u * tool.gain) ** 2)
    solve = np.where(tool.place.used, tool.place.solve[:4], 0.0)
    spread = spread_of(Errors(matches.epe, own, matches.boundary, matches.place, matches.around, regular,
                              tool.j[:, :4], solve, px))  # fmt: skip
    row = np.zeros((1, found.edge.size))
    row[0, regular] = tool.gain[regular] / n
    motion = np.zeros((1, 6))
    motion[0, :4] = tool.j[regular, :4].mean(axis=0)
    noise = float(tool.noises(row, motion)[0])
    scale = tool.scale(tool.by_scale[regular].mean(axis=0), motion[0])
    words = f"{n} vertices on design edges, away from corners and line ends; {text}; {out.common}"
    out.measurements["sem.epe_mean"] = out.budget.measured(
        "sem.epe_mean", float(matches.epe[regular].mean()), noise=noise,
        sampling=math.sqrt(max(0.0, spread.mean_variance - noise**2)), dof=spread.mean_dof, scale=scale, edges=1.0,
    )  # fmt: skip
    unit, decay = out.budget.unit, spread.decay
    hang = (
        f"errors correlated over {decay.length:.2g} {unit} along edges" if decay.seen
        else "no correlation seen along edges"
    )  # fmt: skip
    out.methods["sem.epe_mean"] = (
        f"mean of {words}; uncertainty for the mean of the process, from {spread.pieces} pieces of edges ({hang})"
    )
    value = math.sqrt(max(0.0, spread.variance))
    u = (
        spread.u / (2.0 * value) if spread.variance > spread.u
        else math.sqrt(max(0.0, spread.variance) + spread.u) - value
    )  # fmt: skip
    plain = math.sqrt(float(np.mean((matches.epe[regular] - matches.epe[regular].mean()) ** 2)))
    for factor in (1, 3):
        name = f"sem.epe_{factor}s"
        found_spread = out.budget.measured(
            name, value, noise=0.0, sampling=u, dof=spread.dof, bound=0.0, factor=float(factor),
        )  # fmt: skip
        out.measurements[name] = with_spread(found_spread, factor * spread.quantiles, found_spread.contributions)
        out.methods[name] = (
            f"{factor} times the standard deviation of the process about its mean, noise of each vertex "
            f"({math.sqrt(spread.noise):.2g} {unit}) taken off, what mean and registration took ({spread.lost:.1%} of "
            f"the variance) added ({100.0 * value / max(plain, 1e-300):.0f} % of the plain one); {hang}; of {words}"
        )
    return {"correlation_length": decay.length if decay.seen else None, "hurst": decay.hurst if decay.seen else None,
            "pieces": spread.pieces, "lost_to_registration": spread.lost}  # fmt: skip


def _line_ends(
    out: Collected, tool: _Linear, tips: list[Tip], gaps: list[Gap], place: np.ndarray, text: str, middle: np.ndarray,
    pixel: tuple[float, float], shift: tuple[int, int],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:  # fmt: skip
    """Pull-back of each line end and distance of facing ones."""
    good = [i for i, tip in enumerate(tips) if not tip.reason]
    pairs = [g for g in gaps if not tips[g.one].reason and not tips[g.other].reason]
    n = place.shape[0]

    def direct(tip: Tip) -> np.ndarray:
        share = np.divide(tip.row, tool.found.seeds.ux * pixel[0] * tip.axis[0] + tool.found.seeds.uy * pixel[1]
                          * tip.axis[1], out=np.zeros(n), where=tip.row != 0.0)  # fmt: skip
        result: np.ndarray = np.array([float(share @ np.nan_to_num(place[:, k])) * tip.axis[k] for k in (0, 1)])
        return result

    each = [-tips[i].row for i in good] + [-(tips[g.one].row + tips[g.other].row) for g in pairs]
    moves = [-tips[i].motion for i in good] + [-(tips[g.one].motion + tips[g.other].motion) for g in pairs]
    scales = [-direct(tips[i]) for i in good] + [-(direct(tips[g.one]) + direct(tips[g.other])) for g in pairs]
    groups = {"sem.pullback": (range(len(good)), 1.0), "sem.tip_to_tip": (range(len(good), len(each)), 2.0)}
    extra_rows, extra_moves = [], []
    for members, _ in groups.values():
        chosen = list(members)
        extra_rows.append(np.mean([each[k] for k in chosen], axis=0) if chosen else np.zeros(n))
        extra_moves.append(np.mean([moves[k] for k in chosen], axis=0) if chosen else np.zeros(6))
    noise = tool.noises(np.array([*each, *extra_rows]), np.array([*moves, *extra_moves])) if each else np.empty(0)
    values = [-tips[i].excess for i in good] + [g.design - tips[g.one].excess - tips[g.other].excess for g in pairs]
    each_u = [
        math.sqrt(noise[k] ** 2 + tool.place_u(moves[k]) ** 2 + _squares(out, tool.scale(scales[k], moves[k]))
                  + (0.0 if out.budget.edge is None else ((1.0 if k < len(good) else 2.0) * out.budget.edge_u) ** 2))
        for k in range(len(each))
    ]  # fmt: skip
    what = {"sem.pullback": "design end less contour on the axis of the line (positive: pulled back)",
            "sem.tip_to_tip": "distance of facing contours on the axis of their lines"}  # fmt: skip
    for number, (name, (members, offsets)) in enumerate(groups.items()):
        chosen = list(members)
        if not chosen:
            out.missing[name] = _no_ends(tips, gaps, name, tool.found.spacing, pixel, out.budget.unit)
            continue
        mine = np.array([values[k] for k in chosen])
        own = float(np.mean(noise[chosen] ** 2))
        scatter = math.nan
        if mine.size > 1:
            scatter = math.sqrt(max(0.0, float(np.var(mine, ddof=1)) - own) / mine.size)
        else:
            out.flags.add("few_line_ends")
        motion = extra_moves[number]
        out.measurements[name] = out.budget.measured(
            name, float(mine.mean()), noise=float(noise[len(each) + number]), sampling=scatter, dof=mine.size - 1,
            place=tool.place_u(motion), place_dof=tool.place.dof,
            scale=tool.scale(np.mean([scales[k] for k in chosen], axis=0), motion), edges=-offsets,
            bound=0.0 if name == "sem.tip_to_tip" else None,
        )  # fmt: skip
        out.methods[name] = (
            f"mean of {mine.size}: {what[name]}; parabola through the central half of the end; {text}; {out.common}"
        )
    index = {i: k for k, i in enumerate(good)}
    tip_rows = []
    for i, tip in enumerate(tips):
        at = tip.place + (0.0 if tip.reason else tip.excess) * tip.axis
        x, y = at / np.array(pixel) + middle + shift
        row: dict[str, Any] = {
            "tip": i,
            "x": float(x),
            "y": float(y),
            "axis": [float(a) for a in tip.axis],
            "width": tip.width,
        }
        if tip.reason:
            row["reason"] = tip.reason
        else:
            row.update(pullback=float(-tip.excess), u=each_u[index[i]])
        tip_rows.append(row)
    gap_rows = [
        {
            "tips": [g.one, g.other],
            "value": float(values[len(good) + k]),
            "u": each_u[len(good) + k],
            "design": g.design,
        }
        for k, g in enumerate(pairs)
    ]
    return tip_rows, gap_rows


def _no_ends(tips: list[Tip], gaps: list[Gap], name: str, spacing: float, pixel: tuple[float, float],
             unit: str) -> str:  # fmt: skip
    """Why no line end (no pair of them) has a value: the commonest reason of those that lie in the image."""
    if name == "sem.pullback":
        mine, words = tips, "line ends"
        if not tips:
            return "no line end of the design lies in the image"
    else:
        mine, words = [t for g in gaps for t in (tips[g.one], tips[g.other]) if t.reason], "facing line ends"
        if not mine:
            return "no two line ends of the design face each other in the image"
    reasons = Counter(tip.reason for tip in mine)
    reason, count = reasons.most_common(1)[0]
    some = "" if count == len(mine) else f" ({count} of them)"
    text = f"none of {len(mine)} {words} in the image could be measured: {reason}{some}"
    if reason != NARROW:
        return f"{text}; check the process and the picture, allow larger errors with limit"
    least = min(tip.width for tip in mine if tip.reason == NARROW)
    closest = finest(least, pixel)
    text += (
        f", its central half ({2.0 * CENTRAL * least:.3g} {unit} wide) holds fewer than {LEAST} vertices of "
        f"{spacing:.3g} px of contour (more than 2 px are chosen where the image is noisy)"
    )
    if closest < LEAST_SPACING:
        return f"{text}; take an image with smaller pixels"
    return f"{text}; give spacing, here at most {math.floor(10.0 * closest) / 10.0:.2g} px"


def _squares(out: Collected, scale: tuple[float, float]) -> float:
    return 0.0 if out.budget.scale is None else float(out.budget.scale.variance(np.array(scale)))


def _shapes(
    out: Collected, found: Trace, place: reg.Registration, edges: Edges, pixel: tuple[float, float],
    shape: tuple[int, int],
) -> tuple[dict[str, Any], list[np.ndarray]]:  # fmt: skip
    """Counts, rates with exact intervals, and the rings of the design in pixels of the image area."""
    from wafer.contacts.sites import clopper_pearson

    turn, shift = place.transform()
    middle = reg.middle_of(shape)
    rings = [(ring @ turn.T + shift) / np.array(pixel) + middle for ring in edges.rings]
    solid = [area_of(ring) > 0.0 for ring in edges.rings]
    found_shapes = judge_shapes(found.seeds.mask, rings, solid)
    counts = {state: sum(s == state for s in found_shapes.state) for state in STATES}
    counts["extra"] = len(found_shapes.extra)
    total = sum(counts[s] for s in ("found", "missing", "broken", "bridged"))
    rates = {}
    for state in ("missing", "broken", "bridged"):
        if counts[state]:
            out.flags.add(f"{state}_shapes")
        if total:
            low, high = clopper_pearson(counts[state], total)
            rates[state] = {"count": counts[state], "of": total, "low": low, "high": high}
    if counts["extra"]:
        out.flags.add("extra_shapes")
    faulty = {state: counts[state] for state in ("missing", "broken", "bridged", "extra")}
    if total:
        out.measurements["sem.shape_defects"] = Measured.exact(float(sum(faulty.values())), "1")
        out.methods["sem.shape_defects"] = (
            f"{', '.join(f'{n} {state}' for state, n in faulty.items())}; {total} polygons of the design in the image; "
            "counted on the areas of a smoothed copy, a polygon once"
        )
    else:
        out.missing["sem.shape_defects"] = "no polygon of the design lies in the image"
    inside = [
        ring for ring in rings
        if np.all(ring.max(axis=0) > -1.0) and np.all(ring.min(axis=0) < np.array((shape[1], shape[0])))
    ]  # fmt: skip
    return {
        "counts": counts, "rates": rates,
        "extra": [[float(v) for v in row] for row in found_shapes.extra],
        "marked": [
            {"state": state, "x": float(at[0]), "y": float(at[1])}
            for state, ring in zip(found_shapes.state, rings, strict=True)
            if state in ("missing", "broken", "bridged")
            for at in [np.clip(ring, 14.0, np.array((shape[1], shape[0])) - 14.0).mean(axis=0)]  # within the image
        ],
    }, inside  # fmt: skip


def _worst(vertices: dict[str, np.ndarray], matches: reg.Matches, regular: np.ndarray) -> list[dict[str, Any]]:
    """The largest errors on edges, one for each design edge."""
    order = regular[np.argsort(-np.abs(matches.epe[regular]))]
    rows: list[dict[str, Any]] = []
    seen: set[int] = set()
    for i in order:
        edge = int(matches.edge[i])
        if edge in seen:
            continue
        seen.add(edge)
        rows.append({"x": float(vertices["x"][i]), "y": float(vertices["y"][i]), "epe": float(matches.epe[i]),
                     "u": float(vertices["epe_u"][i]), "edge": edge})  # fmt: skip
        if len(rows) == _WORST:
            break
    return rows
