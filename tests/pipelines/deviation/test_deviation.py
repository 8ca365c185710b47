"""`abbe deviation` and the recipe step: a scan of a lumpy body against its mesh, with a dent of known depth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metrology_core.data import Rigid
from pipelines.cli import main

DENT, NOISE, LIMIT = -0.2, 0.004, 0.1


def body(rows: int = 40, columns: int = 80) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and triangles of a closed body without symmetry, outward normals."""
    t = np.linspace(0.0, np.pi, rows + 1)[1:-1]
    p = np.linspace(0.0, 2 * np.pi, columns, endpoint=False)
    tt, pp = np.meshgrid(t, p, indexing="ij")
    unit = np.stack([np.sin(tt) * np.cos(pp), np.sin(tt) * np.sin(pp), np.cos(tt)], -1).reshape(-1, 3)
    unit = np.concatenate([[(0.0, 0.0, 1.0)], unit, [(0.0, 0.0, -1.0)]])
    x, y, z = unit.T
    r = 20.0 + 3.0 * x + 2.0 * x * y - 2.5 * z * z + 1.5 * y**3 + 1.2 * x * y * z
    faces = []
    last = len(unit) - 1
    for j in range(columns):
        k = (j + 1) % columns
        faces.append((0, 1 + j, 1 + k))
        faces.append((last, last - columns + k, last - columns + j))
        for i in range(rows - 2):
            a, b = 1 + i * columns, 1 + (i + 1) * columns
            faces += [(a + j, b + j, b + k), (a + j, b + k, a + k)]
    return unit * (r * np.array([1.3, 1.0, 0.8])[:, None]).T, np.array(faces)


def scan(vertices: np.ndarray, faces: np.ndarray, seed: int, n: int = 12000) -> tuple[np.ndarray, np.ndarray]:
    """Points on the body with noise and one dent; and the place of the dent."""
    rng = np.random.default_rng(seed)
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    cross = np.cross(b - a, c - a)
    area = np.linalg.norm(cross, axis=1)
    face = rng.choice(len(faces), n, p=area / area.sum())
    u, v = rng.random((2, n))
    fold = u + v > 1.0
    u[fold], v[fold] = 1.0 - u[fold], 1.0 - v[fold]
    foot = a[face] + u[:, None] * (b - a)[face] + v[:, None] * (c - a)[face]
    place = foot[np.argmax(foot @ np.array([0.5, 0.6, 0.6]))]
    value = rng.normal(0.0, NOISE, n) + DENT * np.exp(-np.sum((foot - place) ** 2, axis=1) / 18.0)
    return foot + value[:, None] * (cross / area[:, None])[face], place


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("deviation")
    vertices, faces = body()
    lines = [f"v {x!r} {y!r} {z!r}\n" for x, y, z in vertices.tolist()]
    lines += [f"f {a} {b} {c}\n" for a, b, c in (faces + 1).tolist()]
    (folder / "body.obj").write_text("".join(lines))
    points, place = scan(vertices, faces, 3)
    motion = Rigid.from_rotation_vector([0.4, -0.3, 0.9], [30.0, -12.0, 55.0])
    for name, data in (
        ("moved", motion.apply(points)),
        ("placed", points),
        ("mirrored", motion.apply(points * (-1.0, 1.0, 1.0))),
        ("inches", motion.apply(points) / 25.4),
    ):
        np.savetxt(folder / f"{name}.csv", data, delimiter=",", header="x,y,z", comments="")
    return {"folder": folder, "place": place, "motion": motion}


def call(files: dict[str, Any], scan_name: str, *words: str, capsys: Any) -> tuple[int, dict[str, Any]]:
    folder = files["folder"]
    code = main(
        ["deviation", str(folder / f"{scan_name}.csv"), str(folder / "body.obj"), "--unit", "mm", *words, "--json"]
    )
    return code, json.loads(capsys.readouterr().out)


