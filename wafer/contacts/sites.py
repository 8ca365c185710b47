"""What became of every lattice site: found, weak, missing, merged, at the border, or not measured; and the rates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wafer.contacts.contour import Contour
from wafer.contacts.lattice import Lattice, on_lattice
from wafer.contacts.locate import Candidates

STATES = ("found", "weak", "merged", "missing", "border", "not_measured")
WEAK = 0.5  # of the median contrast: below, a contact is closing
MISSING = 0.2  # of the median contrast: below, there is none
_HOLLOW = 0.85  # area over that of the convex hull: below, a region is two features that have grown together


@dataclass(frozen=True, eq=False)
class Site:
    """One site (or, without a lattice, one feature): its place in pixels, lattice index or None, state, contour or
    None."""

    place: np.ndarray
    index: tuple[int, int] | None
    state: str
    contour: Contour | None


def merged_regions(found: Candidates, lattice: Lattice | None) -> np.ndarray:
    """(k,) regions that hold more than one site, or are far from convex and larger than the others."""
    typical = float(np.median(found.area))
    large = (found.area > 1.6 * typical) & (found.convex < _HOLLOW)
    if lattice is None:
        result: np.ndarray = large
        return result
    sites = lattice.site(lattice.sites_in(found.labels.shape))
    ny, nx = found.labels.shape
    x = np.clip(np.rint(sites[:, 0]).astype(int), 0, nx - 1)
    y = np.clip(np.rint(sites[:, 1]).astype(int), 0, ny - 1)
    held = np.bincount(found.labels[y, x], minlength=len(found.area) + 1)[1:]
    return (held > 1) | large


def judge(contour: Contour, median_contrast: float) -> str:
    """State of a measured contour."""
    if contour.state == "border":
        return "border"
    if contour.state == "lost" or not contour.contrast > MISSING * median_contrast:
        return "missing"
    if contour.contrast < WEAK * median_contrast:
        return "weak"  # also where its contour never came to rest: that it is closing is known, and nobody measures it
    return "found" if contour.state == "ok" else "not_measured"


def clopper_pearson(count: int, n: int, p: float = 0.95) -> tuple[float, float]:
    """Exact central interval of a binomial probability (Clopper and Pearson, Biometrika 26 (1934) 404)."""
    from scipy.stats import beta

    if not 0 <= count <= n or n == 0:
        return 0.0, 1.0
    a = 0.5 * (1.0 - p)
    low = 0.0 if count == 0 else float(beta.ppf(a, count, n - count + 1))
    high = 1.0 if count == n else float(beta.ppf(1.0 - a, count + 1, n - count))
    return low, high


def rates(sites: Sequence[Site], p: float = 0.95, *, missing_known: bool = True) -> dict[str, dict[str, float | None]]:
    """Share of the judged sites in each faulty state, with its exact interval.

    All of ``missing`` is None where a lattice was looked for and not found (``missing_known`` false): features that are
    there do not say how many are not.
    """
    judged = [site for site in sites if site.state in ("found", "weak", "merged", "missing")]
    out: dict[str, dict[str, float | None]] = {}
    for state in ("missing", "weak", "merged"):
        count = sum(site.state == state for site in judged)
        low, high = clopper_pearson(count, len(judged), p)
        share = count / len(judged) if judged else math.nan
        out[state] = {"count": count, "of": len(judged), "rate": share, "low": low, "high": high, "p": p}
    if not missing_known:
        out["missing"] = {**dict.fromkeys(out["missing"]), "p": p}
    return out


def unclaimed(lattice: Lattice, shape: tuple[int, int]) -> np.ndarray:
    """(k, 2) indices of sites in the image that no feature claimed."""
    taken = {tuple(row) for row in lattice.index[on_lattice(lattice)].tolist()}
    sites = lattice.sites_in(shape)
    keep = [tuple(row) not in taken for row in sites.tolist()]
    found: np.ndarray = sites[np.array(keep, bool)]
    return found
