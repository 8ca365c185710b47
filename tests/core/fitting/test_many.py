"""`fit_many` and `fit_trials` give the answers of `fit`, item by item, whatever the neighbours, threads and blocks."""

from __future__ import annotations

import math

import numpy as np
import pytest

from metrology_core import PointSet, ProbeTip, fit, fit_many, fit_trials
from metrology_core.blocks import threads
from metrology_core.errors import FitError, ParameterError, UnitError
from metrology_core.features import Circle, Cone, Cylinder, Ellipse, Feature, Line, Plane, Sphere, Torus
from metrology_core.fitting.many import GROUP
from metrology_core.testing.surfaces import sample_feet

KINDS = ("line", "plane", "circle", "sphere", "cylinder", "cone", "torus", "ellipse")


def feature(kind: str, rng: np.random.Generator) -> Feature:
    c, a = rng.uniform(-300.0, 300.0, 3), rng.standard_normal(3)
    r = 10.0 ** rng.uniform(0.0, 2.0)
    if kind in ("line", "plane"):
        return (Line if kind == "line" else Plane)(c, a)
    if kind == "sphere":
        return Sphere(c, r)
    if kind == "cone":
        return Cone(c, a, r, rng.uniform(0.05, 1.3))
    if kind == "torus":
        return Torus(c, a, r * rng.uniform(1.5, 5.0), r)
    if kind == "ellipse":
        u = np.cross(a, rng.standard_normal(3))
        return Ellipse(c, a, u, r * rng.uniform(1.2, 3.0), r)
    return (Cylinder if kind == "cylinder" else Circle)(c, a, r)


def cloud(kind: str, n: int, rng: np.random.Generator, arcs: tuple[float, ...] = (6.28, 3.14, 1.5)) -> np.ndarray:
    feet = sample_feet(feature(kind, rng), n, rng, arc=float(rng.choice(arcs)))
    noise = 10.0 ** rng.uniform(-5.0, -2.0)
    return feet.points + sum(d * noise * rng.standard_normal(n)[:, None] for d in feet.directions)


def same(many, i: int, one, xyz: np.ndarray) -> None:
    """Item i of a batch is the single fit: status, flags, counts; numbers to rounding."""
    assert many.status[i] == one.status
    assert set(many.flags_of(i)) == set(one.flags)
    assert (many.n_points[i], many.n_used[i], many.dof[i]) == (one.n_points, one.n_used, one.dof)
    if one.feature is None:
        assert all(np.isnan(v[i]).all() for v in many.parameters.values())
        return
    # both end where a Gauss-Newton step is rounding: of the coordinates, times the condition of the problem
    size = float(np.nanmax(np.abs(xyz[np.isfinite(xyz)])))
    tolerance = 1e-13 * size * max(1.0, one.optimality["condition"])
    for name, value in one.parameters.items():
        assert np.abs(many.parameters[name][i] - value).max() <= tolerance, name
    for name in ("rms", "form", "reach", "sigma"):
        a, b = float(getattr(many, name)[i]), float(getattr(one, name))
        assert abs(a - b) <= tolerance or (math.isnan(a) and math.isnan(b)), name
    if one.extent is not None:
        assert np.abs(many.extent[i] - one.extent).max() <= tolerance
    if one.dof > 0:
        # normal equations in double precision: their inverse carries rounding times the condition squared
        limit = 1e-9 + 1e-14 * one.optimality["condition"] ** 2
        scale = np.sqrt(np.outer(np.diag(one.covariance), np.diag(one.covariance))) + 1e-300
        assert np.abs((many.covariance[i] - one.covariance) / scale).max() <= limit
    again = many[i]
    assert again.status == one.status and set(again.flags) == set(one.flags)
    for name, value in again.parameters.items():  # a feature normalises its direction once more: one rounding
        assert np.abs(value - many.parameters[name][i]).max() <= (0.0 if np.ndim(value) == 0 else 2.3e-16 * size)
    assert np.abs(again.residuals - one.residuals)[np.isfinite(one.residuals)].max() <= tolerance


@pytest.mark.parametrize("kind", KINDS)
def test_ragged_items_equal_single_fits(kind: str, seed: int = 11) -> None:
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    clouds = [cloud(kind, int(rng.integers(12, 140)), rng) for _ in range(9)]
    many = fit_many(clouds, kind, unit="mm")
    assert len(many) == 9 and many.unit == "mm"
    for i, xyz in enumerate(clouds):
        same(many, i, fit(xyz, kind), xyz)


