"""Fits to block sources: the bits of the fit in memory, bounded memory, and typed errors for sources that fail."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from metrology_core import fit, hdf5
from metrology_core.blocks import threads
from metrology_core.errors import CriterionError, DataError, ParameterError, ReaderError
from metrology_core.fitting import Fit
from metrology_core.fitting.solver import THREADED_FROM
from metrology_core.fitting.sources import PIECE, SLICE
from tests.core.fitting.parts import FEATURES, noisy

N = PIECE + 30_001  # two pieces, the last one short of a chunk


class Pieces:
    """A user's source: nothing but a number of points and `read`."""

    def __init__(self, xyz: np.ndarray) -> None:
        self.xyz = xyz
        self.shape = xyz.shape
        self.asked: list[tuple[int, int]] = []

    def read(self, start: int, stop: int) -> np.ndarray:
        self.asked.append((start, stop))
        return self.xyz[start:stop]


def same_bits(a: Fit, b: Fit) -> None:
    assert a.status == b.status and set(a.flags) == set(b.flags)
    for name, value in a.parameters.items():
        assert np.array_equal(value, b.parameters[name]), name
    assert np.array_equal(a.covariance, b.covariance, equal_nan=True)
    for name in ("form", "rms", "sigma", "reach", "extent", "n_points", "n_used", "dof", "optimality"):
        assert getattr(a, name) == getattr(b, name), name


@pytest.mark.parametrize("kind", list(FEATURES))
def test_least_squares_bits(kind: str) -> None:
    xyz = noisy(kind, N, seed=5)
    whole = fit(xyz, kind)
    for count in (1, 4):
        with threads(count):
            streamed = fit(Pieces(xyz), kind)
        same_bits(whole, streamed)
    # the same formula, but from all points in memory and from the extremes that one pass found
    assert streamed.form_uncertainty == pytest.approx(whole.form_uncertainty, rel=1e-12)
    assert streamed.to_dict()["parameters"] == whole.to_dict()["parameters"]


@pytest.mark.parametrize(
    ("kind", "criterion"),
    [
        ("plane", "minimum_zone"), ("cylinder", "minimum_zone"), ("cylinder", "maximum_inscribed"),
        ("sphere", "minimum_circumscribed"), ("torus", "minimum_zone_outside"), ("line", "minimum_zone"),
    ],
)  # fmt: skip
def test_zone_bits(kind: str, criterion: str) -> None:
    xyz = noisy(kind, N, seed=6)
    xyz[[10, PIECE + 3]] = np.nan
    whole = fit(xyz, kind, criterion=criterion, material="inside")
    with threads(3):
        streamed = fit(Pieces(xyz), kind, criterion=criterion, material="inside")
    same_bits(whole, streamed)
    assert np.array_equal(whole.contacts, streamed.contacts)
    assert streamed.form_uncertainty == whole.form_uncertainty
    assert np.array_equal(whole.residuals, streamed.residuals, equal_nan=True)


def test_points_that_are_not_finite_and_weights() -> None:
    rng = np.random.default_rng(7)
    xyz = noisy("cone", N, seed=7)
    xyz[rng.integers(0, N, 500)] = np.nan
    xyz[PIECE, 2] = np.inf
    weights = rng.uniform(0.0, 1.0, N)
    weights[::5] = 0.0
    for given in (None, weights):
        whole, streamed = fit(xyz, "cone", weights=given), fit(Pieces(xyz), "cone", weights=given)
        same_bits(whole, streamed)
        assert "non_finite_points" in streamed.flags
        assert np.array_equal(whole.residuals, streamed.residuals, equal_nan=True)
        assert whole.form_uncertainty == pytest.approx(streamed.form_uncertainty, rel=1e-12)
    starts = [start for start, _ in streamed.residual_blocks()]
    assert starts == [0, PIECE]
    _, jacobian, residuals = streamed.design()
    assert len(jacobian) == len(residuals) == streamed.n_used


def test_given_start_and_fixed_parameters() -> None:
    xyz = noisy("cylinder", N, seed=8)
    kept = {"radius": 8.0, "axis": FEATURES["cylinder"].axis}
    same_bits(fit(xyz, "cylinder", fixed=kept), fit(Pieces(xyz), "cylinder", fixed=kept))
    near = FEATURES["cylinder"]
    same_bits(fit(xyz, "cylinder", start=near), fit(Pieces(xyz), "cylinder", start=near))


@pytest.mark.parametrize("chunks", [None, (1000, 3), (40_000, 1)])
def test_hdf5(tmp_path: Path, chunks: tuple[int, int] | None) -> None:
    xyz = noisy("sphere", PIECE + 5, seed=9)
    path = tmp_path / "points.h5"
    with hdf5.open_new(path) as file:
        file.create_dataset("points", data=xyz, chunks=chunks).attrs["unit"] = "mm"
    with hdf5.Hdf5Points(path) as source:
        streamed = fit(source, "sphere")
        assert streamed.unit == "mm"
        same_bits(fit(xyz, "sphere", unit="mm"), streamed)
        with pytest.raises(ParameterError, match="contradicts"):
            fit(source, "sphere", unit="um")


