"""A stream of deviations against the same points at once, and against NumPy; the cut into blocks changes no bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from metrology_core.errors import ParameterError
from pointcloud.deviation.field import DeviationField, deviate
from pointcloud.deviation.statistics import statistics
from pointcloud.deviation.stream import DeviationStream
from pointcloud.deviation.uncertainty import DeviationUncertainty
from pointcloud.nominal.mesh import TriangleMesh
from pointcloud.nominal.tree import SurfaceTree
from tests.pointcloud.nominal import solids

LIMIT = 0.06


@pytest.fixture(scope="module")
def tree() -> SurfaceTree:
    return SurfaceTree(TriangleMesh(*solids.torus(60, 40), "mm"))


@pytest.fixture(scope="module")
def points(tree: SurfaceTree) -> np.ndarray:
    """Noise, a dent, and points without a deviation: far away, not finite."""
    rng = np.random.default_rng(4)
    on = solids.beside((tree.mesh.vertices, tree.mesh.faces), 40_000, 1e-9, 5)
    normal = tree.closest(on).normal
    depth = -0.2 * np.exp(-np.sum((on - [47.0, 0.0, 0.0]) ** 2, axis=1) / 8.0)
    xyz = on + normal * (depth + 0.01 * rng.standard_normal(len(on)))[:, None]
    xyz[::501] += 200.0
    xyz[7::997, 1] = np.nan
    return np.asarray(xyz)


def model() -> DeviationUncertainty:
    rng = np.random.default_rng(2)
    root = rng.normal(size=(6, 6)) * np.array([1e-5] * 3 + [1e-3] * 3)[:, None]
    return DeviationUncertainty(noise=0.01, alignment=root @ root.T, pivot=np.array([1.0, 2.0, 3.0]), scope="s")


def streamed(tree: SurfaceTree, points: np.ndarray, cuts: list[int]) -> DeviationStream:
    stream = DeviationStream(tree, limit=5.0, uncertainty=model(), tolerance=(-LIMIT, LIMIT))
    for a, b in zip([0, *cuts], [*cuts, len(points)]):
        stream.add(points[a:b], a)
    return stream


@pytest.fixture(scope="module")
def whole(tree: SurfaceTree, points: np.ndarray) -> DeviationField:
    return deviate(points, tree, limit=5.0, uncertainty=model(), tolerance=(-LIMIT, LIMIT))


def test_statistics_are_those_of_all_points(tree: SurfaceTree, points: np.ndarray, whole: DeviationField) -> None:
    stream = streamed(tree, points, [10_000, 10_001, 33_000])
    got, want = stream.statistics(), statistics(whole)
    assert got is not None and want is not None and got.n == want.n == stream.n
    for name in ("mean", "sd", "rms", "minimum", "maximum"):
        a, b = getattr(got, name), getattr(want, name)
        # sums of 4e4 terms in another order
        assert a.value == pytest.approx(b.value, rel=1e-11, abs=1e-15), name
        assert a.u == pytest.approx(b.u, rel=1e-9), name
    for (p, a), (q, b) in zip(got.quantiles, want.quantiles):
        # a bin is 1/4096 of an octave wide: 1.7e-4 to 2.4e-4 of the value
        assert p == q and a.value == pytest.approx(b.value, rel=2.5e-4, abs=2e-6)
        assert a.u == pytest.approx(b.u, rel=0.2)  # levers of a coarse bin in place of the nearest points
    assert got.bands == want.bands and (got.out_low, got.out_high) == (want.out_low, want.out_high)
    assert stream.counts == {**whole.counts}
    margin = LIMIT - np.abs(whole.value[whole.valid])
    assert stream.guard == pytest.approx(np.mean(np.abs(margin) < 2.0 * whole.u[whole.valid]), abs=1e-12)
    size = np.abs(whole.value[whole.valid])
    assert stream.largest_share(0.01) == pytest.approx(np.quantile(size, 0.99), rel=1e-3)
    assert np.array_equal(stream.box, [np.nanmin(points, axis=0), np.nanmax(points, axis=0)])


def test_the_cut_into_blocks_and_a_stored_state_change_no_bit(tree: SurfaceTree, points: np.ndarray) -> None:
    first, second = streamed(tree, points, [12_345]), streamed(tree, points, list(range(3000, 40_000, 3000)))
    half = streamed(tree, points[:20_000], [])
    again = DeviationStream(
        tree, limit=5.0, uncertainty=model(), tolerance=(-LIMIT, LIMIT),
        state={name: array.copy() for name, array in half.state().items()},
    )  # fmt: skip
    again.add(points[20_000:], 20_000)
    for other in (second, again):
        for name, array in first.state().items():
            assert array.tobytes() == other.state()[name].tobytes(), name
    damaged = {**first.state(), "bands": np.zeros(3, dtype=np.int64)}
    with pytest.raises(ParameterError, match="not the state"):
        DeviationStream(tree, tolerance=(-LIMIT, LIMIT), state=damaged)


def test_every_cell_keeps_its_extremes(
    tree: SurfaceTree, points: np.ndarray, whole: DeviationField, monkeypatch: Any
) -> None:
    monkeypatch.setattr("pointcloud.deviation.stream._SLOTS", 64)  # the table must grow
    monkeypatch.setattr("pointcloud.deviation.stream.CELLS", 2000)
    stream = streamed(tree, points, [17_000])
    kept = stream.extremes()
    cell = np.floor((whole.closest.foot - (tree.mesh.bounds[0] - stream.edge)) / stream.edge)
    normal = whole.closest.normal
    side = 2 * np.abs(normal).argmax(axis=1) + (
        np.take_along_axis(normal, np.abs(normal).argmax(1)[:, None], 1)[:, 0] > 0
    )
    groups: dict[tuple[float, ...], list[int]] = {}
    for i in np.flatnonzero(whole.valid):
        groups.setdefault((*cell[i], side[i]), []).append(int(i))
    want = {min(g, key=lambda i: (whole.value[i], i)) for g in groups.values()}
    want |= {min(g, key=lambda i: (-whole.value[i], i)) for g in groups.values()}
    assert len(kept) == len(want) > 2000
    index = sorted(want)
    assert np.array_equal(kept.xyz, points[index]) and np.array_equal(kept.value, whole.value[index])
    assert np.array_equal(kept.closest.foot, whole.closest.foot[index])


def test_cells_are_picked_again(tree: SurfaceTree, points: np.ndarray, whole: DeviationField) -> None:
    stream = streamed(tree, points, [])
    dent = np.flatnonzero(whole.valid & (np.nan_to_num(whole.value) < -0.1))
    cells = stream.around(whole.closest.foot[dent], 0.3)
    picked, found = cells.pick(points)
    assert set(dent) <= set(picked.tolist()) and len(picked) == cells.n_points
    assert np.array_equal(found.signed, whole.closest.signed[picked])
    # the dent and a ring of cells about it, not the part
    assert np.linalg.norm(found.foot - [47.0, 0.0, 0.0], axis=1).max() < 8.0