@pytest.mark.parametrize("kind", ["line", "circle", "ellipse"])
def test_features_of_a_plane(kind: str) -> None:
    rng = np.random.default_rng(12)
    clouds = []
    for _ in range(6):
        n = int(rng.integers(10, 90))
        t, c = rng.uniform(0.0, 5.0, n), rng.uniform(-50.0, 50.0, 2)
        b = {"line": t, "circle": 10.0 * np.sin(t), "ellipse": 4.0 * np.sin(t)}[kind]
        xy = np.column_stack((t if kind == "line" else 10.0 * np.cos(t), b)) + c
        clouds.append(xy + 0.01 * rng.standard_normal((n, 2)))
    many = fit_many(clouds, kind)
    for i, xy in enumerate(clouds):
        same(many, i, fit(xy, kind), xy)


def test_bad_items_have_a_status_and_disturb_no_other() -> None:
    rng = np.random.default_rng(13)
    good = cloud("cylinder", 40, rng)
    holes = good.copy()
    holes[[3, 17]] = np.nan
    holes[5, 1] = np.inf
    line = np.outer(np.linspace(0.0, 1.0, 20), (1.0, 2.0, 3.0))
    flat = np.column_stack((rng.uniform(-1.0, 1.0, (20, 2)), np.zeros(20)))
    items = [
        good, holes, good[:4], np.full((20, 3), 7.0), line, flat, np.full((30, 3), np.nan), good * 1e300,
        np.empty((0, 3)),
        np.vstack((good[:4], np.full((6, 3), np.nan))), good,
    ]  # fmt: skip
    many = fit_many(items, "cylinder")
    assert list(many.status[:6]) == ["converged", "converged", "insufficient", "degenerate", "degenerate", "degenerate"]
    assert many.reason[4] == "the points are collinear to rounding"
    for i, xyz in enumerate(items):
        same(many, i, fit(xyz, "cylinder"), xyz)
    for name, values in many.parameters.items():
        assert np.array_equal(values[0], values[-1]), name  # to the last bit, beside whatever
    assert np.array_equal(many.parameters["radius"][:1], fit_many([good], "cylinder").parameters["radius"])
    with pytest.raises(FitError, match="item 2 first"):
        many.require()
    assert many.require(share=0.25) is many
    assert many.flags["non_finite_points"] == 3
    assert many[3].status == "degenerate" and many[-1].status == "converged"


def test_the_same_bits_for_any_threads_and_grouping() -> None:
    rng = np.random.default_rng(14)
    clouds = [cloud("cylinder", int(rng.integers(20, 200)), rng, (6.28,)) for _ in range(5 * GROUP + 3)]
    results = []
    for count in (1, 2, 4, 16):
        with threads(count):
            results.append(fit_many(clouds, "cylinder"))
    joined = fit_many(np.vstack(clouds), "cylinder", offsets=np.cumsum([0] + [len(c) for c in clouds]))
    backwards = fit_many(clouds[::-1], "cylinder")
    for other in (*results[1:], joined):
        for name, values in results[0].parameters.items():
            assert np.array_equal(values, other.parameters[name])
        assert np.array_equal(results[0].form, other.form)
    assert np.array_equal(results[0].parameters["axis"], backwards.parameters["axis"][::-1])


@pytest.mark.parametrize("kind", ["plane", "cone", "circle"])
def test_with_a_start_the_bits_are_those_of_fit(kind: str) -> None:
    rng = np.random.default_rng(15)
    base = cloud(kind, 50, rng)
    near = fit(base, kind).feature
    stack = base + 1e-4 * rng.standard_normal((20, *base.shape))
    many = fit_many(stack, kind, start=near)
    for i in (0, 7, 19):
        one = fit(stack[i], kind, start=near)
        for name, value in one.parameters.items():
            # a feature normalises its directions once more than the arrays: one rounding
            assert np.abs(many.parameters[name][i] - value).max() <= (2.3e-16 if name in ("axis", "normal") else 0.0)
        assert many.form[i] == one.form and many.rms[i] == one.rms
    again = fit_many(stack, kind, start=many.features())
    assert np.abs(again.parameters["point" if kind != "circle" else "center"] - many.features()[0].parameters[
        "point" if kind != "circle" else "center"]).max() < 1.0  # fmt: skip
    with pytest.raises(ParameterError, match="not a start"):
        fit_many(stack, kind, start=many.features()[:3])


