"""The acceptance tests of ISO 10360 on a virtual machine: what share of lengths and probings lies within the MPE."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metrology_core.errors import ParameterError
from metrology_core.virtual.cmm import VirtualCMM, length_lines
from metrology_core.virtual.probing import sphere_points

REPEATS = 3


@dataclass(frozen=True, eq=False)
class LengthTest:
    """Simulated length tests (ISO 10360-2): ``errors`` (trials, 35, 3) of 35 lengths measured three times, ``lengths``
    and ``mpe`` (35,), in the machine's unit."""

    errors: np.ndarray
    lengths: np.ndarray
    mpe: np.ndarray

    @property
    def within(self) -> np.ndarray:
        """(35,) share of single length measurements within the MPE."""
        return np.asarray((np.abs(self.errors) <= self.mpe[:, None]).mean(axis=(0, 2)))

    @property
    def ratio(self) -> np.ndarray:
        """(35,) standard deviation of the length error in units of the MPE."""
        return np.asarray(np.sqrt((self.errors**2).mean(axis=(0, 2))) / self.mpe)

    @property
    def passing(self) -> float:
        """Share of the machines that pass: all 105 lengths within the MPE."""
        return float((np.abs(self.errors) <= self.mpe[:, None]).all(axis=(1, 2)).mean())


@dataclass(frozen=True, eq=False)
class ProbingTest:
    """Simulated probing tests: ``form`` (trials,) range of 25 points about their least-squares sphere."""

    form: np.ndarray
    mpe: float

    @property
    def within(self) -> float:
        return float((self.form <= self.mpe).mean())


def length_test(machine: VirtualCMM, trials: int, *, seed: int = 0) -> LengthTest:
    """Let machines of the population measure the 35 test lengths three times each, end to end."""
    lines = length_lines(*machine.volume)
    points = np.array([end for line in lines for end in line[:2]])
    normals = np.array([sign * line[2] for line in lines for sign in (-1.0, 1.0)])
    truth = np.array([float(np.linalg.norm(line[1] - line[0])) for line in lines])
    errors = np.empty((trials, len(lines), REPEATS))
    repeated, twice = np.tile(points, (REPEATS, 1)), np.tile(normals, (REPEATS, 1))
    moved = machine.modes(repeated, twice, scope="length test").displacements(0, trials, seed=seed)
    moved = moved.reshape(trials, REPEATS, len(lines), 2, 3)
    along = np.array([line[2] for line in lines])
    errors[:] = np.einsum("trlk,lk->tlr", moved[:, :, :, 1] - moved[:, :, :, 0], along)
    return LengthTest(errors, truth, machine.mpe(truth))


def probing_test(machine: VirtualCMM, trials: int, *, radius: float | None = None, seed: int = 0) -> ProbingTest:
    """Let them probe a sphere in the middle of the volume with 25 points; ``radius`` default a hundredth of the
    smallest axis."""
    from metrology_core.features import Sphere
    from metrology_core.fitting import fit_many

    low, high = machine.volume
    if machine.probing_mpe is None:
        raise ParameterError(f"machine {machine.id} states no probing MPE", remedy="state probing_mpe")
    middle = 0.5 * (low + high)
    size = float((high - low).min()) / 100.0 if radius is None else radius
    normals = sphere_points()
    simulated = machine.simulate(middle + size * normals, normals, stop=trials, seed=seed, scope="probing test")
    form = fit_many(simulated, "sphere", start=Sphere(middle, size)).require().form
    return ProbingTest(form, machine.probing_mpe)