def test_moved_scan_is_aligned_and_the_dent_found(files: dict[str, Any], tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    code, answer = call(
        files, "moved", "--tolerance", "0.1 mm", "--noise", f"{NOISE} mm", "--permission", "note 4", "--section",
        "z=0", "--loss", "tukey", "--out", str(out), capsys=capsys,
    )  # fmt: skip
    assert code == 1 and answer["verdict"] == "nonconforming"
    assert answer["alignment"]["status"] == "converged"
    worst = answer["places"][0]
    assert abs(worst["value"] - DENT) < 3.0 * worst["u"]  # the robust fit is not pulled by the dent
    assert np.linalg.norm(np.array(worst["position"]) - files["place"]) < 1.5  # half the width of the dent's floor
    truth = files["motion"].inverse()
    found = answer["alignment"]["target_from_source"]
    shift = np.array(found["translation"]) - truth.translation
    assert np.linalg.norm(shift) < 0.01  # ten standard deviations of the noise over the root of 12 000, lever 60 / 20
    assert answer["coverage"]["without_data"] / answer["coverage"]["area"] < 0.02
    page = next((out / "run" / "report" / "parts").glob("*.html")).read_text(encoding="utf-8")
    assert "dent 1" in page and 'class="photo section"' in page and "note 4" in page
    assert (out / "recipe.yaml").is_file() and (out / "body.obj").is_file()  # the folder is whole evidence
    assert main(["verify", str(out / "run"), "--json"]) == 0
    capsys.readouterr()


def test_no_verdict_without_permission(files: dict[str, Any], capsys: Any) -> None:
    code, answer = call(files, "placed", "--tolerance", "0.1 mm", capsys=capsys)
    assert code == 0 and answer["verdict"] == "none"
    assert "best_fit_alignment" in answer["measurements"][0]["flags"]
    assert "no verdict" in answer["measurements"][0]["method"]


@pytest.mark.parametrize(("n", "outcome"), [(5, "unusable_data"), (12, "measured_with_flags")])
def test_points_that_the_fit_uses_up_give_no_verdict(
    files: dict[str, Any], tmp_path: Path, n: int, outcome: str, capsys: Any
) -> None:
    """Five points through six motions are exact whatever the part is like; twelve hide half of it."""
    rows = (files["folder"] / "placed.csv").read_text().splitlines()
    few = tmp_path / "few.csv"
    few.write_text("\n".join([rows[0], *rows[1 :: len(rows) // n][:n]]) + "\n")
    words = ["--unit", "mm", "--tolerance", "0.1 mm", "--noise", f"{NOISE} mm", "--permission", "note 4"]
    code = main(["deviation", str(few), str(files["folder"] / "body.obj"), *words, "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert code == 3 and answer["outcome"] == outcome and answer["verdict"] == "none"
    if n == 5:
        assert "uses up all points" in answer["reason"]["message"]
        return
    assert {"alignment_not_redundant", "verdict_withheld"} <= set(answer["flags"])
    assert all(m["decision"] is None and "no verdict: 12 points" in m["method"] for m in answer["measurements"])
    assert answer["coverage"]["without_data"] / answer["coverage"]["area"] > 0.8  # twelve spots of a twentieth


def test_as_placed_the_numbers_are_those_of_the_truth(files: dict[str, Any], capsys: Any) -> None:
    code, answer = call(
        files, "placed", "--align", "none", "--tolerance", "-0.25 mm,0.1 mm", "--noise", f"{NOISE} mm", capsys=capsys
    )
    assert code in (0, 6)  # conforming, or too near to the limit to tell
    statistics = answer["statistics"]
    assert statistics["sd"] > NOISE and abs(statistics["mean"]) < 0.01
    assert statistics["min"] == pytest.approx(DENT, abs=4 * NOISE)  # the lowest of some hundred points in the dent
    assert statistics["inside"] == pytest.approx(1.0, abs=1e-3)


def test_a_part_of_which_much_is_missing_is_not_called_conforming(
    files: dict[str, Any], tmp_path: Path, capsys: Any
) -> None:
    """Half of the body, coordinates as they are: good points decide nothing, bad ones do; a stated share decides."""
    xyz = np.loadtxt(files["folder"] / "placed.csv", delimiter=",", skiprows=1)
    away = xyz[xyz @ np.array([0.5, 0.6, 0.6]) < 0.0]  # without the dent
    np.savetxt(tmp_path / "half.csv", away, delimiter=",", header="x,y,z", comments="")
    nominal = str(files["folder"] / "body.obj")
    words = [nominal, "--unit", "mm", "--align", "none", "--noise", f"{NOISE} mm", "--tolerance", "0.1 mm"]
    assert main(["deviation", str(tmp_path / "half.csv"), *words, "--json"]) == 3
    answer = json.loads(capsys.readouterr().out)
    assert answer["verdict"] == "none" and {"coverage_too_low", "verdict_withheld"} <= set(answer["flags"])
    assert not answer["coverage"]["enough"] and answer["coverage"]["least"] == 0.8
    assert all(m["decision"] is None for m in answer["measurements"])
    report = ["--least-coverage", "0.4", "--out", str(tmp_path / "out")]
    assert main(["deviation", str(tmp_path / "half.csv"), *words, *report, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["verdict"] == "conforming" and "coverage_too_low" not in answer["flags"]
    assert "least_coverage: 0.4" in (tmp_path / "out" / "recipe.yaml").read_text(encoding="utf-8")
    other = xyz[xyz @ np.array([0.5, 0.6, 0.6]) > 0.0]
    np.savetxt(tmp_path / "dent.csv", other, delimiter=",", header="x,y,z", comments="")
    out = tmp_path / "dented"
    assert main(["deviation", str(tmp_path / "dent.csv"), *words, "--out", str(out), "--json"]) == 3
    answer = json.loads(capsys.readouterr().out)
    assert answer["verdict"] == "nonconforming"  # by the dent; the largest deviation is not decided
    page = next((out / "run" / "report" / "parts").glob("*.html")).read_text(encoding="utf-8")
    assert "asks for: the part is not called conforming" in page


def test_a_plain_best_fit_is_pulled_by_a_dent(files: dict[str, Any], capsys: Any) -> None:
    """Six degrees of freedom take up some of the dent: by up to six times its mean over the body (1.1 %)."""
    _, answer = call(files, "moved", "--tolerance", "0.1 mm", "--noise", f"{NOISE} mm", capsys=capsys)
    pull = answer["places"][0]["value"] - DENT
    assert 0.005 < pull < 6 * 0.011 * abs(DENT) + 0.01


@pytest.mark.parametrize(("name", "word"), [("mirrored", "mirror"), ("inches", "unit")])
def test_mirrored_and_mistaken_units_are_said(files: dict[str, Any], name: str, word: str, capsys: Any) -> None:
    code, answer = call(files, name, capsys=capsys)
    assert code == 3 and answer["outcome"] == "unusable_data"
    assert word in (answer["reason"]["message"] + str(answer["reason"].get("got", ""))).lower()


def test_one_unit_for_all_results_of_a_part(files: dict[str, Any], capsys: Any) -> None:
    """A nominal in inch, limits in mm: every number is in inch."""
    code, answer = call(
        files, "placed", "--nominal-unit", "mil", "--align", "none", "--tolerance", "900 mm", "--least-coverage", "0",
        capsys=capsys,
    )  # fmt: skip
    assert code in (0, 1, 6) and answer["unit"] == "mil"
    assert {m["unit"] for m in answer["measurements"]} == {"mil"}
    assert answer["measurements"][0]["tolerance"]["upper"] == pytest.approx(900.0 / 0.0254, rel=1e-12)


def test_wrong_words(files: dict[str, Any], tmp_path: Path, capsys: Any) -> None:
    folder = files["folder"]
    assert main(["deviation", str(folder / "no.csv"), str(folder / "body.obj"), "--unit", "mm", "--json"]) == 2
    assert "there is no scan" in json.loads(capsys.readouterr().out)["error"]["message"]
    code, answer = call(files, "placed", "--align", "none", "--section", "q=1", capsys=capsys)
    assert code == 2 and "section" in answer["error"]["message"]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    code, answer = call(files, "placed", "--out", str(tmp_path / "full"), capsys=capsys)
    assert code == 2 and "not empty" in answer["error"]["message"]


@pytest.mark.parametrize(
    ("place", "more", "words"),
    [
        ("z=abc", (), "'abc' is not a quantity"),
        ("z=30 K", (), "is not a length"),
        ("z=30", ("--nominal-unit", "mil"), "scan and nominal have two: mm and mil"),
        ("z=", (), "an axis and a place"),
    ],
)
def test_sections_that_cannot_be_meant(
    files: dict[str, Any], capsys: Any, place: str, more: tuple[str, ...], words: str
) -> None:
    """The message speaks of the option, not of a recipe that nobody wrote."""
    code, answer = call(files, "placed", "--align", "none", "--section", place, *more, capsys=capsys)
    assert code == 2 and words in answer["error"]["message"] and "recipe" not in answer["error"]["message"]


def test_a_bare_place_of_a_section_is_in_the_one_unit_there_is(files: dict[str, Any], tmp_path: Path) -> None:
    from pipelines.cli.deviation import _section

    assert _section("y=1.5e1", "mm", "mm") == _section("y=1.5e1 mm", "mm", "mm")
    assert _section("y=15", "um", "um")["origin"] == ["0 um", "15 um", "0 um"]
    assert _section("x=15 mm", "mm", "inch")["origin"] == ["15 mm", "0 inch", "0 inch"]


def test_outlines_know_their_outside() -> None:
    """Normals of a cut, by the side on which it leaves the outside, against the direction from the middle."""
    from pipelines.steps.deviation_view import outlined
    from pointcloud.deviation.sections import cut_mesh
    from pointcloud.nominal.mesh import mesh_from_arrays

    vertices, faces = body()
    mesh = mesh_from_arrays(vertices, faces, unit="mm")
    plane = np.eye(3)[:, :2]
    (line,) = cut_mesh(mesh, np.array([0.0, 0.0, 0.31]), np.array([0.0, 0.0, 1.0]), plane)
    shown, normals = outlined(line)
    assert np.isfinite(shown).all()  # no corners here
    assert (np.einsum("ij,ij->i", normals, shown) > 0.0).all()
    assert np.linalg.norm(normals, axis=1) == pytest.approx(1.0)


def test_a_limit_runs_parallel_to_the_sides_of_a_rectangle() -> None:
    from pipelines.steps.deviation_view import outlined

    # clockwise, so that the right is inside: shifted by 0.1 it is a rectangle again, smaller by 0.2
    line = np.array([[0.0, 0], [0, 2], [0, 4], [6, 4], [6, 0], [0, 0]])
    shown, normals = outlined(line)
    moved = shown + 0.1 * normals
    pieces = np.split(moved, np.flatnonzero(np.isnan(moved[:, 0])))
    assert [np.isfinite(piece[:, 0]).sum() for piece in pieces] == [3, 2, 2, 2]
    want = [[[0.1, 0], [0.1, 2], [0.1, 4]], [[0, 3.9], [6, 3.9]], [[5.9, 4], [5.9, 0]], [[6, 0.1], [0, 0.1]]]
    for piece, place in zip(pieces, want):
        assert piece[np.isfinite(piece[:, 0])] == pytest.approx(np.array(place), abs=1e-15)


def test_a_large_mesh_is_thinned_for_the_eye() -> None:
    from pipelines.steps.deviation_view import thin_mesh
    from pointcloud.nominal.mesh import mesh_from_arrays

    vertices, faces = body(120, 240)
    kept, triangles = thin_mesh(mesh_from_arrays(vertices, faces, unit="mm"), 20_000)
    assert 2_000 < len(triangles) <= 20_000 and triangles.max() < len(kept)
    assert np.ptp(kept, axis=0) == pytest.approx(np.ptp(vertices, axis=0), rel=0.02)  # a cell of the grid


def test_a_file_with_several_datasets_needs_the_name_of_one(files: dict[str, Any], tmp_path: Path, capsys: Any) -> None:
    h5py = pytest.importorskip("h5py")
    xyz = np.loadtxt(files["folder"] / "placed.csv", delimiter=",", skiprows=1)
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["first"], file["second"] = xyz, xyz[::2]
    where = [str(tmp_path / "two.h5"), str(files["folder"] / "body.obj"), "--unit", "mm", "--align", "none", "--json"]
    assert main(["deviation", *where]) == 3
    reason = json.loads(capsys.readouterr().out)["reason"]
    assert "--dataset" in reason["remedy"] and "first, second" in json.dumps(reason)
    assert main(["deviation", *where, "--dataset", "second"]) in (0, 1)
    assert json.loads(capsys.readouterr().out)["counts"]["points"] == len(xyz) // 2
    assert main(["fit", "sphere", where[0], "--unit", "mm", "--json", "--dataset", "first"]) == 0
    assert json.loads(capsys.readouterr().out)["n_points"] == len(xyz)


def test_several_scans_of_a_part_are_registered_together(files: dict[str, Any], tmp_path: Path, capsys: Any) -> None:
    """Three overlapping scans, each moved by a motion of its own: one field of all points, the dent where it is."""
    vertices, faces = body()
    xyz, place = scan(vertices, faces, 8, 24_000)
    names = []
    for k, (low, high) in enumerate(((-99.0, 6.0), (-8.0, 99.0), (-99.0, 99.0))):
        motion = Rigid.from_rotation_vector([0.02 * k, -0.03, 0.01], [3.0, k, -2.0])
        part = xyz[k::3]
        part = part[(part[:, 0] > low) & (part[:, 0] < high)]
        names.append(str(tmp_path / f"scan{k}.csv"))
        np.savetxt(names[-1], motion.apply(part), delimiter=",", header="x,y,z", comments="")
    total = sum(len(Path(name).read_text().splitlines()) - 1 for name in names)
    words = ["deviation", names[0], str(files["folder"] / "body.obj"), "--unit", "mm", "--noise", f"{NOISE} mm",
             "--tolerance", "0.1 mm", "--permission", "note 4"]  # fmt: skip
    out = tmp_path / "out"
    code = main([*words, "--also", names[1], "--also", names[2], "--out", str(out), "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert code == 1 and answer["counts"]["points"] == total and answer["alignment"]["n_used"] == total
    together = answer["alignment"]["details"]["together"]
    assert [row["file"] for row in together] == ["scan0.csv", "scan1.csv", "scan2.csv"]
    worst = answer["places"][0]
    assert np.linalg.norm(np.array(worst["position"]) - place) < 1.5
    # least squares are pulled by the dent, as a single scan is: see the test of that
    assert -0.01 < worst["value"] - DENT < 6 * 0.011 * abs(DENT) + 0.02
    assert main(["verify", str(out / "run"), "--json"]) == 0
    capsys.readouterr()
    for more, word in (
        ([names[1], "--loss", "tukey"], "least squares"),
        ([names[1], "--align", "none"], "least squares"),
        ([names[0]], "stands twice"),
        ([names[1], "--also", names[1]], "stands twice"),
    ):
        assert main([*words, "--also", *more, "--json"]) == 2
        assert word in json.loads(capsys.readouterr().out)["error"]["message"]
    (tmp_path / "link.csv").symlink_to(names[0])  # the same part by another name: no scan of it may be lost
    main(["deviation", str(tmp_path / "link.csv"), *words[2:], "--also", names[1], "--json"])
    alignment = json.loads(capsys.readouterr().out)["alignment"]
    assert [row["file"] for row in alignment["details"]["together"]] == ["scan0.csv", "scan1.csv"]


@pytest.mark.parametrize("option", ["--tolerance", "--noise", "--search-limit"])
def test_a_bare_number_has_no_unit_that_could_be_guessed(option: str, files: dict[str, Any], capsys: Any) -> None:
    for text in ("0.1", "0.1e0", "-0.1 mm,0.1") if option == "--tolerance" else ("0.1", "1."):
        code, answer = call(files, "placed", option, text, capsys=capsys)
        assert code == 2 and "has no unit" in answer["error"]["message"]
        assert "unit behind the number" in answer["error"]["remedy"]


def test_a_bound_of_covariances_is_at_least_each() -> None:
    from pipelines.steps.deviation_together import upper_bound
    from pointcloud.registration.se3 import transport

    rng = np.random.default_rng(3)
    spreads, pivots = [], []
    for _ in range(3):
        a = rng.standard_normal((6, 6)) * np.r_[np.full(3, 0.05), np.ones(3)][:, None]
        spreads.append(a @ a.T)
        pivots.append(20.0 * rng.standard_normal(3))
    middle = np.mean(pivots, axis=0)
    bound = upper_bound(spreads, pivots, middle, 20.0)
    for spread, at in zip(spreads, pivots):
        lead = transport(middle - at)
        assert np.linalg.eigvalsh(bound - lead @ spread @ lead.T).min() > -1e-9
    assert upper_bound(spreads[:1], pivots[:1], pivots[0], 20.0) == pytest.approx(spreads[0], rel=1e-9)
