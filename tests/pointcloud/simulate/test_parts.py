"""The part simulator: its truth is checked by closed forms and by refinement, its files by determinism."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from pointcloud.simulate import dense, simulate_lot, simulate_part
from pointcloud.simulate.drawing import REQUIREMENTS
from pointcloud.simulate.fields import CosineField, correlated_noise, waviness
from pointcloud.simulate.lot import stream
from pointcloud.simulate.part import CONE_HALF_ANGLE, FAULTS, make_part, nominal_section_points, true_values
from pointcloud.simulate.scan import Machine, scan
from pointcloud.simulate.section import SplineSection
from pointcloud.simulate.surfaces import Annulus, Cap, Revolved, small_rotation


def field(amplitude: float, ku: float, kv: float, phase: float = 0.0) -> CosineField:
    return CosineField(*(np.array([v]) for v in (amplitude, ku, kv, phase)))


@pytest.fixture(scope="module")
def section() -> SplineSection:
    return SplineSection(nominal_section_points())


def test_a_lobed_bore_keeps_its_diameter_and_shows_its_lobes() -> None:
    surface = Revolved("b", -1.0, field(0.002, 3.0, 0.0), radius=30.0, low=-20.0, high=0.0)
    start = dense.TrueRevolved(np.array([0.0, 0.0, -10.0]), np.array([0.0, 0.0, 1.0]), 30.0, 0.0, np.zeros(0))
    found = dense.revolved(dense.sample(surface), start, cone=False)
    assert found.radius == pytest.approx(30.0, abs=1e-9)  # three lobes average out over whole turns
    # 240 samples a turn miss the top of a three-lobed wave by (1 - cos(pi 3 / 240)) = 8e-4 of it at most
    assert np.ptp(found.residuals) == pytest.approx(0.004, rel=1e-3)


def test_a_tilted_cylinder_and_cone_are_found() -> None:
    turn = small_rotation((3e-4, -2e-4, 0.0))
    for half_angle in (0.0, -CONE_HALF_ANGLE):
        surface = Revolved(
            "c", 1.0, rotation=turn, pivot=np.array([0.0, 0.0, -10.0]), shift=np.array([0.01, -0.02, 0.0]),
            radius=33.0, half_angle=half_angle, low=-20.0, high=0.0,
        )  # fmt: skip
        start = dense.TrueRevolved(
            np.array([0.0, 0.0, -10.0]), np.array([0.0, 0.0, 1.0]), 33.0, half_angle, np.zeros(0)
        )
        found = dense.revolved(dense.sample(surface), start, cone=half_angle != 0.0)
        assert found.radius == pytest.approx(33.0, abs=1e-8)  # stops at steps of 1e-9 mm
        assert found.half_angle == pytest.approx(half_angle, abs=1e-9)
        assert found.axis == pytest.approx(turn @ [0.0, 0.0, 1.0], abs=1e-9)
        assert found.point == pytest.approx([0.01, -0.02, -10.0], abs=1e-8)


def test_a_cupped_plane_has_the_flatness_of_its_cup() -> None:
    # cos(pi v) over the ring: +-a at the edges; the least-squares plane of a symmetric cup is level
    surface = Annulus("f", deviation=field(0.01, 0.0, 0.5), inner=35.0, outer=60.0)
    found = dense.plane(dense.sample(surface, 240, 200))
    assert found.normal == pytest.approx([0.0, 0.0, 1.0], abs=1e-12)
    assert np.ptp(found.residuals) == pytest.approx(0.02, rel=1e-4)  # midpoints miss the edges by 1.2e-5 of 1 - cos


def test_a_sphere_is_found() -> None:
    surface = Cap("s", shift=np.array([0.01, 0.02, -0.03]), center=(1.0, 2.0, 3.0), radius=6.01, colatitude=1.3)
    found = dense.sphere(dense.sample(surface), np.array([1.0, 2.0, 3.0]), 6.0)
    assert found.center == pytest.approx([1.01, 2.02, 2.97], abs=1e-11)  # converged to rounding
    assert found.radius == pytest.approx(6.01, abs=1e-11)


def test_normals_leave_the_material(section: SplineSection) -> None:
    part = make_part("001", np.random.default_rng(4), section=section)
    u, v = np.linspace(0.0, 1.0, 50, endpoint=False), np.full(50, 0.4)
    for name, surface in part.surfaces.items():
        normal = surface.normal(u, v)
        assert np.linalg.norm(normal, axis=1) == pytest.approx(1.0, abs=1e-12), name
        # one step along the normal leaves the real surface on the side away from the axis (shaft) or towards it
        if isinstance(surface, Revolved):
            radial = surface.point(u, v)[:, :2] - np.asarray(surface.center)
            assert (np.sign(np.sum(radial * normal[:, :2], axis=1)) == surface.outward).all(), name


def test_waviness_has_the_rms_that_was_asked() -> None:
    f = waviness(np.random.default_rng(5), 0.003, ku=(3, 12), kv=1.0)
    u, v = np.meshgrid(np.linspace(0, 1, 200, endpoint=False), np.linspace(0, 40, 801), indexing="ij")
    # the mean square of a sum of cosines over many periods is the half sum of squares; equal orders may interfere
    assert np.sqrt(np.mean(f(u, v) ** 2)) == pytest.approx(0.003, rel=0.1)


def test_noise_has_its_standard_deviation_and_its_length() -> None:
    rng = np.random.default_rng(6)
    path = np.stack([np.arange(40_000) * 0.5, np.zeros(40_000), np.zeros(40_000)], axis=1)
    e = correlated_noise(rng, path, 4e-4, 2.0)
    assert e.std() == pytest.approx(4e-4, rel=0.05)  # 40 000 / 8 independent values: 1 %, five sigma
    assert np.mean(e[:-4] * e[4:]) / e.var() == pytest.approx(np.exp(-1.0), abs=0.06)  # lag 2 mm; five sigma
    assert correlated_noise(rng, path, 4e-4, None).std() == pytest.approx(4e-4, rel=0.02)


def test_truth_is_stable_under_refinement(section: SplineSection, monkeypatch: pytest.MonkeyPatch) -> None:
    part = make_part("001", np.random.default_rng(7), section=section)
    coarse = true_values(part).values
    original = dense.sample
    monkeypatch.setattr(dense, "sample", lambda s: original(s, 480, 72))
    fine = true_values(part).values
    for name, value in coarse.items():
        # extremes miss at most (pi 20 / 240)^2 / 2 = 3 % of the shortest waves (1 um): 0.03 um; sizes do not move
        limit = 1e-4 if name in ("flange flatness", "bore cylindricity") else 1e-5
        assert fine[name] == pytest.approx(value, abs=limit), name


def test_profile_truth_agrees_with_a_brute_search(section: SplineSection) -> None:
    part = make_part("001", np.random.default_rng(8), section=section, fault="section")
    truth = true_values(part)
    u = np.arange(1500) / 1500.0
    local = (part.surfaces["section"].point(u, np.full(1500, 0.5)) - truth.origin) @ truth.axes.T
    nominal = section(np.arange(200_000) / 200_000.0)[0]
    brute = np.array([np.min(np.hypot(*(nominal - p[:2]).T)) for p in local[::5]])
    # 300 of the points, nominal at 0.3 um: never above the truth, and within the slope of the form of it
    assert 2.0 * brute.max() == pytest.approx(truth.values["blade section profile"], abs=5e-4)


def test_each_fault_spoils_its_own_characteristic(section: SplineSection) -> None:
    for fault, spoilt in FAULTS.items():
        good = true_values(make_part("1", np.random.default_rng(9), section=section)).values
        bad = true_values(make_part("1", np.random.default_rng(9), section=section, fault=fault)).values
        assert bad[spoilt] - good[spoilt] > 0.015, fault  # mm: more than any of its tolerances allows
        others = [n for n in good if n != spoilt and abs(bad[n] - good[n]) > 2e-3]
        assert others == [], fault


def test_an_unknown_fault_is_refused(section: SplineSection) -> None:
    with pytest.raises(ValueError, match="unknown fault"):
        make_part("1", np.random.default_rng(1), section=section, fault="typo")


def test_a_perfect_machine_measures_the_surface(section: SplineSection) -> None:
    part = make_part("001", np.random.default_rng(10), section=section)
    machine = Machine(tip_radius=1.5, noise=0.0, correlation_length=None, lobing=0.0)
    made = scan(part, machine, np.random.default_rng(11))
    back = (made.xyz - made.translation) @ made.rotation
    chosen = [i for i, name in enumerate(made.labels) if name == "ball"]
    assert len(chosen) == 140
    surface = part.surfaces["ball"]
    assert isinstance(surface, Cap)
    centre = np.asarray(surface.center) + surface.shift
    reach = np.linalg.norm(back[chosen] - centre, axis=1)
    # radius + tip, plus the form of the ball (rms 0.3 um, so below 2 um)
    assert np.max(np.abs(reach - surface.radius - 1.5)) < 2e-3


def test_parts_do_not_depend_on_each_other() -> None:
    alone = simulate_part(3, 77)
    again = simulate_part(3, 77)
    assert np.array_equal(alone.scan.xyz, again.scan.xyz)
    assert not np.array_equal(alone.scan.xyz, simulate_part(4, 77).scan.xyz)


def test_a_lot_is_the_same_bytes_twice(tmp_path: Path) -> None:
    bad = {1: "hole", 2: "corrupt"}
    truth = simulate_lot(tmp_path / "a", 3, 5, bad)
    simulate_lot(tmp_path / "b", 3, 5, bad)

    def digest(folder: Path) -> dict[str, str]:
        files = sorted(p for p in folder.rglob("*") if p.is_file())
        return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}

    first = digest(tmp_path / "a")
    assert first == digest(tmp_path / "b")
    assert set(first) == {
        "nominal/section.csv", "recipe.yaml", "truth.json",
        "parts/part-001.csv", "parts/part-002.csv", "parts/part-003.csv",
    }  # fmt: skip
    assert json.loads((tmp_path / "a" / "truth.json").read_text()) == truth
    rows = truth["parts"]
    assert [rows[f"part-00{i}"]["verdict"] for i in (1, 2, 3)] == ["conforming", "nonconforming", "none"]
    assert set(rows["part-001"]["values"]) == {row.name for row in REQUIREMENTS}


def test_the_text_gives_back_every_bit(tmp_path: Path) -> None:
    simulate_lot(tmp_path, 1, 5, {})
    made = simulate_part(0, 5, machine=Machine.draw(stream(5, 0)))  # the lot's machine
    lines = (tmp_path / "parts" / "part-001.csv").read_text().splitlines()
    assert lines[0] == "x,y,z,feature"
    fields = [line.split(",") for line in lines[1:]]
    assert np.array_equal(np.array([[float(v) for v in row[:3]] for row in fields]), made.scan.xyz)
    assert tuple(row[3] for row in fields) == made.scan.labels


def test_an_unknown_fault_of_a_lot_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown fault"):
        simulate_lot(tmp_path, 1, 5, {0: "typo"})
