"""What the parts of one evaluation share: points, features, the datum frame as a function of features, words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from metrology_core.data import PointSet, Rigid
from metrology_core.instrument import Instrument
from metrology_core.provenance import digest_bytes
from pointcloud.datums import frame_from_parent
from pointcloud.evaluate.features import compensating_tip
from pointcloud.evaluate.types import DatumRequest, EvaluatedFeature


@dataclass(frozen=True, eq=False)
class Workspace:
    """What all characteristics of one evaluation share."""

    points: PointSet
    features: Mapping[str, EvaluatedFeature]
    datum: DatumRequest | None
    datum_problem: str | None
    instrument: Instrument | None
    scope: str
    seed: int
    #: by characteristic, filled as they are evaluated: see `Evaluation.noise_and_form`
    noise_and_form: dict[str, np.ndarray] = field(default_factory=dict)

    def motion(self, geometries: Mapping[str, Any]) -> Rigid:
        """Into the datum frame, from feature geometries by name. Raises `FrameError`."""
        if self.datum is None:
            return Rigid.identity()
        names = (self.datum.primary, self.datum.secondary, self.datum.tertiary)
        return frame_from_parent(*(None if name is None else geometries[name] for name in names))

    def datum_words(self) -> str:
        if self.datum is None:
            return f"frame {self.points.frame.name} of the file"
        letters = ", ".join(f"{letter} {name}" for letter, name in zip("ABC", self.datum.features, strict=False))
        criteria = {self.features[name].request.criterion for name in self.datum.features}
        how = " and ".join(sorted(criterion.replace("_", " ") for criterion in criteria))
        return f"datum system {self.datum.name} ({letters}; associated by {how})"

    def keyed(self, name: str) -> int:
        """A seed that depends on the run's seed, the data and the characteristic, and on nothing else."""
        return int(digest_bytes(f"{self.seed}/{self.scope}/{name}".encode())[:12], 16)


def feature_words(feature: EvaluatedFeature) -> str:
    """One feature in words: criterion, kind, number of points, compensation, point errors."""
    request, n = feature.request, feature.points.n_points
    if request.kind == "points":
        return f"{request.name}: {n} points"
    letter = {"least_squares": "least squares (G)"}.get(request.criterion, request.criterion.replace("_", " "))
    words = f"{request.name}: {letter} {request.kind}, {n} points"
    if "direction" in request.fixed:
        words += ", evaluated in its projection along the stated direction"
    tip = compensating_tip(feature)
    if tip:
        words += f", ball centres compensated on the feature by {tip:.6g} {feature.points.unit}"
    elif feature.points.points_are == "ball_centre":
        words += ", ball centres not compensated"
    if feature.sigma is not None:
        size = float(np.sqrt(np.mean(np.square(feature.sigma))))
        residual = feature.uncertain is not None and feature.uncertain.kind == "A" and not feature.form
        source = "residual standard deviation" if residual else "declared noise"
        words += f", {source} {size:.3g} {feature.points.unit}"
        if feature.length is not None:
            name = "exponential" if feature.field is None else f"{feature.field.kernel.name}, along the surface"
            words += f" correlated over {feature.length:.3g} {feature.points.unit} ({name})"
            if feature.field is not None and feature.field.nugget:
                words += f", {feature.field.nugget:.3g} {feature.points.unit} of it independent"
        if "correlation_subsampled" in feature.flags:
            words += " (pairs of a regular subset)"
        if feature.surface is not None and feature.drawn is not None:
            words += f", {feature.surface.words()}"
        elif feature.form:
            words += (
                f", and form: residuals beyond the declared noise, {feature.form:.3g} {feature.points.unit}, as "
                "independent errors (form of long waves on a part of the feature moves the result by more)"
            )
    return words
