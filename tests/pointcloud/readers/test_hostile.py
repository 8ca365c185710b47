"""Hostile input: a typed error with path, place and remedy, never a crash, never memory for what is not there."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from metrology_core.errors import AbbeError, ReaderError
from pointcloud import read_mesh, read_points
from tests.pointcloud.readers import writers
from tests.pointcloud.readers.hostile_cases import CASES, GOOD, Case
from tests.pointcloud.readers.writers import save


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_the_error_says_what_where_and_what_to_do(tmp_path: Path, case: Case) -> None:
    path = save(tmp_path, case.file, case.data)
    tracemalloc.start()
    try:
        with pytest.raises(AbbeError) as caught:
            read_points(path, **{"unit": "mm", "points_are": "surface", **case.options})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    error = caught.value
    assert type(error) is case.error
    assert case.says in str(error)
    assert error.remedy and case.remedy in error.remedy
    assert case.file in (error.where or "")
    assert str(tmp_path) not in str(error)  # records hold the message: no place on a machine
    if isinstance(error, ReaderError):
        assert error.path == case.file
        assert error.place and case.place in error.place
    # what is claimed but not there costs nothing: the first import of a reader and a few copies of the file
    assert peak < 30_000_000 + 40 * len(case.data)


def test_there_are_enough_cases_and_none_twice() -> None:
    assert len(CASES) >= 60
    assert len({case.name for case in CASES}) == len(CASES)


def test_folders_missing_files_and_odd_paths(tmp_path: Path) -> None:
    for path, words in ((tmp_path, "folder"), (tmp_path / "none.xyz", "does not exist")):
        with pytest.raises(ReaderError, match=words) as caught:
            read_points(path, unit="mm", points_are="surface")
        assert caught.value.place == "path" and caught.value.remedy
    with pytest.raises(AbbeError, match="path is text"):
        read_points(7, unit="mm", points_are="surface")  # type: ignore[arg-type]
    with pytest.raises(ReaderError, match="not an ordinary file"):
        read_points("/dev/null", unit="mm", points_are="surface")


def test_clouds_are_no_meshes(tmp_path: Path) -> None:
    for name, data in (("a.ply", writers.ply(GOOD)), ("a.xyz", writers.text(GOOD)), ("a.obj", writers.obj(GOOD, []))):
        with pytest.raises(ReaderError, match="no triangles"):
            read_mesh(save(tmp_path, name, data), unit="mm")
    vertices = writers.tetrahedron()[0].copy()
    vertices[1, 1] = np.nan
    with pytest.raises(ReaderError, match="not finite") as caught:
        read_mesh(save(tmp_path, "b.ply", writers.ply(vertices, faces=[[0, 1, 2]])), unit="mm")
    assert caught.value.place == "vertex 2"


VALID = {
    "a.xyz": writers.text(GOOD),
    "a.csv": writers.text(GOOD, ";", ",", "x;y;z"),
    "a.ply": writers.ply(GOOD[:4], "ascii", faces=[[0, 1, 2]]),
    "b.ply": writers.ply(GOOD[:4], normals=GOOD[:4], faces=[[0, 1, 2], [0, 1, 2, 3]]),
    "a.stl": writers.stl(GOOD[:12].reshape(4, 3, 3)),
    "b.stl": writers.stl_ascii(GOOD[:12].reshape(4, 3, 3)),
    "a.obj": writers.obj(GOOD[:4], [[0, 1, 2]]),
    "a.pcd": writers.pcd(GOOD, "ascii"),
    "b.pcd": writers.pcd(GOOD),
    "c.pcd": writers.pcd(GOOD, "binary_compressed"),
    "a.qif": writers.qif([("A", GOOD)], compensated="true", radius=None),
}


@pytest.mark.parametrize("name", VALID)
def test_any_damage_gives_points_or_a_typed_error(tmp_path: Path, name: str) -> None:
    data = VALID[name]
    random = np.random.Generator(np.random.PCG64(sum(name.encode())))
    damaged = [data[:n] for n in range(0, len(data), max(1, len(data) // 60))]
    for _ in range(150):
        copy = bytearray(data)
        for _ in range(random.integers(1, 4)):
            copy[random.integers(len(copy))] = random.integers(256)
        start, length = random.integers(len(copy)), random.integers(40)
        if random.random() < 0.3:
            del copy[start : start + length]
        damaged.append(bytes(copy))
    refused = 0
    for content in damaged:
        try:
            points = read_points(save(tmp_path, name, content), unit="mm", points_are="surface")
        except AbbeError as error:
            refused += 1
            assert error.remedy or error.expected
        else:
            assert points.n_points > 0
    assert refused > 40  # a reader that accepts everything would pass the loop above