def test_weights_and_fixed_parameters() -> None:
    rng = np.random.default_rng(16)
    clouds = [cloud("cylinder", 70, rng, (6.28,)) for _ in range(4)]
    weights = [rng.uniform(0.0, 2.0, 70) for _ in clouds]
    weights[1][:10] = 0.0
    many = fit_many(clouds, "cylinder", weights=weights)
    stacked = fit_many(np.array(clouds), "cylinder", weights=np.array(weights))
    assert np.array_equal(many.parameters["point"], stacked.parameters["point"])
    for i, xyz in enumerate(clouds):
        same(many, i, fit(xyz, "cylinder", weights=weights[i]), xyz)
    held = fit_many(clouds, "cylinder", fixed={"radius": 20.0})
    for i, xyz in enumerate(clouds):
        same(held, i, fit(xyz, "cylinder", fixed={"radius": 20.0}), xyz)


@pytest.mark.parametrize("material", ["inside", "outside", None])
@pytest.mark.parametrize("kind", ["cylinder", "cone", "plane", "line"])
def test_ball_centres_are_compensated_as_by_fit(kind: str, material: str | None) -> None:
    rng = np.random.default_rng(17)
    sets = [PointSet(cloud(kind, 70, rng, (6.28,)), "mm", "part", "ball_centre", tip=ProbeTip(0.5)) for _ in range(3)]
    many = fit_many(sets, kind, material=material)
    for i, points in enumerate(sets):
        one = fit(points, kind, material=material)
        same(many, i, one, points.xyz)
    assert many.unit == "mm"


def test_wrong_use_is_named() -> None:
    x = np.zeros((4, 10, 3))
    with pytest.raises(ParameterError, match="several sets"):
        fit_many(x[0], "plane")
    with pytest.raises(ParameterError, match="item 1"):
        fit_many([x[0], np.zeros((3, 5))], "plane")
    with pytest.raises(ParameterError, match="another dimension"):
        fit_many([x[0], np.zeros((3, 2))], "plane")
    with pytest.raises(ParameterError, match="offsets"):
        fit_many(x[0], "plane", offsets=[0, 12])
    with pytest.raises(ParameterError, match="offsets"):
        fit_many(x[0], "plane", offsets=[0, 7, 5, 10])
    with pytest.raises(ParameterError, match="weights"):
        fit_many(x, "plane", weights=np.ones(3))
    with pytest.raises(ParameterError, match="finite"):
        fit_many(x, "plane", weights=np.full((4, 10), np.nan))
    with pytest.raises(UnitError):
        fit_many(x, "plane", unit="kg")
    with pytest.raises(ParameterError, match="several sets"):
        fit_many(np.zeros((2, 3, 3), complex), "plane")
    assert len(fit_many([], "plane")) == 0
    integers = (np.arange(90).reshape(3, 10, 3) ** 2) % 17
    frozen = np.asfortranarray(integers.astype(float))
    frozen.setflags(write=False)
    assert np.array_equal(fit_many(integers, "plane").form, fit_many(frozen, "plane").form)


def test_trials_are_the_fits_of_the_displaced_points() -> None:
    rng = np.random.default_rng(18)
    base = cloud("cylinder", 30, rng, (6.28,))
    moves = 1e-3 * rng.standard_normal((25, 30))
    first = fit(base, "cylinder").feature
    assert first is not None
    result = fit_trials(base, "cylinder", moves, keep="all")
    normals = first.normals(base)
    for i in (0, 24):
        one = fit(base + moves[i][:, None] * normals, "cylinder", start=first)
        assert np.abs(result.parameters["axis"][i] - one.parameters["axis"]).max() <= 1e-15
        assert abs(result.parameters["radius"][i] - one.parameters["radius"]) <= 1e-12
        # the same formula from the same normal equations, inverted by another routine
        assert np.allclose(result.covariance[i], one.covariance, rtol=1e-9, atol=1e-300)
        assert result[i].status == "converged"
    vectors = fit_trials(base, "cylinder", moves[:, :, None] * normals)
    assert np.array_equal(vectors.parameters["axis"], result.parameters["axis"])
    with pytest.raises(ParameterError, match="not kept"):
        _ = vectors.covariance


