"""A scan too large for memory against its nominal: HDF5 points block by block, with stored progress.

The alignment uses an even part of the points; the deviations, counts, shares and extremes are of all of them. A second,
quick pass picks the points of the worst places. Progress is stored in the run folder every few million points, so that
`--resume` goes on from there after a kill; the result has the same bits either way.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from metrology_core import __version__
from metrology_core import flags as _flags
from metrology_core.data import PointSet, Rigid
from metrology_core.errors import ParameterError
from metrology_core.hdf5 import Hdf5Points
from metrology_core.units import convert
from pipelines.steps.common import acquisition_of, nothing_measured, single_input
from pipelines.steps.surroundings import tell, work_folder

if TYPE_CHECKING:
    from pipelines.plan import Task
    from pipelines.recipe import Recipe
    from pointcloud.deviation.field import DeviationField
    from pointcloud.deviation.places import WorstPlace
    from pointcloud.deviation.statistics import DeviationStatistics
    from pointcloud.deviation.stream import DeviationStream
    from pointcloud.nominal.read import Nominal

FROM = 8_000_000  # points from which a scan is streamed: below, all of it takes less than a gigabyte
BLOCK = 1 << 20  # points read at once
STORE = 16  # blocks between stored states
ALIGN = 400_000  # points of the alignment
GATHER = 1_000_000  # points of the worst places
SECONDS = 5.0  # between two lines of progress
SUFFIXES = (".h5", ".hdf5", ".hdf", ".he5", ".nxs")


def is_streamed(recipe: Recipe, task: Task, root: Path) -> bool:
    """Whether the scan of a task is an HDF5 file with so many points that it is read in blocks."""
    path = single_input(task, root)
    if recipe.inputs.format not in ("auto", "hdf5") or path.suffix.lower() not in SUFFIXES or not path.is_file():
        return False
    with Hdf5Points(path, recipe.inputs.dataset, unit=recipe.inputs.unit) as source:
        return source.n_points >= FROM


class Blocks:
    """The points of a scan in blocks; ``part`` is an even subset as a `PointSet`."""

    def __init__(self, recipe: Recipe, task: Task, root: Path) -> None:
        from pipelines.steps.features import thermal_state, tip_of

        spec = recipe.inputs
        self.source = Hdf5Points(single_input(task, root), spec.dataset, unit=spec.unit)
        unit = self.source.unit
        flags = ("float32_source",) if self.source.is_single else ()
        self._head: dict[str, Any] = {
            "unit": unit, "frame": spec.frame, "points_are": spec.points_are, "tip": tip_of(spec, unit),
            "acquisition": acquisition_of(task), "thermal": thermal_state(spec.thermal), "flags": flags,
        }  # fmt: skip
        self.n_points = self.source.n_points

    def points(self, xyz: np.ndarray) -> PointSet:
        return PointSet.from_array(xyz, **self._head)

    def read(self, number: int) -> np.ndarray:
        return self.source.read(number * BLOCK, min(self.n_points, (number + 1) * BLOCK))

    @property
    def count(self) -> int:
        return -(-self.n_points // BLOCK)

    def part(self, most: int) -> PointSet:
        """Every so many-th point."""
        step = -(-self.n_points // most)
        rows = []
        progress = Progress("reading points for the alignment", self.count)
        for number in range(self.count):
            rows.append(self.read(number)[-(number * BLOCK) % step :: step].copy())  # a view would keep the block
            progress(number + 1)
        return self.points(np.concatenate(rows))


class Progress:
    """A line every few seconds: how far, how fast, how long still."""

    def __init__(self, what: str, total: int, *, done: int = 0, points: int = 0) -> None:
        self._what, self._total, self._first, self._points = what, total, done, points
        self._began = self._last = time.monotonic()

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        if now - self._last < SECONDS and done < self._total:
            return
        if done == self._total and self._last == self._began and now - self._began < SECONDS:
            return  # too quick to be told
        self._last = now
        share = done / max(self._total, 1)
        rate = (done - self._first) / max(now - self._began, 1e-9)
        left = (self._total - done) / rate if rate > 0.0 else 0.0
        words = f"{self._what}: {100.0 * share:.0f} %"
        if self._points:
            words += f" of {self._points:.3g} points, {rate * BLOCK / 1e6:.2f} million/s"
        tell(f"{words}, about {left:.0f} s left" if left >= 1.0 else words)


class Store:
    """The stored state of a stream in the run's folder for unfinished work; nothing outside of a run."""

    def __init__(self, task: str, key: dict[str, Any]) -> None:
        folder = work_folder()
        self._path = None if folder is None else folder / f"{task}.npz"
        self._key = json.dumps(key, sort_keys=True)

    def load(self) -> tuple[int, dict[str, np.ndarray] | None]:
        """Blocks done and their state; (0, None) where nothing fits."""
        if self._path is None or not self._path.is_file():
            return 0, None
        try:
            with np.load(self._path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        except (OSError, ValueError, BadZipFile, KeyError, EOFError):
            return 0, None  # cut off: begin again
        key, done = arrays.pop("key", None), arrays.pop("done", None)
        if key is None or done is None or bytes(key).decode("utf-8", "replace") != self._key:
            return 0, None
        return int(done), arrays

    def save(self, done: int, state: dict[str, np.ndarray]) -> None:
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        with open(fresh, "wb") as file:
            key = np.frombuffer(self._key.encode(), dtype=np.uint8)
            np.savez(file, key=key, done=np.array(done), **state)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, self._path)

    def clear(self) -> None:
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
                self._path.with_suffix(".new").unlink(missing_ok=True)


