"""Fits of points that are read in blocks: the same bits as in memory for any block size and number of threads."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.accuracy.starts import Cell, make
from metrology_core import fit
from metrology_core.blocks import threads
from metrology_core.errors import CriterionError, ParameterError
from metrology_core.fitting.passes import NEAR_FROM
from metrology_core.fitting.result import Fit
from metrology_core.hdf5 import Hdf5Points, open_new
from metrology_core.kernels import layout
from tests.core.fitting.parts import FEATURES, noisy

MANY = NEAR_FROM + 2 * layout.CHUNK + 777  # streamed, with a chunk that is not full


class Blocks:
    """A source in memory, in blocks of any size; counts what it was asked for."""

    unit = "mm"

    def __init__(self, xyz: np.ndarray, size: int) -> None:
        self.xyz, self.size, self.passes, self.whole = xyz, size, 0, 0

    @property
    def n_points(self) -> int:
        return len(self.xyz)

    def read(self, start: int, stop: int) -> np.ndarray:
        self.whole += 1
        return self.xyz[start:stop]

    def blocks(self, size: int = 0) -> Iterator[np.ndarray]:
        self.passes += 1
        for start in range(0, len(self.xyz), self.size):
            yield self.xyz[start : start + self.size]


def same(a: Fit, b: Fit) -> None:
    for name, value in a.parameters.items():
        assert np.array_equal(value, b.parameters[name]), name
    assert np.array_equal(a.covariance, b.covariance)
    assert (a.form, a.rms, a.sigma, a.reach, a.extent) == (b.form, b.rms, b.sigma, b.reach, b.extent)
    assert (a.status, a.flags, a.n_points, a.n_used, a.dof) == (b.status, b.flags, b.n_points, b.n_used, b.dof)
    assert a.optimality == b.optimality


@pytest.mark.parametrize("kind", FEATURES)
def test_the_same_bits_as_in_memory(kind: str) -> None:
    points = noisy(kind, MANY, seed=31)
    points[[0, 17, layout.CHUNK, MANY - 1]] = math.nan
    here = fit(points, kind, unit="mm").require()
    assert here.n_used == MANY - 4
    source = Blocks(points, 50_001)
    same(here, fit(source, kind).require())
    assert source.whole == 0 and source.passes >= 4


@pytest.mark.parametrize("size", [997, layout.CHUNK, 100_000, 10**7])
@pytest.mark.parametrize("count", [1, 2, 4, 16])
def test_blocks_and_threads_change_no_bit(size: int, count: int) -> None:
    points = noisy("cylinder", MANY, seed=32)
    with threads(2):
        here = fit(points, "cylinder", unit="mm")
    with threads(count):
        same(here, fit(Blocks(points, size), "cylinder"))


def test_fixed_and_start_and_a_small_source() -> None:
    points = noisy("cylinder", MANY, seed=33)
    held = {"radius": 8.0}
    same(fit(points, "cylinder", fixed=held, unit="mm"), fit(Blocks(points, 40_000), "cylinder", fixed=held))
    start = FEATURES["cylinder"]
    same(fit(points, "cylinder", start=start, unit="mm"), fit(Blocks(points, 40_000), "cylinder", start=start))
    few = Blocks(points[:500], 100)
    same(fit(points[:500], "cylinder", unit="mm"), fit(few, "cylinder"))
    assert (few.whole, few.passes) == (1, 0)


def test_hdf5_in_both_layouts(tmp_path: Path) -> None:
    points = noisy("sphere", MANY, seed=34)
    here = fit(points, "sphere", unit="mm")
    for name, array in (("rows", points), ("columns", points.T)):
        path = tmp_path / f"{name}.h5"
        with open_new(path) as file:
            file.create_dataset("points", data=array, chunks=True, compression="gzip", compression_opts=1)
        with Hdf5Points(path, unit="mm") as source:
            same(here, fit(source, "sphere"))


def test_a_short_arc_gets_the_second_search() -> None:
    cell = Cell("torus", MANY, (45.0, 10.0, 0.3))  # of 1000 such points the first search stops in a valley
    points, truth = make(cell, 1e-5, 0)
    found = fit(Blocks(points, 50_000), "torus")
    best = fit(points, "torus", start=truth).require()
    assert found.status == "converged" and found.rms <= best.rms * (1.0 + 1e-9)


def test_what_needs_the_points_is_refused_or_unknown() -> None:
    points = noisy("plane", MANY, seed=35)
    found = fit(Blocks(points, 65_536), "plane")
    assert math.isnan(found.form_uncertainty) and found.to_dict()["form"]["u"] is None
    for ask in ("residuals", "sensitivities"):
        with pytest.raises(ParameterError, match="not kept"):
            getattr(found, ask)
    with pytest.raises(CriterionError, match="least squares only"):
        fit(Blocks(points, 1000), "plane", criterion="minimum_zone")
    with pytest.raises(ParameterError, match="weights"):
        fit(Blocks(points, 1000), "plane", weights=np.ones(MANY))


def test_bad_points_have_a_status() -> None:
    nothing = np.full((MANY, 3), math.nan)
    found = fit(Blocks(nothing, 65_536), "plane")
    assert (found.status, found.n_used) == ("insufficient", 0) and "non_finite_points" in found.flags
    assert fit(Blocks(np.full((MANY, 3), 7.0), 65_536), "sphere").status == "degenerate"
    line = np.outer(np.linspace(0.0, 1.0, MANY), (1.0, 2.0, 3.0))
    assert fit(Blocks(line, 65_536), "cylinder").optimality["reason"] == "the points are collinear to rounding"


def test_a_source_that_changes_is_told() -> None:
    class Shrinking(Blocks):
        def blocks(self, size: int = 0) -> Iterator[np.ndarray]:
            self.passes += 1
            yield self.xyz if self.passes == 1 else self.xyz[:-5]

    with pytest.raises(ParameterError, match="another number of points"):
        fit(Shrinking(noisy("plane", MANY, seed=36), 1), "plane")
