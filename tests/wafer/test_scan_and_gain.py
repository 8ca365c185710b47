"""Drift of the scan scale over a frame, and how much of its wander an edge shows in strong noise."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.accuracy.sem_edges import model
from wafer.edges import EdgeSet, find_edges
from wafer.edges.resample import EdgeNoise
from wafer.lines.pitch import frame_drift, pitch
from wafer.lines.roughness import _followed, edge_gain
from wafer.roughness import fit_roughness, traces
from wafer.simulate import simulate_lines
from wafer.simulate.roughness import rough_edges


@pytest.fixture(scope="module")
def edges() -> EdgeSet:
    return find_edges(simulate_lines(model(8.0, 2.0, shape=(512, 640)), seed=3).pixels)


def drifting(edges: EdgeSet, scale: np.ndarray) -> EdgeSet:
    """The same edges without roughness and noise, each row stretched by 1 + scale."""
    place = edges.seed[:, None] + edges.slope * (edges.rows - edges.middle)[None, :]
    return replace(edges, x=place * (1.0 + scale[None, :]))


def test_a_linear_change_of_scale_is_found(edges: EdgeSet) -> None:
    fit = pitch(edges, 1)
    assert fit.pitch.weights is not None
    t = np.arange(edges.rows.size) / edges.rows.size - 0.5
    u, change, change_u = frame_drift(drifting(edges, 2e-3 * t), fit.pitch.weights)
    value = float(fit.pitch.weights @ edges.seed)
    assert change == pytest.approx(2e-3 * value, rel=1e-6)  # exact for a line; the rows divide into eight blocks
    assert u == pytest.approx(abs(change) / math.sqrt(3.6), rel=1e-6) and change_u < 1e-9


def test_random_wander_gives_the_variance_between_frames(edges: EdgeSet) -> None:
    """Wiener processes of variance q: mean u^2 is half the variance of the difference of two frames in sequence."""
    fit = pitch(edges, 1)
    assert fit.pitch.weights is not None
    rng = np.random.default_rng(8)
    n, trials = edges.rows.size, 400
    found, apart = [], []
    for _ in range(trials):
        walk = np.cumsum(rng.standard_normal(2 * n)) * 1e-3 / math.sqrt(n)
        first = drifting(edges, walk[:n] - walk[:n].mean())
        found.append(frame_drift(first, fit.pitch.weights)[0] ** 2)
        apart.append((float(fit.pitch.weights @ edges.seed) * (walk[n:].mean() - walk[:n].mean())) ** 2)
    # Means of 400 chi-squared of one degree of freedom: 7 % each. What of the wander is no line counts as chance: it is
    # taken off, and changes that it explains count as none; both make u^2 smaller, by a fifth.
    assert 0.6 < np.mean(found) / (0.5 * np.mean(apart)) < 1.2


def test_gain_is_the_regression_on_the_truth() -> None:
    """In noise of two thirds of the step: slope of the found on the true places, which the evaluation never sees."""
    slopes, predicted, u = [], [], []
    for k in range(4):
        drawn = simulate_lines(model(1.5, 2.0, shape=(512, 1024), sigma=0.8), seed=60 + k)
        found = find_edges(drawn.pixels)
        truth = np.sort(np.concatenate([drawn.left, drawn.right]), axis=0)
        nearest = np.argmin(np.abs(truth.mean(axis=1)[None] - found.seed[:, None]), axis=1)
        wander = truth[nearest] - truth[nearest].mean(axis=1, keepdims=True)
        rest = found.x - np.nanmean(found.x, axis=1, keepdims=True)
        good = np.isfinite(rest)
        slopes.append(float(rest[good] @ wander[good] / (wander[good] @ wander[good])))
        gain, gain_u = edge_gain(found, float(wander.std()))
        predicted.append(gain)
        u.append(gain_u)
    error = math.hypot(float(np.std(slopes, ddof=1)) / 2.0, float(np.mean(u)))
    assert abs(np.mean(slopes) - np.mean(predicted)) < 3.5 * error
    assert np.mean(predicted) < 1.0 - 4.0 * np.mean(u)  # it is seen at all


def test_gain_is_one_without_pull_and_bounded() -> None:
    assert EdgeNoise(1.0, 0.0).gain(1.0) == (1.0, 0.0)
    pull = tuple((float(w), 0.02 * w, 0.001 * w) for w in (1, 2, 3, 4))
    value, u = EdgeNoise(1.0, 0.0, pull=pull).gain(1.3)
    assert value == pytest.approx(0.98, abs=1e-12) and u == pytest.approx(0.001, rel=1e-9)  # a straight pull


def test_followed_scales_the_roughness_and_leaves_the_noise() -> None:
    rng = np.random.default_rng(2)
    lines = rough_edges(30, 512, sigma=1.0, correlation_length=9.0, hurst=0.6, rng=rng)
    given = traces(lines + 0.5 * rng.standard_normal(lines.shape), "mean")
    assert given is not None
    fit = fit_roughness(given)
    scaled = _followed(fit, 0.9, 0.01)
    assert scaled.parameters[0] == pytest.approx(fit.parameters[0] / 0.9)
    np.testing.assert_array_equal(scaled.parameters[1:], fit.parameters[1:])
    assert scaled.box / fit.box == pytest.approx(1.0 / 0.9)
    expected = fit.covariance[0, 0] / 0.81 + (fit.parameters[0] * 0.01 / 0.81) ** 2
    assert scaled.covariance[0, 0] == pytest.approx(expected)