def stream_all(blocks: Blocks, stream_of: Any, motion: Rigid | None, unit: str, store: Store) -> DeviationStream:
    """Take in all blocks, from where a stored state ends. ``stream_of(state)`` makes the stream."""
    done, state = store.load()
    stream: DeviationStream
    try:
        stream = stream_of(state)
    except ParameterError:
        done, stream = 0, stream_of(None)
    if done:
        tell(f"going on after {done * BLOCK:.3g} points")
    progress = Progress("deviations", blocks.count, done=done, points=blocks.n_points)
    for number in range(done, blocks.count):
        stream.add(aligned(blocks.read(number), motion, blocks.source.unit, unit), number * BLOCK)
        if (number + 1) % STORE == 0 or number + 1 == blocks.count:
            store.save(number + 1, stream.state())
        progress(number + 1)
    return stream


def aligned(xyz: np.ndarray, motion: Rigid | None, unit: str, target: str) -> np.ndarray:
    """Points in the frame and unit of the nominal."""
    if motion is not None:
        with np.errstate(invalid="ignore"):
            xyz = motion.apply(xyz)
    return xyz if unit == target else xyz * convert(1.0, unit, target)


def store_key(recipe: Recipe, digest: str, motion: Rigid | None, n_points: int) -> dict[str, Any]:
    """What must be the same for a stored state to be taken up."""
    matrix = None if motion is None else motion.matrix.tobytes().hex()
    text = recipe.model_dump_json()
    return {
        "recipe": text,
        "scan": digest,
        "points": n_points,
        "motion": matrix,
        "version": __version__,
        "block": BLOCK,
    }


def spacing_of(blocks: Blocks, part: PointSet, stream: DeviationStream) -> float:
    """Distance between neighbouring points of the scan, from the even ``part`` of it, in the nominal's unit."""
    from pointcloud.deviation.places import point_spacing

    found = point_spacing(part.xyz[part.finite]) * convert(1.0, part.unit, stream.unit)
    return found * (len(part) / blocks.n_points) ** 0.5