@pytest.mark.parametrize("kind", ["plane", "cylinder"])
def test_mapped_and_converted_arrays(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from metrology_core.fitting import sources

    monkeypatch.setattr(sources, "LARGE", 1000)
    xyz = noisy(kind, PIECE + 777, seed=10)
    whole = fit(xyz, kind)
    np.save(tmp_path / "a.npy", xyz)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    same_bits(whole, fit(mapped, kind))
    same_bits(fit(xyz, kind, criterion="minimum_zone"), fit(mapped, kind, criterion="minimum_zone"))
    same_bits(whole, fit(np.asfortranarray(xyz), kind))
    short = xyz.astype(np.float32)
    same_bits(fit(short.astype(np.float64), kind), fit(short, kind))
    assert np.array_equal(mapped, xyz)


def test_small_and_insufficient_and_degenerate_sources() -> None:
    xyz = noisy("plane", 100)
    same_bits(fit(xyz, "plane"), fit(Pieces(xyz), "plane"))
    assert fit(Pieces(np.empty((0, 3))), "plane").status == "insufficient"
    n = THREADED_FROM + 10
    assert fit(Pieces(np.full((n, 3), 7.0)), "sphere").optimality["reason"] == "all points are equal to rounding"
    line = np.outer(np.linspace(0.0, 1.0, n), (1.0, 2.0, 3.0))
    assert fit(Pieces(line), "cylinder").status == "degenerate"
    nothing = np.full((n, 3), np.nan)
    nothing[:2] = 1.0
    found = fit(Pieces(nothing), "sphere")
    assert (found.status, found.n_used, found.n_points) == ("insufficient", 2, n)
    assert fit(Pieces(np.full((n, 3), np.nan)), "sphere").status == "insufficient"
    assert fit(Pieces(noisy("sphere", n) * 1e300), "sphere").status == "degenerate"
    integers = (noisy("sphere", n) * 100.0).astype(np.int64)
    same_bits(fit(integers.astype(float), "sphere"), fit(Pieces(integers), "sphere"))


class Lying(Pieces):
    def __init__(self, xyz: np.ndarray, mode: str) -> None:
        super().__init__(xyz)
        self.mode = mode

    def read(self, start: int, stop: int) -> np.ndarray:
        part = super().read(start, stop)
        if start < PIECE:
            return part
        if self.mode == "short":
            return part[:-1]
        if self.mode == "complex":
            return part + 0j
        if self.mode == "reader":
            raise ReaderError("is cut off", path="scan.h5", place="row 3")
        raise OSError("the disk went away")


@pytest.mark.parametrize("mode", ["short", "complex", "raises"])
def test_sources_that_fail_name_the_block(mode: str) -> None:
    xyz = noisy("plane", PIECE + 100)
    with pytest.raises(DataError, match=f"points {PIECE} to {PIECE + 100}"):
        fit(Lying(xyz, mode), "plane")


def test_typed_errors_of_a_source_travel() -> None:
    with pytest.raises(ReaderError, match="cut off"):
        fit(Lying(noisy("plane", PIECE + 100), "reader"), "plane")


def test_wrong_use() -> None:
    xyz = noisy("cylinder", THREADED_FROM + 1)

    class NoCount:
        def read(self, start: int, stop: int) -> np.ndarray:
            return xyz[start:stop]

    with pytest.raises(ParameterError, match="not a block source"):
        fit(NoCount(), "cylinder")
    with pytest.raises((ParameterError, CriterionError)):
        fit(Pieces(xyz), "plane", criterion="maximum_inscribed")
    with pytest.raises(ParameterError):
        fit(Pieces(xyz), "cylinder", weights=np.ones(3))
    with pytest.raises(ParameterError, match="material"):
        fit(Pieces(xyz), "cylinder", criterion="minimum_zone_outside")


MEMORY = """
import resource, sys
import numpy as np
from metrology_core import fit

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

def points(start, stop):
    index = np.arange(start, stop)
    a = index * 2.399963
    r = 25.0 + 1e-3 * np.sin(index * 12.9898)
    return np.column_stack((r * np.cos(a), r * np.sin(a), 40.0 * (index * 0.7548776662 % 1.0)))

class Made:
    def __init__(self, n):
        self.n_points = n
    read = staticmethod(points)

mode, n = sys.argv[1], int(sys.argv[2])
for criterion in ("least_squares", "minimum_zone"):  # kernels and buffers first
    fit(Made(600_000), "cylinder", criterion=criterion).to_dict()
if mode == "array":
    xyz = np.empty((n, 3))
    for a in range(0, n, 100_000):
        xyz[a : a + 100_000] = points(a, min(n, a + 100_000))
elif mode == "mapped":
    xyz = np.load(sys.argv[3], mmap_mode="r")
else:
    xyz = Made(n)
before = peak()
for criterion in ("least_squares", "minimum_zone"):
    found = fit(xyz, "cylinder", criterion=criterion)
    assert found.status == "converged", found.status
    found.to_dict()
print(peak() - before)
"""


@pytest.mark.parametrize("mode", ["array", "made", "mapped"])
def test_memory_does_not_grow_with_the_points(mode: str, tmp_path: Path) -> None:
    n = 2_500_000
    path = tmp_path / "points.npy"
    if mode == "mapped":
        array = np.lib.format.open_memmap(path, mode="w+", dtype=np.float64, shape=(n, 3))
        for a in range(0, n, SLICE):
            index = np.arange(a, min(n, a + SLICE))
            t, r = index * 2.399963, 25.0 + 1e-3 * np.sin(index * 12.9898)
            array[a : a + SLICE] = np.column_stack((r * np.cos(t), r * np.sin(t), 40.0 * (index * 0.7548776662 % 1.0)))
        array.flush()
        del array
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, mode, str(n), str(path)], capture_output=True, text=True, check=True,
        env={**os.environ, "ABBE_THREADS": "2"},
    )  # fmt: skip
    # the points take 57 MB; the goal is 30 % of them for a fit in memory, and a few pieces of 6 MB for a source
    assert float(done.stdout) < 0.3 * 24e-6 * n / 1.048576, done.stdout
