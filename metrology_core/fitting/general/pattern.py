"""A rigid pattern of features as one model: residual rows of all members by one motion and the free sizes."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from metrology_core.data.frames import Rigid
from metrology_core.errors import ParameterError
from metrology_core.features.base import Feature
from metrology_core.fitting.general.models import _LENGTHS, displaced
from metrology_core.fitting.general.rows import Rows, feature_rows

MOTIONS = ("shift_x", "shift_y", "shift_z", "turn_x", "turn_y", "turn_z")
Sizes = list[tuple[tuple[str, str], ...]]  # (member, size) groups that have one free value each


class Pose(tuple[Any, ...]):
    """The members' features where one motion has put them; `motion` is that motion."""

    motion: Rigid

    @classmethod
    def of(cls, features: Sequence[Feature], motion: Rigid) -> Pose:
        """Features (already moved) and the motion that moved them."""
        result = cls(features)
        result.motion = motion
        return result


class PatternModel:
    """Points (n, 3) of all members in centred, scaled coordinates; owner (n,): number of the member of each.

    The chart is a shift and a turn about the origin, then the free sizes; span (c, q): what of it is free (all, or
    what the pattern feels).
    """

    sides = None

    def __init__(self, points: np.ndarray, owner: np.ndarray, names: Sequence[str], sizes: Sizes, start: Pose) -> None:
        self.points = points
        self.owner = owner
        self.names = list(names)
        self.sizes = sizes
        self.start: Any = start
        self.span = np.eye(len(MOTIONS) + len(sizes))

    @property
    def size(self) -> int:
        """Number of free coordinates."""
        return int(self.span.shape[1])

    def stacked(self, state: Pose) -> tuple[np.ndarray, np.ndarray]:
        """(m,) all residuals and (m, q) their derivatives: one row per point, two for points of curves."""
        values, slopes = [], []
        for member in range(len(self.names)):
            found = self._member(state, member, self.points[self.owner == member])
            values.append(found.c.reshape(-1))
            slopes.append(found.j.reshape(-1, self.size))
        return np.concatenate(values), np.concatenate(slopes)

    def rows(self, state: Pose) -> Rows:
        """The first residual of every point, in the order of the points."""
        return self.part(state, np.arange(len(self.points)))

    def part(self, state: Pose, index: np.ndarray) -> Rows:
        """First residuals of some points."""
        n = len(index)
        c, d, j = np.empty((1, n)), np.empty((1, n, 3)), np.empty((1, n, self.size))
        for member in np.unique(self.owner[index]):
            here = np.flatnonzero(self.owner[index] == member)
            found = self._member(state, int(member), self.points[index[here]])
            c[0, here], d[0, here], j[0, here] = found.c[0], found.d[0], found.j[0]
        return Rows(c, d, j)

    def _member(self, state: Pose, member: int, points: np.ndarray) -> Rows:
        found = feature_rows(state[member], points)
        j = np.zeros((*found.c.shape, len(self.span)))
        j[..., :3] = -found.d
        j[..., 3:6] = -np.cross(points, found.d)  # -D.(turn x y) = -turn.(y x D)
        for k, owners in enumerate(self.sizes):
            for name, size in owners:
                if name == self.names[member]:
                    j[..., 6 + k] += found.j[..., state[member].chart.index(size)]
        return Rows(found.c, found.d, j @ self.span)

    def move(self, state: Pose, step: np.ndarray) -> Pose:
        """The pattern displaced along the free coordinates."""
        step = self.span @ step
        turn = step[3:6]
        angle = float(np.linalg.norm(turn))
        k = np.array(((0.0, -turn[2], turn[1]), (turn[2], 0.0, -turn[0]), (-turn[1], turn[0], 0.0)))
        rotation = np.eye(3)
        if angle > 0.0:
            half = math.sin(0.5 * angle) / (0.5 * angle)
            rotation = rotation + (math.sin(angle) / angle) * k + 0.5 * half * half * (k @ k)
        rigid = Rigid.nearest(rotation, step[:3])
        features = []
        for name, feature in zip(self.names, state, strict=True):
            delta = np.zeros(len(feature.chart))
            for i, owners in enumerate(self.sizes):
                for owner, size in owners:
                    if owner == name:
                        delta[feature.chart.index(size)] = step[6 + i]
            features.append(displaced(feature, delta).transform(rigid))
        return Pose.of(features, compose(rigid, state.motion))

    def root_weights(self) -> None:
        """Patterns take no weights."""

    def nudged(self, i: int, axis: int, step: float) -> PatternModel:
        """A model of point i alone, displaced along a coordinate axis."""
        result = copy.copy(self)
        result.points = self.points[i : i + 1].copy()
        result.points[0, axis] += step
        result.owner = self.owner[i : i + 1]
        return result


def compose(second: Rigid, first: Rigid) -> Rigid:
    """The motion `first`, then `second`; rotations are made orthogonal again."""
    return Rigid.nearest(second.rotation @ first.rotation, second.rotation @ first.translation + second.translation)


def free_sizes(nominal: Mapping[str, Feature], every: bool, tied: Sequence[Sequence[str]]) -> Sizes:
    """Groups of (member, size) that have one free value each, in the order of the members; checked."""
    known = {f"{name}.{s}": (name, s) for name, f in nominal.items() for s in f.chart if s in _LENGTHS}
    group_of: dict[str, tuple[str, ...]] = {}
    for group in tied:
        names = (group,) if isinstance(group, str) else tuple(group)
        for word in names:
            if word not in known or word in group_of or len(set(names)) < 2:
                raise ParameterError(
                    "sizes that are tied are not named once each",
                    expected="groups of two or more of " + ", ".join(known),
                    got=repr(group)[:80],
                )
        if any(nominal[known[w][0]].kind == "cone" for w in names):
            raise ParameterError("the radius of a cone depends on its section and cannot be tied", got=repr(group)[:80])
        group_of.update(dict.fromkeys(names, names))
    result = []
    for word, owner in known.items():
        names = group_of.get(word, ())
        if names and word == min(names, key=list(known).index):
            result.append(tuple(known[w] for w in sorted(names, key=list(known).index)))
        elif not names and every:
            result.append((owner,))
    return result


def with_one_value(state: dict[str, Any], sizes: Sizes) -> dict[str, Any]:
    """Features whose tied sizes have their mean from the start on."""
    state = dict(state)
    for owners in sizes:
        if len(owners) > 1:
            value = sum(float(getattr(state[name], size)) for name, size in owners) / len(owners)
            for name, size in owners:
                state[name] = replace(state[name], **{size: value})
    return state


__all__ = ["MOTIONS", "PatternModel", "Pose", "Sizes", "compose", "free_sizes", "with_one_value"]
