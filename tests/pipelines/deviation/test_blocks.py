"""A scan read in blocks: the same answer as at once, and the same bytes after an interruption."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metrology_core.hdf5 import open_new
from pipelines.cli import main
from pipelines.exit_codes import ExitCode
from pipelines.steps import deviation_blocks as blockwise
from pointcloud.deviation.stream import DeviationStream
from pointcloud.nominal.mesh import TriangleMesh
from pointcloud.nominal.tree import SurfaceTree
from tests.pipelines.deviation.test_deviation import DENT, NOISE, body, scan


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("blocks")
    vertices, faces = body()
    lines = [f"v {x!r} {y!r} {z!r}\n" for x, y, z in vertices.tolist()]
    lines += [f"f {a} {b} {c}\n" for a, b, c in (faces + 1).tolist()]
    (folder / "body.obj").write_text("".join(lines))
    points, _ = scan(vertices, faces, 3, 30_000)
    points[::777] += 500.0  # beyond the search limit
    with open_new(folder / "scan.h5") as file:
        file["points"] = points
        file["points"].attrs["units"] = "mm"
    return folder


def test_one_list_of_places_whatever_the_blocks(tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    """Wide and small dents and excess under noise that scatters points about the limit: what is joined in memory is
    joined across blocks."""
    vertices, faces = body()
    lines = [f"v {x!r} {y!r} {z!r}\n" for x, y, z in vertices.tolist()]
    lines += [f"f {a} {b} {c}\n" for a, b, c in (faces + 1).tolist()]
    (tmp_path / "body.obj").write_text("".join(lines))
    foot, _ = scan(vertices, faces, 5, 60_000)
    found = SurfaceTree(TriangleMesh(vertices, faces, "mm")).closest(foot)
    value = np.random.default_rng(6).normal(0.0, 0.02, len(foot))
    # depth and width (standard deviation), mm
    places = [((0.5, 0.6, 0.6), -0.2, 8.0), ((-0.5, 0.4, -0.6), 0.16, 6.0), ((-0.2, -0.9, 0.1), -0.13, 1.5),
              ((0.9, -0.3, 0.1), 0.13, 2.5)]  # fmt: skip
    for direction, depth, width in places:
        middle = found.foot[np.argmax(found.foot @ np.array(direction))]
        away = np.sum((found.foot - middle) ** 2, axis=1)
        value += depth * np.exp(-0.5 * away / width**2)
    with open_new(tmp_path / "scan.h5") as file:
        file["points"] = found.foot + value[:, None] * found.normal
        file["points"].attrs["units"] = "mm"
    answers = []
    for size in (None, 4096, 20_000):
        if size is not None:
            monkeypatch.setattr(blockwise, "FROM", 10_000)
            monkeypatch.setattr(blockwise, "BLOCK", size)
        where = [str(tmp_path / "scan.h5"), str(tmp_path / "body.obj"), "--unit", "mm", "--align", "none"]
        main(["deviation", *where, "--tolerance", "0.1 mm", "--noise", "0.02 mm", "--json"])
        answers.append(json.loads(capsys.readouterr().out)["places"])
    whole = answers[0]
    assert sorted(p["label"].split()[0] for p in whole[:4]) == ["dent", "dent", "excess", "excess"]
    assert min(p["n"] for p in whole[:4]) > 10
    for blocks in answers[1:]:
        assert [(p["label"], p["n"]) for p in blocks] == [(p["label"], p["n"]) for p in whole]
        for a, b in zip(whole, blocks):
            assert b["position"] == pytest.approx(a["position"]) and b["value"] == pytest.approx(a["value"], rel=1e-9)
            assert b["extent"] == pytest.approx(a["extent"], rel=1e-9) and b["area"] == pytest.approx(a["area"])


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blockwise, "FROM", 10_000)
    monkeypatch.setattr(blockwise, "BLOCK", 4096)
    monkeypatch.setattr(blockwise, "STORE", 2)
    monkeypatch.setattr(blockwise, "SECONDS", 0.0)


def words(files: Path, out: Path) -> list[str]:
    return [
        "deviation", str(files / "scan.h5"), str(files / "body.obj"), "--unit", "mm", "--align", "none",
        "--tolerance", "0.1 mm", "--noise", f"{NOISE} mm", "--search-limit", "2 mm", "--section", "z=1", "--out",
        str(out), "--json",
    ]  # fmt: skip


def records(out: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((out / "run" / "measurements").glob("*.h5"))]


def test_blocks_give_the_answer_of_all_at_once(files: Path, tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    code = main(words(files, tmp_path / "whole"))
    whole = json.loads(capsys.readouterr().out)
    monkeypatch.setattr(blockwise, "FROM", 10_000)
    monkeypatch.setattr(blockwise, "BLOCK", 4096)
    monkeypatch.setattr(blockwise, "SECONDS", 0.0)
    assert main(words(files, tmp_path / "blocks")) == code == 1
    captured = capsys.readouterr()
    blocks = json.loads(captured.out)
    assert "deviations: 50 % of 3e+04 points" in captured.err or "deviations: 62 %" in captured.err
    for a, b in zip(whole["measurements"], blocks["measurements"]):
        assert b["value"] == pytest.approx(a["value"], rel=1e-10) and b["U"] == pytest.approx(a["U"], rel=1e-6)
        assert a["decision"] == b["decision"] or a["decision"]["verdict"] == b["decision"]["verdict"]
    for key in ("n", "mean", "sd", "rms", "min", "max", "inside", "below", "above", "guard"):
        assert blocks["statistics"][key] == pytest.approx(whole["statistics"][key], rel=1e-10), key
    assert blocks["statistics"]["median"] == pytest.approx(whole["statistics"]["median"], abs=1e-6)
    assert blocks["counts"] == whole["counts"] and blocks["flags"] == whole["flags"]
    first, same = whole["places"][0], blocks["places"][0]
    assert abs(same["value"] - DENT) < 3.0 * same["u"] and same["position"] == pytest.approx(first["position"])
    assert same["value"] == pytest.approx(first["value"], abs=0.5 * first["u"]) and same["n"] == first["n"]
    assert same["area"] == pytest.approx(first["area"], rel=1e-6)
    share = [row["coverage"]["without_data"] / row["coverage"]["area"] for row in (whole, blocks)]
    assert share[1] == pytest.approx(share[0], abs=0.02)
    assert not (tmp_path / "blocks" / "run" / "unfinished").exists()


def test_an_interrupted_run_goes_on_to_the_same_bytes(
    files: Path, tmp_path: Path, small: None, capsys: Any, monkeypatch: Any
) -> None:
    assert main(words(files, tmp_path / "straight")) == 1
    add = DeviationStream.add

    def stop(self: DeviationStream, points: Any, base: int, **rest: Any) -> None:
        if base >= 5 * 4096:
            raise KeyboardInterrupt
        add(self, points, base, **rest)

    monkeypatch.setattr(DeviationStream, "add", stop)
    assert main(words(files, tmp_path / "broken")) == ExitCode.INTERRUPTED
    assert not records(tmp_path / "broken")
    stored = list((tmp_path / "broken" / "run" / "unfinished").glob("*.npz"))
    assert len(stored) == 1
    taken: list[int] = []

    def watched(self: DeviationStream, points: Any, base: int, **rest: Any) -> None:
        taken.append(base)
        add(self, points, base, **rest)

    monkeypatch.setattr(DeviationStream, "add", watched)
    capsys.readouterr()
    assert main([*words(files, tmp_path / "broken"), "--resume"]) == 1
    assert "going on after" in capsys.readouterr().err and taken[0] == 4 * 4096
    assert records(tmp_path / "broken") == records(tmp_path / "straight") != []
    assert not stored[0].exists()


def test_a_state_of_something_else_is_not_taken_up(files: Path, tmp_path: Path) -> None:
    from pipelines.steps.surroundings import unfinished_work

    with unfinished_work(tmp_path / "u"):
        store = blockwise.Store("t", {"scan": "a"})
        store.save(3, {"x": np.arange(4)})
        done, arrays = store.load()
        assert done == 3 and arrays is not None and arrays["x"].tolist() == [0, 1, 2, 3]
        assert blockwise.Store("t", {"scan": "b"}).load() == (0, None)
        path = tmp_path / "u" / "t.npz"
        path.write_bytes(path.read_bytes()[:200])
        assert store.load() == (0, None)
        store.clear()
    assert not (tmp_path / "u").exists()
    assert blockwise.Store("t", {}).load() == (0, None)  # outside of a run nothing is kept


def test_resume_needs_the_folder(files: Path, capsys: Any) -> None:
    line = ["deviation", str(files / "scan.h5"), str(files / "body.obj"), "--unit", "mm", "--resume", "--json"]
    assert main(line) == 2
    assert "nothing to go on with" in json.loads(capsys.readouterr().out)["error"]["message"]