def test_trials_in_blocks_keep_the_bits_and_the_direction(monkeypatch: pytest.MonkeyPatch) -> None:
    from metrology_core.fitting import trials

    rng = np.random.default_rng(19)
    a = 2.0 * np.pi * np.arange(24) / 24
    # the axis lies where the sign rule turns: z component 0.1
    lean = np.array((-math.sqrt(1.0 - 0.01), 0.0, 0.1))
    u = np.array((0.0, 1.0, 0.0))
    v = np.cross(lean, u)
    base = 5.0 * np.outer(np.cos(a), u) + 5.0 * np.outer(np.sin(a), v) + np.outer(np.tile((0.0, 4.0, 8.0), 8), lean)
    moves = 0.02 * rng.standard_normal((400, 24))
    calls = []

    def produce(start: int, stop: int) -> np.ndarray:
        calls.append((start, stop))
        return moves[start:stop]

    whole = fit_trials(base, "cylinder", moves)
    monkeypatch.setattr(trials, "BLOCK_POINTS", 24 * 150)
    blocked = fit_trials(base, "cylinder", produce, trials=400)
    assert calls == [(0, 150), (150, 300), (300, 400)]
    for name, values in whole.parameters.items():
        assert np.array_equal(values, blocked.parameters[name])
    axes = whole.parameters["axis"]
    assert (axes @ axes[0] > 0.9).all()  # `fit` alone gives both directions here
    assert np.abs(axes[:, 2]).min() < 0.1 < np.abs(axes[:, 2]).max()
    signs = {float(np.sign(blocked[i].parameters["axis"] @ axes[0])) for i in range(20)}
    assert signs == {1.0, -1.0}
    with pytest.raises(ParameterError, match="number of trials"):
        fit_trials(base, "cylinder", produce)
    with pytest.raises(ParameterError, match="another shape"):
        fit_trials(base, "cylinder", lambda s, e: np.zeros((e - s, 3)), trials=4)
    with pytest.raises(ParameterError, match="displacements"):
        fit_trials(base, "cylinder", np.zeros((4, 3)))


def test_scatter_of_trials_is_the_covariance() -> None:
    rng = np.random.default_rng(20)
    base = cloud("sphere", 60, rng, (6.28,))
    one = fit(base, "sphere")
    exact = one.associated.project(base)
    sigma, trials = 1e-3, 4000
    result = fit_trials(exact, "sphere", sigma * rng.standard_normal((trials, 60)), start=one.associated)
    _, jacobian, _ = one.design()
    expected = sigma * math.sqrt(np.linalg.inv(jacobian.T @ jacobian)[3, 3])
    # standard deviation of a standard deviation from 4000 trials: 1.1 %; five of them
    assert abs(result.parameters["radius"].std() / expected - 1.0) < 0.055


def test_features_without_a_compiled_batch_give_the_answers_of_fit() -> None:
    """Slots and pairs of planes have no kernel of their own: item by item, the same numbers as `fit`."""
    rng = np.random.default_rng(5)
    x = np.c_[rng.uniform(-10.0, 10.0, (40, 2)), np.repeat([0.0, 5.0], 20)] + rng.normal(0.0, 0.01, (40, 3))
    one, many = fit(x, "parallel_planes"), fit_many([x, x], "parallel_planes")
    assert one.status == "converged"
    for k in range(2):
        assert many[k].status == one.status
        assert many[k].parameters["width"] == one.parameters["width"]


@pytest.mark.parametrize("kind", ["slot", "parallel_planes"])
@pytest.mark.parametrize("dimension", [2, 3])
def test_slots_and_pairs_have_their_own_parameters(kind: str, dimension: int) -> None:
    rng = np.random.default_rng(21)
    t = rng.uniform(0.0, 1.0, 40)
    side = np.where(np.arange(40) % 2 == 0, 1.0, -1.0)
    sets = []
    for _ in range(2):
        flat = np.column_stack([20.0 * (t - 0.5), 4.0 * side])
        if kind == "slot":
            a = np.pi * (t[:20] - 0.5)
            ends = side[:20] * (10.0 + 4.0 * np.cos(a))
            flat = np.vstack([flat, np.column_stack([ends, 4.0 * np.sin(a)])])
        height = np.zeros(len(flat)) if kind == "slot" else rng.uniform(-5.0, 5.0, len(flat))
        xyz = np.column_stack([flat, height])[:, :dimension]
        sets.append(xyz + 1e-3 * rng.standard_normal(xyz.shape))
    many = fit_many(sets, kind).require()
    for i, points in enumerate(sets):
        one = fit(points, kind)
        assert list(many.parameters) == list(one.parameters)
        for name, value in one.parameters.items():
            assert np.array_equal(many.parameters[name][i], value), name
        feature = many.features()[i]
        assert type(feature) is type(one.feature)