def places_of(
    blocks: Blocks, stream: DeviationStream, motion: Rigid | None, count: int, spacing: float
) -> tuple[WorstPlace, ...]:
    """The worst places, by a second pass over the points of the cells in which anything is beyond the threshold.

    Joined as those of a scan in memory are, by its ``spacing`` of points, so that one dent is one place whatever blocks
    its points come from. Where too many points lie in these cells, all that are beyond and an even part of the rest
    are taken; where too many are beyond, the worst places are found among the extremes of the cells, and counted on
    an even part.
    """
    from pointcloud.deviation.places import link_of, worst_places
    from pointcloud.nominal.surface import ClosestPoints

    kept = stream.extremes()
    beyond = stream.tolerance
    if beyond is None:
        size = stream.largest_share(0.01)
        beyond = (-size, size)
    low, high = beyond
    index = np.flatnonzero((kept.value > high) | (kept.value < low))
    if not len(index):
        return ()
    all_beyond = stream.n_beyond(beyond) <= GATHER
    reach = float(np.abs(kept.value[index]).max()) + abs(stream.offset)
    cells = stream.around(kept.closest.foot[index], reach, 2.0 * link_of(spacing))
    if cells.n_points > GATHER and not all_beyond:
        # extremes of touching cells are up to two diagonals apart
        rough = worst_places(kept, beyond=beyond, count=count, link=3.5 * stream.edge)
        index = np.concatenate([place.indices for place in rough])
        cells = stream.around(kept.closest.foot[index], reach, 2.0 * link_of(spacing))
    step = max(1, -(-cells.n_points // GATHER))
    always = stream.extreme_numbers()
    xyz, rows, evens = [], [], []
    progress = Progress("worst places", blocks.count)
    for number in range(blocks.count):
        points = aligned(blocks.read(number), motion, blocks.source.unit, stream.unit)
        picked, found = cells.pick(np.ascontiguousarray(points))
        where = picked + number * BLOCK
        even = where % step == 0
        value = found.distance - stream.offset
        stay = even | ((value > high) | (value < low) if all_beyond else np.isin(where, always))
        xyz.append(points[picked[stay]])
        rows.append(found.rows[stay])
        evens.append(even[stay])
        progress(number + 1)
    field = stream.field_of(np.concatenate(xyz), ClosestPoints(np.concatenate(rows)), "", ())
    options: dict[str, Any] = {"beyond": beyond, "count": count, "even": np.concatenate(evens) if step > 1 else None}
    if all_beyond or step == 1:
        return worst_places(field, link=link_of(spacing) or None, face_counts=stream.face_counts, **options)
    counts = np.maximum(stream.face_counts // step, 1)
    places = worst_places(field, link=link_of(spacing * step**0.5) or None, face_counts=counts, **options)
    number_of = [int(np.count_nonzero(options["even"][place.indices])) for place in places]
    return tuple(replace(place, n_points=max(n, 1) * step) for place, n in zip(places, number_of))


def summary_of(
    blocks: Blocks, stream: DeviationStream, nominal: Nominal, alignment_points: int
) -> tuple[DeviationField, DeviationStatistics]:
    """The kept points as a field with the flags, counts and words of all, and the statistics."""
    from pointcloud.deviation.field import nominal_words

    found = stream.statistics()
    if found is None:
        raise nothing_measured(stream.counts)
    words = [
        "signed distance to the closest point of the nominal, excess material positive",
        getattr(nominal.surface, "description", None) or nominal_words(nominal.surface),
    ]
    if stream.limit is not None:
        words.append(f"search limit {stream.limit:g} {stream.unit}")
    if stream.offset:
        words.append(f"ball centres compensated by {stream.offset:g} {stream.unit} along the nominal's normal")
    words.append(f"{found.n} of {blocks.n_points} points, read in blocks; aligned by {alignment_points} of them")
    words.append(f"map and sections show the extremes of cells of {stream.edge:.2g} {stream.unit}")
    names = stream.flags(blocks.points(np.zeros((1, 3))).flags)
    return stream.extremes("; ".join(words), _flags.merge(names)), found
